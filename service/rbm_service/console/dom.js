// Elements of the page. Text is always a text node, so that nothing the service says is ever markup.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Functions among the attributes are listeners; null, undefined and false are left out. */
export function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

export const byId = (id) => document.getElementById(id);

/** A paragraph of small weight. */
export const quiet = (words) => html("p", { class: "quiet" }, words);

/** Show a message in an element, or hide the element where there is none. */
export function tell(element, message = "") {
  element.textContent = message;
  element.hidden = message === "";
}

/** Put children in the place of those of a container; the one with the focus hands it to its successor. */
export function replace(container, ...children) {
  const held = container.contains(document.activeElement) ? document.activeElement : null;
  const { selectionStart: start, selectionEnd: end } = held ?? {};
  container.replaceChildren(...children);
  if (held === null) return;
  const successor = [...container.querySelectorAll(held.localName)].find((each) => nameOf(each) === nameOf(held));
  successor?.focus({ preventScroll: true });
  if (typeof start === "number") successor?.setSelectionRange(start, end); // of texts alone
}

const nameOf = (element) =>
  element.id || element.getAttribute("aria-label") || element.value || element.textContent;

/** A bar from 0 to a share (0 to 1) of its width; the number stands beside it as text. */
export function bar(share) {
  const width = 100 * Math.max(0, Math.min(1, share));
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 8 }),
    svg("rect", { width, height: 8 }),
  );
}

/** A table; `rows` are lists of texts and elements, or of whole cells, and a head without a name is none. */
export function table(caption, heads, rows, attributes = {}) {
  const cell = (content) => (content instanceof HTMLTableCellElement ? content : html("td", {}, content));
  const head = (name) => (name ? html("th", { scope: "col" }, name) : html("td"));
  return html(
    "table",
    attributes,
    caption && html("caption", {}, caption),
    html("thead", {}, html("tr", {}, ...heads.map(head))),
    html("tbody", {}, ...rows.map((row) => html("tr", {}, ...row.map(cell)))),
  );
}

/** The same for many columns: it scrolls by itself where it is too wide for the page. */
export function wideTable(caption, heads, rows) {
  const attributes = { class: "scrolled", tabindex: 0, role: "region", "aria-label": caption };
  return html("div", attributes, table(caption, heads, rows));
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
