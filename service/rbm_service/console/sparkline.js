// A line of the last minutes, small enough to stand beside its number.

import { svg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 30;

const written = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/** A line through `points` of {time, value} from `start` to `end`; a value of null leaves a gap. */
export function sparkline(points, start, end, label) {
  const highest = Math.max(...points.map(({ value }) => value ?? 0), Number.MIN_VALUE);
  const place = ({ time, value }) => [
    (WIDTH * (time - start)) / (end - start),
    HEIGHT - 2 - ((HEIGHT - 4) * value) / highest,
  ];
  let path = "";
  let isOpen = false;
  for (const point of points) {
    const isKnown = point.value !== null;
    if (isKnown) path += `${isOpen ? "L" : "M"}${written(place(point))}`;
    isOpen = isKnown;
  }
  const last = points.findLast(({ value }) => value !== null);
  const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  return svg(
    "svg",
    { class: "sparkline", ...box, role: "img", "aria-label": label },
    svg("path", { class: "floor", d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
    svg("path", { d: path }),
    last ? svg("path", { class: "last", d: `M${written(place(last))}h0` }) : null,
  );
}
