// What a node of the map looks like: a colour and a shape for each of 32 classes or experts.

import { svg } from "./dom.js";

const SHAPES = [
  "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
  "M-4.5 -4.5h9v9h-9z",
  "M0 -5.5L5.5 4.5H-5.5z",
  "M0 -6.5L6.5 0L0 6.5L-6.5 0z",
];
const NUM_COLOURS = 8; // of the palette in console.css

export const MEMORY = "M-7 -7L7 7M7 -7L-7 7";

/** The shape of a class or expert, whose neighbours in number differ both in colour and in shape. */
export const shapeOf = (index) => SHAPES[(index + Math.floor(index / NUM_COLOURS)) % SHAPES.length];

export const colourOf = (index) => `mark colour-${index % NUM_COLOURS}`;

/** The same as a picture in a legend. */
export function sample(index) {
  const path = svg("path", { d: shapeOf(index), class: colourOf(index) });
  return svg("svg", { class: "sample", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, path);
}
