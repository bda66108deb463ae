"use strict";
/* Families, topics, contrasts, quality and the activity on the corpus. */
(() => {
  const { data, el, $, fmt, plot } = nano;
  const { report } = nano;
  const { families, topics, reveal, chip, featureChip, countRows, topicName } = report;
  const figures = data("figures");
  const FIRST_ITEMS = 8;
  const FIRST_TOPICS = 40;
  const FIRST_CONTRASTS = 4;
  const FAMILY_MEMBERS = 12;
  const FIRST_SENTENCES = 8;
  const NAME_LETTERS = 18; // of a name beside a figure on a phone

  /** Put items into a node: the first ones, and a button for the others. */
  const longList = (node, items, make, first = FIRST_ITEMS) => {
    node.append(...items.slice(0, first).map(make));
    if (items.length <= first) return;
    const onclick = (event) => event.target.replaceWith(...items.slice(first).map(make));
    node.append(el("button", { onclick }, `Show all ${fmt(items.length)}`));
  };

  const familyBox = ({ family, label, size, score, members }) => {
    const only = { column: "family", value: family, text: label };
    const link = report.narrowLink(label || `family ${family}`, only);
    const facts = `${report.count(size, "feature")} · score ${fmt(score)}`;
    const others = members.length - FAMILY_MEMBERS;
    return el(
      "div",
      { className: "family" },
      el(
        "div",
        { className: "title" },
        el("b", {}, link),
        el("span", { className: "muted small" }, facts),
      ),
      el(
        "div",
        { className: "chips" },
        members.slice(0, FAMILY_MEMBERS).map((feature) => featureChip(feature)),
        others > 0 ? el("span", { className: "muted small" }, `and ${others} more`) : null,
      ),
    );
  };
  const topicChip = ({ topic, rows }) =>
    chip(topicName.get(topic), ` · ${countRows(rows)}`, () => report.openTopic(topic));

  /** A title in lines of at most so many letters. */
  const broken = (text, most) => {
    const lines = [];
    for (const word of text.split(" ")) {
      const last = lines.at(-1);
      if (last !== undefined && last.length + word.length < most)
        lines.push(`${lines.pop()} ${word}`);
      else lines.push(word);
    }
    return lines.join("<br>");
  };
  /** A text cut to so many letters, but within no entity. */
  const cut = (text, most) =>
    text.length <= most ? text : `${text.slice(0, most - 1).replace(/&\w*$/, "")}…`;
  /** Draw a figure as wide as its node, the titles of its axes broken; panels scroll on a phone. */
  const draw = (node, name, height) => {
    const figure = figures[name];
    const className = figure.layout.xaxis2 ? "plot panels" : "plot";
    const box = el("div", { className, role: "img", "aria-label": name });
    node.append(el("div", { className: "scroll" }, box));
    plot(box, () => {
      const letters = Math.max(20, (box.clientWidth - 130) / 7);
      const layout = { ...figure.layout, width: undefined };
      layout.height = figure.layout.height || height;
      for (const axis of ["xaxis", "yaxis"]) {
        const title = layout[axis]?.title;
        if (!title?.text) continue;
        layout[axis] = { ...layout[axis], title: { ...title, text: broken(title.text, letters) } };
      }
      const names = layout.yaxis?.ticktext;
      const most = Math.max(NAME_LETTERS, box.clientWidth / 16); // so that half of it is left
      if (names) layout.yaxis = { ...layout.yaxis, ticktext: names.map((text) => cut(text, most)) };
      return { ...figure, layout };
    });
  };
  const ordered = (sentences) =>
    el(
      "ol",
      { className: "plain" },
      sentences.map((sentence) => el("li", {}, nano.sentence(sentence))),
    );
  const contrastBox = ({ name, sentences, statistics }) => {
    const node = el("div", {}, el("h3", {}, name));
    if (!sentences.length) {
      const nothing = "Nothing differs by more than chance would explain.";
      node.append(el("p", { className: "muted" }, nothing));
      return node;
    }
    node.append(ordered(sentences.slice(0, FIRST_SENTENCES)));
    if (sentences.length > FIRST_SENTENCES) {
      const others = ordered(sentences.slice(FIRST_SENTENCES));
      others.start = FIRST_SENTENCES + 1;
      const more = `${fmt(sentences.length - FIRST_SENTENCES)} more`;
      node.append(el("details", {}, el("summary", {}, more), others));
    }
    const numbers = el("details", {}, el("summary", {}, "The numbers behind"));
    const show = () => {
      if (figures[name]) draw(numbers, name, 420);
      numbers.append(ordered(statistics));
    };
    numbers.addEventListener("toggle", show, { once: true }); // it has no width before
    node.append(numbers);
    return node;
  };

  const MEASURES = {
    fvu: "Unexplained variance (lower is better)",
    cosine: "Cosine with the original",
    "recall@10": "Nearest neighbours kept, of 10",
    best_feature_f1: "One feature per class, F1",
    covered: "Classes with a feature of F1 ≥ 0.5",
    "probe_f1@1": "Probe on 1 feature, F1",
    "probe_f1@5": "Probe on 5 features, F1",
    "probe_f1@20": "Probe on 20 features, F1",
    intruder_vectors: "Odd one out, by embeddings",
    intruder_words: "Odd one out, by words",
    l0: "Active features per row",
    dead: "Dead features",
    stability: "Stability between SAEs",
  };
  const REPRESENTATIONS = {
    codes: "this SAE",
    dense: "dense vectors",
    pca: "PCA",
    random: "random decoder",
  };

  const measureCell = (found, isOurs) => {
    const className = isOurs ? "number better" : "number";
    if (!found) return el("td", { className }, "–");
    const { value, low, high, n } = found;
    const range = low === null ? "" : `95 %: ${fmt(low)} to ${fmt(high)}, n = ${fmt(n)}`;
    return el("td", { className, title: range }, fmt(value));
  };
  /** Fill a table with measures, a line each, of every representation. */
  const fillMeasures = (node, table, measures, names) => {
    const found = new Map(table.map((line) => [`${line.representation}|${line.measure}`, line]));
    const kinds = [...new Set(table.map((line) => line.representation))];
    const heads = kinds.map((kind) =>
      el("th", { className: "number", scope: "col" }, REPRESENTATIONS[kind] || kind),
    );
    const lines = measures.map((measure) => {
      const cells = kinds.map((kind) =>
        measureCell(found.get(`${kind}|${measure}`), kind === "codes"),
      );
      return el("tr", {}, el("td", {}, names[measure] || measure), cells);
    });
    node.append(el("thead", {}, el("tr", {}, el("th", {}, ""), heads)), el("tbody", {}, lines));
  };
  const showQuality = ({ table, about, verdict }) => {
    reveal("quality");
    $("#verdict").append(...verdict.map((line) => el("li", {}, nano.sentence(line))));
    const measures = [...new Set(table.map((line) => line.measure))];
    const known = Object.keys(MEASURES).filter((measure) => measures.includes(measure));
    fillMeasures($("#quality-table"), table, known, MEASURES);
    fillMeasures($("#quality-all"), table, measures, {});
    const classes = about.classes ? `, classes from “${about.classes}”` : "";
    $("#quality-note").textContent =
      `Measured on ${fmt(about.rows)} rows${classes}; what was chosen on one half is measured on ` +
      "the other. Rest the pointer on a number for its interval.";
  };

  report.showSections = () => {
    if (families?.length) {
      reveal("families");
      longList($("#family-list"), families, familyBox);
    }
    if (topics?.length) {
      reveal("topics");
      longList($("#topic-list"), topics, topicChip, FIRST_TOPICS);
    }
    const contrasts = data("contrasts");
    if (contrasts.length) {
      reveal("contrasts");
      longList($("#contrast-list"), contrasts, contrastBox, FIRST_CONTRASTS);
    }
    const evaluation = data("evaluation");
    if (evaluation) showQuality(evaluation);
    for (const name of ["density", "l0"]) {
      if (figures[name]) draw($("#figures", reveal("corpus")), name, 380);
    }
  };
})();
