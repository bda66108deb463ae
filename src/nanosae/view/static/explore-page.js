/* What the explorer's page shows. The `view` is the part of the address after #: every view can be
   kept, sent and gone back to. `state` is what the server says of the corpus. */

const START = {
  q: "", // words that are searched for
  f: [], // features that the texts are filtered by
  value: null, // [column, value]
  tag: "",
  lasso: null, // corners on the map of texts
  led: null, // corners on the map of features
  topic: null, // number of a topic
  drawn: "", // the map that these corners, or what it shows, are on
  map: "rows",
  color: "auto",
  look: null, // middle x, y and width of the part of the map that is shown
  open: "", // what the details show: feature:ID, topic:ID, row:ID, query:TEXT or contrast:
  edit: {}, // activations that were moved, by feature
  sort: "score",
  marked: false,
  pane: "map", // the part that a phone shows
};
const JSON_KEYS = new Set(["f", "value", "lasso", "led", "topic", "look", "edit"]);
const isList = Array.isArray;
const MAX_SIZE = 1e9; // of a coordinate or an activation, as in the server's routes
const MAX_NUMBER = 2 ** 31 - 1; // of a feature or a topic
const MAX_TEXT = 500; // letters of a search
const isNumber = (value) => Number.isFinite(value) && Math.abs(value) <= MAX_SIZE;
const isId = (value) => Number.isInteger(value) && value >= 0 && value <= MAX_NUMBER;
const isText = (value) => typeof value === "string";
const isPoint = (value) => isList(value) && value.length === 2 && value.every(isNumber);
const isPolygon = (value) => isList(value) && value.length > 2 && value.every(isPoint);
const NARROWEST = 1e-8; // width of a part of a map
const OPEN = new RegExp(`^((feature|topic|row):\\d{1,10}|query:.{1,${MAX_TEXT}}|contrast:|)$`, "s");
/** What parts of an address must be like; what is not so counts as absent. */
const SHAPES = {
  q: (value) => value.length <= MAX_TEXT,
  f: (value) => isList(value) && value.every(isId),
  value: (value) => isList(value) && value.length === 2 && value.every(isText),
  lasso: isPolygon,
  led: isPolygon,
  topic: isId,
  look: (value) => isList(value) && value.length === 3 && value.every(isNumber) && value[2] >= NARROWEST,
  edit: (value) =>
    value !== null && typeof value === "object" && !isList(value) &&
    Object.entries(value).every(([id, number]) => /^\d{1,9}$/.test(id) && isNumber(number)),
  map: (value) => ["rows", "features"].includes(value),
  open: (value) => OPEN.test(value),
  sort: (value) => ["score", "rows", "name"].includes(value),
  pane: (value) => ["features", "map", "rows", "detail"].includes(value),
};
const CONDITIONS = ["value", "tag", "lasso", "led", "topic"];

/** The view, the state, the map, and the labels and words of features, and names of topics, that were met. */
export const page = {
  view: { ...START },
  state: null,
  map: null,
  labels: new Map(),
  words: new Map(),
  topics: new Map(),
  lastFeature: null,
};

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
    if (!Object.hasOwn(START, key)) continue;
    try {
      const value = fromText(key, text);
      if (SHAPES[key] === undefined || SHAPES[key](value)) view[key] = value;
    } catch {
      // as if it were not there
    }
  }
  return withoutOldPlaces(view);
};

/** A polygon that was drawn on another map would hold other texts here, and a part of it show others. */
const withoutOldPlaces = (view) => {
  if (view.drawn === page.state.map.id) return view;
  const look = view.drawn === "" ? view.look : null;
  return { ...view, lasso: null, led: null, look, drawn: "" };
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

const WRITING_PAUSE = 400; // milliseconds: browsers let an entry be replaced 100 times in 30 s
let writing = null; // the timer after which the entry is replaced again

const replaceEntry = () => {
  clearTimeout(writing);
  writing = null;
  if (address() !== location.hash) history.replaceState(null, "", address());
};

/** Replace the entry in the browser's history at once, or soon after it was replaced. */
const replaceEntrySoon = () => {
  if (writing !== null) return;
  replaceEntry();
  writing = setTimeout(replaceEntry, WRITING_PAUSE);
};

/** Take the view from the address, after a step in the history; return the view before. */
export const followAddress = () => {
  const before = page.view;
  clearTimeout(writing);
  writing = null;
  page.view = readAddress();
  return before;
};

/** Change the view; `quietly` replaces the entry in the browser's history. */
export const go = (changes, quietly = false) => {
  const before = page.view;
  if (!quietly && writing !== null) replaceEntry(); // the one that is left
  page.view = { ...before, ...changes };
  if (quietly) replaceEntrySoon();
  else if (address() !== location.hash) history.pushState(null, "", address());
  render(before);
};

/** The selection of texts, as the server takes it. */
export const where = () => {
  const { view } = page;
  const conditions = {};
  if (view.q) conditions.words = view.q;
  if (view.f.length) conditions.features = view.f;
  for (const key of CONDITIONS) {
    if (!same(view[key], START[key])) conditions[key] = view[key];
  }
  return conditions;
};

/** The id of what is open, if it is of this kind: a feature, a topic, a row or a query. */
export const opened = (kind, view = page.view) => {
  const { open } = view;
  return open.startsWith(`${kind}:`) ? open.slice(kind.length + 1) : null;
};

export const openFeature = (id) => go({ open: `feature:${id}`, edit: {}, pane: "detail" });
export const openTopic = (id) => go({ open: `topic:${id}`, edit: {}, pane: "detail" });
export const openRow = (id) => go({ open: `row:${id}`, edit: {}, pane: "detail" });

/** Filter the texts by a feature, or no longer. */
export const toggleFilter = (id) => {
  const { f } = page.view;
  if (f.includes(id)) go({ f: f.filter((other) => other !== id) });
  else go({ f: [...f, id], pane: "rows" });
};
