/* Words and small elements that several parts of the explorer's page use. */

import { change, say, tryingBeside } from "./explore-ask.js";
import { openFeature, openRow, page } from "./explore-page.js";

const { el, $, fmt } = nano;

export const count = (n, one) => `${fmt(n)} ${one}${n === 1 ? "" : "s"}`;
export const noun = () => (page.state.texts ? "text" : "row");
/** An end of a scale; years have no thousands. */
export const endOf = (value) =>
  Number.isInteger(value) && Math.abs(value) < 10_000 ? String(value) : fmt(value);
export const featureName = (id, name) => name || `feature ${id}`;

export const heading = (title) => el("h3", {}, title);
export const list = (items) =>
  el(
    "ul",
    { className: "plain" },
    items.map((item) => el("li", {}, item)),
  );
export const button = (className, text, onclick, more = {}) =>
  el("button", { className, onclick, ...more }, text);

/** Put other children, without listeners, into a node; equal ones stay, and what is chosen in them. */
export const refill = (node, children) => {
  const other = el(node.tagName, {}, children);
  if (other.innerHTML !== node.innerHTML) node.replaceChildren(...other.childNodes);
};

/** Say that other details are awaited, or no longer. */
export const awaitDetails = (on) => $("#detail").setAttribute("aria-busy", String(on));

/** Show other details; if the focus was in the earlier ones, it moves to the frame of both. */
export const showDetails = (...parts) => {
  const body = $("#detail-body");
  const hadFocus = body.contains(document.activeElement);
  awaitDetails(false);
  body.replaceChildren(...parts.filter((part) => part !== null)); // it would be shown as "null"
  body.scrollTop = 0;
  if (hadFocus) $("#detail").focus({ preventScroll: true });
};

/** A form of one field and a button; `act` takes what was typed. */
export const smallForm = (field, text, act) => {
  const input = el("input", { type: "text", ...field });
  const onsubmit = (event) => {
    event.preventDefault();
    act(input.value);
  };
  return el("form", { onsubmit }, input, el("button", {}, text));
};

export const featureLink = (id, name) =>
  button("link", featureName(id, name), () => openFeature(id));

/** A text in pieces, some of these words marked; of nothing else than text and marks. */
export const marked = (text, words) => {
  const known = words.filter((word) => word.length > 1).sort((a, b) => b.length - a.length);
  if (!known.length) return [text];
  const escaped = known.map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(${escaped.join("|")})(?![\\p{L}\\p{N}])`, "giu");
  return text.split(pattern).map((part, i) => (i % 2 ? el("mark", {}, part) : part));
};

/** A text as a button that opens it; `before` stands in front. */
export const textButton = (row, text, before, words = []) =>
  el(
    "button",
    { className: "example", onclick: () => openRow(row) },
    before,
    el("span", { className: "text" }, text ? marked(text, words) : `row ${row}`),
  );

/** The score of a label, if it has one, and whether it is doubtful. */
export const labelScore = ({ score, doubtful }) => {
  const title = "How well the label alone finds unseen texts with the feature: 1 is always";
  const doubtTitle = "On unseen texts it is not shown that the label fits";
  return [
    score === null ? null : el("span", { title }, `label score ${score.toFixed(2)}`),
    doubtful ? el("span", { className: "doubt", title: doubtTitle }, "doubtful") : null,
  ];
};

/** How strongly a text activates a feature: a number and a bar. */
export const meter = (activation, most) =>
  el(
    "span",
    { className: "meter" },
    nano.strength(activation),
    el("i", { style: { width: `${(100 * activation) / (most || 1)}%` } }),
  );

/** A star that sets and removes a bookmark. */
export const star = (id, on) => {
  const onclick = (event) => {
    const now = event.currentTarget.getAttribute("aria-pressed") !== "true";
    tryingBeside(event.currentTarget, () => bookmark(id, now));
  };
  const label = `Bookmark ${id}`;
  const more = { "aria-pressed": String(on), "aria-label": label, title: "Bookmark" };
  return button("star", on ? "★" : "☆", onclick, more);
};

const bookmark = async (id, on) => {
  await change("bookmark", { feature: id, on });
  for (const other of document.querySelectorAll(`[aria-label="Bookmark ${id}"]`)) {
    other.setAttribute("aria-pressed", String(on));
    other.textContent = on ? "★" : "☆";
  }
  say(on ? "Bookmarked" : "Bookmark removed");
};

/** A condition or tag with a button that removes it. */
export const chip = (text, title, drop) =>
  el(
    "span",
    { className: "chip" },
    el("span", { dir: "auto" }, text),
    button("drop", "×", drop, { "aria-label": title }),
  );
