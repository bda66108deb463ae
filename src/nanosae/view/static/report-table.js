"use strict";
/* The table of features: searched by words, narrowed to a family or topic, sorted by a column.
   `nano.report.listed` holds the places that it lists; `onList` is called when they change. */
(() => {
  const { el, $, fmt } = nano;
  const { report } = nano;
  const { columns, n, get, label, familyName, topicName, open, reveal } = report;
  const FIRST = 20; // lines shown at first
  const MORE = 100; // lines shown with each press of the button
  const ASCENDING_FIRST = ["feature", "label", "family", "topic", "health"];

  const fixed = (column, digits) => (place) => get(column, place)?.toFixed(digits) ?? "–";
  const health = (place) => {
    const state = get("health", place);
    if (state && state !== "ok") return el("span", { className: "chip warn" }, state);
    return state || "–";
  };
  const labelButton = (place) => {
    const title = "On unseen texts it is not shown that the label fits";
    const doubt = get("doubtful", place) ? el("span", { className: "chip warn", title }, "doubtful") : null;
    return el("span", {}, el("button", { className: "link" }, label(get("feature", place))), doubt);
  };
  const strongest = (place) => {
    const most = get("max_activation", place);
    return most === null ? "–" : nano.strength(most);
  };
  const density = (place) => `${(100 * get("density", place)).toFixed(2)} %`;

  const ALL_COLUMNS = [
    { name: "feature", title: "#", cell: (i) => get("feature", i), kind: "number wide-only" },
    { name: "label", title: "Label", cell: labelButton, kind: "label" },
    { name: "n_active", title: "Rows", cell: (i) => fmt(get("n_active", i)), kind: "number" },
    { name: "density", title: "Density", cell: density, kind: "number wide-only" },
    {
      name: "max_activation",
      title: "Strongest",
      cell: strongest,
      kind: "number wide-only",
    },
    { name: "score", title: "Label score", cell: fixed("score", 2), kind: "number" },
    {
      name: "monosemanticity",
      title: "Coherence",
      cell: fixed("monosemanticity", 3),
      kind: "number wide-only",
    },
    {
      name: "family",
      title: "Family",
      cell: (i) => familyName.get(get("family", i)) ?? "–",
      key: (i) => familyName.get(get("family", i)) ?? null,
      kind: "wide-only",
    },
    {
      name: "topic",
      title: "Topic",
      cell: (i) => topicName.get(get("topic", i)) ?? "–",
      key: (i) => topicName.get(get("topic", i)) ?? null,
      kind: "wide-only",
    },
    { name: "health", title: "Health", cell: health, kind: "wide-only" },
  ];
  const hasNews = ({ name }) => {
    if (name === "label") return true; // it opens the cards
    const nothing = name === "health" ? "ok" : null;
    const values = columns[name] || [];
    return values.some((value) => value !== null) && values.some((value) => value !== nothing);
  };
  const COLUMNS = ALL_COLUMNS.filter(hasNews);
  const isLabelled = columns.label?.some((text) => text !== null);

  /* `only` narrows the table: a column, a value, and what it is called */
  const state = { words: [], health: "", only: null, sort: null, down: true, shown: FIRST };
  const searchable = Array.from({ length: n }, (_, place) => {
    const parts = [get("feature", place), get("label", place) ?? "", get("keywords", place) ?? ""];
    return parts.join(" ").toLowerCase();
  });

  const isWanted = (place) => {
    if (!state.words.every((word) => searchable[place].includes(word))) return false;
    if (state.health && get("health", place) !== state.health) return false;
    return !state.only || get(state.only.column, place) === state.only.value;
  };
  /** Order two places by what the chosen column shows; what is missing comes last. */
  const compare = (a, b) => {
    const { name, key = (place) => get(name, place) } = COLUMNS.find((column) => column.name === state.sort);
    const [u, v] = [key(a), key(b)];
    if (u === null || v === null) return (u === null) - (v === null);
    const order = typeof u === "string" ? u.localeCompare(v) : u - v;
    return state.down ? -order : order;
  };

  const line = (place) => {
    const cells = COLUMNS.map(({ cell, kind }) => el("td", { className: kind }, cell(place)));
    const onclick = () => open(get("feature", place));
    return el("tr", { className: "pick", onclick }, cells);
  };
  const showOrder = () => {
    const direction = state.down ? "descending" : "ascending";
    for (const [i, { name }] of COLUMNS.entries()) {
      const order = state.sort === name ? direction : "none";
      $(`#table th:nth-child(${i + 1})`).setAttribute("aria-sort", order);
    }
  };
  const showFilter = () => {
    const { only } = state;
    const chips = [];
    if (only) {
      const props = { className: "chip", onclick: () => report.narrow(null) };
      chips.push(el("button", props, `${only.column}: `, el("bdi", {}, only.text), " ✕"));
    }
    $("#filter").replaceChildren(...chips);
  };
  const show = () => {
    report.listed = Array.from({ length: n }, (_, place) => place).filter(isWanted);
    if (state.sort) report.listed.sort(compare);
    const order = state.sort ? "" : `, the ${isLabelled ? "surest labels" : "most frequent"} first`;
    $("#count").textContent = `${fmt(report.listed.length)} of ${fmt(n)} features${order}`;
    $("#table tbody").replaceChildren(...report.listed.slice(0, state.shown).map(line));
    $("#more").hidden = report.listed.length <= state.shown;
    showOrder();
    showFilter();
    report.onList();
  };
  const sortBy = (name) => {
    state.down = state.sort === name ? !state.down : !ASCENDING_FIRST.includes(name);
    state.sort = name;
    show();
  };

  const connect = () => {
    $("#query").addEventListener("input", (event) => {
      state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      state.shown = FIRST;
      show();
    });
    $("#health").addEventListener("change", (event) => {
      state.health = event.target.value;
      show();
    });
    $("#more").addEventListener("click", () => {
      state.shown += MORE;
      show();
    });
  };

  report.listed = [];
  report.onList = () => {};
  report.health = health;
  /** List the features of a family or topic only; null: all. */
  report.narrow = (only) => {
    state.only = only;
    state.shown = FIRST;
    show();
    if (only) $("#features").scrollIntoView();
  };
  report.showTable = () => {
    if (!n) return;
    reveal("features");
    const heads = COLUMNS.map(({ name, title, kind }) =>
      el(
        "th",
        { className: kind, scope: "col" },
        el("button", { onclick: () => sortBy(name), title: report.meaning(title) }, title),
      ),
    );
    $("#table thead").append(el("tr", {}, heads));
    const states = [...new Set(columns.health || [])].filter(Boolean).sort();
    $("#health").hidden = states.length < 2;
    $("#health").append(
      el("option", { value: "" }, "any health"),
      ...states.map((text) => el("option", {}, text)),
    );
    connect();
    show();
  };
})();
