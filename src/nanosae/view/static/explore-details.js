/* Details of what is open: a feature's card, a comparison, or where to start. */

import { ask, change, say, trying, tryingBeside } from "./explore-ask.js";
import { listChips, showName } from "./explore-lists.js";
import { color, drawMap, nameRegions } from "./explore-map.js";
import { go, openFeature, openTopic, opened, page, toggleFilter, where } from "./explore-page.js";
import {
  awaitDetails,
  button,
  count,
  endOf,
  featureLink,
  featureName,
  heading,
  labelScore,
  list,
  meter,
  noun,
  showDetails,
  smallForm,
  star,
  textButton,
} from "./explore-parts.js";
import { showQuery, showRow, stopSteering } from "./explore-steer.js";

const { el, $, fmt, percent } = nano;
const body = $("#detail-body");
const MAX_KEYWORDS = 15;
const FIRST_TOPICS = 8;
const SMALL_Q = 0.001; // below which its size says nothing more
const HELP = "Press / to search, Esc to come back here. The address of this page leads back to what you see.";
const EXAMPLES = {
  strongest: "Strongest",
  "from strong to weak": "From strong to weak",
  "near misses": "Near misses: similar, but inactive",
  "hard negatives": "Similar to its texts, but inactive",
};

// ── a feature ──

const showFeature = (id) =>
  trying(body, async () => {
    const card = await ask("detail", `card/${id}`);
    page.labels.set(card.feature, card.name);
    page.words.set(card.feature, card.words);
    page.lastFeature = card.feature;
    showDetails(
      kicker(card),
      el("h2", { dir: "auto" }, featureName(card.feature, card.name)),
      activity(card),
      actions(card),
      ...strengths(card),
      ...section("Findings", card.findings.map(nano.sentence)),
      ...examples(card),
      ...relations(card),
    );
    say(`Feature ${featureName(card.feature, card.name)}`);
  });

const kicker = ({ feature, facts, named, marked }) => {
  const isUnhealthy = facts.health && facts.health !== "ok";
  return el(
    "p",
    { className: "kicker" },
    `Feature ${feature}`,
    isUnhealthy ? el("span", { className: "chip warn" }, facts.health) : null,
    named ? el("span", { className: "chip" }, "named by you") : null,
    star(feature, marked),
  );
};

const activity = ({ rows, density, score, doubtful }) => {
  const active = `Active on ${count(rows, noun())} (${percent(density)})`;
  return el("p", { className: "muted small scores" }, el("span", {}, active), ...labelScore({ score, doubtful }));
};

const actions = ({ feature, name, named, rows }) => {
  const filtered = page.view.f.includes(feature);
  const filter = button(
    filtered ? "" : "primary",
    filtered ? "Remove this filter" : `Show its ${noun()}s`,
    () => toggleFilter(feature),
    { "aria-pressed": String(filtered) },
  );
  const giveBack = () => renameFeature(feature, "");
  const field = { value: name, maxlength: "200", "aria-label": "Name of this feature" };
  return el(
    "div",
    { className: "actions" },
    rows || filtered ? filter : null,
    named ? el("button", { onclick: giveBack }, "Restore its label") : null,
    smallForm(field, "Rename", (text) => renameFeature(feature, text)),
  );
};

const strengths = ({ rows, histogram, mean, max }) => {
  if (!rows) return [el("p", {}, "A dead feature: nothing in this corpus activates it.")];
  const ends = ["0", `mean ${fmt(mean)}`, fmt(max)];
  return [heading("How strongly it is active"), ...nano.histogram(histogram, "activations", ends)];
};

const renameFeature = (id, name) =>
  tryingBeside(body, async () => {
    showName(await change("rename", { feature: id, name }));
    say(name ? "Renamed" : "Label restored");
    if (opened("feature") === String(id)) await showFeature(id);
    if (color() === `feature:${id}`) drawMap(false); // its legend has the name
    if (page.view.map === "features") await nameRegions("features");
  });

const examples = (card) =>
  Object.entries(card.examples).flatMap(([kind, lines]) => {
    const texts = lines.map(({ row, text, activation }) =>
      textButton(row, text, meter(activation, card.max), card.words),
    );
    return [heading(EXAMPLES[kind] || kind), list(texts)];
  });

/** Features with how closely they are related, in some unit. */
const related = (title, features, unit) => {
  if (!features.length) return [];
  const lines = features.map(([id, name, value]) => {
    const number = el("span", { className: "mono", title: unit }, value.toFixed(2));
    return el("div", { className: "pair" }, featureLink(id, name), number);
  });
  return [heading(title), list(lines)];
};

const relations = ({ family, facts, partners, near }) => {
  const parts = [];
  if (family) parts.push(heading("Family"), el("p", {}, family));
  if (facts.keywords) {
    const first = facts.keywords.split(", ").slice(0, MAX_KEYWORDS).join(", ");
    parts.push(heading("Keywords"), el("p", { className: "small" }, first));
  }
  const npmi = "normalised pointwise mutual information";
  return [
    ...parts,
    ...related("Active together with", partners, npmi),
    ...related("Similar direction", near, "cosine"),
  ];
};

// ── a topic ──

const showTopic = (id) =>
  trying(body, async () => {
    const found = await ask("detail", `topic/${id}`);
    page.topics.set(found.topic, found.name);
    listChips();
    const facts = `${count(found.rows, noun())} (${percent(found.share)})`;
    showDetails(
      el("p", { className: "kicker" }, "Topic"),
      el("h2", {}, found.name || `topic ${found.topic}`),
      el("p", { className: "muted small" }, facts),
      found.has_rows ? topicFilter(found.topic) : null,
      ...section("Findings", found.findings.map(nano.sentence)),
      ...section("Its features", found.features.map(featureOfTopic)),
      ...section("Its words", found.words.length ? [found.words.join(", ")] : []),
      ...section(
        "Most typical",
        found.examples.map(({ row, text }) => textButton(row, text, null, found.words)),
      ),
    );
    say(`Topic ${found.name}`);
  });

const topicFilter = (id) => {
  const filtered = page.view.topic === id;
  const text = filtered ? "Remove this filter" : `Show its ${noun()}s`;
  const toggle = () => go(filtered ? { topic: null } : { topic: id, pane: "rows" });
  const more = { "aria-pressed": String(filtered) };
  return el("div", { className: "actions" }, button(filtered ? "" : "primary", text, toggle, more));
};

const featureOfTopic = ([id, name, rows]) =>
  el("div", { className: "pair" }, featureLink(id, name), el("span", { className: "mono" }, count(rows, noun())));

/** A heading and a list; nothing if the list is empty. */
const section = (title, items) => (items.length ? [heading(title), list(items)] : []);

// ── a comparison of the selection with the other texts ──

const showContrast = () =>
  trying(body, async () => {
    const waiting = "Comparing the selection with all others…";
    showDetails(el("p", { className: "busy", role: "status" }, waiting));
    const found = await ask("detail", "contrast", { where: where() });
    const findings = found.findings.map(finding);
    showDetails(
      el("h2", {}, `What distinguishes ${count(found.rows, noun())}`),
      el("p", { className: "muted small" }, howCompared(found)),
      findings.length ? list(findings) : el("p", {}, "Nothing differs by more than chance would explain."),
    );
    say(count(findings.length, "finding"));
  });

const howCompared = ({ compared, notes, tests }) => {
  const [selected, others] = compared;
  return (
    `${count(selected, noun())} of the selection (blue) against ${count(others, "other")} (grey). ` +
    `Features and topics of enough ${noun()}s were tested, ${fmt(tests)} in all; odds ratios have 95 % confidence intervals. ${notes.join(" ")}`
  );
};

const finding = (found) => {
  const interval = `${fmt(found.odds_low)} to ${fmt(found.odds_high)}`;
  const q = found.q < SMALL_Q ? `q < ${SMALL_Q}` : `q = ${fmt(found.q, 2)}`;
  const odds = `odds ratio ${fmt(found.odds_ratio)} (${interval}), ${q}`;
  const width = (share) => ({ width: `${100 * share}%` });
  return el(
    "div",
    {},
    foundName(found),
    el(
      "div",
      { className: "odds" },
      el("span", {}, percent(found.share)),
      el("i", { style: width(found.share) }),
      el("span", {}, percent(found.share_rest)),
      el("i", { className: "rest", style: width(found.share_rest) }),
    ),
    el("div", { className: "muted small" }, odds),
  );
};

/** Name a feature with its links, or a topic. */
const foundName = ({ feature, topic, label }) => {
  if (feature < 0) {
    const open = button("link", `Topic “${label}”`, () => openTopic(topic));
    return el("div", { className: "pair" }, open);
  }
  const filter = button("link small", "filter", () => toggleFilter(feature), {
    "aria-label": `Filter by ${label}`,
  });
  return el("div", { className: "pair" }, featureLink(feature, label), filter);
};

// ── what is open ──

const showGlance = () =>
  trying(body, async () => {
    const { counts, topics, findings } = await ask("detail", "glance");
    const most = Math.max(...topics.map((topic) => topic.rows), 1);
    const lineOf = ({ topic, name, rows }) =>
      counted(name, count(rows, noun()), rows / most, "Open the topic", () => openTopic(topic));
    const summaries = el("div");
    showDetails(
      el("h2", {}, "At a glance"),
      el(
        "div",
        { className: "tiles" },
        counts.map(([name, value]) => nano.tile(name, fmt(value))),
      ),
      ...section("Biggest topics", topics.slice(0, FIRST_TOPICS).map(lineOf)),
      topics.length > FIRST_TOPICS ? allTopics(topics, lineOf) : null,
      ...section("Findings", findings.map(findingLine)),
      summaries,
      el("p", { className: "muted small" }, HELP),
    );
    await trying(summaries, async () => {
      const { columns } = await ask("detail", "columns");
      summaries.replaceChildren(...columns.flatMap(columnParts));
    });
  });

const allTopics = (topics, lineOf) => {
  const all = button("link small", `Show all ${topics.length} topics`, () => {
    const whole = list(topics.map(lineOf));
    all.previousSibling.replaceWith(whole);
    all.remove();
    $("button", whole.children[FIRST_TOPICS]).focus();
  });
  return all;
};

/** Something that rows have in common, as a button: its name, its size, and a bar. */
const counted = (name, size, width, title, onclick) =>
  el(
    "button",
    { className: "counted", title, onclick },
    el("span", { className: "text" }, name),
    el("span", { className: "mono" }, size),
    el("span", { className: "share", style: { width: `${100 * width}%` } }),
  );

/** A metadata column: its commonest values, which filter, or a histogram; its name colours the map. */
const columnParts = ({ name, values, n_values, histogram, ends }) => {
  const paint = () => go({ color: `column:${name}`, pane: "map" });
  const title = el("h3", {}, button("link", name, paint, { title: "Colour the map by it" }));
  if (histogram) return [title, ...nano.histogram(histogram, name, ends.map(endOf))];
  const [[, most]] = values;
  const lines = values.map(([value, share]) => {
    const select = () => go({ value: [name, value], pane: "rows" });
    return counted(value, percent(share), share / most, `Only ${value}`, select);
  });
  const others = n_values - values.length;
  const rest = others ? el("p", { className: "muted small" }, `and ${count(others, "other value")}`) : "";
  return [title, list(lines), rest];
};

/** A sentence that opens the feature or the topic that it is about, if any. */
const findingLine = ({ sentence, feature = null, topic = null }) => {
  const text = nano.sentence(sentence);
  if (feature === null && topic === null) return text;
  const open = () => (feature === null ? openTopic(topic) : openFeature(feature));
  const title = `Open the ${feature === null ? "topic" : "feature"}`;
  return button("link plain-text", text, open, { title });
};

/** What shows the details that the view says are open. */
const showParts = () => {
  if (opened("feature") !== null) return showFeature(opened("feature"));
  if (opened("topic") !== null) return showTopic(opened("topic"));
  if (opened("row") !== null) return showRow(opened("row"));
  if (opened("query") !== null) return showQuery(opened("query"));
  if (opened("contrast") !== null) return showContrast();
  return showGlance();
};

let latest = null; // what promises the details that are awaited
/** Show what the view says is open. */
export const showOpen = async () => {
  stopSteering();
  $("#detail-head").hidden = !page.view.open;
  $("#detail .problem").replaceChildren();
  awaitDetails(true);
  const shown = showParts();
  latest = shown;
  await shown;
  if (latest === shown) awaitDetails(false); // also after an error
};
