// The answer to a request: classes, experts, trust, and the request as a command.

import { addressOf, hasKey } from "./api.js";
import { bar, byId, html, quiet, table } from "./dom.js";
import { percent, short } from "./format.js";
import { trustOf } from "./trust.js";

const NUM_SHOWN = 10;

/** Show the answer to a request of one node. */
export function show(body, answer, info) {
  const [prediction] = answer.predictions;
  const name = prediction.node_id === null ? "The new node" : `Node ${prediction.node_id}`;
  byId("answer-summary").replaceChildren(
    `${name}: `,
    html("strong", {}, prediction.label),
    `, ${percent(prediction.confidence)}`,
    html("span", { class: "quiet" }, ` by ${answer.model.name} ${answer.model.version}`),
  );
  byId("answer-body").replaceChildren(
    html("p", { id: "trust" }, trustOf(prediction, info)),
    classes(prediction.probabilities, info.labels),
    experts(prediction.experts, info.architecture),
    command(body),
  );
}

/** Show no answer, and why there is none. */
export function clear(reason = "Nothing asked yet.") {
  byId("answer-summary").textContent = reason;
  byId("answer-body").replaceChildren();
}

/** What the answer says in one line, for those who asked from elsewhere on the page. */
export const summary = () => byId("answer-summary").textContent;

function classes(probabilities, labels) {
  const ranked = probabilities.map((share, index) => ({ share, index }));
  ranked.sort((one, other) => other.share - one.share);
  const first = (number) => {
    const rows = ranked
      .slice(0, number)
      .map(({ share, index }) => [labels[index], bar(share), percent(share)]);
    return table("Classes by probability", ["Class", "", "Probability"], rows, { class: "bars" });
  };
  if (ranked.length <= NUM_SHOWN) return first(NUM_SHOWN);
  const showAll = () => block.replaceChildren(first(ranked.length));
  const more = html("button", { type: "button", click: showAll }, `Show all ${ranked.length} classes`);
  const block = html("div", {}, first(NUM_SHOWN), html("p", {}, more));
  return block;
}

function experts(chosen, { num_experts: numbers }) {
  if (!chosen?.some(({ layer }) => numbers[layer] > 1)) {
    return quiet("This student has no experts to choose among.");
  }
  const rows = chosen.map(({ layer, expert, weight, similarity }) =>
    numbers[layer] > 1
      ? [`${layer}`, `${expert} of ${numbers[layer]}`, bar(weight), percent(weight), short(similarity)]
      : [`${layer}`, html("td", { colspan: 4, class: "quiet" }, "one expert for all")],
  );
  return table("Experts it was routed to", ["Layer", "Expert", "", "Weight", "Similarity"], rows, {
    class: "bars",
  });
}

/** The request as a command line; the key stays out of it. */
function command(body) {
  const key = hasKey() ? ' \\\n  -H "Authorization: Bearer $KEY"' : "";
  const quoted = body.replaceAll("'", "'\\''");
  const json = "-H 'Content-Type: application/json'";
  const text = `curl ${addressOf("classify")} \\\n  ${json}${key} \\\n  -d '${quoted}'`;
  const shown = html("pre", { tabindex: 0, id: "curl", "aria-label": "The request as a command" }, text);
  const copy = html("button", { type: "button", click: () => copyText(text, shown, copy) }, "Copy");
  return html("details", {}, html("summary", {}, "The request as a command"), shown, html("p", {}, copy));
}

/** Copy a text, or where the browser does not allow it, select it. */
async function copyText(text, shown, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(shown);
    button.textContent = "Selected: copy it by hand";
  }
}
