/* A text or a query: its features on sliders, and the ranking of all texts that follows them. */

import { ask, askInAnyCase, change, say, trying, tryingBeside } from "./explore-ask.js";
import { listRows, listTags } from "./explore-lists.js";
import { go, openTopic, page } from "./explore-page.js";
import {
  button,
  chip,
  featureLink,
  featureName,
  heading,
  showDetails,
  smallForm,
  textButton,
} from "./explore-parts.js";
import { textParts } from "./explore-text.js";

const { el, $, fmt } = nano;
const body = $("#detail-body");
const FIRST_SLIDERS = 8;
const HITS = 20;
const SUGGESTIONS = 12;
const TYPING_MILLISECONDS = 150; // without a key, after which suggestions are asked for

/* What is steered: `start` ({row} or {query}), the nodes of the `sliders`, of the `ranking` and of a
   `note` on what was added, the `most` that a slider reaches, the activations `before` any was
   moved, and what shows it `again`. */
let steered = null;

export const stopSteering = () => {
  steered = null;
};
export const isSteering = () => steered !== null;

// ── a text and its tags ──

export const showRow = (id) =>
  trying(body, async () => {
    const row = await ask("detail", `row/${id}`);
    const tags = el("div", { className: "chips" });
    const field = { maxlength: "80", placeholder: "Tag", "aria-label": "New tag of this text" };
    const add = smallForm(field, "Add tag", (text) => {
      add.reset();
      if (text.trim()) tagRow(row, text.trim(), true, tags);
    });
    drawTags(row, tags);
    showDetails(
      el("p", { className: "kicker" }, `${page.state.texts ? "Text" : "Row"} ${row.row}`),
      ...textParts(row),
      row.topic ? el("p", { className: "small" }, "Topic: ", topicLink(...row.topic)) : "",
      nano.facts(Object.entries(row.columns), "small"),
      tags,
      el("div", { className: "actions" }, add),
    );
    showSteering({ row: row.row }, row.features, () => showRow(id));
  });

const topicLink = (id, name) => button("link", name, () => openTopic(id));

const drawTags = (row, node) => {
  const chips = row.tags.map((tag) =>
    chip(tag, `Remove the tag ${tag}`, () => tagRow(row, tag, false, node)),
  );
  node.replaceChildren(...chips);
};

const tagRow = (row, tag, on, node) =>
  tryingBeside(body, async () => {
    const done = await change("tag", { tag, rows: [row.row], on });
    listTags(done.tags);
    const others = row.tags.filter((other) => other !== tag);
    row.tags = on ? [...others, tag] : others;
    if (node.contains(document.activeElement)) $("#detail").focus({ preventScroll: true });
    drawTags(row, node);
    if (tag === page.view.tag) listRows();
    say(on ? `Tagged ${tag}` : `Tag ${tag} removed`);
  });

export const showQuery = (query) =>
  trying(body, async () => {
    const waiting = "Looking for texts of this meaning… The first search loads the embedder.";
    showDetails(el("p", { className: "busy", role: "status" }, waiting));
    const found = await ask("detail", "steer", { query });
    showDetails(el("p", { className: "kicker" }, "By meaning"), el("h2", {}, query));
    showSteering({ query }, found.features, () => showQuery(query));
  });

// ── sliders ──

const showSteering = (start, features, again) => {
  const sliders = el("div");
  const note = el("p", { className: "muted small", role: "status" });
  const ranking = el("div", { className: "ranking" });
  const most = Math.max(...features.map(([, , activation]) => activation), 0.1) * 1.5;
  steered = { start, sliders, note, ranking, most, before: features, again };
  const rest = addSliders();
  const canSteer = page.state.steer;
  body.append(
    heading(canSteer ? "Its features (move a slider to search for more or less of one)" : "Its features"),
    sliders,
    rest.length ? showAllButton(rest) : "",
    ...(canSteer ? [addingForm(), note] : []),
    ranking,
  );
  body.scrollTop = 0;
  rank();
};

/** Add sliders of the strongest features and of those that were moved; return the other features. */
const addSliders = () => {
  const { before, sliders } = steered;
  const moved = new Set(Object.keys(page.view.edit).map(Number));
  const known = new Set(before.map(([id]) => id));
  const isFirst = ([id], i) => i < FIRST_SLIDERS || moved.has(id);
  sliders.append(...before.filter(isFirst).map((feature) => slider(...feature)));
  for (const id of moved) {
    if (!known.has(id)) sliders.append(slider(id, page.labels.get(id) || "", 0));
  }
  return before.filter((feature, i) => !isFirst(feature, i));
};

const showAllButton = (rest) => {
  const { before, sliders } = steered;
  const all = button("link small", `Show all ${before.length} features`, () => {
    const others = rest.map((feature) => slider(...feature));
    sliders.append(...others);
    all.remove();
    $("button", others[0]).focus();
  });
  return all;
};

/** A feature's slider, at its activation or where it was moved to. */
const slider = (id, name, activation) => {
  page.labels.set(id, name);
  const { most } = steered;
  const value = page.view.edit[id] ?? activation;
  const output = el("output", { className: "mono" }, value.toFixed(2));
  const input = el("input", {
    type: "range",
    min: "0",
    max: String(Math.max(most, value)),
    step: String(most / 100),
    value: String(value),
    disabled: !page.state.steer,
    "aria-label": `Activation of ${featureName(id, name)}`,
    "data-slider": String(id),
    oninput: () => {
      const now = Number(input.value);
      const isBack = Math.abs(now - activation) < most / 150;
      output.textContent = now.toFixed(2);
      line.classList.toggle("changed", !isBack);
      const edit = { ...page.view.edit, [id]: now };
      if (isBack) delete edit[id];
      go({ edit }, true);
    },
  });
  input.value = String(value); // now that its range is known
  const className = id in page.view.edit ? "steer changed" : "steer";
  const line = el("div", { className }, featureLink(id, name), input, output);
  return line;
};

/** A form that adds features, with suggestions, and a button that puts all back. */
const addingForm = () => {
  const field = {
    list: "suggestions",
    placeholder: "Add a feature",
    autocomplete: "off",
    "aria-label": "Feature to add, by label or number",
    oninput: (event) => suggest(event.target.value),
  };
  const form = smallForm(field, "Add", (text) => {
    addFeature(text);
    form.reset();
  });
  form.className = "tools adding";
  form.append(el("button", { onclick: reset }, "Reset"));
  return form;
};

const reset = () => {
  const { again } = steered;
  go({ edit: {} }, true);
  again();
};

let typing = 0;
const suggest = (words) => {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const found = await ask("suggest", "features", { words }).catch(() => null);
    if (found !== null) offer(found.lines.slice(0, SUGGESTIONS)); // else what is typed will do
  }, TYPING_MILLISECONDS);
};

const offer = (lines) => {
  const values = lines.map((line) => `${line.feature} ${line.name}`);
  $("#suggestions").replaceChildren(...values.map((value) => el("option", { value })));
};

/** What to search for: the number in front of a suggestion, or else all that was typed. */
const wordsOf = (text) => {
  const isSuggested = [...$("#suggestions").options].some(({ value }) => value === text);
  return isSuggested ? /^\d+/.exec(text)[0] : text.trim();
};

/** Find the feature that is meant, by its number or by words of its label, and add its slider. */
const addFeature = (text) => {
  clearTimeout(typing);
  const { note } = steered;
  trying(note, async () => {
    if (!text.trim()) return;
    const found = await askInAnyCase("features", { words: wordsOf(text) });
    if (steered?.note !== note) return; // something else was opened
    note.textContent = found.lines.length ? "" : "No feature matches.";
    if (found.lines.length) addSlider(found.lines[0]);
  });
};

const addSlider = (line) => {
  const there = $(`[data-slider="${line.feature}"]`);
  if (there) {
    there.focus();
    return;
  }
  steered.sliders.append(slider(line.feature, line.name, 0));
  const input = $(`[data-slider="${line.feature}"]`);
  input.value = String(steered.most / 1.5);
  input.dispatchEvent(new Event("input"));
  input.focus();
};

// ── the ranking ──

/** How far a hit has moved since the features were changed. */
const moveOf = (hit, place) => {
  if (!Object.keys(page.view.edit).length) return null;
  if (hit.was === null) return el("span", { className: "up" }, "new");
  const by = hit.was - place;
  if (by === 0) return el("span", {}, "=");
  const [word, arrow] = by > 0 ? ["up", "▲"] : ["down", "▼"];
  const props = { className: word, "aria-label": `${word} ${Math.abs(by)}` };
  return el("span", props, `${arrow} ${Math.abs(by)}`);
};

const hitLine = (hit, place) => {
  const score = el("span", { className: "rank" }, fmt(hit.score, 2), " ", moveOf(hit, place));
  return el("li", { "data-hit": String(hit.row) }, textButton(hit.row, hit.text, score));
};

/** Rank all texts by what is steered. */
export const rank = () =>
  trying(steered.ranking, async () => {
    const { ranking, start } = steered;
    const { edit } = page.view;
    if (!ranking.firstChild) ranking.append(el("p", { className: "busy" }, "Ranking…"));
    const found = await ask("rank", "steer", { ...start, edit });
    for (const [id, name] of Object.entries(found.labels)) {
      const link = $(`[data-slider="${id}"]`)?.parentElement.firstElementChild;
      if (link) link.textContent = featureName(id, name);
    }
    const isMoved = Object.keys(edit).length > 0;
    const hits = found.hits.slice(0, HITS).map(hitLine);
    ranking.replaceChildren(
      heading(isMoved ? "Most similar to the changed features" : "Most similar"),
      el("p", { className: "muted small", role: "status" }, found.note),
      el("ol", { className: "plain", id: "ranking" }, hits),
    );
  });
