// JSON with integers of any length: ids beyond 2^53 would else come back as other ids.

/** Read JSON; integers that a number cannot hold stay strings of digits. */
export function parse(text) {
  return JSON.parse(text, (key, value, { source }) => (isRounded(value, source) ? source : value));
}

/** An id as it is sent to a model with ids of this kind: digits as a number of JSON, however long. */
export function idOf(text, kind) {
  return kind !== "string" && /^-?(0|[1-9]\d*)$/.test(text) ? JSON.rawJSON(text) : text;
}

const isRounded = (value, source) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(source);
