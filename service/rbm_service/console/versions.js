// The versions of a model, for the holder of the admin key: which serves, which is compared, changing it.

import { ask, hasKey } from "./api.js";
import { confirm } from "./confirm.js";
import { byId, html, quiet, replace, tell, wideTable } from "./dom.js";
import { count, minute, percent } from "./format.js";

const HEADS = ["Version", "", "", "Test", "Teacher", "Validation", "Made"];

const RESTING = "It computes nothing now: it is in service itself, or did not load.";

const body = byId("versions-body");
const alert = byId("versions-error");
const done = byId("versions-done");

let model = null;
let onChange = () => {};
let onKeyWanted = () => {};

/** Begin; `changed` is called after each change, `keyWanted` when somebody wants to give a key. */
export function start({ changed, keyWanted }) {
  onChange = changed;
  onKeyWanted = keyWanted;
}

/** Show the versions of a model, or why there are none to see. */
export async function show(name) {
  model = name;
  tell(alert);
  if (!hasKey()) {
    const button = html("button", { type: "button", click: () => onKeyWanted() }, "Give the admin key");
    body.replaceChildren(
      html("p", {}, "Versions are shown and changed with the admin key."),
      html("p", {}, button),
    );
    return;
  }
  try {
    const found = await ask(path());
    if (name === model) draw(found); // no other model was chosen meanwhile
  } catch (problem) {
    if (name === model) body.replaceChildren(quiet(why(problem)));
  }
}

/** Show how far the shadow agrees, as the service counts it. */
export function showAgreement(shadow) {
  const line = byId("agreement");
  if (line) line.textContent = shadow ? agreement(shadow) : RESTING;
}

const path = (command = "") => `admin/models/${encodeURIComponent(model)}${command}`;

function why(problem) {
  const words = {
    403: "Versions need the admin key; this is an API key.",
    404: "This service has no admin key: versions are changed with rbm-models.",
  };
  return words[problem.status] ?? `No versions: ${problem.message}.`;
}

function draw(found) {
  const lower = found.versions.map(({ version }) => version).filter((version) => version < found.current);
  const rows = found.versions.map((entry) => row(entry, found));
  replace(
    body,
    ...found.problems.map((problem) => html("p", { class: "error" }, problem)),
    found.shadow ? shadowNote(found.shadow) : "",
    wideTable(`Versions of ${found.name}`, HEADS, rows),
    html(
      "p",
      {},
      button("Roll back", () => rollBack(found.current), { disabled: lower.length === 0 }),
    ),
  );
}

function row(entry, found) {
  const version = `${entry.version}`;
  if (entry.error) return [version, html("td", { class: "error", colspan: HEADS.length - 1 }, entry.error)];
  return [
    version,
    states(entry.version, found),
    actions(entry.version, found),
    percent(entry.test_accuracy),
    percent(entry.teacher_test_accuracy),
    percent(entry.val_accuracy),
    minute(entry.created_at),
  ];
}

function actions(version, { current, in_service: served, shadow: compared }) {
  const isServed = version === served;
  return html(
    "span",
    { class: "buttons" },
    button("Promote", () => promote(version), {
      disabled: isServed && version === current,
      label: `Promote version ${version}`,
    }),
    button("Shadow", () => shadow(version), {
      disabled: isServed || version === compared?.version,
      label: `Compare version ${version} as a shadow`,
    }),
  );
}

function states(version, { current, in_service: served, shadow: compared }) {
  const words = [
    ...(version === served ? ["in service"] : []),
    ...(version === current && version !== served ? ["promoted"] : []),
    ...(version === compared?.version ? ["shadow"] : []),
  ];
  return html("span", {}, ...words.map((word) => html("span", { class: "chip" }, word)));
}

function shadowNote({ version, share }) {
  return html(
    "div",
    { class: "shadow" },
    html("p", {}, `Version ${version} is to compute ${percent(share)} of the requests once more, for comparison.`),
    html("p", { id: "agreement" }),
    html("p", {}, button("Stop the shadow", stopShadow)),
  );
}

function agreement({ scored, agreeing_rows: agreeing, disagreeing_rows: others, dropped, failed }) {
  const total = agreeing + others;
  const share = `They agree on ${count(agreeing)} of ${count(total)} rows (${percent(agreeing / total)})`;
  const requests = `${count(scored)} requests scored, ${count(dropped)} dropped, ${count(failed)} failed.`;
  return `${total ? share : "No rows compared yet"}; ${requests}`;
}

const button = (name, click, { disabled = false, label } = {}) =>
  html("button", { type: "button", click, disabled, "aria-label": label }, name);

const promote = (version) =>
  change(
    {
      title: `Promote version ${version}?`,
      text: `Version ${version} of ${model} is checked, and answers all requests from then on.`,
      yes: "Promote",
    },
    () => ["/promote", "POST", { version }, `Version ${version} is in service.`],
  );

const rollBack = (current) =>
  change(
    {
      title: "Roll back?",
      text: `The next lower version than ${current} of ${model} is promoted and answers from then on.`,
      yes: "Roll back",
    },
    () => ["/rollback", "POST", undefined, "Rolled back."],
  );

const shadow = (version) =>
  change(
    {
      title: `Compare version ${version}?`,
      text: "It computes a share of the requests once more; callers get nothing of it.",
      yes: "Start the shadow",
      wantsShare: true,
    },
    ({ share }) => ["/shadow", "PUT", { version, share }, `Version ${version} is the shadow.`],
  );

const stopShadow = () =>
  change(
    { title: "Stop the shadow?", text: "It computes nothing more, and its counts end.", yes: "Stop" },
    () => ["/shadow", "DELETE", undefined, "The shadow has stopped."],
  );

/** Ask whether to, do it, and say how it went. */
async function change(question, request) {
  tell(done);
  tell(alert);
  const answer = await confirm(question);
  if (answer === null) return;
  const [command, method, content, words] = request(answer);
  try {
    const { notes = [] } = await ask(path(command), { method, body: content && JSON.stringify(content) });
    await onChange();
    tell(done, [words, ...notes.map((note) => `It is ${note}.`)].join(" "));
    done.focus(); // the button that had it is another now
  } catch (problem) {
    tell(alert, problem.message);
  }
}
