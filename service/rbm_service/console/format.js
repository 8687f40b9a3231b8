// Numbers as people read them.

const NONE = "–";

export const count = (value) => value.toLocaleString("en");

/** A share in percent; what is rounded to none or all of it, and is neither, says so. */
export function percent(share) {
  if (share === null || share === undefined) return NONE;
  if (share > 0 && share < 0.0005) return "< 0.1\u00a0%";
  if (share < 1 && share >= 0.9995) return "> 99.9\u00a0%";
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

/** A difference of shares in percentage points. */
export const points = (share) => (100 * share).toFixed(1);

/** Three significant digits. */
export const short = (value) =>
  value === null ? NONE : value.toLocaleString("en", { maximumSignificantDigits: 3 });

export function duration(seconds) {
  if (seconds === null) return NONE;
  return seconds < 1 ? `${short(1000 * seconds)}\u00a0ms` : `${short(seconds)}\u00a0s`;
}

/** A time of the service, to the minute. */
export const minute = (iso) => iso.slice(0, 16).replace("T", " ");
