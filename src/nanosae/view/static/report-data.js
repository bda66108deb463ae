"use strict";
/* What the report's scripts share: its data blocks, and how features, families and topics are
   called. A feature has a number and a place in the table, the surest labels first. */
nano.report = (() => {
  const { data, el, $ } = nano;
  const columns = data("features");
  const families = data("families");
  const topics = data("topics");
  const features = columns.feature || [];
  const placeOf = new Map(features.map((feature, place) => [feature, place]));

  /** A value of the table, null if it is missing. */
  const get = (column, place) => columns[column]?.[place] ?? null;
  const label = (feature) => get("label", placeOf.get(feature)) || `feature ${feature}`;
  /** The words of a topic, which are stored with its number: 3_money_use. */
  const topicWords = (name) => name.replace(/^-?\d+_/, "").replaceAll("_", ", ");

  const familyName = new Map();
  for (const { family, label: text } of families || []) {
    familyName.set(family, text || `family ${family}`);
  }
  const topicName = new Map();
  for (const [topic, , name] of topics || []) topicName.set(topic, topicWords(name));

  /** Show a section, and return it. */
  const reveal = (id) => {
    const section = $(`#${id}`);
    section.hidden = false;
    return section;
  };
  /** Open a feature's card: the address says which. */
  const open = (feature) => {
    location.hash = `feature-${feature}`;
  };
  const featureChip = (feature, text = label(feature)) =>
    el("button", { className: "chip", onclick: () => open(feature) }, text);

  return {
    facts: data("facts"),
    columns,
    families,
    topics,
    n: features.length,
    placeOf,
    get,
    label,
    topicWords,
    familyName,
    topicName,
    reveal,
    open,
    featureChip,
  };
})();
