"use strict";
/* The report: sections are filled from the data blocks; what is not there stays hidden. */
(() => {
  const { data, el, $, fmt, percent } = nano;
  const { report } = nano;
  const { facts, columns, families, topics, n, count } = report;
  const config = facts.config || {};
  const corpus = facts.corpus;
  const training = data("training");
  const BIGGEST_TOPICS = 5; // at the top

  /** What the run is about, in plain words. */
  const summary = () => {
    const parts = [];
    if (corpus) parts.push(report.countRows(corpus.rows));
    const active = columns.n_active?.filter((rows) => rows > 0).length ?? n;
    if (active) parts.push(`${count(active, "feature")} found in ${corpus?.rows === 1 ? "it" : "them"}`);
    if (topics?.length) parts.push(count(topics.length, "topic"));
    return parts.join(" · ") || "nothing is encoded yet";
  };
  /** The largest topics, each a link to its card; nothing if the findings begin with them. */
  const biggestTopics = () => {
    if (data("findings").length && !facts.findings) return [];
    const named = (topics ?? []).filter(({ name }) => name).slice(0, BIGGEST_TOPICS);
    const links = named.flatMap(({ topic, rows, name }, i) => [
      i ? "; " : "",
      el("a", { className: "link", href: `#topic-${topic}` }, el("bdi", {}, name)),
      ` (${report.shareOf(rows)})`,
    ]);
    return links.length ? ["Biggest topics: ", ...links] : [];
  };
  /** What was trained, on what. */
  const trained = () => {
    const parts = [`${config.activation ?? "a"} sparse autoencoder`];
    if (config.hidden_size) {
      parts.push(`${fmt(config.input_size)} → ${fmt(config.hidden_size)} features`);
    }
    if (config.k) parts.push(`k = ${config.k}`);
    else if (config.l1_coefficient) parts.push(`l1_coefficient = ${config.l1_coefficient}`);
    if (config.embedder) parts.push(`on embeddings by ${config.embedder}`);
    return parts.join(" · ");
  };
  const tiles = () => {
    const last = training.lines.at(-1);
    const labelled = (columns.label || []).filter(Boolean).length;
    const found = [];
    if (last) {
      const { final } = last;
      const measured = final ? "FVU on held-out rows" : "FVU on training rows so far";
      if (Number.isFinite(last.fvu)) found.push([measured, fmt(last.fvu)]); // too few rows have none
      found.push(["active features per row", fmt(last.l0)]);
      found.push(["dead features", percent(last.dead)]);
      found.push([final ? "training rows seen" : "training rows seen so far", fmt(last.rows)]);
    }
    if (corpus) found.push(["rows encoded", fmt(corpus.rows)]);
    if (labelled) found.push(["features with a label", fmt(labelled)]);
    if (families) found.push(["families", fmt(families.length)]);
    return found.map(([name, value]) => nano.tile(name, value));
  };
  /** What the run lacks, and the commands that add it. */
  const missing = () => {
    const names = facts.missing.map(([what]) => what).join(", ");
    const lines = facts.missing.map(([what, command]) =>
      el("li", {}, `${what}: `, el("code", {}, command)),
    );
    return el(
      "details",
      { className: "hint" },
      el("summary", {}, `Not in this run yet: ${names}`),
      el("ul", {}, lines),
    );
  };

  const corpusFacts = () => {
    if (!corpus) return null;
    const names = corpus.texts ? ["text", ...corpus.columns] : corpus.columns;
    return (
      `${corpus.name}: ${fmt(corpus.rows)} rows, ${fmt(corpus.l0)} active features a row, ` +
      `columns ${names.join(", ") || "none"}`
    );
  };
  /** How to make the run again: commands, versions, settings. */
  const reproduction = () => {
    const versions = Object.entries(facts.versions || {}).map(([name, v]) => `${name} ${v}`);
    const madeWith = versions.length && `${versions.join(", ")}; ${facts.threads} threads`;
    const known = [
      ["made with", madeWith],
      ["data", facts.data],
      ["fingerprint of the data", facts.fingerprint],
      ["corpus", corpusFacts()],
    ].filter(([, value]) => value);
    const settings = Object.entries(config).map(([name, v]) => [name, JSON.stringify(v)]);
    return [
      el("pre", {}, facts.commands.join("\n")),
      nano.facts(known),
      el("details", {}, el("summary", {}, "All settings"), nano.facts(settings, "mono")),
    ];
  };
  const footer = () => {
    const isCut = n > 0 && n < (config.hidden_size ?? 0);
    const listed = isCut ? `; the first ${fmt(n)} features are listed` : "";
    const texts = "texts are a sample of what each feature is active on, cut in length";
    return `${facts.run} · ${facts.made} · ${texts}${listed}`;
  };
  const showNavigation = () => {
    for (const section of document.querySelectorAll("[data-nav]")) {
      if (section.hidden) continue;
      $(".top nav").append(el("a", { href: `#${section.id}` }, section.dataset.nav));
    }
  };

  $("#title").textContent = facts.name;
  $("#what").textContent = summary();
  $("#biggest").append(...biggestTopics());
  $("#trained").textContent = trained();
  $("#tiles").append(...tiles());
  report.showFindings();
  if (facts.missing.length) $("#missing").append(missing());
  report.showMap();
  report.showTable();
  report.showSections();
  nano.training($("#training")).add(training.lines, training.snapshots);
  $("#how").append(...reproduction());
  $("#footer").textContent = footer();
  showNavigation();
  report.followAddress();
})();
