"use strict";
/* What was found, in sentences whose labels open a card; and what the terms mean. */
(() => {
  const { data, el, $, fmt } = nano;
  const { report } = nano;
  const { reveal, placeOf } = report;
  const FIRST = 10;
  const areJudged = report.columns.llm_explanation?.some(Boolean); // labels by a language model
  const OF_JUDGED = " The score of a language model's label is the F1 of its judgements.";

  /* one line each; also shown where the pointer rests on a term */
  const TERMS = {
    Feature: "Something that a group of texts has in common, found without being told what to look for.",
    Label: "The words that tell a feature's texts from all others, chosen by a program.",
    "Label score":
      "How well the label alone finds the feature's texts among texts that it was not chosen on: 0.5 is chance, 1 is always." +
      (areJudged ? OF_JUDGED : ""),
    Rows: "The number of texts that have a feature.",
    Density: "The share of the texts that have a feature.",
    Strongest: "The strongest activation of a feature; activations are comparable within a feature only.",
    Coherence: "How alike the texts of a feature are among each other, compared with texts at random.",
    Topic: "A group of similar texts, with the features that set it apart; every text is in one.",
    Family: "Features that occur in the same texts, under a broader one.",
    Health: "Whether a feature is usable: dead ones are in no text, dense ones in nearly all.",
  };

  /** The address of the card of what a finding is about; null if there is none. */
  const address = ({ feature, topic }) => {
    if (report.topicName.has(topic)) return `#topic-${topic}`;
    return placeOf.has(feature) ? `#feature-${feature}` : null;
  };
  /** A sentence whose label, in “…”, opens the card of its feature or topic. */
  const sentence = (found) => {
    const text = found.sentence;
    const quoted = `“${found.label}”`;
    const at = text.indexOf(quoted);
    const href = address(found);
    if (at < 0 || href === null) return el("li", {}, nano.sentence(text));
    // a button would not break with the line
    const link = el("a", { className: "link", href }, "“", el("bdi", {}, found.label), "”");
    const before = nano.sentence(text.slice(0, at));
    return el("li", {}, before, link, nano.sentence(text.slice(at + quoted.length)));
  };
  /** What the list holds: findings of comparisons, then sentences on the texts as a whole. */
  const whatIsListed = (nListed, onColumns) => {
    const nTested = report.facts.findings;
    if (!nTested) return "What the texts are about as a whole";
    const isCut = nListed < nTested;
    const most = isCut ? `The ${fmt(nListed)} most telling` : "The most telling";
    const ofTested = nTested > 1 ? `${most} of ${fmt(nTested)} findings` : "The only finding";
    const onAll = nListed > nTested ? ", then what the texts are about as a whole" : "";
    const all = isCut ? "; findings.parquet in the run folder has all" : "";
    return `${ofTested}${onColumns}${onAll}${all}`;
  };
  const showFindings = () => {
    const findings = data("findings");
    if (!findings?.length) return;
    reveal("findings");
    const columns = [...new Set(findings.map(({ column }) => column).filter(Boolean))];
    const names = columns.map((name) => (name.includes(" ") ? `“${name}”` : name));
    const onColumns = names.length ? ` on ${names.join(", ")}` : "";
    $("#findings-note").textContent = `${whatIsListed(findings.length, onColumns)}. Click on a label to see more of it.`;
    const list = $("#finding-list");
    list.append(...findings.slice(0, FIRST).map(sentence));
    if (findings.length <= FIRST) return;
    const onclick = (event) => {
      list.append(...findings.slice(FIRST).map(sentence));
      event.target.remove();
    };
    list.after(el("button", { onclick }, `Show ${fmt(findings.length - FIRST)} more`));
  };
  const showTerms = () => {
    const used = { ...TERMS };
    if (!report.families?.length) delete used.Family;
    if (!report.topics?.length) delete used.Topic;
    const shown = ["Feature", "Label", "Label score", "Density", "Topic", "Family"];
    const lines = shown
      .filter((term) => term in used)
      .flatMap((term) => [el("dt", {}, term), el("dd", {}, used[term])]);
    $("#term-list").append(...lines);
  };

  /** What a term means, for the pointer that rests on it. */
  report.meaning = (term) => TERMS[term] ?? null;
  report.showFindings = () => {
    showFindings();
    showTerms();
    for (const heading of document.querySelectorAll("section h2")) {
      const term = heading.textContent.replace(/ies$/, "y").replace(/s$/, "");
      if (TERMS[term]) heading.title = TERMS[term];
    }
  };
})();
