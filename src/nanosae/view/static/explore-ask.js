/* Questions to the explorer's server, and what to say when one fails. */

import { page } from "./explore-page.js";

const { el, $ } = nano;
const NO_ANSWER =
  "The explorer does not answer. If its command, nanosae explore, has ended, start it again.";
const running = new Map(); // kind of question → what cancels it
let changes = Promise.resolve(); // settled when the last change is
let nChanges = 0; // that are settled

/** Parameters as an address has them; they say which corpus the page shows. */
export const parameters = (given) => {
  const text = new URLSearchParams();
  const all = page.state ? { corpus: page.state.id, ...given } : given;
  for (const [key, value] of Object.entries(all)) text.set(key, JSON.stringify(value));
  return text.size ? `?${text}` : "";
};

/** Ask the server; a newer question of the same `kind` cancels an older one. */
export const ask = (kind, path, params = {}) => {
  running.get(kind)?.abort();
  const control = new AbortController();
  running.set(kind, control);
  return askUntilFresh(path + parameters(params), { signal: control.signal });
};

/** Ask something that no newer question cancels. */
export const askInAnyCase = (path, params) => askUntilFresh(path + parameters(params), {});

/** Ask again if a change was made meanwhile: the server may have answered before. */
const askUntilFresh = async (path, options) => {
  const known = nChanges;
  const answer = await send(path, options);
  return nChanges === known ? answer : askUntilFresh(path, options);
};

/** Change something on the server, after all earlier changes. */
export const change = (path, body) => {
  const options = {
    method: "POST",
    body: JSON.stringify({ corpus: page.state.id, ...body }),
    headers: { "Content-Type": "application/json" },
  };
  const made = changes.then(() => send(path, options));
  const settle = () => {
    nChanges += 1;
  };
  changes = made.then(settle, settle);
  return made;
};

const send = async (path, options) => {
  const [answer, bytes] = await receive(`/api/${path}`, options);
  const isBinary = answer.headers.get("content-type") === "application/octet-stream";
  if (answer.ok && isBinary) return readPoints(bytes);
  const value = readJson(bytes);
  if (answer.ok && value !== null) return value;
  const nothing = `The server's answer cannot be read (status ${answer.status}).`;
  throw failure(value?.error ?? nothing, answer.status >= 500);
};

/** What the server answers and its bytes, all of them. */
const receive = async (path, options) => {
  try {
    const answer = await fetch(path, options);
    return [answer, await answer.arrayBuffer()];
  } catch (error) {
    throw error.name === "AbortError" ? error : failure(NO_ANSWER, true);
  }
};

const failure = (text, mayPass) => Object.assign(new Error(text), { mayPass });

/** The value of a JSON text; null if it is none, such as when another program answers. */
const readJson = (bytes) => {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
};

/** Read the server's bytes: head, ids, positions, values, marks, density. */
const readPoints = (buffer) => {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const [width, height] = head.raster;
  let at = 4 + length;
  const next = (Type, count) => {
    const array = new Type(buffer, at, count);
    at += array.byteLength;
    return array;
  };
  return {
    ...head,
    ids: next(Uint32Array, head.n),
    xy: next(Float32Array, 2 * head.n),
    values: next(Float32Array, head.n),
    marks: next(Uint8Array, head.n),
    density: next(Uint8Array, width * height),
  };
};

/** Run a task that asks; say in `node` what went wrong, and offer to try again what may pass.
    Return whether it failed. */
export const trying = async (node, task) => {
  try {
    await task();
    return false;
  } catch (error) {
    if (error.name === "AbortError") return false;
    const onclick = () => trying(node, task);
    const again = error.mayPass ? el("button", { onclick }, "Try again") : null;
    const tag = node.tagName === "UL" ? "li" : "p";
    node.replaceChildren(el(tag, { className: "error", role: "alert" }, error.message, " ", again));
    node.removeAttribute("aria-busy");
    return true;
  }
};

/** Run a task beside what is shown; say what went wrong above it, in the part that holds `node`. */
export const tryingBeside = (node, task) => {
  const problem = $(".problem", node.closest("section"));
  problem.replaceChildren();
  return trying(problem, async () => {
    await task();
    problem.replaceChildren();
  });
};

/** Tell people who use a screen reader what happened. */
export const say = (text) => {
  $("#say").textContent = text;
};
