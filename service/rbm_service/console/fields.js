// The fields of the form, made from what a model takes, and what was written into them.

import { html, tell } from "./dom.js";
import { count } from "./format.js";
import { idOf } from "./json.js";

const TIME_HINT = "ISO 8601, as in 2024-02-29T23:15";

/** One field: its element, its control, and where in a body the service finds what is in it. */
export class Field {
  constructor(id, label, place, control, hint = "") {
    this.place = place;
    this.control = control;
    this.error = html("span", { class: "error", id: `${id}-error`, hidden: "" });
    control.id = id;
    control.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
    this.element = html(
      "div",
      { class: "field" },
      html("label", { for: id }, label),
      control,
      html("span", { class: "hint", id: `${id}-hint` }, hint),
      this.error,
    );
  }

  get text() {
    return this.control.value.trim();
  }

  /** Show what is wrong with the field, or nothing. */
  tell(message = "") {
    tell(this.error, message);
    if (message) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }
}

export function idField(nodes) {
  const { id_kind: kind, num_nodes: total } = nodes;
  const hint = { range: `0 to ${total - 1}`, integer: "an integer", string: "a string" }[kind];
  const inputmode = kind === "string" ? "text" : "numeric";
  const control = html("input", { list: "known-ids", autocomplete: "off", spellcheck: "false", inputmode });
  const field = new Field(
    "node-id",
    "Node id",
    ["node_ids"],
    control,
    `${hint}; ${count(total)} nodes are known`,
  );
  field.value = () => idOf(field.text, kind);
  return field;
}

export function neighborsField(nodes) {
  const isString = nodes.id_kind === "string";
  const hint = isString ? "one a line" : "with commas between, or one a line";
  const control = html("textarea", { rows: 2, spellcheck: "false" });
  const label = "Ids of its neighbours";
  const field = new Field("neighbors", label, ["neighbors"], control, `${hint}; may stay empty`);
  field.value = () =>
    field.text
      .split(isString ? /\s*\n\s*/ : /[\s,]+/)
      .filter((part) => part)
      .map((part) => idOf(part, nodes.id_kind));
  return field;
}

/** Whether features need not be written: those of a graph without features are made of the neighbours. */
export const areMadeOfNeighbors = (features) => `${features.names}` === "1,log(1 + degree)";

/** Features as JSON: one row of numbers, or compressed sparse rows. */
export function featuresField(features) {
  const control = html("textarea", { rows: 4, spellcheck: "false", class: "code" });
  const sparse = '{"indptr": [0, 2], "indices": [0, 7], "values": [1, 0.5]}';
  const hint = `JSON: ${features.num_features} numbers in brackets, or ${sparse}`;
  const field = new Field("features", "Features", ["features"], control, hint);
  field.value = () => {
    const value = JSON.parse(field.text);
    return Array.isArray(value) && !Array.isArray(value[0]) ? [value] : value;
  };
  return field;
}

/** A field for each column of a record; an empty one is a missing value. */
export function recordFields(columns) {
  return columns.map((column) => {
    const id = `record-${encodeURIComponent(column.name)}`;
    const { control, hint, extra, read } = CONTROLS[column.kind](column, id);
    const field = new Field(id, column.name, ["records", 0, column.name], control, hint);
    if (extra) field.element.append(extra);
    field.value = () => (field.text === "" ? null : read(field.text));
    return field;
  });
}

const asIs = (text) => text;

const CONTROLS = {
  number: () => ({
    control: html("input", { inputmode: "decimal", autocomplete: "off" }),
    hint: "a number",
    // What is no number goes as it was written, so that the service says what is wrong with it.
    read: (text) => (Number.isFinite(Number(text)) ? Number(text) : text),
  }),
  category: (column, id) => ({
    control: html("input", { list: `${id}-names`, autocomplete: "off" }),
    hint: `as ${column.names.slice(0, 4).join(", ")}; any other counts as rare`,
    extra: html("datalist", { id: `${id}-names` }, ...column.names.map((value) => html("option", { value }))),
    read: asIs,
  }),
  text: () => ({ control: html("textarea", { rows: 2 }), hint: "its words count", read: asIs }),
  tags: () => ({
    control: html("textarea", { rows: 2 }),
    hint: "one tag a line",
    read: (text) => text.split(/\s*\n\s*/).filter((tag) => tag),
  }),
  time: () => ({ control: html("input", { autocomplete: "off" }), hint: TIME_HINT, read: asIs }),
};
