// The form that asks for the class of one node.

import { ask } from "./api.js";
import { byId, replace, tell } from "./dom.js";
import { areMadeOfNeighbors, featuresField, idField, neighborsField, recordFields } from "./fields.js";

const form = byId("classify-form");
const container = byId("classify-fields");
const alert = byId("classify-error");

let info = null;
let taken = ""; // what the form was built from
let turn = 0; // of submitting
let fields = [];
const written = new Map(); // by place, so that nothing is lost when another kind of node is chosen
let onAnswer = () => {};
let onRefusal = () => {};

/** Begin; `answered` gets the body and the answer of every request that was answered, `refused` is called
 * for others. */
export function start(answered, refused) {
  [onAnswer, onRefusal] = [answered, refused];
  form.addEventListener("change", (event) => event.target.name === "mode" && build());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
}

/** Show the fields that a model takes. */
export function show(newInfo) {
  info = newInfo;
  const { model, features, records, nodes } = info;
  const former = taken;
  taken = JSON.stringify([model.name, features, records, nodes]);
  if (taken === former) return; // somebody may be writing
  byId("mode-record").hidden = !records;
  if (mode() === "record" && !records) choose("known");
  else build();
}

/** Classify a known node as if its id stood in the form; gives what `submit` does. */
export async function classifyKnown(id) {
  choose("known");
  fields[0].control.value = id;
  return submit({ focuses: false });
}

const mode = () => new FormData(form).get("mode");

function choose(name) {
  form.querySelector(`input[value=${name}]`).checked = true;
  build();
}

function build() {
  for (const field of fields) written.set(`${field.place}`, field.control.value);
  const wantsRecord = mode() !== "features" && info.records;
  const features = areMadeOfNeighbors(info.features) ? [] : [featuresField(info.features)];
  const own = wantsRecord ? recordFields(info.records.columns) : features;
  if (mode() !== "known") fields = [...own, neighborsField(info.nodes)];
  else fields = [idField(info.nodes), ...(info.features.cached ? [] : own)];
  for (const field of fields) field.control.value = written.get(`${field.place}`) ?? "";
  replace(container, ...fields.map((field) => field.element));
  tell(alert);
}

/** Ask, and show the answer; gives what went wrong, null, or undefined where a later request overtook. */
async function submit({ focuses = true } = {}) {
  const [mine, asked] = [++turn, info];
  const isOvertaken = () => mine !== turn || asked.model.name !== info.model.name;
  for (const field of fields) field.tell();
  tell(alert);
  const body = read();
  if (body === null) return { message: "the form is not complete" };
  try {
    const answer = await ask("classify", { method: "POST", body });
    if (isOvertaken()) return undefined;
    onAnswer(body, answer, asked);
    return null;
  } catch (problem) {
    if (isOvertaken()) return undefined;
    onRefusal();
    showProblem(problem, focuses);
    return problem;
  }
}

/** The body as JSON text, or null where a field holds no JSON. */
function read() {
  const body = { model: info.model.name };
  const record = Object.create(null); // in which a field of any name, __proto__ too, is one
  for (const field of fields) {
    const [column, , name] = field.place;
    try {
      if (column !== "records") body[column] = column === "features" ? field.value() : [field.value()];
      else if (field.value() !== null) record[name] = field.value();
    } catch (error) {
      field.tell(`no JSON: ${error.message}`);
      field.control.focus();
      return null;
    }
  }
  if (fields.some((field) => field.place[0] === "records")) body.records = [record];
  return JSON.stringify({ ...body, explain: true, return_probabilities: true });
}

/** Show each error of a problem at its field, and the others, or the problem as a whole, under the form. */
function showProblem(problem, focuses) {
  const rest = [];
  for (const { loc, msg } of problem.errors) {
    const field = fields.find(({ place }) => place.every((part, index) => loc[index] === part));
    if (field) field.tell(field.error.hidden ? msg : `${field.error.textContent}; ${msg}`);
    else rest.push(msg);
  }
  if (rest.length || !problem.errors.length) tell(alert, rest.join("; ") || problem.message);
  if (focuses) fields.find((field) => !field.error.hidden)?.control.focus();
}
