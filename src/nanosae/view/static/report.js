"use strict";
/* The report: sections are filled from the data blocks; what is not there stays hidden. */
(() => {
  const { data, el, $, fmt, percent, plot } = nano;
  const facts = data("facts"), columns = data("features"), n = columns.feature?.length ?? 0;
  const place = new Map((columns.feature || []).map((j, i) => [j, i]));
  const get = (name, i) => columns[name]?.[i] ?? null;
  const label = (j) => get("label", place.get(j)) || `feature ${j}`;
  const families = data("families"), topics = data("topics");
  const familyName = new Map((families || []).map((f) => [f.family, f.label || `family ${f.family}`]));
  const words = (name) => name.replace(/^-?\d+_/, "").replaceAll("_", ", "); // of a topic: 3_money_use
  const topicName = new Map((topics || []).map(([t, , name]) => [t, words(name)]));
  const reveal = (id) => {
    $(`#${id}`).hidden = false;
    return $(`#${id}`);
  };
  const go = (j, text = label(j)) => el("button", { className: "chip", onclick: () => open(j) }, text);

  /* summary */
  const config = facts.config || {}, past = data("training"), corpus = facts.corpus;
  const shape = config.hidden_size ? `${fmt(config.input_size)} → ${fmt(config.hidden_size)} features` : "";
  const sparsity = config.k ? `k = ${config.k}` : config.l1_coefficient ? `l1_coefficient = ${config.l1_coefficient}` : "";
  $("#title").textContent = facts.name;
  $("#what").textContent = [`${config.activation || "an"} SAE`, shape, sparsity, config.encoder && `on embeddings by ${config.encoder}`,
    corpus && `read through ${fmt(corpus.rows)} rows of “${corpus.name}”`].filter(Boolean).join(" · ");
  const labelled = (columns.label || []).filter(Boolean).length;
  const last = past.lines.at(-1), final = last?.final;
  $("#tiles").append(...[
    last && [final ? "FVU on held-out rows" : "FVU on training rows so far", fmt(last.fvu)],
    last && ["active features per row", fmt(last.l0)],
    last && ["dead features", percent(last.dead)],
    last && [final ? "training rows seen" : "training rows seen so far", fmt(last.rows)],
    corpus && ["rows encoded", fmt(corpus.rows)],
    labelled && ["features with a label", fmt(labelled)],
    families && ["families", fmt(families.length)],
  ].filter(Boolean).map((pair) => nano.tile(...pair)));
  if (facts.missing.length) $("#missing").append(el("details", { className: "hint" },
    el("summary", {}, `Not in this run yet: ${facts.missing.map(([what]) => what).join(", ")}`),
    el("ul", {}, facts.missing.map(([what, command]) => el("li", {}, `${what}: `, el("code", {}, command))))));

  /* table */
  const fixed = (name, digits) => (i) => get(name, i)?.toFixed(digits) ?? "–";
  const health = (i) => {
    const state = get("health", i);
    return state && state !== "ok" ? el("span", { className: "chip warn" }, state) : state || "–";
  };
  const TABLE = [
    ["feature", "#", (i) => get("feature", i), "number wide-only"],
    ["label", "Label", (i) => el("button", { className: "link" }, label(get("feature", i))), "label"],
    ["n_active", "Rows", (i) => fmt(get("n_active", i)), "number"],
    ["density", "Density", (i) => `${(100 * get("density", i)).toFixed(2)} %`, "number wide-only"],
    ["max_activation", "Strongest", (i) => fmt(get("max_activation", i)), "number wide-only"],
    ["score", "Label score", fixed("score", 2), "number"],
    ["monosemanticity", "Coherence", fixed("monosemanticity", 3), "number wide-only"],
    ["family", "Family", (i) => familyName.get(get("family", i)) ?? "–", "wide-only"],
    ["topic", "Topic", (i) => topicName.get(get("topic", i)) ?? "–", "wide-only"],
    ["health", "Health", health, "wide-only"],
  ].filter(([name]) => columns[name]?.some((v) => v !== null) && (name !== "health" || columns.health.some((v) => v !== "ok")));
  const state = { words: [], health: "", only: null, sort: null, down: true, shown: 20 };
  const haystack = Array.from({ length: n }, (_, i) =>
    `${get("feature", i)} ${get("label", i) ?? ""} ${get("keywords", i) ?? ""}`.toLowerCase());
  const fits = (i) => state.words.every((word) => haystack[i].includes(word))
    && (!state.health || get("health", i) === state.health)
    && (!state.only || get(state.only[0], i) === state.only[1]);
  const compare = (a, b) => {
    const [u, v] = [get(state.sort, a), get(state.sort, b)];
    if (u === null || v === null) return (u === null) - (v === null);
    return (typeof u === "string" ? u.localeCompare(v) : u - v) * (state.down ? -1 : 1);
  };
  let listed = [];
  const show = () => {
    listed = Array.from({ length: n }, (_, i) => i).filter(fits);
    if (state.sort) listed.sort(compare);
    $("#count").textContent = `${fmt(listed.length)} of ${fmt(n)} features`;
    $("#table tbody").replaceChildren(...listed.slice(0, state.shown).map((i) =>
      el("tr", { className: "pick", onclick: () => open(get("feature", i)) },
        TABLE.map(([, , cell, kind]) => el("td", { className: kind }, cell(i))))));
    $("#more").hidden = listed.length <= state.shown;
    for (const [i, [name]] of TABLE.entries()) $(`#table th:nth-child(${i + 1})`).setAttribute("aria-sort",
      state.sort === name ? (state.down ? "descending" : "ascending") : "none");
    $("#filter").replaceChildren(...(state.only ? [el("button", { className: "chip",
      onclick: () => narrow(null) }, `${state.only[0]}: ${state.only[2]} ✕`)] : []));
    paint();
  };
  const narrow = (only) => {
    Object.assign(state, { only, shown: 20 });
    show();
    if (only) $("#features").scrollIntoView();
  };
  const sortBy = (name) => {
    state.down = state.sort === name ? !state.down : !["feature", "label", "family", "health"].includes(name);
    state.sort = name;
    show();
  };

  /* map */
  const points = data("map");
  let map = null;
  /** Groups in the colours of the palette; numbers from pale to dark, but for the outermost fiftieths. */
  const grouped = (list) => ({ values: list.map((v) => (v === null || v < 0 ? -1 : v % nano.colours.length)),
    legend: { kind: "groups", entries: nano.colours.map((color) => ({ color })) } });
  const scaled = (name) => {
    const list = values(name), known = list.filter((v) => v !== null).sort((a, b) => a - b);
    const [low, high] = [0.02, 0.98].map((share) => known[Math.floor(share * (known.length - 1))]);
    const stops = ({ layout }) => layout.colorscale.sequential.slice(1);
    const { light, dark } = nano.templates;
    return { values: list.map((v) => v ?? NaN), legend: { kind: "scale", low, high, light: stops(light), dark: stops(dark) } };
  };
  /** Names of groups at the middle of their points, those of large groups first. */
  const named = (list, names) => {
    const members = Map.groupBy(list.keys(), (p) => list[p]);
    const middle = (axis, ps) => ps.map((p) => axis[p]).sort((a, b) => a - b)[ps.length >> 1];
    return [...members].filter(([v]) => names.has(v)).sort((a, b) => b[1].length - a[1].length)
      .map(([v, ps]) => ({ text: names.get(v), x: middle(points.x, ps), y: middle(points.y, ps) }));
  };
  const values = (name) => points.place.map((i) => get(name, i));
  const COLOURS = points ? [
    ["clusters of the map", () => grouped(points.cluster), () => points.labels],
    topics && ["topic", () => grouped(values("topic")), () => named(values("topic"), topicName)],
    families && ["family", () => grouped(values("family")), () => named(values("family"), familyName)],
    ["share of rows", () => scaled("density"), () => points.labels],
    columns.score?.some((v) => v !== null) && ["label score", () => scaled("score"), () => points.labels],
  ].filter(Boolean) : [];
  const paint = () => {
    if (!map) return;
    const [, colours, labels] = COLOURS[$("#map-colour").selectedIndex];
    const found = new Set(listed), marks = points.place.map((i) => Number(found.has(i) && listed.length < n));
    map.show(nano.points(points.x, points.y, { sizes: points.sizes, marks, ...colours() }), null, listed.length < n);
    map.label(labels());
  };
  if (points && points.place.length) {
    reveal("map");
    $("#map-note").textContent = `Features near each other have similar directions (${points.method}). `
      + "Larger points are active on more rows. Click one for its card.";
    const density = values("density"), most = Math.max(...density), small = points.place.length > 4000 ? 1 : 1.5;
    points.sizes = density.map((d) => small + Math.round(10 * Math.sqrt(d / most)) / 2);
    map = nano.map($("#map-points"), { page: true, label: "Map of the features; the table below lists the same",
      name: (p) => `${label(get("feature", points.place[p]))}\nfeature ${get("feature", points.place[p])}, `
        + `${percent(get("density", points.place[p]))} of the rows`,
      pick: (p) => open(get("feature", points.place[p])) });
    $("#map-colour").append(...COLOURS.map(([name]) => el("option", {}, name)));
    $("#map-colour").selectedIndex = Math.max(...points.cluster) < 4 && topics ? 1 : 0;
    $("#map-colour").addEventListener("change", paint);
  }

  if (n) {
    reveal("features");
    $("#table thead").append(el("tr", {}, TABLE.map(([name, title, , kind]) =>
      el("th", { className: kind, scope: "col" }, el("button", { onclick: () => sortBy(name) }, title)))));
    const states = [...new Set(columns.health || [])].filter(Boolean).sort();
    $("#health").hidden = states.length < 2;
    $("#health").append(el("option", { value: "" }, "any health"), ...states.map((s) => el("option", {}, s)));
    $("#query").addEventListener("input", (e) => {
      Object.assign(state, { words: e.target.value.toLowerCase().split(/\s+/).filter(Boolean), shown: 20 });
      show();
    });
    $("#health").addEventListener("change", (e) => {
      state.health = e.target.value;
      show();
    });
    $("#more").addEventListener("click", () => {
      state.shown += 100;
      show();
    });
    show();
  }

  /* cards */
  const dialog = $("#card"), CHUNK = facts.chunk;
  let block = { number: -1 };
  const cardOf = async (i) => {
    const number = Math.floor(i / CHUNK);
    if (block.number !== number) {
      if (document.getElementById(`data-cards-${number}`) === null) return null;
      block = { number, ...(await nano.unpack(`cards-${number}`)) };
    }
    return block.cards[i % CHUNK];
  };
  const textList = (title, note, rows, most) => (rows?.length ? [el("h3", {}, title), el("p", { className: "muted small" }, note),
    el("ul", { className: "texts" }, rows.map(([row, act]) => el("li", {},
      el("span", { className: "meter", title: `row ${row}` }, act ? fmt(act) : `row ${row}`,
        el("i", { style: { width: `${100 * act / most}%` } })),
      el("span", { className: "text" }, block.texts[row] || `row ${row}`))))] : []);
  const relatives = (title, pairs) => (pairs?.length ? [el("h3", {}, title), el("div", { className: "chips" },
    pairs.map(([j, value]) => go(j, `${label(j)} ${fmt(value)}`)))] : []);
  const describe = (j, i, card) => {
    const most = get("max_activation", i) || 1, family = families?.find((f) => f.family === get("family", i));
    const known = [["active on", `${fmt(get("n_active", i))} rows (${percent(get("density", i))})`],
      card?.mean_activation !== undefined && ["activation", `${fmt(card.mean_activation)} ± ${fmt(card.std_activation)}, at most ${fmt(most)}`],
      get("score", i) !== null && ["label score", `${fmt(get("score", i))} on rows that did not choose it`],
      get("keywords", i) && ["keywords", get("keywords", i)],
      get("llm_explanation", i) && ["explanation", get("llm_explanation", i)],
      family && ["family", go2(`${family.label} (${family.size} features)`, ["family", family.family, family.label])],
      topics && get("topic", i) !== null && ["topic", go2(topicName.get(get("topic", i)), ["topic", get("topic", i), topicName.get(get("topic", i))])],
      card?.duplicate_of !== undefined && ["duplicate of", go(card.duplicate_of)],
      get("health", i) && ["health", health(i)]].filter(Boolean);
    const parts = [nano.facts(known)];
    if (!card) return [...parts, el("p", { className: "hint" }, facts.missing.some(([what]) => what === "feature cards")
      ? "Its texts and neighbours come with `nanosae describe`, then `nanosae report` again."
      : "It is never active, or its texts were left out to keep this file small.")];
    if (card.histogram.length) parts.push(el("h3", {}, "Activation strengths"), ...nano.histogram(card.histogram, most));
    return [...parts,
      ...textList("Strongest texts", "Where it is most active.", card.top, most),
      ...textList("Across its range", "One text from the middle of each equal band of ranks: what it stands for on most rows.", card.across, most),
      ...textList("Near misses", "Silent here, though these rows are nearest to its direction.", card.near, most),
      ...relatives("Nearest directions (cosine)", card.nearest), ...relatives("Active together (NPMI)", card.coactive),
      ...relatives("Opposite directions (cosine)", card.opposite)];
  };
  const go2 = (text, only) => el("button", { className: "link", onclick: () => {
    dialog.close();
    narrow(only);
  } }, text ?? "–");
  const open = (j) => {
    location.hash = `feature-${j}`;
  };
  const step = (by) => {
    const i = listed.indexOf(place.get(Number(location.hash.slice(9))));
    const next = listed[i + by];
    if (next !== undefined) open(get("feature", next));
  };
  const route = async () => {
    const found = /^#feature-(\d+)$/.exec(location.hash), i = found && place.get(Number(found[1]));
    if (i === null || i === undefined) return dialog.close();
    const j = Number(found[1]), card = await cardOf(i);
    const tool = (text, title, act) => el("button", { title, "aria-label": title, onclick: act }, text);
    dialog.replaceChildren(el("div", { className: "head" }, el("h2", { tabIndex: -1, autofocus: true }, label(j)), tool("‹", "Previous feature", () => step(-1)),
      tool("›", "Next feature", () => step(1)), tool("✕", "Close", () => dialog.close())),
    el("p", { className: "muted small" }, `feature ${j}`), ...describe(j, i, card));
    if (!dialog.open) dialog.showModal();
    $("h2", dialog).focus();
    dialog.scrollTop = 0;
    map?.mark(points.place.indexOf(i));
    return undefined;
  };
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#feature-")) history.replaceState(null, "", location.pathname + location.search);
    map?.mark(null);
  });
  dialog.addEventListener("click", (e) => {
    if (e.target === dialog) dialog.close();
  });
  addEventListener("hashchange", route);

  /* families, topics, contrasts, quality */
  const longList = (node, items, make, first = 8) => {
    node.append(...items.slice(0, first).map(make));
    if (items.length > first) node.append(el("button", { onclick: (e) => {
      e.target.replaceWith(...items.slice(first).map(make));
    } }, `Show all ${fmt(items.length)}`));
  };
  if (families?.length) {
    reveal("families");
    longList($("#family-list"), families, (f) => el("div", { className: "family" },
      el("div", { className: "title" }, el("b", {}, go2(f.label || `family ${f.family}`, ["family", f.family, f.label])),
        el("span", { className: "muted small" }, `${f.size} features · score ${fmt(f.score)}`)),
      el("div", { className: "chips" }, f.members.slice(0, 12).map((j) => go(j)),
        f.members.length > 12 ? el("span", { className: "muted small" }, `and ${f.members.length - 12} more`) : null)));
  }
  if (topics?.length) {
    reveal("topics");
    longList($("#topic-list"), topics, ([t, count, name]) => el("button", { className: "chip",
      onclick: () => narrow(["topic", t, words(name)]) }, `${words(name)} · ${fmt(count)} rows`), 40);
  }
  const figures = data("figures"), contrasts = data("contrasts");
  /** A title in lines of at most so many letters. */
  const broken = (text, most) => text.split(" ").reduce(([...lines], word) => {
    if (lines.length && lines.at(-1).length + word.length < most) lines[lines.length - 1] += ` ${word}`;
    else lines.push(word);
    return lines;
  }, []).join("<br>");
  const draw = (node, name, height) => {
    const figure = figures[name], box = el("div", { className: "plot", role: "img", "aria-label": name });
    node.append(box);
    plot(box, () => {
      const layout = { ...figure.layout, width: undefined, height: figure.layout.height || height };
      for (const axis of ["xaxis", "yaxis"]) if (layout[axis]?.title?.text) layout[axis] = { ...layout[axis],
        title: { ...layout[axis].title, text: broken(layout[axis].title.text, Math.max(20, (box.clientWidth - 130) / 7)) } };
      return { ...figure, layout };
    });
  };
  if (contrasts.length) {
    reveal("contrasts");
    longList($("#contrast-list"), contrasts, (found) => {
      const node = el("div");
      if (figures[found.name]) draw(node, found.name, 420);
      node.append(...(found.sentences.length ? [el("details", {}, el("summary", {}, "In words"),
        el("ol", { className: "plain" }, found.sentences.map((s) => el("li", {}, s))))]
        : [el("h3", {}, found.name), el("p", { className: "muted" }, "Nothing differs by more than chance would.")]));
      return node;
    }, 4);
  }
  const MEASURES = { fvu: "Unexplained variance (lower is better)", cosine: "Cosine with the original",
    "recall@10": "Nearest neighbours kept, of 10", best_feature_f1: "One feature per label, F1", covered: "Labels with a feature of F1 ≥ 0.5",
    "probe_f1@1": "Probe on 1 feature, F1", "probe_f1@5": "Probe on 5 features, F1", "probe_f1@20": "Probe on 20 features, F1",
    intruder_vectors: "Odd one out, by embeddings", intruder_words: "Odd one out, by words", l0: "Active features per row",
    dead: "Dead features", stability: "Stability between SAEs" };
  const KINDS = { codes: "this SAE", dense: "dense vectors", pca: "PCA", random: "random decoder" };
  const evaluation = data("evaluation");
  if (evaluation) {
    reveal("quality");
    const cells = new Map(evaluation.table.map((r) => [`${r.representation}|${r.measure}`, r]));
    const kinds = [...new Set(evaluation.table.map((r) => r.representation))];
    const measures = [...new Set(evaluation.table.map((r) => r.measure))];
    const fill = (node, rows, names) => node.append(el("thead", {}, el("tr", {}, el("th", {}, ""),
      kinds.map((k) => el("th", { className: "number", scope: "col" }, KINDS[k] || k)))),
    el("tbody", {}, rows.map((m) => el("tr", {}, el("td", {}, names[m] || m), kinds.map((k) => {
      const r = cells.get(`${k}|${m}`), range = r && r.low !== null ? `95 %: ${fmt(r.low)} to ${fmt(r.high)}, n = ${fmt(r.n)}` : "";
      return el("td", { className: k === "codes" ? "number better" : "number", title: range }, r ? fmt(r.value) : "–");
    })))));
    fill($("#quality-table"), Object.keys(MEASURES).filter((m) => measures.includes(m)), MEASURES);
    fill($("#quality-all"), measures, {});
    $("#quality-note").textContent = `Measured on ${fmt(evaluation.about.rows)} rows${evaluation.about.labels
      ? `, labels from “${evaluation.about.labels}”` : ""}; what was chosen on one half is measured on the other. `
      + "Rest the pointer on a number for its interval.";
  }
  for (const name of ["density", "l0"]) if (figures[name]) draw(reveal("corpus").querySelector("#figures"), name, 380);

  /* training and how to reproduce it */
  nano.training($("#training")).add(past.lines, past.snapshots);
  const versions = Object.entries(facts.versions || {}).map(([k, v]) => `${k} ${v}`).join(", ");
  $("#how").append(el("pre", {}, facts.commands.join("\n")), nano.facts([
    ["made with", versions && `${versions}; ${facts.threads} threads`], ["data", facts.data],
    ["fingerprint of the data", facts.fingerprint], ["corpus", corpus && `${corpus.name}: ${fmt(corpus.rows)} rows, `
      + `${fmt(corpus.l0)} active features a row, columns ${["text", ...corpus.columns].slice(corpus.texts ? 0 : 1).join(", ") || "none"}`],
  ].filter(([, value]) => value)),
  el("details", {}, el("summary", {}, "All settings"), nano.facts(Object.entries(config).map(([k, v]) => [k, JSON.stringify(v)]), "mono")));
  $("#footer").textContent = `${facts.run} · ${facts.made} · texts are a sample of what each feature `
    + `is active on, cut in length${n < (config.hidden_size ?? 0) && n ? `; the first ${fmt(n)} features are listed` : ""}`;
  for (const section of document.querySelectorAll("[data-nav]")) if (!section.hidden)
    $(".top nav").append(el("a", { href: `#${section.id}` }, section.dataset.nav));
  route();
})();
