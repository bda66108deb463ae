/* The lists of features and of texts, the conditions that they meet, and the tags. */

import { ask, parameters, say, trying } from "./explore-ask.js";
import { go, openFeature, openRow, page, where } from "./explore-page.js";
import { button, chip, count, featureName, labelScore, noun, refill, star } from "./explore-parts.js";

const { el, $, fmt } = nano;
const CHIP_LETTERS = 40;

/** Ask for a page of lines: the first one, or more; of a list that is awaited anew there are none. */
const tryingPage = (list, at, task) => {
  if (at === 0) list.setAttribute("aria-busy", "true");
  else if (list.hasAttribute("aria-busy")) return false;
  return trying(at === 0 ? list : $(".rest", list), task);
};

/** Put a page of lines into a list, and a button for the next one. */
const fill = (list, found, at, makeLine, showMore, nothing) => {
  if (at === 0) list.replaceChildren();
  list.removeAttribute("aria-busy");
  const rest = $(".rest", list);
  const hadFocus = rest !== null && rest.contains(document.activeElement);
  rest?.remove();
  list.append(...found.lines.map(makeLine));
  if (hadFocus) $(".main", list.children[at])?.focus();
  const next = at + found.lines.length;
  if (next < found.total) {
    const text = `Show more of ${fmt(found.total)}`;
    list.append(
      el(
        "li",
        { className: "rest" },
        button("more", text, () => showMore(next)),
      ),
    );
  }
  if (!found.total) {
    list.append(el("li", { className: "busy" }, ...nothing));
  }
};

const featureLine = (line) => {
  const share = Math.max(1, 100 * Math.sqrt(line.rows / page.state.rows));
  const facts = el(
    "span",
    { className: "sub" },
    el("span", {}, `№ ${line.feature}`),
    el("span", {}, count(line.rows, noun())),
    labelScore(line),
  );
  const main = el(
    "button",
    { className: "main", onclick: () => openFeature(line.feature) },
    el("span", { className: "name" }, featureName(line.feature, line.name)),
    facts,
    el("span", { className: "share", style: { width: `${share}%` } }),
  );
  const props = { className: "feature", "data-feature": String(line.feature) };
  return el("li", props, main, star(line.feature, line.marked));
};

export const listFeatures = (at = 0) =>
  tryingPage($("#feature-list"), at, async () => {
    const { q, sort, marked } = page.view;
    const found = await ask("features", "features", { words: q, sort, marked, at });
    $("#features-title").textContent = q || marked ? count(found.total, "feature") : "Features";
    $("#sort").disabled = Boolean(q); // what is found is ranked
    fill($("#feature-list"), found, at, featureLine, listFeatures, [noFeature(page.view)]);
    markOpen();
  });

/** Show the new line of a feature, and its name in the lines of texts and the conditions. */
export const showName = (line) => {
  const { feature, name } = line;
  page.labels.set(feature, name);
  listChips();
  $(`#feature-list [data-feature="${feature}"]`)?.replaceWith(featureLine(line));
  for (const shown of document.querySelectorAll(`#row-list [data-name="${feature}"]`)) {
    shown.textContent = featureName(feature, name);
  }
  markOpen();
};

const noFeature = ({ q, marked }) => {
  if (q) return "No feature matches.";
  return marked ? "No feature is bookmarked yet." : "No feature is active in this corpus.";
};

const rowLine = (line) => {
  const features = line.features.flatMap(([id, name], place) => {
    const shown = el("span", { "data-name": String(id) }, featureName(id, name));
    return place ? [" · ", shown] : [shown];
  });
  const main = el(
    "button",
    { className: "main", onclick: () => openRow(line.row) },
    el("span", { className: "text" }, line.text || `row ${line.row}`),
    el("span", { className: "sub" }, ...features),
  );
  return el("li", { className: "row", "data-row": String(line.row) }, main);
};

/** Show the form that tags all texts of the selection, or hide it. */
export const showTagForm = (on) => {
  $("#tag-form").hidden = !on;
  $("#rows .problem").replaceChildren();
  $("#tag-all").setAttribute("aria-expanded", String(on));
};

/** Show how many texts are selected, if that is known, and what can be done with them. */
const showTotal = (total) => {
  const nouns = page.state.texts ? "Texts" : "Rows";
  $("#rows-title").textContent = total === null ? nouns : count(total, noun());
  const isNoSelection = !total || total === page.state.rows;
  $("#compare").disabled = isNoSelection;
  $("#tag-all").disabled = isNoSelection;
  if (isNoSelection) showTagForm(false);
  const needed = `Possible once some of the ${noun()}s are selected: search, filter, or use the lasso`;
  $("#compare").title = isNoSelection ? needed : "Which features tell these from all others";
  $("#tag-all").title = isNoSelection ? needed : "";
};

export const listRows = async (at = 0) => {
  $("#export").href = `/api/export${parameters({ where: where() })}`; // also where the list cannot be shown
  const hasFailed = await tryingPage($("#row-list"), at, async () => {
    const found = await ask("rows", "texts", { where: where(), at });
    for (const [id, name] of Object.entries(found.labels)) page.labels.set(Number(id), name);
    listChips();
    showTotal(found.total);
    fill($("#row-list"), found, at, rowLine, listRows, nothingFound());
    markOpen();
    if (at === 0) say(`${count(found.total, noun())} found`);
  });
  if (hasFailed && at === 0) showTotal(null);
};

const nothingFound = () => {
  const { q } = page.view;
  if (!q) return [`No ${noun()} meets these conditions.`];
  const search = () => go({ q: "", open: `query:${q}`, edit: {}, pane: "detail" });
  return [`No ${noun()} contains these words. `, button("link", "Search by meaning", search)];
};

/** Mark in the lists what is open. */
export const markOpen = () => {
  for (const item of document.querySelectorAll("[data-feature], [data-row]")) {
    const { feature, row } = item.dataset;
    const id = feature ? `feature:${feature}` : `row:${row}`;
    item.classList.toggle("open", id === page.view.open);
  }
};

const short = (text) => (text.length > CHIP_LETTERS ? `${text.slice(0, CHIP_LETTERS - 1)}…` : text);

/** A condition that can be removed: `without` is the change of the view. */
const condition = (text, without) =>
  chip(text, `Remove the condition ${text}`, () => {
    go(without);
    $("#rows-title").focus();
  });

/** Show the conditions of the selection. */
export const listChips = () => {
  const { q, f, value, tag, lasso, led, topic } = page.view;
  const chips = f.map((id) => {
    const others = f.filter((other) => other !== id);
    return condition(short(featureName(id, page.labels.get(id))), { f: others });
  });
  if (q) chips.push(condition(`words: ${short(q)}`, { q: "" }));
  if (value) chips.push(condition(`${value[0]}: ${short(value[1])}`, { value: null }));
  if (tag) chips.push(condition(`tag: ${short(tag)}`, { tag: "" }));
  if (topic !== null) {
    const name = page.topics.get(topic) || topic;
    chips.push(condition(`topic: ${short(String(name))}`, { topic: null }));
  }
  if (lasso) chips.push(condition("selected on the map", { lasso: null }));
  if (led) chips.push(condition("led by the selected features", { led: null }));
  $("#chips").replaceChildren(...chips);
};

/** Offer the tags of the corpus as a condition. */
export const listTags = (tags) => {
  page.state.tags = tags;
  const known = Object.entries(tags);
  const options = known.map(([tag, n]) => el("option", { value: tag }, `${tag} (${fmt(n)})`));
  $("#tags").hidden = !known.length;
  refill($("#tags"), [el("option", { value: "" }, "all tags"), ...options]);
  $("#tags").value = page.view.tag;
};
