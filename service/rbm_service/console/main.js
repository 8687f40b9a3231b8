// The page: loads a model, hands it to the parts, and takes the key.

import * as about from "./about.js";
import * as answer from "./answer.js";
import { ask, hasKey, useKey, whenRefused } from "./api.js";
import * as classify from "./classify.js";
import { byId, html, tell } from "./dom.js";
import * as live from "./live.js";
import * as map from "./map.js";
import * as versions from "./versions.js";

const KEY_WANTED = "This service has keys: give one to see what it serves.";
const RETRY_MILLISECONDS = 2000;
const KEY_NOTE = byId("key-note").textContent;

let info = null;
let turn = 0; // of loading

/** Load a model, the default where none is named, and show all there is of it. */
async function load(name) {
  const mine = ++turn;
  const [found] = await Promise.allSettled([ask(name ? `info?model=${encodeURIComponent(name)}` : "info")]);
  if (mine !== turn) return; // another model was chosen meanwhile
  byId("main").hidden = found.value === undefined;
  if (found.reason) {
    showRefusal(found.reason);
    if (isPassing(found.reason)) setTimeout(() => mine === turn && load(name), RETRY_MILLISECONDS);
    return;
  }
  tell(byId("notice"));
  if (found.value.model.name !== info?.model.name) answer.clear();
  info = found.value;
  showHead();
  classify.show(info);
  live.show(info.model.name);
  await Promise.all([about.show(info), map.show(info.model.name), versions.show(info.model.name)]);
}

function showRefusal({ status, code, message }) {
  setHealth(code);
  tell(byId("notice"), status === 401 ? KEY_WANTED : `${message}.`);
}

/** Whether the same request may be answered in a while: nobody answered, or the service is not ready. */
const isPassing = ({ status }) => status === 0 || status >= 500;

function showHead() {
  const { model, models, device, provider, shadow } = info;
  byId("model-choice").hidden = false;
  byId("model").replaceChildren(...models.map(({ name }) => html("option", { value: name }, name)));
  byId("model").value = model.name;
  const parts = [
    ["Version", `${model.version}`],
    ["Device", `${device} (${provider.replace("ExecutionProvider", "")})`],
    ...(shadow ? [["Shadow", `${shadow.version}`]] : []),
  ];
  const shown = parts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value)));
  byId("served").replaceChildren(...shown);
}

function setHealth(word) {
  const health = byId("health");
  if (health.textContent === word) return;
  health.textContent = word;
  health.classList.toggle("well", word === "ready");
}

function openKeyForm(isOpen, focuses = isOpen) {
  byId("key-form").hidden = !isOpen;
  byId("key-toggle").setAttribute("aria-expanded", `${isOpen}`);
  byId("key-forget").hidden = !hasKey();
  if (focuses) byId("key").focus();
}

function askForKey(problem) {
  openKeyForm(true, !byId("main").contains(document.activeElement)); // somebody may be writing there
  byId("key-note").textContent = `${problem.message}.`;
}

async function takeKey(secret) {
  useKey(secret);
  byId("key").value = "";
  byId("key-note").textContent = KEY_NOTE;
  openKeyForm(false);
  await load(info?.model.name);
}

whenRefused(askForKey);
byId("key-toggle").addEventListener("click", () => openKeyForm(byId("key-form").hidden));
byId("key-forget").addEventListener("click", () => takeKey(""));
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  takeKey(byId("key").value.trim());
});
byId("model").addEventListener("change", (event) => load(event.target.value));
classify.start(answer.show, () => answer.clear("Refused; the form says why."));
map.start(async (id) => {
  const problem = await classify.classifyKnown(id);
  if (problem === undefined) return "";
  return problem ? `Refused: ${problem.message}` : `Classified: ${answer.summary()}`;
});
versions.start({ changed: () => load(info.model.name), keyWanted: () => openKeyForm(true) });
live.start({
  health: setHealth,
  stats: (stats) => {
    versions.showAgreement(stats.shadow);
    if (stats.version !== info.model.version) load(info.model.name); // another version was promoted meanwhile
  },
});
load();
