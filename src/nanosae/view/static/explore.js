/* The explorer's page: it starts here. A change of the view asks the server only for the parts that
   depend on what changed. Texts are put into the page as text. */

import { ask, change, say, trying, tryingBeside } from "./explore-ask.js";
import { showOpen } from "./explore-details.js";
import { listChips, listFeatures, listRows, listTags, markOpen, showTagForm } from "./explore-lists.js";
import { color, connectMap, drawMap, dropLasso, markMap, showMapState } from "./explore-map.js";
import { followAddress, go, onChange, opened, page, readAddress, same, where } from "./explore-page.js";
import { count, noun, refill } from "./explore-parts.js";
import { isSteering, rank } from "./explore-steer.js";

const { el, $ } = nano;
const SELECTION = ["q", "f", "value", "tag", "lasso", "led", "topic"]; // keys of the view
const FIRST_PAUSE = 1500; // milliseconds between looks at what the server prepares
const LONGEST_PAUSE = 60000; // while it does not answer
let drawnColor = ""; // what the map is coloured by

/** Show the view; `before` is the one that is shown, if any. */
const render = (before = null) => {
  const { view } = page;
  const changed = (...keys) => !before || keys.some((key) => !same(view[key], before[key]));
  const isOtherSelection = changed(...SELECTION);
  showControls(before && changed("pane"));
  if (!before || searched(view) !== searched(before)) $("#words").value = searched(view);
  if (isOtherSelection) listChips();
  if (changed("q", "sort", "marked")) listFeatures();
  if (isOtherSelection) listRows();
  const shown = renderDetails(changed, isOtherSelection);
  if (changed("open")) markOpen();
  if (changed("open", "lasso", "led")) markMap();
  const isOtherColor = changed("color") || (changed("open") && color() !== drawnColor);
  if (changed("map")) drawMap(true);
  else if (isOtherSelection || isOtherColor) {
    Promise.resolve(shown).then(() => drawMap(false)); // a click is answered first
  }
  drawnColor = color();
};

/** What the view says that was searched for: what is typed meanwhile stays in the field. */
const searched = (view) => opened("query", view) ?? view.q;

/** Show in the controls what the view says; a phone moves to another pane. */
const showControls = (isOtherPane) => {
  const { view } = page;
  $("#sort").value = view.sort;
  $("#color").value = view.color;
  $("#tags").value = view.tag;
  $("#marked").setAttribute("aria-pressed", String(view.marked));
  for (const choice of document.querySelectorAll("[data-map]")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.map === view.map));
  }
  for (const section of document.querySelectorAll("main > section")) {
    section.classList.toggle("shown", section.id === view.pane);
  }
  for (const choice of document.querySelectorAll("[data-pane]")) {
    choice.setAttribute("aria-current", String(choice.dataset.pane === view.pane));
  }
  if (isOtherPane && $("#panes").offsetHeight) $(`#${view.pane}`).focus();
};

/** Show what is open if it has changed; return what promises its answer, unless that takes long. */
const renderDetails = (changed, isOtherSelection) => {
  const comparesSelection = opened("contrast") !== null;
  if (changed("open") || (isOtherSelection && comparesSelection)) {
    const shown = showOpen();
    const takesLong = comparesSelection || opened("query") !== null;
    return takesLong ? null : shown;
  }
  const showsFilter = opened("feature") !== null || opened("topic") !== null;
  if (changed("f", "topic") && showsFilter) showOpen();
  else if (changed("edit") && isSteering()) rank();
  return null;
};

const connectSearch = () => {
  const words = $("#words");
  $("#search").addEventListener("submit", (event) => {
    event.preventDefault();
    go({ q: words.value.trim(), pane: "rows" });
  });
  words.addEventListener("search", () => {
    if (!words.value && page.view.q) go({ q: "" });
  });
  $("#meaning").addEventListener("click", () => {
    const query = words.value.trim();
    if (query) go({ open: `query:${query}`, edit: {}, pane: "detail" });
    else words.focus();
  });
};

const closeDetails = () => {
  go({ open: "", edit: {} });
  $("#detail").focus();
};

/** One step back: out of the lasso, the form for a tag, the field, or what is open. */
const stepBack = (field) => {
  if (dropLasso()) return;
  if (!$("#tag-form").hidden) {
    showTagForm(false);
    $("#tag-all").focus();
  } else if (field) field.blur();
  else if (page.view.open) closeDetails();
};

const connectKeys = () => {
  document.addEventListener("keydown", (event) => {
    const field = document.activeElement.closest("input, select");
    if (event.key === "Escape" && field?.type !== "search") stepBack(field); // a search is emptied
    if (event.key !== "/" || field) return;
    event.preventDefault();
    $("#words").focus();
  });
  $("main").addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const line = event.target.closest(".list > li");
    const next = step && line?.[step]?.querySelector(".main, .more");
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
};

const connectLists = () => {
  $("#sort").addEventListener("change", (event) => go({ sort: event.target.value }));
  $("#marked").addEventListener("click", () => go({ marked: !page.view.marked }));
  $("#tags").addEventListener("change", (event) => go({ tag: event.target.value }));
  $("#compare").addEventListener("click", () => {
    go({ open: "contrast:", edit: {}, pane: "detail" });
  });
  $("#glance").addEventListener("click", closeDetails);
  for (const choice of document.querySelectorAll("[data-pane]")) {
    choice.addEventListener("click", () => go({ pane: choice.dataset.pane }, true));
  }
};

const tagSelection = async (tag) => {
  const done = await change("tag", { tag, where: where() });
  listTags(done.tags);
  if (opened("row") !== null) showOpen(); // its tags
  showTagForm(false);
  $("#tag-form").reset();
  $("#tag-all").focus();
  say(`${count(done.rows, noun())} tagged ${tag}`);
};

const connectTags = () => {
  $("#tag-all").addEventListener("click", () => {
    showTagForm($("#tag-form").hidden);
    if (!$("#tag-form").hidden) $("#tag-name").focus();
  });
  $("#tag-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const tag = $("#tag-name").value.trim();
    if (tag) tryingBeside($("#tag-form"), () => tagSelection(tag));
  });
};

const connectAddress = () => {
  addEventListener("popstate", () => {
    const before = followAddress();
    render(before);
    const isSameMap = page.view.map === before.map; // another one is drawn anew
    if (isSameMap && !same(page.view.look, before.look)) drawMap(false, true);
  });
};

/** Show what the server says of the corpus. */
const showState = () => {
  const { state } = page;
  document.title = `${state.run} · nanoSAE explorer`;
  $("#run").textContent = state.corpus === "default" ? state.run : `${state.run} / ${state.corpus}`;
  $("#facts").textContent = `${count(state.rows, noun())} · ${count(state.features, "feature")}`;
  for (const choice of document.querySelectorAll('[data-map="rows"], [data-pane="rows"]')) {
    choice.textContent = state.texts ? "Texts" : "Rows";
  }
  const option = (value, text) => el("option", { value }, text);
  refill($("#color"), [
    option("auto", "colour: automatic"),
    option("feature", "open feature"),
    ...state.colors.map((name) => option(name, name)),
    ...state.columns.map((name) => option(`column:${name}`, name)),
  ]);
  $("#color").value = page.view.color;
  refill($("#adds"), [...stale(), ...missing(), ...indexNote()]);
  if (page.map) showMapState();
  listTags(state.tags);
};

/** What the run lacks, and the commands that add it. */
const missing = () =>
  Object.entries(page.state.adds).map(([what, command]) =>
    el("p", { className: "hint" }, `No ${what} yet: `, el("code", {}, command)),
  );

/** What was made from other codes or another model, and is left out here: of labels their scores. */
const stale = () =>
  Object.entries(page.state.stale).map(([what, reason]) => {
    const missing = what === "labels" ? "and their scores not shown" : "and not shown";
    return el("p", { className: "hint warn" }, `The ${what} are stale ${missing}: ${reason}.`);
  });

const indexNote = () => {
  const { index, jobs } = page.state;
  if (!jobs.index || index) return [];
  const text =
    jobs.index === "working"
      ? "The index for searching words is being made, once."
      : "The text index could not be made; the server's terminal says why.";
  return [el("p", { className: "hint" }, text)];
};

/** Show a map that has replaced another: what was drawn on that one means nothing here. */
const showOtherMap = () => {
  go({ look: null, lasso: null, led: null, drawn: "" }, true);
  drawMap(true);
};

/** Look again while the server prepares the map or the index, less often while it does not answer. */
const watchJobs = (pause = FIRST_PAUSE) => {
  if (!Object.values(page.state.jobs).includes("working")) return;
  setTimeout(async () => {
    const before = page.state;
    await trying($("#adds"), async () => {
      page.state = await ask("state", "state");
      showState();
      if (page.state.map.id !== before.map.id) showOtherMap();
    });
    const isAnswered = page.state !== before;
    watchJobs(isAnswered ? FIRST_PAUSE : Math.min(2 * pause, LONGEST_PAUSE));
  }, pause);
};

trying($("#feature-list"), async () => {
  page.state = await ask("state", "state");
  page.view = readAddress();
  onChange(render);
  connectMap();
  connectSearch();
  connectKeys();
  connectLists();
  connectTags();
  connectAddress();
  showState();
  render();
  watchJobs();
});
