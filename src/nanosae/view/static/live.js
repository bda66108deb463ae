"use strict";
/* The live page: ask the server once a second for what is new. */
(() => {
  const { el, tile, $, fmt, percent, duration } = nano;
  const RECENT_LINES = 12; // of which the speed is taken
  const QUIET_SECONDS = 30; // without a line, from which on a run may have been stopped
  const QUIET =
    "The run is quiet: it was stopped, or a step takes long. A stopped run " +
    "goes on with `nanosae train … --resume`; this page follows it.";
  const training = nano.training($("#training"));
  const status = $("#status");
  let offset = 0; // bytes of the metrics that are known
  let config = {};
  let failed = 0; // questions in a row
  const { name, path } = nano.data("run");
  $("#name").textContent = name;

  /** Rows per second over the last lines; a resumed run counts its seconds anew. */
  const speed = (lines) => {
    const last = lines.at(-1);
    const first = lines.slice(-RECENT_LINES).find((line) => line.seconds < last.seconds);
    if (!first) return last.rows_per_second;
    return (last.rows - first.rows) / (last.seconds - first.seconds);
  };
  const secondsLeft = (lines) => {
    const { step, steps_planned: planned, rows } = lines.at(-1);
    const rowsPerStep = rows / step;
    return ((planned - step) * rowsPerStep) / speed(lines);
  };
  /** Whether nothing was heard for ten times as long as the last lines are apart. */
  const isQuiet = (lines, seconds) => {
    const gap = lines.length > 1 ? lines.at(-1).seconds - lines.at(-2).seconds : 0;
    return seconds > Math.max(QUIET_SECONDS, 10 * gap);
  };

  const showStatus = (text, isWarning) => {
    status.textContent = text;
    status.className = isWarning ? "chip warn" : "chip";
  };
  const statusText = (lines, final, quietFor) => {
    if (final) return "finished";
    if (!lines.length) return "waiting for the first line";
    return isQuiet(lines, quietFor) ? `no news for ${duration(quietFor)}` : "training";
  };
  const whatIsTrained = () => {
    const sizes = `${fmt(config.input_size)} → ${fmt(config.hidden_size)}`;
    const k = config.k ? `, k = ${config.k}` : "";
    return `${config.activation ?? ""} SAE, ${sizes}${k}`;
  };
  const timeLeft = (lines, final, quiet) => {
    if (final) return "done";
    return quiet ? "–" : duration(secondsLeft(lines));
  };
  const tiles = (lines, final, quiet) => {
    const line = lines.at(-1);
    const heldOut = lines.findLast((found) => found.heldout_fvu !== undefined);
    const measured = final ?? { fvu: heldOut?.heldout_fvu, l0: line.l0, dead: line.dead };
    return el(
      "div",
      { className: "tiles" },
      tile("step", `${fmt(line.step)} / ${fmt(line.steps_planned)}`),
      tile("time left", timeLeft(lines, final, quiet)),
      tile("rows per second", fmt(Math.round(speed(lines)))),
      tile("held-out FVU", fmt(measured.fvu)),
      tile("active features per row", fmt(measured.l0)),
      tile("dead features", percent(measured.dead)),
    );
  };

  /** Show how far the training is; `quietFor` seconds nothing was heard of it. */
  const summarise = (quietFor) => {
    const last = training.lines.at(-1);
    const final = last?.final ? last : null;
    const lines = training.lines.filter((line) => !line.final);
    const quiet = !final && isQuiet(lines, quietFor);
    showStatus(statusText(lines, final, quietFor), quiet);
    if (!lines.length) return;
    $("#what").textContent = whatIsTrained();
    const { step, steps_planned: planned } = lines.at(-1);
    const share = final ? 1 : Math.min(1, step / planned);
    const label = "Share of the planned steps";
    $("#progress").replaceChildren(
      el("progress", { max: 1, value: share, "aria-label": label }),
      tiles(lines, final, quiet),
      quiet ? el("p", { className: "hint" }, QUIET) : "",
    );
  };

  /** What is new of this run; an error says why it is not known. */
  const askForNews = async () => {
    const after = training.shots.at(-1)?.step ?? 0;
    const lose = () => {
      throw new Error("server ended");
    };
    const answer = await fetch(`/state?offset=${offset}&after=${after}`).catch(lose);
    const state = await answer.json().catch(() => ({ error: `no answer (${answer.status})` }));
    if (state.error) throw new Error(state.error);
    if (state.run !== path) throw new Error("another run is shown at this address now");
    return state;
  };
  /** Ask for what is new, and show it. */
  const ask = async () => {
    const state = await askForNews();
    if (state.reset) {
      training.clear();
      config = {};
    }
    offset = state.offset;
    config = state.config || config;
    const start = performance.now();
    training.add(state.lines, state.snapshots);
    summarise(state.quiet ?? 0);
    return performance.now() - start;
  };
  /** Milliseconds until the next question: drawing takes at most a hundredth of the time. */
  const pause = (drawing) => {
    if (document.hidden || training.lines.at(-1)?.final) return 5000;
    return Math.max(1000, Math.min(10000, 100 * drawing));
  };
  const poll = async () => {
    let wait;
    try {
      wait = pause(await ask());
      failed = 0;
    } catch (error) {
      failed += 1;
      if (failed > 2) showStatus(error.message, true);
      wait = Math.min(15000, 1000 * 2 ** failed);
    }
    setTimeout(poll, wait);
  };
  poll();
})();
