/* The map of texts or features: its points, colours, legend, and what is marked on it. */

import { ask, trying, tryingBeside } from "./explore-ask.js";
import { go, openFeature, openRow, openTopic, opened, page, where } from "./explore-page.js";
import { count, endOf, featureName, noun } from "./explore-parts.js";

const { el, $, fmt } = nano;
const HOVER_LETTERS = 300;
const MARGIN = 0.25; // of the part in view, around it, whose points are asked for
let isPlaced = false; // the map shows the part that the view says

const showsRows = () => page.view.map === "rows";

/** What colours the points, as the server takes it. */
export const color = () => {
  const { view, state } = page;
  const id = opened("feature");
  const isByFeature = view.color === "auto" && id !== null && showsRows();
  if (view.color === "feature" || isByFeature) return id === null ? "" : `feature:${id}`;
  if (view.color !== "auto") return view.color;
  return state.colors[0] || "";
};

/** Say how far the better map is; until it is there, what a lasso holds would change. */
export const showMapState = () => {
  const { map, jobs, progress } = page.state;
  const isComing = jobs.map === "working";
  const note = $("#map-note");
  note.hidden = !isComing && jobs.map !== "failed";
  note.textContent = isComing
    ? `A first map. A better one is being made: ${progress.map || "starting"}`
    : "A first map; the better one could not be made: the server's terminal says why.";
  const waits = isComing && map.first;
  for (const id of ["#lasso", "#in-view"]) {
    const node = $(id);
    node.dataset.title ??= node.title;
    node.disabled = waits || !page.map.points;
    node.title = waits ? "Possible as soon as the better map is there" : node.dataset.title;
  }
};

/** The part of the map to ask for; nothing for all of it. */
const boxAround = (look) => {
  if (isPlaced && page.map.points) return { box: page.map.box(MARGIN) };
  if (!look) return {};
  const { x, y, width } = look;
  return { box: [x - width, y - width, x + width, y + width] };
};

/** Draw the map: `fresh` if it is another one, `moved` if the view says anew where to look. */
export const drawMap = (fresh, moved = false) =>
  trying($("#legend"), async () => {
    const kind = page.view.map;
    if (fresh) {
      page.map.clear();
      tryingBeside($("#plane"), () => nameRegions(kind));
    }
    if (moved) {
      page.map.stop();
      isPlaced = false; // until an answer is shown: a newer question may cancel this one
    }
    const place = !isPlaced || !page.map.points;
    const [x, y, width] = page.view.look || [];
    const look = page.view.look ? { x, y, width } : null;
    const conditions = where();
    const asked = { color: color(), where: conditions, ...boxAround(look) };
    const found = await ask("map", `points/${kind}`, asked);
    const isSelection = showsRows() && Object.keys(conditions).length > 0;
    const dimmed = found.marked > 0 || isSelection;
    page.map.show(found, place ? look : undefined, dimmed);
    isPlaced = true;
    describeMap(found);
    showMapState();
    drawLegend(found.legend);
    markMap();
  });

/** Ask for the names of regions; newer questions of points do not cancel this one. */
export const nameRegions = async (kind) => {
  const regions = await ask("regions", `regions/${kind}`);
  if (kind === page.view.map) page.map.label(regions);
};

const describeMap = (found) => {
  const total = count(found.total, showsRows() ? noun() : "feature");
  const text = `Map of ${total}, ${fmt(found.inside)} in view or close to it`;
  $("#plane canvas").setAttribute("aria-label", text);
};

/** Mark the open row or feature, and the lasso. */
export const markMap = () => {
  const id = opened(showsRows() ? "row" : "feature");
  const polygon = showsRows() ? page.view.lasso : page.view.led;
  page.map.mark(id === null ? null : Number(id), polygon);
};

/** The metadata column that colours the map, or null. */
const coloringColumn = () => (color().startsWith("column:") ? color().slice("column:".length) : null);

/** A colour scale with its ends. */
const scaleOf = (legend) => {
  const stops = nano.dark.matches ? legend.dark : legend.light;
  const background = `linear-gradient(90deg, ${stops.join(",")})`;
  return [
    el("span", {}, endOf(legend.ends[0])),
    el("span", { className: "ramp", style: { background } }),
    el("span", {}, endOf(legend.ends[1])),
  ];
};

/** A group's colour and name: a button that opens a topic, or selects a column's value. */
const keyOf = (column, { name, number, color: shade, rest = false }) => {
  const parts = [el("i", { style: { background: shade } }), el("span", {}, name)];
  if (color() === "topic" && !rest) {
    const onclick = () => openTopic(number);
    return el("button", { className: "key", title: `Open the topic ${name}`, onclick }, ...parts);
  }
  if (!column || !showsRows() || rest) {
    return el("span", { className: "key", title: name }, ...parts);
  }
  const onclick = () => go({ value: [column, name] });
  return el("button", { className: "key", title: `Only ${name}`, onclick }, ...parts);
};

const drawLegend = (legend) => {
  const node = $("#legend");
  const focused = node.contains(document.activeElement) ? document.activeElement.title : null;
  node.replaceChildren(...(legend.title ? legendParts(legend) : []));
  if (focused === null) return;
  const same = [...node.querySelectorAll("button")].find(({ title }) => title === focused);
  (same ?? $("#map")).focus();
};

const legendParts = (legend) => {
  const column = coloringColumn();
  const scale = legend.kind === "scale" ? scaleOf(legend) : [];
  const keys = (legend.entries || []).map((entry) => keyOf(column, entry));
  return [el("b", {}, legend.title), ...scale, ...keys];
};

/** What the map says of a point; nothing if a newer question came in between. */
const nameOf = async (id) => {
  try {
    if (showsRows()) {
      const row = await ask("hover", `row/${id}`);
      const text = row.text.slice(0, HOVER_LETTERS) || `row ${id}`;
      const column = coloringColumn();
      return Object.hasOwn(row.columns, column) ? `${column}: ${row.columns[column]}\n${text}` : text;
    }
    const found = await ask("hover", "features", { words: String(id) });
    return featureName(id, found.lines[0]?.name);
  } catch {
    return "";
  }
};

const rounded = (numbers) => numbers.map((x) => Number(x.toPrecision(8))); // as exact as the points

/** Select what lies inside a polygon, and compare it with the rest. */
const select = (corners) => {
  const condition = showsRows() ? "lasso" : "led";
  const drawn = page.state.map.id;
  go({ [condition]: corners.map(rounded), drawn, open: "contrast:", edit: {} });
};

/** Let the next stroke be a lasso, or not. */
const useLasso = (on) => {
  $("#lasso").setAttribute("aria-pressed", String(on));
  page.map.draw(on);
};
const lassoIsUsed = () => $("#lasso").getAttribute("aria-pressed") === "true";

/** Put the lasso away; return whether it was in use. */
export const dropLasso = () => {
  const wasUsed = lassoIsUsed();
  if (wasUsed) useLasso(false);
  return wasUsed;
};

const selectInView = () => {
  if (!page.map.points) return;
  const [x0, y0, x1, y1] = page.map.box();
  select([
    [x0, y0],
    [x1, y0],
    [x1, y1],
    [x0, y1],
  ]);
};

/** Say in the address which part of this map is in view; null for all of it. */
const lookAt = (look) => {
  const { lasso, led } = page.view;
  const isDrawnOn = look || lasso || led;
  go({ look, drawn: isDrawnOn ? page.state.map.id : "" }, true);
};

/** Make the map and its buttons. */
export const connectMap = () => {
  page.map = nano.map($("#plane"), {
    label: "Map",
    help: "map-help",
    name: nameOf,
    pick: (id) => (showsRows() ? openRow(id) : openFeature(id)),
    lasso: (corners) => {
      useLasso(false);
      select(corners);
    },
    move: (look) => {
      isPlaced = true;
      lookAt(look && rounded([look.x, look.y, look.width]));
      drawMap(false);
    },
    lack: () => drawMap(false),
  });
  for (const choice of document.querySelectorAll("[data-map]")) {
    choice.addEventListener("click", () => {
      if (choice.dataset.map !== page.view.map) go({ map: choice.dataset.map, look: null });
    });
  }
  $("#color").addEventListener("change", (event) => go({ color: event.target.value }));
  $("#lasso").addEventListener("click", () => useLasso(!lassoIsUsed()));
  $("#in-view").addEventListener("click", selectInView);
  nano.dark.addEventListener("change", () => {
    if (page.map.points) drawLegend(page.map.points.legend);
  });
};
