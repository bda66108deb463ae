"use strict";
/* The live page: ask the server once a second for what is new. */
(() => {
  const { el, tile, $, fmt, percent, duration } = nano;
  const training = nano.training($("#training")),
    status = $("#status");
  let offset = 0,
    config = {},
    failed = 0;
  $("#name").textContent = nano.data("run").name;

  /** Rows per second over the last lines; a resumed run counts its seconds anew. */
  const speed = (lines) => {
    const last = lines.at(-1),
      first = lines.slice(-12).find((l) => l.seconds < last.seconds);
    return first ? (last.rows - first.rows) / (last.seconds - first.seconds) : last.rows_per_second;
  };
  const left = (line, lines) =>
    ((line.steps_planned - line.step) * (line.rows / line.step)) / speed(lines);
  const summary = (quiet) => {
    const lines = training.lines.filter((l) => !l.final),
      line = lines.at(-1),
      final = training.lines.at(-1)?.final;
    const held = lines.findLast((l) => l.heldout_fvu !== undefined),
      end = final ? training.lines.at(-1) : null;
    const gap = lines.length > 1 ? line.seconds - lines.at(-2).seconds : 0;
    const stale = !final && quiet > Math.max(30, 10 * gap);
    status.textContent = final
      ? "finished"
      : !line
        ? "waiting for the first line"
        : stale
          ? `no news for ${duration(quiet)}`
          : "training";
    status.className = stale ? "chip warn" : "chip";
    if (!line) return;
    $("#what").textContent =
      `${config.activation ?? ""} SAE, ${fmt(config.input_size)} → ${fmt(config.hidden_size)}` +
      (config.k ? `, k = ${config.k}` : "");
    const share = Math.min(1, line.step / line.steps_planned);
    $("#progress").replaceChildren(
      el("progress", {
        max: 1,
        value: final ? 1 : share,
        "aria-label": "Share of the planned steps",
      }),
      el(
        "div",
        { className: "tiles" },
        tile("step", `${fmt(line.step)} / ${fmt(line.steps_planned)}`),
        tile("time left", final ? "done" : stale ? "–" : duration(left(line, lines))),
        tile("rows per second", fmt(Math.round(speed(lines)))),
        tile("held-out FVU", fmt(end ? end.fvu : held?.heldout_fvu)),
        tile("active features per row", fmt(end ? end.l0 : line.l0)),
        tile("dead features", percent(end ? end.dead : line.dead)),
      ),
      stale
        ? el(
            "p",
            { className: "hint" },
            "The run is quiet: it was stopped, or a step takes long. A stopped run " +
              "goes on with `nanosae train … --resume`; this page follows it.",
          )
        : "",
    );
  };

  /** Ask for what is new; wait so long that drawing takes at most a hundredth of the time. */
  const poll = async () => {
    let wait = 1000;
    try {
      const after = training.shots.at(-1)?.step ?? 0;
      const answer = await fetch(`/state?offset=${offset}&after=${after}`),
        state = await answer.json(),
        start = performance.now();
      if (!answer.ok) throw new Error(state.error);
      if (state.reset) training.clear();
      offset = state.offset;
      config = state.config || config;
      training.add(state.lines, state.snapshots);
      summary(state.quiet ?? 0);
      failed = 0;
      wait =
        document.hidden || training.lines.at(-1)?.final
          ? 5000
          : Math.max(1000, Math.min(10000, 100 * (performance.now() - start)));
    } catch (error) {
      failed += 1;
      const reason = error instanceof TypeError ? "server ended" : error.message;
      if (failed > 2) Object.assign(status, { textContent: reason, className: "chip warn" });
      wait = Math.min(15000, 1000 * 2 ** failed);
    }
    setTimeout(poll, wait);
  };
  poll();
})();
