// Markdown as model cards have it: headings, paragraphs, lists, tables, code. All else is shown as written.

import { html, table } from "./dom.js";

const FENCE = /^```/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const ITEM = /^\s*(?:[-*]|\d+\.)\s+(.*)$/;
const ROW = /^\s*\|(.*)\|\s*$/;
const BLOCKS = [FENCE, HEADING, ROW, ITEM];
const RULE = /^[\s|:-]+$/;

/** The elements of a text. Headings begin at `level`, as the page has others above them. */
export function render(text, level) {
  const lines = text.split(/\r?\n/);
  const elements = [];
  while (lines.length) {
    if (lines[0].trim() === "") lines.shift();
    else if (FENCE.test(lines[0])) elements.push(code(lines));
    else if (HEADING.test(lines[0])) elements.push(heading(lines.shift(), level));
    else if (ROW.test(lines[0])) elements.push(rows(lines));
    else if (ITEM.test(lines[0])) elements.push(list(lines));
    else elements.push(html("p", {}, ...inline(taken(lines, isProse).join(" "))));
  }
  return elements;
}

const isProse = (line) => line.trim() !== "" && !BLOCKS.some((block) => block.test(line));

/** Take lines off the front for as long as they are of a kind; the first is, whatever it looks like. */
function taken(lines, belongs) {
  const found = [lines.shift()];
  while (lines.length && belongs(lines[0])) found.push(lines.shift());
  return found;
}

function code(lines) {
  lines.shift();
  const found = [];
  while (lines.length && !FENCE.test(lines[0])) found.push(lines.shift());
  lines.shift();
  return html("pre", { tabindex: 0 }, html("code", {}, found.join("\n")));
}

function heading(line, level) {
  const [, marks, words] = line.match(HEADING);
  return html(`h${Math.min(6, level + marks.length - 1)}`, {}, ...inline(words));
}

function list(lines) {
  const isNumbered = /^\s*\d/.test(lines[0]);
  const items = taken(lines, (line) => ITEM.test(line) || /^\s+\S/.test(line));
  const texts = [];
  for (const line of items) {
    const item = line.match(ITEM);
    if (item) texts.push(item[1]);
    else texts[texts.length - 1] += ` ${line.trim()}`;
  }
  return html(isNumbered ? "ol" : "ul", {}, ...texts.map((words) => html("li", {}, ...inline(words))));
}

function rows(lines) {
  const cells = taken(lines, (line) => ROW.test(line))
    .filter((line, index) => index !== 1 || !RULE.test(line))
    .map((line) =>
      line
        .match(ROW)[1]
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim().replaceAll("\\|", "|")),
    );
  const [heads, ...rest] = cells;
  const named = heads.map((head) => head && html("span", {}, ...inline(head)));
  const body = rest.map((row) => row.map((cell) => html("span", {}, ...inline(cell))));
  return table("", named, body);
}

/** Words with code between backticks and emphasis between asterisks. */
function inline(words) {
  return words.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (/^`.+`$/.test(part)) return html("code", {}, part.slice(1, -1));
    if (/^\*\*.+\*\*$/.test(part)) return html("strong", {}, part.slice(2, -2));
    return part;
  });
}
