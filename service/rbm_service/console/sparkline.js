// A line of the last minutes, small enough to stand beside its number.

import { svg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 30;

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
    if (point.value !== null) path += `${isOpen ? "L" : "M"}${place(point).map((number) => number.toFixed(1)).join(" ")}`;
    isOpen = point.value !== null;
  }
  const last = points.findLast(({ value }) => value !== null);
  const [x, y] = last ? place(last) : [0, 0];
  return svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("path", { class: "floor", d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
    svg("path", { d: path }),
    last ? svg("path", { class: "last", d: `M${x.toFixed(1)} ${y.toFixed(1)}h0` }) : null,
  );
}
