// Requests to the service. The key lives in this module and nowhere else: no storage, no address.

import { parse } from "./json.js";

let key = "";
let onRefused = () => {};

/** What the service answered instead of what was asked for. */
class Problem extends Error {
  constructor(status, code, detail, errors = []) {
    super(detail);
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

export const hasKey = () => key !== "";

export function useKey(secret) {
  key = secret;
}

/** Have a function called with each problem of a missing or unknown key. */
export function whenRefused(listener) {
  onRefused = listener;
}

/** Ask a route, relative to the page, for its JSON; `body` is JSON text. */
export async function ask(path, options = {}) {
  const text = await askText(path, options);
  try {
    return parse(text);
  } catch {
    throw new Problem(0, "unreachable", "the answer is not the service's"); // but that of a proxy, say
  }
}

/** The same, for what is not JSON. */
export async function askText(path, { method = "GET", body } = {}) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(path, { method, headers, body, cache: "no-store", credentials: "same-origin" });
    text = await response.text();
  } catch {
    throw new Problem(0, "unreachable", "the service does not answer");
  }
  if (!response.ok) throw refused(response, text);
  return text;
}

/** The address of a route, as a program outside this page would have it. */
export const addressOf = (path) => new URL(path, document.baseURI).href;

function refused(response, text) {
  let said = {};
  try {
    said = JSON.parse(text);
  } catch {
    // something before the service answered, in words of its own
  }
  const detail = said.detail ?? `${response.status} ${response.statusText}`;
  const problem = new Problem(response.status, said.code ?? "other", detail, said.errors);
  if (problem.status === 401) onRefused(problem);
  return problem;
}
