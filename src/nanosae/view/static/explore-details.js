/* Details of what is open: a feature's card, a comparison, or where to start. */

import { ask, change, say, trying } from "./explore-ask.js";
import { listChips, listFeatures } from "./explore-lists.js";
import { opened, page, toggleFilter, where } from "./explore-page.js";
import {
  button,
  count,
  featureLink,
  featureName,
  heading,
  list,
  meter,
  noun,
  smallForm,
  star,
  textButton,
} from "./explore-parts.js";
import { showQuery, showRow, stopSteering } from "./explore-steer.js";

const { el, $, fmt, percent } = nano;
const body = $("#detail-body");
const MAX_KEYWORDS = 15;
const EXAMPLES = {
  strongest: "Strongest",
  "from strong to weak": "From strong to weak",
  "near misses": "Near misses: alike, but silent",
  "hard negatives": "Close to its texts, but silent",
};
const START_HERE = [
  "Open a feature: what it stands for, its strongest texts, and where on the map it is active.",
  "Filter by one feature or several, by words, or by a group in the legend.",
  "Open a text, move its features, and watch the ranking follow.",
  "Draw a lasso on a map and see what distinguishes the selection.",
  "Bookmark and name features, tag texts, and take them away as a CSV.",
];

const replaceBody = (...parts) => {
  body.replaceChildren(...parts);
  body.scrollTop = 0;
};

// ── a feature ──

const showFeature = (id) =>
  trying(body, async () => {
    const card = await ask("detail", `card/${id}`);
    page.names.set(card.feature, card.name);
    replaceBody(
      kicker(card),
      el("h2", {}, featureName(card.feature, card.name)),
      activity(card),
      actions(card),
      heading("How strongly it is active"),
      ...nano.histogram(card.histogram, card.max, card.mean),
      ...examples(card),
      ...relations(card),
    );
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

const activity = ({ rows, density, facts }) => {
  const score = facts.label_auc?.toFixed(2);
  const words = facts.label_auc ? ` · its label finds unseen texts with AUC ${score}` : "";
  const text = `Active on ${count(rows, noun())} (${percent(density)})${words}`;
  return el("p", { className: "muted small" }, text);
};

const actions = ({ feature, name, named }) => {
  const filtered = page.view.f.includes(feature);
  const filter = button(
    filtered ? "" : "primary",
    filtered ? "Do not filter by it" : `Filter ${noun()}s by it`,
    () => toggleFilter(feature),
    { "aria-pressed": String(filtered) },
  );
  const giveBack = () => renameFeature(feature, "");
  const field = { value: name, maxlength: "200", "aria-label": "Name of this feature" };
  return el(
    "div",
    { className: "actions" },
    filter,
    named ? el("button", { onclick: giveBack }, "Give its label back") : null,
    smallForm(field, "Rename", (text) => renameFeature(feature, text)),
  );
};

const renameFeature = (id, name) =>
  trying(body, async () => {
    await change("rename", "rename", { feature: id, name });
    say(name ? "Renamed" : "The label is back");
    await Promise.all([showFeature(id), listFeatures()]);
    listChips();
  });

const examples = (card) =>
  Object.entries(card.examples).flatMap(([kind, lines]) => {
    const texts = lines.map(({ row, text, activation }) =>
      textButton(row, text, meter(activation, card.max)),
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

// ── a comparison of the selection with the other texts ──

const showContrast = () =>
  trying(body, async () => {
    const waiting = "Comparing the selection with all others…";
    body.replaceChildren(el("p", { className: "busy", role: "status" }, waiting));
    const found = await ask("detail", "contrast", { where: where() });
    const findings = found.findings.map(finding);
    replaceBody(
      el("h2", {}, `What distinguishes ${count(found.rows, noun())}`),
      el("p", { className: "muted small" }, howCompared(found)),
      findings.length ? list(findings) : el("p", {}, "Nothing differs by more than chance would."),
    );
    say(count(findings.length, "finding"));
  });

const howCompared = ({ compared, held_out: heldOut, notes }) => {
  const [selected, others] = compared;
  return (
    `${count(selected, noun())} of the selection (blue) against ${count(others, "other")} (grey). ` +
    "Features were chosen on one half; the figures are of the other, " +
    `${count(heldOut, noun())} that chose nothing. ${notes.join(" ")}`
  );
};

const finding = (found) => {
  const filter = button("link small", "filter", () => toggleFilter(found.feature), {
    "aria-label": `Filter by ${found.label}`,
  });
  const interval = `95 % CI ${fmt(found.odds_low)} to ${fmt(found.odds_high)}`;
  const odds = `odds ratio ${fmt(found.odds_ratio)} (${interval}), q = ${fmt(found.q, 2)}`;
  const width = (share) => ({ width: `${100 * share}%` });
  return el(
    "div",
    {},
    el("div", { className: "pair" }, featureLink(found.feature, found.label), filter),
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

// ── what is open ──

const showNothing = () => {
  const note = "The address of this page always leads back to what you see. Press / to search.";
  body.replaceChildren(
    el("h2", {}, "Where to start"),
    list(START_HERE),
    el("p", { className: "muted small" }, note),
  );
};

/** Show what the view says is open. */
export const showOpen = () => {
  stopSteering();
  if (opened("feature") !== null) return showFeature(opened("feature"));
  if (opened("row") !== null) return showRow(opened("row"));
  if (opened("query") !== null) return showQuery(opened("query"));
  if (opened("contrast") !== null) return showContrast();
  return showNothing();
};
