// The map: nodes of the graph in the plane, by class or by expert; choosing one classifies it.

import { ask } from "./api.js";
import { byId, html, quiet, replace, svg } from "./dom.js";
import { count } from "./format.js";
import { fitted, nearest, towards } from "./geometry.js";
import { MEMORY, colourOf, sample, shapeOf } from "./marks.js";

const [WIDTH, HEIGHT, MARGIN, REACH] = [720, 480, 16, 18];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = "Arrow keys go from node to node, Enter classifies.";

const container = byId("map-body");

let shown = null; // the name of the model
let map = null; // what the service sent, with `points` in the picture
let groups = null; // for each node its class or expert
let cursor = 0;
let colouredBy = "class";
let parts = {};
let onChoose = () => {};

/** Begin; `listener` gets the id of a chosen node and gives a promise of what to say of it, if anything. */
export function start(listener) {
  onChoose = listener;
}

/** Show the map of a model, or say that there is none. */
export async function show(name) {
  shown = name;
  const [answer] = await Promise.allSettled([ask(`map?model=${encodeURIComponent(name)}`)]);
  if (shown !== name) return; // another model was chosen meanwhile
  if (answer.value) draw(answer.value);
  else tellNone(answer.reason);
}

function draw(found) {
  const { nodes, memory } = found;
  const { x, y } = memory ?? { x: [], y: [] };
  const place = fitted([...nodes.x, ...x], [...nodes.y, ...y], WIDTH, HEIGHT, MARGIN);
  const points = nodes.x.map((each, index) => place(each, nodes.y[index]));
  const kept = nodes.node_ids.indexOf(map?.nodes.node_ids[cursor]); // of the version before
  map = { ...found, points, memories: x.map((each, index) => place(each, y[index])) };
  build();
  moveTo(Math.max(0, kept));
  if (kept <= 0) tellWhole();
  byId("known-ids").replaceChildren(...nodes.node_ids.map((id) => html("option", { value: id })));
}

function tellNone({ code, message }) {
  const words = code === "no_map" ? "This bundle has no map of its nodes." : `No map: ${message}.`;
  container.replaceChildren(quiet(words));
  byId("known-ids").replaceChildren();
}

const at = ([x, y]) => `translate(${x.toFixed(1)} ${y.toFixed(1)})`;

function build() {
  parts = {
    marks: map.points.map((point) => svg("path", { transform: at(point) })),
    memories: map.memories.map((point) => svg("path", { class: "memory", d: MEMORY, transform: at(point) })),
    cursor: svg("circle", { class: "cursor", r: 11 }),
    legend: html("ul", { class: "legend" }),
    readout: html("p", { id: "map-readout", role: "status" }),
    list: list(),
  };
  parts.picture = picture();
  const choose = html("button", { type: "button", click: () => classify() }, "Classify this node");
  replace(
    container,
    map.nodes.expert ? colouring() : "",
    parts.picture,
    html("p", { class: "hint", id: "map-keys" }, KEYS),
    html("p", { class: "inline" }, html("label", { for: "map-list" }, "Node"), parts.list, choose),
    parts.readout,
    parts.legend,
  );
  colour(map.nodes.expert ? colouredBy : "class");
}

function tellWhole() {
  const crosses = map.memories.length ? `; × marks what each expert of layer ${map.layer} remembers` : "";
  parts.readout.textContent = `${count(map.points.length)} nodes${crosses}.`;
}

function picture() {
  const attributes = {
    class: "map",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    tabindex: 0,
    role: "application",
    "aria-label": `Map of ${count(map.points.length)} nodes`,
    "aria-describedby": "map-keys map-readout",
    keydown: onKey,
    pointermove: (event) => hover(event),
    click: (event) => hover(event) && classify(),
  };
  return svg("svg", attributes, ...parts.marks, ...parts.memories, parts.cursor);
}

function colouring() {
  const choice = (value, words) => {
    const checked = value === colouredBy && "";
    const radio = { type: "radio", name: "colouring", value, checked, change: () => colour(value) };
    return html("label", {}, html("input", radio), ` ${words}`);
  };
  return html(
    "fieldset",
    { class: "modes" },
    html("legend", {}, "Colour by"),
    choice("class", "class"),
    choice("expert", `expert of layer ${map.layer}`),
  );
}

function list() {
  const options = map.nodes.node_ids.map((id, index) => html("option", { value: index }, `${id}`));
  const attributes = { id: "map-list", change: (event) => moveTo(Number(event.target.value)) };
  return html("select", attributes, ...options);
}

function colour(by) {
  colouredBy = by;
  groups = by === "class" ? map.nodes.class_index : map.nodes.expert;
  parts.marks.forEach((mark, index) => {
    mark.setAttribute("d", shapeOf(groups[index]));
    mark.setAttribute("class", colourOf(groups[index]));
  });
  const found = [...new Set(groups)].sort((one, other) => one - other);
  parts.legend.replaceChildren(...found.map((group) => html("li", {}, entry(group, by))));
}

/** A part of the legend: it dims all others, and undims them. */
function entry(group, by) {
  const words = by === "class" ? map.labels[group] : `expert ${group}`;
  const toggle = () => {
    const isAlone = button.getAttribute("aria-pressed") === "false";
    parts.legend.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", "false"));
    button.setAttribute("aria-pressed", `${isAlone}`);
    parts.marks.forEach((mark, index) => mark.classList.toggle("dim", isAlone && groups[index] !== group));
  };
  const attributes = { type: "button", "aria-pressed": "false", click: toggle };
  const button = html("button", attributes, sample(group), words);
  return button;
}

function onKey(event) {
  if (STEPS[event.key]) moveTo(towards(map.points, cursor, STEPS[event.key]));
  else if (event.key === "Enter" || event.key === " ") classify();
  else return;
  event.preventDefault();
}

/** Move to the node under a pointer; returns whether there is one. */
function hover(event) {
  const toPicture = parts.picture.getScreenCTM().inverse();
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(toPicture);
  const found = nearest(map.points, [x, y], REACH);
  if (found !== -1 && found !== cursor) moveTo(found);
  return found !== -1;
}

function moveTo(index) {
  cursor = index;
  parts.cursor.setAttribute("transform", at(map.points[index]));
  parts.list.value = index;
  parts.readout.textContent = described(index);
}

function described(index) {
  const { node_ids: ids, class_index: classes, expert } = map.nodes;
  return `Node ${ids[index]}: ${map.labels[classes[index]]}${expert ? `, expert ${expert[index]}` : ""}.`;
}

async function classify() {
  const index = cursor;
  const said = await onChoose(map.nodes.node_ids[index]);
  if (!said) return; // another node was chosen meanwhile
  const link = html("a", { href: "#answer" }, "See the answer");
  parts.readout.replaceChildren(`${described(index)} ${said}. `, link);
}
