"use strict";
/* Cards of features and of topics, in a dialog. The texts of features are packed in blocks, of which
   the last one that was unpacked is kept. */
(() => {
  const { el, $, fmt, percent } = nano;
  const { report } = nano;
  const { facts, families, topics, placeOf, get, label, topicName, open, featureChip } = report;
  const dialog = $("#card");
  const FEATURE = /^#feature-(\d+)$/;
  const TOPIC = /^#topic-(\d+)$/;
  const TOPIC_FEATURES = 12; // that a topic's card shows
  let kept = { number: -1 };

  const blockOf = async (number) => {
    if (kept.number === number) return kept;
    const block = { number, ...(await nano.unpack(`cards-${number}`)) };
    kept = block;
    return block;
  };
  /** The card of a place in the table, with the texts of its block; null if it was left out. */
  const cardAt = async (place) => {
    const number = Math.floor(place / facts.chunk);
    if (document.getElementById(`data-cards-${number}`) === null) return null;
    const { cards, texts } = await blockOf(number); // another one may be kept by now
    const card = cards[place % facts.chunk];
    return card && { ...card, texts };
  };

  const textLine = ([row, activation], most, texts) => {
    const bar = el("i", { style: { width: `${(100 * activation) / most}%` } });
    const strength = activation ? nano.strength(activation) : `row ${row}`;
    return el(
      "li",
      {},
      el("span", { className: "meter", title: `row ${row}` }, strength, bar),
      el("span", { className: "text" }, texts[row] || `row ${row}`),
    );
  };
  const examples = (title, note, rows, most, texts) => {
    if (!rows?.length) return [];
    const lines = rows.map((row) => textLine(row, most, texts));
    return [
      el("h3", {}, title),
      el("p", { className: "muted small" }, note),
      el("ul", { className: "texts" }, lines),
    ];
  };
  const related = (title, pairs) => {
    if (!pairs?.length) return [];
    const chips = pairs.map(([feature, value]) => featureChip(feature, ` ${fmt(value)}`));
    return [el("h3", {}, title), el("div", { className: "chips" }, chips)];
  };

  const link = (parts, onclick) => el("button", { className: "link", onclick }, parts);
  /** A link that closes the card and lists a family or topic only. */
  report.narrowLink = (parts, only) =>
    link(parts, () => {
      dialog.close();
      report.narrow(only);
    });
  const familyLink = (place) => {
    const family = families?.find((found) => found.family === get("family", place));
    if (!family) return null;
    const only = { column: "family", value: family.family, text: family.label };
    const parts = [el("bdi", {}, family.label), ` (${report.count(family.size, "feature")})`];
    return report.narrowLink(parts, only);
  };
  const topicLink = (place) => {
    const topic = get("topic", place);
    if (!topicName.has(topic)) return null;
    return link(topicName.get(topic), () => report.openTopic(topic));
  };

  /** What is known of a feature without its texts, as pairs of a name and a value. */
  const knownFacts = (place, card, most) => {
    const rows = `${report.countRows(get("n_active", place))} (${percent(get("density", place))})`;
    const pairs = [["active on", rows]];
    if (card?.mean_activation !== undefined) {
      const mean = `${fmt(card.mean_activation)} ± ${fmt(card.std_activation)}`;
      pairs.push(["activation", `${mean}, at most ${fmt(most)}`]);
    }
    if (get("score", place) !== null) {
      pairs.push(["label score", `${fmt(get("score", place))} on rows that did not choose it`]);
    }
    pairs.push(["keywords", get("keywords", place)]);
    pairs.push(["explanation", get("llm_explanation", place)]);
    pairs.push(["family", familyLink(place)]);
    pairs.push(["topic", topicLink(place)]);
    if (card?.duplicate_of !== undefined) {
      pairs.push(["duplicate of", featureChip(card.duplicate_of)]);
    }
    if (get("health", place)) pairs.push(["health", report.health(place)]);
    return pairs.filter(([, value]) => value);
  };
  const whyEmpty = (place) => {
    if (get("n_active", place) === 0) return "A dead feature: nothing in this corpus activates it.";
    const notDescribed = facts.missing.some(([what]) => what.startsWith("feature cards"));
    return notDescribed
      ? "Its texts and neighbours come with nanosae describe, then nanosae report again."
      : "Its texts were left out to keep this file small.";
  };
  const describe = (place, card) => {
    const most = get("max_activation", place) || 1;
    const known = nano.facts(knownFacts(place, card, most));
    if (!card) return [known, el("p", { className: "hint" }, whyEmpty(place))];
    const strengths = card.histogram.length
      ? [el("h3", {}, "Activation strengths"), ...nano.histogram(card.histogram, "activations", ["0", fmt(most)])]
      : [];
    const across =
      "One text from the middle of each equal band of ranks: what it stands for on most rows.";
    const near = "Inactive here, though these rows are nearest to its direction.";
    return [
      known,
      ...strengths,
      ...examples("Strongest texts", "Where it is most active.", card.top, most, card.texts),
      ...examples("Across its range", across, card.across, most, card.texts),
      ...examples("Near misses", near, card.near, most, card.texts),
      ...related("Nearest directions (cosine)", card.nearest),
      ...related("Active together (NPMI)", card.coactive),
      ...related("Opposite directions (cosine)", card.opposite),
    ];
  };

  /** A topic's size, its most typical texts, and its features. */
  const describeTopic = ({ topic, rows, texts: typical }) => {
    const size = `${report.countRows(rows)} (${report.shareOf(rows)})`;
    const parts = [el("p", { className: "muted small" }, size)];
    if (typical.length) {
      const lines = typical.map((text) => el("li", {}, el("span", { className: "text" }, text)));
      parts.push(el("h3", {}, "Most typical texts"), el("ul", { className: "plain" }, lines));
    }
    const features = report.columns.feature.filter((_, place) => get("topic", place) === topic);
    if (features.length) {
      const chips = features.slice(0, TOPIC_FEATURES).map((feature) => featureChip(feature));
      const only = { column: "topic", value: topic, text: topicName.get(topic) };
      const all = report.narrowLink("List them in the table", only);
      const title = `Its features (${fmt(features.length)})`;
      parts.push(el("h3", {}, title), el("div", { className: "chips" }, chips, all));
    }
    return parts;
  };

  /** The feature in the address, if the table has it. */
  const openFeature = () => {
    const found = FEATURE.exec(location.hash);
    const feature = found ? Number(found[1]) : null;
    return placeOf.has(feature) ? feature : null;
  };
  /** The topic in the address, if there is one. */
  const openTopic = () => {
    const found = TOPIC.exec(location.hash);
    return topics?.find(({ topic }) => found && topic === Number(found[1])) ?? null;
  };
  /** Go to the next or previous feature of the table. */
  const step = (by) => {
    const here = report.listed.indexOf(placeOf.get(openFeature()));
    const next = report.listed[here + by];
    if (next !== undefined) open(get("feature", next));
  };

  const tool = (text, title, onclick) =>
    el("button", { title, "aria-label": title, onclick }, text);
  const walk = [
    tool("‹", "Previous feature", () => step(-1)),
    tool("›", "Next feature", () => step(1)),
  ];
  const close = tool("✕", "Close", () => dialog.close());
  /** Put a card into the dialog: its title, the buttons beside it, and what is below. */
  const showCard = (title, tools, parts) => {
    const heading = el("h2", { id: "card-title", tabIndex: -1, autofocus: true, dir: "auto" }, title);
    const head = el("div", { className: "head" }, heading, tools, close);
    dialog.replaceChildren(head, ...parts);
    if (!dialog.open) dialog.showModal();
    heading.focus();
    dialog.scrollTop = 0;
  };
  const showFeature = async (feature) => {
    const place = placeOf.get(feature);
    const card = await cardAt(place);
    if (openFeature() !== feature) return; // the address has changed meanwhile
    const number = el("p", { className: "muted small" }, `feature ${feature}`);
    showCard(label(feature), walk, [number, ...describe(place, card)]);
    report.markOnMap(place);
  };

  /** Show the card that the address says, or none. */
  report.followAddress = async () => {
    const feature = openFeature();
    const topic = openTopic();
    if (feature !== null) await showFeature(feature);
    else if (topic) showCard(topicName.get(topic.topic), [], describeTopic(topic));
    else dialog.close();
  };
  dialog.addEventListener("close", () => {
    if (FEATURE.test(location.hash) || TOPIC.test(location.hash)) {
      history.replaceState(null, "", location.pathname + location.search);
    }
    report.markOnMap(null);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside the card
  });
  addEventListener("hashchange", report.followAddress);
})();
