// How far an answer can be trusted, in sentences.

import { percent, short } from "./format.js";

const SURENESS = [
  [0.9, "The model is sure"],
  [0.7, "The model is fairly sure"],
  [0.5, "The model is not sure"],
  [0, "The model is guessing"],
];

const POSITIONS = {
  cached: "The node is known, so its position is the one learnt from the graph.",
  supplied: "Its position came with the request.",
  neighbors: "Its position is the mean over those of its neighbours that the model knows.",
  default: "None of its neighbours is known, so the model saw no position: trust the answer less.",
};

/** Sentences on a prediction, from its probability, its experts' memories and its position. */
export function trustOf(prediction, info) {
  const { labels, architecture, nodes } = info;
  const said = [
    sureness(prediction, labels),
    memory(prediction.experts, architecture),
    position(prediction, nodes),
  ];
  return said.filter((sentence) => sentence).join(" ");
}

function sureness({ confidence, probabilities, class_index: best }, labels) {
  const [, words] = SURENESS.find(([least]) => confidence >= least);
  const others = probabilities.map((share, index) => [share, index]).filter(([, index]) => index !== best);
  if (!others.length) return `${words}.`;
  const [share, index] = others.reduce((most, other) => (other[0] > most[0] ? other : most));
  return `${words}: ${percent(confidence)}, before ${labels[index]} with ${percent(share)}.`;
}

/** On the layers that choose among experts: a similarity means nothing in a layer of one. */
function memory(experts, { num_experts: numbers }) {
  const chosen = (experts ?? []).filter(({ layer }) => numbers[layer] > 1);
  if (!chosen.length) return "";
  const highest = Math.max(...chosen.map(({ similarity }) => similarity));
  const words = highest >= 0.8 ? "is much like" : highest >= 0.4 ? "is somewhat like" : "is little like";
  return highest > 0
    ? `It ${words} what the experts remember: the highest similarity is ${short(highest)}, 1 is the same.`
    : `The highest similarity to what the experts remember is ${short(highest)}.`;
}

function position({ position: source }, { position_width: width }) {
  return width === 0 ? "This model takes no position." : POSITIONS[source];
}
