// What the model is: its accuracies, labels, inputs, and its card.

import { askText } from "./api.js";
import { bar, byId, html, table, wideTable } from "./dom.js";
import { count, minute, percent } from "./format.js";
import { render } from "./markdown.js";

const NUM_LABELS = 60;

/** Show a model and its card. */
export async function show(info) {
  byId("facts").replaceChildren(accuracies(info.metrics), labels(info.labels), inputs(info), made(info));
  const card = byId("card");
  try {
    card.replaceChildren(...render(await askText(`model-card?model=${encodeURIComponent(info.model.name)}`), 3));
  } catch (problem) {
    card.replaceChildren(html("p", { class: "quiet" }, `No model card: ${problem.message}.`));
  }
}

function accuracies(metrics) {
  const spread = metrics.test_accuracy_std === null ? "" : ` ± ${(100 * metrics.test_accuracy_std).toFixed(1)} over ${metrics.num_runs} runs`;
  const rows = [
    ["Test nodes", metrics.test_accuracy],
    [`Test nodes, mean${spread}`, metrics.test_accuracy_mean],
    ["Test nodes, teacher", metrics.teacher_test_accuracy],
    ["Unseen nodes", metrics.unseen_accuracy],
    ["Unseen nodes, teacher", metrics.teacher_unseen_accuracy],
    ["Validation nodes", metrics.val_accuracy],
  ].filter(([, share]) => share !== null && share !== undefined);
  return html(
    "div",
    {},
    table("Accuracy when it was trained", ["", "", "Accuracy"], rows.map(([name, share]) => [name, bar(share), percent(share)]), { class: "bars" }),
    html("p", { class: "quiet" }, `Its confidence is off by ${(100 * metrics.calibration_error).toFixed(1)} points on average. Simpler methods it was compared with are in the report of its run.`),
  );
}

function labels(names) {
  const shown = names.slice(0, NUM_LABELS).map((name) => html("li", {}, name));
  const more = names.length > NUM_LABELS ? [html("li", {}, `and ${names.length - NUM_LABELS} more`)] : [];
  return html("div", {}, html("h3", {}, `${names.length} classes`), html("ul", { class: "chips" }, ...shown, ...more));
}

function inputs({ features, records, nodes }) {
  const forms = { dense: "numbers", sparse: "numbers, most of them zero" };
  const words = `${count(features.num_features)} features: ${forms[features.form]}. ${count(nodes.num_nodes)} nodes are known.`;
  const columns = records?.columns.map(({ name, kind, num_features: width, names }) => [name, kind, count(width), names.slice(0, 6).join(", ")]);
  const names = features.names?.length && !columns ? html("ul", { class: "chips" }, ...features.names.slice(0, NUM_LABELS).map((name) => html("li", {}, name))) : null;
  return html(
    "div",
    {},
    html("h3", {}, "What it takes"),
    html("p", {}, words),
    columns ? wideTable("Fields of a record", ["Field", "Kind", "Features", "Categories"], columns) : names,
  );
}

function made({ architecture, bundle_id: id, created_at: time, onnxruntime_version: version }) {
  const kind = `${architecture.student}, ${count(architecture.num_parameters)} parameters, experts a layer ${architecture.num_experts.join(", ")}`;
  return html("p", { class: "quiet" }, `${kind}. Made ${minute(time)}, bundle ${id.slice(0, 12)}, ONNX Runtime ${version}.`);
}
