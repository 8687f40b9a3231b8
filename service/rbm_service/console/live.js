// What the service does now: asked every two seconds while somebody can see it.

import { ask } from "./api.js";
import { byId, html, tell } from "./dom.js";
import { count, duration, short } from "./format.js";
import { between, follows, reading } from "./rates.js";
import { sparkline } from "./sparkline.js";

const PERIOD = 2; // seconds, as all below
const WINDOW = 120;
const RECENT = 10; // what the numbers are taken over

const SCOPE = "Numbers are of ten seconds, lines of two minutes; rows and queue are of this model alone.";

const TILES = [
  ["p50", "Latency p50", duration],
  ["p99", "Latency p99", duration],
  ["requests", "Requests a second", short],
  ["rows", "Rows a second", short],
  ["queued", "Rows in the queue", count],
  ["errors", "Errors a second", short],
];

let model = null;
let readings = [];
let timer = null;
let isAsking = false;
let listeners = { stats: () => {}, health: () => {} };

/** Begin; `stats` gets each reading of the model that is shown, `health` a word for how the service is. */
export function start(newListeners) {
  listeners = newListeners;
  document.addEventListener("visibilitychange", () => schedule(0));
}

/** Show a model from now on. */
export function show(name) {
  if (name !== model) {
    readings = [];
    byId("live-tiles").replaceChildren();
  }
  model = name;
  schedule(0);
}

/** Ask again after a while, unless nobody looks. */
function schedule(seconds) {
  clearTimeout(timer);
  if (!document.hidden && model !== null) timer = setTimeout(poll, 1000 * seconds);
}

async function poll() {
  if (isAsking) return schedule(PERIOD); // what is under way may be of another key
  isAsking = true;
  const [ready, stats] = await Promise.allSettled([ask("readyz"), ask("stats")]);
  isAsking = false;
  listeners.health(stats.value?.draining ? "draining" : (ready.value?.status ?? ready.reason.code));
  const found = stats.value?.models.find(({ name }) => name === model);
  if (found) take(stats.value, found);
  else tell(byId("live-note"), `No numbers: ${stats.reason?.message ?? "the model is not in service"}.`);
  const isOver = [401, 403, 404].includes(stats.reason?.status); // waiting would not change that
  if (!isOver) schedule(PERIOD);
}

function take(stats, found) {
  const latest = reading(performance.now() / 1000, stats, found);
  if (readings.length && !follows(readings.at(-1), latest)) readings = [];
  readings = [...readings.filter(({ time }) => time >= latest.time - WINDOW), latest];
  listeners.stats(found);
  if (readings.length > 1) draw(found.queue_capacity_rows);
  tell(byId("live-note"), note(latest));
}

function note({ requests, errors, uptime }) {
  const counted = `${count(requests)} requests, ${count(errors)} of them errors`;
  return `${counted}, since the service started ${age(uptime)} ago. ${SCOPE}`;
}

function draw(capacity) {
  const latest = readings.at(-1);
  const points = readings.slice(1).map((later, index) => between(readings[index], later));
  const recent = between(
    readings.findLast(({ time }) => time <= latest.time - RECENT) ?? readings[0],
    latest,
  );
  const tiles = TILES.map(([name, label, format]) => {
    const values = points.map((point) => ({ time: point.time, value: point[name] }));
    const known = values.map(({ value }) => value).filter((value) => value !== null);
    const most = `at most ${format(known.length ? Math.max(...known) : null)}`;
    const limit = name === "queued" ? ` of ${count(capacity)}` : "";
    return html(
      "li",
      { "data-name": name },
      html("span", { class: "label" }, label),
      html("span", { class: "number" }, format(recent[name]) + limit),
      sparkline(values, latest.time - WINDOW, latest.time, `${label} in two minutes: ${most}`),
      html("span", { class: "hint" }, most),
    );
  });
  byId("live-tiles").replaceChildren(...tiles);
}

function age(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
