/* Questions to the explorer's server, and what to say when one fails. */

const { el, $ } = nano;
const NO_ANSWER =
  "The explorer does not answer. If its command, nanosae explore, has ended, start it again and reload this page.";
const running = new Map(); // kind of question → what cancels it
let changes = Promise.resolve(); // settled when the last change is

/** Ask the server; a newer question of the same `kind` cancels an older one. */
export const ask = (kind, path, params = {}) => {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) query.set(key, JSON.stringify(value));
  running.get(kind)?.abort();
  const control = new AbortController();
  running.set(kind, control);
  return send(query.size ? `${path}?${query}` : path, { signal: control.signal });
};

/** Change something on the server, after all earlier changes. */
export const change = (path, body) => {
  const options = {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
  };
  const made = changes.then(() => send(path, options));
  changes = made.catch(() => {});
  return made;
};

const send = async (path, options) => {
  const answer = await fetch(`/api/${path}`, options);
  if (answer.headers.get("content-type") === "application/octet-stream") {
    return readPoints(await answer.arrayBuffer());
  }
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error || `The server answered ${answer.status}.`);
  return value;
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

/** Run a task that asks; say in `node` what went wrong. */
export const trying = async (node, task) => {
  try {
    await task();
  } catch (error) {
    if (error.name === "AbortError") return;
    const lost = error instanceof TypeError && /fetch|network|load failed/i.test(error.message);
    const text = lost ? NO_ANSWER : error.message;
    const tag = node.tagName === "UL" ? "li" : "p";
    node.replaceChildren(el(tag, { className: "error", role: "alert" }, text));
  }
};

/** Tell people who use a screen reader what happened. */
export const say = (text) => {
  $("#say").textContent = text;
};
