"use strict";
/* The course of a training run, live or as a replay: curves over steps, and snapshots through time
   with a slider and a play button. `add` takes what metrics.jsonl and snapshots/ gained. */
nano.training = (node) => {
  const { el, fmt, plot } = nano;
  const [BLUE, ORANGE, VIOLET, BROWN, PINK] = nano.colours;
  const PART_COLOURS = [ORANGE, VIOLET, BROWN, PINK];
  const FRAME_MILLISECONDS = 350; // that a snapshot stays while they are played
  const INACTIVE = -8; // log10 densities below: features that are inactive on the sample
  const MANY_LINES = 4000; // of which every other one is dropped, but for what was measured on held-out rows
  const MANY_SHOTS = 120;
  const MARKED = { mode: "lines+markers", marker: { size: 5 } };
  const margin = { l: 56, r: 12, t: 10, b: 44 };
  const lines = [];
  const shots = [];
  let at = -1; // the snapshot that is shown
  let follows = true; // whether the newest snapshot is shown as it comes
  let timer = null; // while snapshots are played

  const panel = (title, figure) => el("div", { className: "panel" }, el("h3", {}, title), figure);
  const plotNode = (title) =>
    el("div", { className: "plot short", role: "img", "aria-label": title });

  // ── curves over steps ──

  const curve = (name, points, color, more = {}) => {
    const known = points.filter(([, y]) => Number.isFinite(y));
    return {
      name,
      mode: "lines",
      x: known.map(([x]) => x),
      y: known.map(([, y]) => y),
      line: { color, width: 2 },
      ...more,
    };
  };
  /** The curve of what `read` takes of each line. */
  const curveOf = (name, read, color, more) => {
    const steps = lines.filter((line) => !line.final);
    const points = steps.map((line) => [line.step, read(line)]);
    return curve(name, points, color, more);
  };
  const fvu = () => [
    curveOf("training", (line) => line.fvu, BLUE),
    curveOf("held out", (line) => line.heldout_fvu, ORANGE, MARKED),
  ];
  const loss = () => {
    const names = new Set(lines.flatMap((line) => Object.keys(line.parts || {})));
    const parts = [...names].map((part, i) =>
      curveOf(part, (line) => line.parts?.[part], PART_COLOURS[i % PART_COLOURS.length]),
    );
    return [curveOf("total", (line) => line.loss, BLUE), ...parts];
  };
  const active = () => [
    curveOf("training", (line) => line.l0, BLUE),
    curveOf("held out", (line) => line.heldout_l0, ORANGE, MARKED),
  ];
  const dead = () => [curveOf("dead", (line) => line.dead, BLUE)];
  const rates = () => {
    const rate = curveOf("learning rate", (line) => line.lr, BLUE);
    const second = { yaxis: "y2" };
    const weight = curveOf("sparsity coefficient", (line) => line.coefficient, ORANGE, second);
    return weight.y.some((value) => value > 0) ? [rate, weight] : [rate];
  };
  /** Rows per second between two lines; a resumed run counts its seconds anew. */
  const throughput = () => {
    const steps = lines.filter((line) => !line.final);
    const points = steps.slice(1).map((line, i) => {
      const before = steps[i];
      const seconds = line.seconds - before.seconds;
      return [line.step, seconds > 0 ? (line.rows - before.rows) / seconds : NaN];
    });
    return [curve("rows per second", points, BLUE)];
  };
  /** Mean distance that the sampled decoder rows moved on the map between two snapshots. */
  const drift = () => {
    const points = shots.slice(1).map((shot, i) => {
      const [x, y] = shot.positions;
      const [xBefore, yBefore] = shots[i].positions;
      const distances = x.map((_, j) => Math.hypot(x[j] - xBefore[j], y[j] - yBefore[j]));
      const sum = distances.reduce((total, distance) => total + distance, 0);
      return [shot.step, sum / x.length / 1000];
    });
    return [curve("drift", points, BLUE, MARKED)];
  };
  const CURVES = [
    { title: "Unexplained variance", unit: "FVU", traces: fvu },
    { title: "Loss", unit: "loss per element", traces: loss, axis: { type: "log" } },
    { title: "Active features per row", unit: "L0", traces: active },
    { title: "Dead features", unit: "share of features", traces: dead, axis: { tickformat: "~%" } },
    {
      title: "Learning rate",
      unit: "learning rate",
      traces: rates,
      axis: { exponentformat: "power" },
    },
    { title: "Throughput", unit: "rows per second", traces: throughput },
  ];

  /** Ticks at powers of ten alone, where a logarithmic axis spans more than one of them. */
  const decades = (data, axis) => {
    const positive = data.flatMap((trace) => trace.y).filter((value) => value > 0);
    const spansDecades = Math.max(...positive) > 10 * Math.min(...positive);
    return axis?.type === "log" && spansDecades ? { dtick: 1 } : {};
  };
  const curveFigure = ({ unit, traces, axis }) => {
    const data = traces();
    const hasSeveral = data.length > 1;
    const layout = {
      margin: { ...margin, t: hasSeveral ? 30 : 10 },
      height: 230,
      showlegend: hasSeveral,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      hovermode: "x unified",
      xaxis: { title: { text: "step" }, rangemode: "tozero" },
      yaxis: { title: { text: unit }, rangemode: "tozero", ...axis, ...decades(data, axis) },
      yaxis2: { overlaying: "y", side: "right", rangemode: "tozero", showgrid: false },
    };
    return { data, layout };
  };
  /** A panel, and what draws its figure. */
  const curvePanel = (described) => {
    const figure = plotNode(described.title);
    const draw = () => plot(figure, () => curveFigure(described));
    return { box: panel(described.title, figure), draw };
  };
  const curves = CURVES.map(curvePanel);

  // ── histograms of a snapshot ──

  const HISTOGRAMS = [
    ["log10_density", "Activation density", "log10 of the share of rows", BLUE],
    ["activation", "Activation strength", "activation, where active", BLUE],
    ["encoder_decoder_cosine", "Encoder–decoder agreement", "cosine", BLUE],
    ["encoder_norm", "Encoder norms", "norm of a feature's encoder", ORANGE],
    ["decoder_norm", "Decoder norms", "norm of a feature's decoder row", ORANGE],
    ["decoder_max_cosine", "Nearest other decoder row", "cosine", ORANGE],
  ];
  const bins = (shot, name) => {
    const [counts, low, high] = shot[name];
    const width = (high - low) / counts.length;
    const all = counts.map((y, i) => ({ x: low + (i + 0.5) * width, y, width }));
    return {
      shown: all.filter((bin) => bin.y && bin.x > INACTIVE),
      hidden: all.filter((bin) => bin.x <= INACTIVE),
    };
  };
  /** The ends of an axis that fits a histogram of every snapshot. */
  const commonRange = (name, binWidth) => {
    const middles = shots.flatMap((shot) => bins(shot, name).shown.map((bin) => bin.x));
    const low = Math.min(...middles);
    const high = Math.max(...middles);
    const pad = Math.max(binWidth, high - low > 0.02 ? 0 : 0.2); // norms may all be 1
    return [low - pad, high + pad];
  };
  const noteOfInactive = (count) => ({
    text: `${fmt(count)} inactive in the sample`,
    showarrow: false,
    xref: "paper",
    yref: "paper",
    x: 0,
    y: 1,
    xanchor: "left",
    yanchor: "bottom",
    font: { size: 11 },
  });
  const histogramFigure = (name, unit, color) => {
    if (!shots.length) return { data: [], layout: {} }; // those of another run were taken away
    const { shown, hidden } = bins(shots[at], name);
    const inactive = hidden.reduce((sum, bin) => sum + bin.y, 0);
    const bars = {
      type: "bar",
      x: shown.map((bin) => bin.x),
      y: shown.map((bin) => bin.y),
      marker: { color, line: { width: 0 } },
      width: shown.map((bin) => bin.width),
      hovertemplate: "%{x:.3g}: %{y}<extra></extra>",
    };
    const layout = {
      margin: { ...margin, t: 22 },
      height: 222,
      bargap: 0,
      xaxis: { title: { text: unit }, range: commonRange(name, shown[0]?.width ?? 0) },
      yaxis: { title: { text: name === "activation" ? "activations" : "features" } },
      annotations: inactive ? [noteOfInactive(inactive)] : [],
    };
    return { data: [bars], layout };
  };
  const histograms = HISTOGRAMS.map(([name, title, unit, color]) => {
    const figure = plotNode(title);
    const draw = () => plot(figure, () => histogramFigure(name, unit, color));
    return { box: panel(title, figure), draw };
  });

  // ── the map of a snapshot, and the player ──

  const MAP_TITLE = "Decoder rows on the data's two main axes";
  const mapNode = el("div");
  const map = nano.map(mapNode, {
    page: true,
    label: "Map of the decoder rows on the data's two main axes",
    name: (i) => `feature ${shots[at].latents[i]}`,
  });
  const drawMap = () => {
    const reach = shots.reduce((most, s) => Math.max(most, ...s.positions.flat().map(Math.abs)), 1);
    const whole = [-reach, -reach, reach, reach];
    map.show(nano.points(...shots[at].positions, { whole }));
  };
  const driftPanel = curvePanel({
    title: "Drift of these rows",
    unit: "mean shift between snapshots",
    traces: drift,
  });

  const slider = el("input", {
    type: "range",
    min: 0,
    max: 0,
    value: 0,
    "aria-label": "Snapshot",
    oninput: () => {
      stop();
      show(Number(slider.value));
    },
  });
  const label = el("output", { className: "mono" }, "–");
  const play = el("button", { onclick: () => (timer ? stop() : start()) }, "▶ Play");
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶ Play";
  };
  const start = () => {
    if (at === shots.length - 1) show(0);
    play.textContent = "❚❚ Pause";
    timer = setInterval(() => {
      if (at < shots.length - 1) show(at + 1);
      else stop();
    }, FRAME_MILLISECONDS);
  };
  const show = (i) => {
    at = Math.max(0, Math.min(i, shots.length - 1));
    follows = at === shots.length - 1;
    Object.assign(slider, { max: shots.length - 1, value: at });
    showLabel();
    for (const { draw } of histograms) draw();
    drawMap();
  };
  const showLabel = () => {
    const { step } = shots[at];
    const heldOut = lines.find((line) => line.step === step)?.heldout_fvu;
    const measured = heldOut ? ` · held-out FVU ${heldOut.toFixed(3)}` : "";
    label.textContent = `step ${fmt(step)}${measured}`;
  };

  // ── the page ──

  const boxes = (panels) => panels.map(({ box }) => box);
  const empty = el("p", { className: "hint" }, "No metrics yet.");
  const grid = el("div", { className: "columns", hidden: true }, boxes(curves));
  const about = "One snapshot at every evaluation. Move the slider or play the training.";
  const player = el(
    "section",
    { className: "card", hidden: true, "aria-label": "Snapshots" },
    el("h2", {}, "The weights through time"),
    el("p", { className: "muted" }, about),
    el("div", { className: "tools player" }, play, slider, label),
    el("div", { className: "columns" }, boxes(histograms)),
    el("div", { className: "columns wide" }, panel(MAP_TITLE, mapNode), driftPanel.box),
  );
  const curvesCard = { className: "card", "aria-label": "Curves" };
  node.classList.add("stack");
  node.append(el("section", curvesCard, el("h2", {}, "Curves"), empty, grid), player);

  /** Put what was found behind what is known; of equal steps, a resumed run counts. */
  const extend = (known, found) => {
    if (!found.length) return;
    const [first] = found;
    while (!first.final && known.length && known.at(-1).step >= first.step) known.pop();
    known.push(...found);
  };

  /** Drop every other one of many, but for the last and those that are to stay. */
  const thin = (known, many, stays = () => false) => {
    if (known.length <= many) return;
    const isKept = (item, i) => stays(item) || (known.length - 1 - i) % 2 === 0;
    known.splice(0, known.length, ...known.filter(isKept));
  };

  return {
    lines,
    shots,
    clear() {
      lines.length = 0;
      shots.length = 0;
      at = -1;
      follows = true;
      stop();
    },
    /** Show what is new. */
    add(newLines, newShots) {
      const before = shots[at];
      extend(lines, newLines);
      extend(shots, newShots);
      thin(lines, MANY_LINES, (line) => line.heldout_fvu !== undefined);
      thin(shots, MANY_SHOTS, (shot) => shot === before);
      const place = shots.indexOf(before);
      empty.hidden = lines.length > 0;
      grid.hidden = !empty.hidden;
      player.hidden = shots.length === 0;
      if (newShots.length) {
        if (follows || (place < 0 && at >= shots.length)) show(shots.length - 1);
        else show(place < 0 ? at : place); // a resumed run replaces the one that was shown
        driftPanel.draw();
      }
      if (!newLines.length) return;
      for (const { draw } of curves) draw();
      if (shots.length) showLabel(); // its step may have been measured meanwhile
    },
  };
};
