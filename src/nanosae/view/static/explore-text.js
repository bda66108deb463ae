/* One text: its words that stand for a feature, and the sentences that make the feature active. */

import { ask, say, trying } from "./explore-ask.js";
import { opened, page } from "./explore-page.js";
import { button, featureName, marked } from "./explore-parts.js";

const { el, percent } = nano;
const FOLDED_LETTERS = 900; // of a text that is shown folded
const CHOICES = 12; // of its features, that the sentences can be weighed for
const MUCH = 0.5; // share of the activation that is lost without a sentence
const SOME = 0.15;

/** The parts of the details that show a text. */
export const textParts = (row) => {
  if (!row.text) return [];
  const isLong = row.text.length > FOLDED_LETTERS;
  const about = { tabindex: "0", role: "group", "aria-label": "The text" };
  const whole = el("p", { className: isLong ? "whole folded" : "whole", ...about });
  const [first] = row.features;
  const from = comesFrom(row) ?? first;
  whole.replaceChildren(...(from ? marked(row.text, wordsOf(from)) : [row.text]));
  return [whole, isLong ? unfold(whole) : "", row.features.length ? marking(row, from, whole) : ""];
};

/** The feature whose card was open before, if the text has it. */
const comesFrom = (row) => row.features.find(([id]) => id === page.lastFeature);

const wordsOf = ([id, name]) => page.words.get(id) || (name ? name.split(", ") : []);

const unfold = (whole) => {
  const more = button("link small", "Show the whole text", () => {
    const isFolded = whole.classList.toggle("folded");
    more.textContent = isFolded ? "Show the whole text" : "Fold the text";
    more.setAttribute("aria-expanded", String(!isFolded));
  });
  more.setAttribute("aria-expanded", "false");
  return more;
};

/** A choice of the feature whose words are marked, and what finds the sentences it rests on. */
const marking = (row, from, whole) => {
  const note = el("p", { className: "muted small", role: "status" });
  const options = row.features
    .slice(0, CHOICES)
    .map(([id, name]) => el("option", { value: String(id) }, featureName(id, name)));
  const choice = el("select", { "aria-label": "Feature whose words are marked" }, options);
  choice.value = String(from[0]);
  if (choice.selectedIndex < 0) choice.selectedIndex = 0;
  const chosen = () => row.features.find(([id]) => String(id) === choice.value);
  choice.addEventListener("change", () => {
    note.textContent = "";
    whole.replaceChildren(...marked(row.text, wordsOf(chosen())));
  });
  const weigh = button("", "Which sentences?", () =>
    trying(note, async () => {
      note.textContent = "Encoding the text without each of its sentences…";
      const [feature] = chosen();
      const found = await ask("sentences", "sentences", { row: row.row, feature });
      const isAwaited = opened("row") === String(row.row) && chosen()[0] === feature;
      if (!isAwaited) return;
      whole.replaceChildren(...found.sentences.map(sentence));
      note.textContent = "Marked: sentences without which the feature loses activation.";
      say(note.textContent);
    }),
  );
  weigh.title = "Encode the text again without each of its sentences";
  const tools = el("div", { className: "tools marking" }, choice, row.weighable ? weigh : null);
  return el("div", {}, tools, note);
};

const sentence = ([text, drop]) => {
  if (drop < SOME) return text;
  const title = `Without this sentence ${percent(Number(drop.toFixed(2)))} of the activation is lost`;
  return el("mark", { className: drop < MUCH ? "some" : "much", title }, text);
};
