"use strict";
/* What the report's scripts share: its data blocks, and how features, families and topics are
   called. A feature has a number and a place in the table, the surest labels first. */
nano.report = (() => {
  const { data, el, $, fmt, percent } = nano;
  const facts = data("facts");
  const columns = data("features");
  const families = data("families");
  const topics = data("topics");
  const features = columns.feature || [];
  const placeOf = new Map(features.map((feature, place) => [feature, place]));

  /** A value of the table, null if it is missing. */
  const get = (column, place) => columns[column]?.[place] ?? null;
  const label = (feature) => get("label", placeOf.get(feature)) || `feature ${feature}`;

  const familyName = new Map();
  for (const { family, label: text } of families || []) {
    familyName.set(family, text || `family ${family}`);
  }
  const topicName = new Map();
  for (const { topic, name } of topics || []) topicName.set(topic, name || `topic ${topic}`);

  /** Show a section, and return it. */
  const reveal = (id) => {
    const section = $(`#${id}`);
    section.hidden = false;
    return section;
  };
  /** Open a card: the address says which. */
  const open = (feature) => {
    location.hash = `feature-${feature}`;
  };
  const openTopic = (topic) => {
    location.hash = `topic-${topic}`;
  };
  /** A chip of a name and what is known of it. */
  const chip = (name, fact, onclick) =>
    el("button", { className: "chip", onclick }, el("bdi", {}, name), fact);
  const featureChip = (feature, fact = "") => chip(label(feature), fact, () => open(feature));
  const count = (number, one) => `${fmt(number)} ${one}${number === 1 ? "" : "s"}`;
  /** How many texts these are, or rows if the corpus has none. */
  const countRows = (rows) => count(rows, facts.corpus?.texts ? "text" : "row");
  /** The share of the corpus that these are, as findings write it. */
  const shareOf = (rows) => {
    const share = rows / facts.corpus.rows;
    const isNearlyAll = share >= 0.995; // which two digits would make 100 %
    return nano.sentence(percent(isNearlyAll ? share : Number(share.toPrecision(2))));
  };

  return {
    facts,
    columns,
    families,
    topics,
    n: features.length,
    placeOf,
    get,
    label,
    familyName,
    topicName,
    reveal,
    open,
    openTopic,
    chip,
    featureChip,
    count,
    countRows,
    shareOf,
  };
})();
