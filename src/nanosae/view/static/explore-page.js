/* What the explorer's page shows. The `view` is the part of the address after #: every view can be
   kept, sent and gone back to. `state` is what the server says of the corpus. */

const START = {
  q: "", // words that are searched for
  f: [], // features that the texts are filtered by
  value: null, // [column, value]
  tag: "",
  lasso: null, // corners on the map of texts
  led: null, // corners on the map of features
  map: "rows",
  color: "auto",
  look: null, // middle x, y and width of the part of the map that is shown
  open: "", // what the details show: feature:ID, row:ID, query:TEXT or contrast:
  edit: {}, // activations that were moved, by feature
  sort: "score",
  marked: false,
  pane: "map", // the part that a phone shows
};
const JSON_KEYS = new Set(["f", "value", "lasso", "led", "look", "edit"]);
const CONDITIONS = ["value", "tag", "lasso", "led"];

/** The view, the state, the map, and the names of features that were met. */
export const page = { view: { ...START }, state: null, map: null, names: new Map() };

let render = () => {};
/** Let a function show what has changed since the view before. */
export const onChange = (callback) => {
  render = callback;
};

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

const fromText = (key, text) => {
  if (JSON_KEYS.has(key)) return JSON.parse(text);
  return key === "marked" ? text === "true" : text;
};

/** Read the view out of the address; a damaged part counts as absent. */
export const readAddress = () => {
  const view = { ...START };
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!(key in START)) continue;
    try {
      view[key] = fromText(key, text);
    } catch {
      // as if it were not there
    }
  }
  return view;
};

/** The view as the end of an address. */
export const address = () => {
  const kept = new URLSearchParams();
  for (const [key, value] of Object.entries(page.view)) {
    if (same(value, START[key])) continue;
    kept.set(key, JSON_KEYS.has(key) ? JSON.stringify(value) : value);
  }
  return `#${kept}`;
};

/** Change the view; `quietly` replaces the entry in the browser's history. */
export const go = (changes, quietly = false) => {
  const before = page.view;
  page.view = { ...before, ...changes };
  if (address() !== location.hash) {
    history[quietly ? "replaceState" : "pushState"](null, "", address());
  }
  render(before);
};

/** The selection of texts, as the server takes it. */
export const where = () => {
  const { view } = page;
  const conditions = {};
  if (view.q) conditions.words = view.q;
  if (view.f.length) conditions.features = view.f;
  for (const key of CONDITIONS) {
    if (view[key]) conditions[key] = view[key];
  }
  return conditions;
};

/** The id of what is open, if it is of this kind: a feature, a row or a query. */
export const opened = (kind) => {
  const { open } = page.view;
  return open.startsWith(`${kind}:`) ? open.slice(kind.length + 1) : null;
};

export const openFeature = (id) => go({ open: `feature:${id}`, edit: {}, pane: "detail" });
export const openRow = (id) => go({ open: `row:${id}`, edit: {}, pane: "detail" });

/** Filter the texts by a feature, or no longer. */
export const toggleFilter = (id) => {
  const { f } = page.view;
  go({ f: f.includes(id) ? f.filter((other) => other !== id) : [...f, id] });
};
