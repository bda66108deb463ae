"use strict";
/* The course of a training run, live or as a replay: curves over steps, and snapshots through time
   with a slider and a play button. `add` takes what metrics.jsonl and snapshots/ gained. */
nano.training = (node) => {
  const { el, fmt, plot } = nano;
  const [BLUE, ORANGE, VIOLET, BROWN, PINK] = nano.colours;
  const lines = [],
    shots = [];
  let at = -1,
    follow = true,
    timer = null;

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
  const of = (name, read, color, more) =>
    curve(
      name,
      lines.filter((l) => !l.final).map((l) => [l.step, read(l)]),
      color,
      more,
    );
  const held = { mode: "lines+markers", marker: { size: 5 } };
  /** Rows per second between two lines; a resumed run counts its seconds anew. */
  const speed = () =>
    lines
      .slice(1)
      .map((l, i) => [
        l.step,
        l.seconds > lines[i].seconds
          ? (l.rows - lines[i].rows) / (l.seconds - lines[i].seconds)
          : NaN,
      ]);
  /** Mean distance that the sampled decoder rows moved on the map between two snapshots. */
  const drift = () =>
    shots.slice(1).map((shot, i) => {
      const [x, y] = shot.positions,
        [u, v] = shots[i].positions;
      return [
        shot.step,
        x.reduce((sum, _, j) => sum + Math.hypot(x[j] - u[j], y[j] - v[j]), 0) / x.length / 1000,
      ];
    });
  const parts = () => [...new Set(lines.flatMap((l) => Object.keys(l.parts || {})))];
  const CURVES = [
    [
      "Unexplained variance",
      "FVU",
      () => [
        of("training", (l) => l.fvu, BLUE),
        of("held out", (l) => l.heldout_fvu, ORANGE, held),
      ],
    ],
    [
      "Loss",
      "loss per element",
      () => [
        of("total", (l) => l.loss, BLUE),
        ...parts().map((part, i) =>
          of(part, (l) => l.parts?.[part], [ORANGE, VIOLET, BROWN, PINK][i % 4]),
        ),
      ],
      { type: "log" },
    ],
    [
      "Active features per row",
      "L0",
      () => [of("training", (l) => l.l0, BLUE), of("held out", (l) => l.heldout_l0, ORANGE, held)],
    ],
    [
      "Dead features",
      "share of features",
      () => [of("dead", (l) => l.dead, BLUE)],
      { tickformat: "~%" },
    ],
    [
      "Learning rate",
      "learning rate",
      () => {
        const weight = of("sparsity coefficient", (l) => l.coefficient, ORANGE, { yaxis: "y2" });
        const rate = of("learning rate", (l) => l.lr, BLUE);
        return weight.y.some((v) => v > 0) ? [rate, weight] : [rate];
      },
      { exponentformat: "power" },
    ],
    ["Throughput", "rows per second", () => [curve("rows per second", speed(), BLUE)]],
  ];
  const HISTOGRAMS = [
    ["log10_density", "Activation density", "log10 of the share of rows", BLUE],
    ["activation", "Activation strength", "activation, where active", BLUE],
    ["encoder_decoder_cosine", "Encoder–decoder agreement", "cosine", BLUE],
    ["encoder_norm", "Encoder norms", "norm of a feature's encoder", ORANGE],
    ["decoder_norm", "Decoder norms", "norm of a feature's decoder row", ORANGE],
    ["decoder_max_cosine", "Nearest other decoder row", "cosine", ORANGE],
  ];
  const margin = { l: 56, r: 12, t: 10, b: 44 };
  const panel = (title) => {
    const figure = el("div", { className: "plot short", role: "img", "aria-label": title });
    return [figure, el("div", { className: "panel" }, el("h3", {}, title), figure)];
  };
  const line = ([title, unit, traces, axis]) => {
    const [figure, box] = panel(title);
    const draw = () =>
      plot(figure, () => {
        const data = traces(),
          many = data.length > 1,
          ys = data.flatMap((t) => t.y).filter((v) => v > 0);
        const decades =
          axis?.type === "log" && Math.max(...ys) > 10 * Math.min(...ys) ? { dtick: 1 } : {};
        return {
          data,
          layout: {
            margin: { ...margin, t: many ? 30 : 10 },
            height: 230,
            showlegend: many,
            legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
            hovermode: "x unified",
            xaxis: { title: { text: "step" }, rangemode: "tozero" },
            yaxis: { title: { text: unit }, rangemode: "tozero", ...axis, ...decades },
            yaxis2: { overlaying: "y", side: "right", rangemode: "tozero", showgrid: false },
          },
        };
      });
    return [box, draw];
  };
  const curves = CURVES.map(line);

  const INACTIVE = -8; // below: a feature that is inactive on the sample, which has no logarithm
  const bins = (shot, name) => {
    const [counts, low, high] = shot[name],
      width = (high - low) / counts.length;
    const all = counts.map((y, i) => ({ x: low + (i + 0.5) * width, y, width }));
    return {
      shown: all.filter((b) => b.y && b.x > INACTIVE),
      hidden: all.filter((b) => b.x <= INACTIVE),
    };
  };
  const histograms = HISTOGRAMS.map(([name, title, unit, color]) => {
    const [figure, box] = panel(title);
    const draw = () =>
      plot(figure, () => {
        const { shown, hidden } = bins(shots[at], name),
          ends = shots.flatMap((s) => bins(s, name).shown);
        const middles = ends.map((b) => b.x),
          [a, b] = [Math.min(...middles), Math.max(...middles)];
        const pad = Math.max(shown[0]?.width ?? 0, b - a > 0.02 ? 0 : 0.2); // norms may all be 1
        const inactive = hidden.reduce((sum, b) => sum + b.y, 0);
        return {
          data: [
            {
              type: "bar",
              x: shown.map((b) => b.x),
              y: shown.map((b) => b.y),
              marker: { color, line: { width: 0 } },
              width: shown.map((b) => b.width),
              hovertemplate: "%{x:.3g}: %{y}<extra></extra>",
            },
          ],
          layout: {
            margin: { ...margin, t: 22 },
            height: 222,
            bargap: 0,
            xaxis: { title: { text: unit }, range: [a - pad, b + pad] },
            yaxis: { title: { text: name === "activation" ? "activations" : "features" } },
            annotations: inactive
              ? [
                  {
                    text: `${fmt(inactive)} inactive in the sample`,
                    showarrow: false,
                    xref: "paper",
                    yref: "paper",
                    x: 0,
                    y: 1,
                    xanchor: "left",
                    yanchor: "bottom",
                    font: { size: 11 },
                  },
                ]
              : [],
          },
        };
      });
    return [box, draw];
  });
  const mapNode = el("div"),
    mapBox = el(
      "div",
      { className: "panel" },
      el("h3", {}, "Decoder rows on the data's two main axes"),
      mapNode,
    );
  const map = nano.map(mapNode, {
    page: true,
    label: "Map of the decoder rows on the data's two main axes",
    name: (i) => `feature ${shots[at].latents[i]}`,
  });
  const drawMap = () => {
    const reach = shots.reduce((most, s) => Math.max(most, ...s.positions.flat().map(Math.abs)), 1);
    map.show(nano.points(...shots[at].positions, { whole: [-reach, -reach, reach, reach] }));
  };
  const [driftBox, drawDrift] = line([
    "Drift of these rows",
    "mean shift between snapshots",
    () => [curve("drift", drift(), BLUE, held)],
  ]);

  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶ Play";
  };
  const start = () => {
    if (at === shots.length - 1) show(0);
    play.textContent = "❚❚ Pause";
    timer = setInterval(() => (at < shots.length - 1 ? show(at + 1) : stop()), 350);
  };
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
  const show = (i) => {
    at = Math.max(0, Math.min(i, shots.length - 1));
    follow = at === shots.length - 1;
    Object.assign(slider, { max: shots.length - 1, value: at });
    const fvu = lines.find((l) => l.step === shots[at].step)?.heldout_fvu;
    label.textContent = `step ${fmt(shots[at].step)}${fvu ? ` · held-out FVU ${fvu.toFixed(3)}` : ""}`;
    for (const [, draw] of histograms) draw();
    drawMap();
  };
  const player = el(
    "section",
    { className: "card", hidden: true, "aria-label": "Snapshots" },
    el("h2", {}, "The weights through time"),
    el(
      "p",
      { className: "muted" },
      "One snapshot at every evaluation. Move the slider or play the training.",
    ),
    el("div", { className: "tools player" }, play, slider, label),
    el(
      "div",
      { className: "columns" },
      histograms.map(([box]) => box),
    ),
    el("div", { className: "columns wide" }, mapBox, driftBox),
  );
  const empty = el("p", { className: "hint" }, "No metrics yet.");
  const grid = el(
    "div",
    { className: "columns", hidden: true },
    curves.map(([box]) => box),
  );
  node.classList.add("stack");
  node.append(
    el(
      "section",
      { className: "card", "aria-label": "Curves" },
      el("h2", {}, "Curves"),
      empty,
      grid,
    ),
    player,
  );

  return {
    lines,
    shots,
    clear() {
      lines.length = shots.length = 0;
      at = -1;
      follow = true;
      stop();
    },
    /** What is new; of steps that are there already, a resumed run counts. */
    add(newLines, newShots) {
      for (const [known, found] of [
        [lines, newLines],
        [shots, newShots],
      ]) {
        if (found.length)
          while (known.length && known.at(-1).step >= found[0].step && !found[0].final) known.pop();
        known.push(...found);
      }
      empty.hidden = lines.length > 0;
      grid.hidden = !empty.hidden;
      player.hidden = shots.length === 0;
      if (newShots.length) {
        if (follow || at >= shots.length) show(shots.length - 1);
        else slider.max = shots.length - 1;
        drawDrift();
      }
      if (newLines.length) for (const [, draw] of curves) draw();
    },
  };
};
