// What the model is: its accuracies, labels, inputs, and its card.

import { askText } from "./api.js";
import { bar, byId, html, quiet, replace, table, wideTable } from "./dom.js";
import { count, minute, percent, points } from "./format.js";
import { render } from "./markdown.js";

const NUM_NAMES = 60;
const FORMS = { dense: "numbers", sparse: "numbers, most of them zero" };

let shown = null;

/** Show a model and its card. */
export async function show(info) {
  shown = info;
  replace(byId("facts"), accuracies(info.metrics), labels(info.labels), inputs(info), made(info));
  const card = await cardOf(info.model.name);
  if (shown === info) replace(byId("card"), ...card); // no other model was chosen meanwhile
}

async function cardOf(name) {
  try {
    return render(await askText(`model-card?model=${encodeURIComponent(name)}`), 3);
  } catch (problem) {
    return [quiet(`No model card: ${problem.message}.`)];
  }
}

function accuracies(metrics) {
  const { test_accuracy_std: spread, num_runs: runs } = metrics;
  const rows = [
    ["Test nodes", metrics.test_accuracy],
    [`Test nodes, mean of ${runs} runs, ± ${points(spread ?? 0)}`, metrics.test_accuracy_mean],
    ["Test nodes, teacher", metrics.teacher_test_accuracy],
    ["Unseen nodes", metrics.unseen_accuracy],
    ["Unseen nodes, teacher", metrics.teacher_unseen_accuracy],
    ["Validation nodes", metrics.val_accuracy],
  ]
    .filter(([, share]) => share !== null && share !== undefined)
    .map(([name, share]) => [name, bar(share), percent(share)]);
  return html(
    "div",
    {},
    table("Accuracy when it was trained", ["", "", "Accuracy"], rows, { class: "bars" }),
    quiet(`Its confidence is off by ${points(metrics.calibration_error)} points on average.`),
    quiet("How it compares with simpler methods stands in the report of its run."),
  );
}

function labels(names) {
  return html("div", {}, html("h3", {}, `${names.length} classes`), chips(names));
}

function inputs({ features, records, nodes }) {
  return html(
    "div",
    {},
    html("h3", {}, "What it takes"),
    html("p", {}, `${count(features.num_features)} features: ${FORMS[features.form]}.`),
    records ? fields(records.columns) : features.names && chips(features.names),
    html("p", {}, `${count(nodes.num_nodes)} nodes are known.`),
  );
}

function fields(columns) {
  const rows = columns.map(({ name, kind, num_features: width, names }) => [
    name,
    kind,
    count(width),
    names.length > 6 ? `${names.slice(0, 6).join(", ")}, …` : names.join(", "),
  ]);
  return wideTable("Fields of a record", ["Field", "Kind", "Features", "Categories"], rows);
}

function chips(names) {
  const shown = names.slice(0, NUM_NAMES);
  if (names.length > NUM_NAMES) shown.push(`and ${count(names.length - NUM_NAMES)} more`);
  return html("ul", { class: "chips" }, ...shown.map((name) => html("li", {}, name)));
}

function made({ architecture, bundle_id: id, created_at: time, onnxruntime_version: version }) {
  const { student, num_parameters: size, num_experts: numbers } = architecture;
  const what = `${student}, ${count(size)} parameters, experts a layer ${numbers.join(", ")}.`;
  return quiet(`${what} Made ${minute(time)}, bundle ${id.slice(0, 12)}, ONNX Runtime ${version}.`);
}
