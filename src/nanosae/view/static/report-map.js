"use strict";
/* The map of the features, coloured by what is chosen; it follows the table. */
(() => {
  const { data, el, $, fmt, percent } = nano;
  const { report } = nano;
  const { columns, families, topics, n, get, label, familyName, topicName, open, reveal } = report;
  const points = data("map"); // `place` says where in the table each point is
  const MANY = 4000; // points, of which each is drawn smaller
  const FEW_CLUSTERS = 4; // of which topics say more than the map's own clusters
  let map = null;

  const values = (column) => points.place.map((place) => get(column, place));

  /** Groups in the colours of the palette. */
  const grouped = (groups) => {
    const palette = nano.colours;
    const colourOf = (group) => (group === null || group < 0 ? -1 : group % palette.length);
    const entries = palette.map((color) => ({ color }));
    return { values: groups.map(colourOf), legend: { kind: "groups", entries } };
  };
  /** Numbers from pale to dark, but for the outermost fiftieths. */
  const scaled = (column) => {
    const numbers = values(column);
    const known = numbers.filter((v) => v !== null).sort((a, b) => a - b);
    const quantile = (share) => known[Math.floor(share * (known.length - 1))];
    const stops = (theme) => nano.templates[theme].layout.colorscale.sequential.slice(1);
    const legend = {
      kind: "scale",
      low: quantile(0.02),
      high: quantile(0.98),
      light: stops("light"),
      dark: stops("dark"),
    };
    return { values: numbers.map((v) => v ?? NaN), legend };
  };
  const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
  /** Names of groups at the middle of their points, those of large groups first. */
  const named = (groups, names) => {
    const members = [...Map.groupBy(groups.keys(), (point) => groups[point])];
    return members
      .filter(([group]) => names.has(group))
      .sort((a, b) => b[1].length - a[1].length)
      .map(([group, inside]) => ({
        text: names.get(group),
        x: median(inside.map((point) => points.x[point])),
        y: median(inside.map((point) => points.y[point])),
      }));
  };

  /** What the points can be coloured by, and the words that are then written on the map. */
  const choices = () => {
    const own = () => points.labels;
    const found = [
      { name: "clusters of the map", colours: () => grouped(points.cluster), labels: own },
    ];
    if (topics) {
      const labels = () => named(values("topic"), topicName);
      found.push({ name: "topic", colours: () => grouped(values("topic")), labels });
    }
    if (families) {
      const labels = () => named(values("family"), familyName);
      found.push({ name: "family", colours: () => grouped(values("family")), labels });
    }
    found.push({ name: "share of rows", colours: () => scaled("density"), labels: own });
    if (columns.score?.some((score) => score !== null)) {
      found.push({ name: "label score", colours: () => scaled("score"), labels: own });
    }
    return found;
  };

  /** Sizes of the points: larger for features that are active on more rows. */
  const sizes = () => {
    const density = values("density");
    const most = Math.max(...density);
    const least = points.place.length > MANY ? 1 : 1.5;
    return density.map((share) => least + Math.round(10 * Math.sqrt(share / most)) / 2);
  };
  const describe = (point) => {
    const place = points.place[point];
    const feature = get("feature", place);
    const share = percent(get("density", place));
    return `${label(feature)}\nfeature ${feature}, ${share} of the rows`;
  };

  report.showMap = () => {
    if (!points?.place.length) return;
    reveal("map");
    $("#map-note").textContent =
      `Features near each other have similar directions (${points.method}). ` +
      "Larger points are active on more rows. Click one for its card." +
      (points.outside
        ? ` ${fmt(points.outside)} of ${fmt(points.place.length)} lie farther out: zoom out to see them.`
        : "");
    map = nano.map($("#map-points"), {
      page: true,
      label: "Map of the features; the table below lists the same",
      name: describe,
      pick: (point) => open(get("feature", points.place[point])),
    });
    const pointSizes = sizes();
    const offered = choices();
    const select = $("#map-colour");
    select.append(...offered.map(({ name }) => el("option", {}, name)));
    select.selectedIndex = Math.max(...points.cluster) < FEW_CLUSTERS && topics ? 1 : 0;
    const paint = () => {
      const { colours, labels } = offered[select.selectedIndex];
      const isNarrowed = report.listed.length < n;
      const listed = new Set(report.listed);
      const marks = points.place.map((place) => Number(isNarrowed && listed.has(place)));
      const more = { sizes: pointSizes, marks, whole: points.whole, ...colours() };
      map.show(nano.points(points.x, points.y, more), undefined, isNarrowed);
      map.label(labels());
    };
    select.addEventListener("change", paint);
    report.onList = paint;
  };
  /** Mark the feature at a place of the table; null: none. */
  report.markOnMap = (place) => {
    map?.mark(place === null ? null : points.place.indexOf(place));
  };
})();
