"use strict";
/* What every page uses: data blocks, elements made without markup, numbers, figures that follow
   the light or dark scheme. */
const nano = (() => {
  const data = (name) => {
    const block = document.getElementById(`data-${name}`);
    return block === null ? null : JSON.parse(block.textContent);
  };

  /** Read a block that pages.pack made. */
  const unpack = async (name) => {
    const bytes = Uint8Array.from(atob(data(name)), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  /** Make an element; children that are no elements become text. `on…` keys are listeners. */
  const el = (tag, props = {}, ...children) => {
    const node = document.createElement(tag);
    if (tag === "button" && props.onclick) node.type = "button"; // it sends no form
    for (const [key, value] of Object.entries(props)) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "style") Object.assign(node.style, value);
      else if (key in node && key !== "list" && typeof value !== "string") node[key] = value;
      else node.setAttribute(key === "className" ? "class" : key, value);
    }
    node.append(
      ...children
        .flat()
        .filter((c) => c !== null && c !== undefined)
        .map((c) => (c instanceof Node ? c : String(c))),
    );
    return node;
  };

  const tile = (name, value) =>
    el("div", { className: "tile" }, el("b", {}, value), el("span", {}, name));
  /** A list of names and their values. */
  const facts = (pairs, className = "") =>
    el(
      "dl",
      { className: `facts ${className}` },
      pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { dir: "auto" }, value)]),
    );
  /** A small histogram of `what`; `ends` are written below it, from left to right. */
  const histogram = (counts, what, ends) => [
    el(
      "div",
      {
        className: "bars",
        role: "img",
        "aria-label": `Histogram of ${what}: ${ends.join(" to ")}`,
      },
      counts.map((n) =>
        el("i", { title: fmt(n), style: { height: `${(100 * n) / Math.max(...counts, 1)}%` } }),
      ),
    ),
    el(
      "div",
      { className: "ends" },
      ends.map((end) => el("span", {}, end)),
    ),
  ];
  const $ = (selector, within = document) => within.querySelector(selector);

  /** A number as people read it: 3 significant digits, thousands apart, a dash for nothing. */
  const fmt = (value, digits = 3) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return value.toLocaleString("en-US");
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en-US");
    if (size !== 0 && (size < 1e-3 || size >= 1e6))
      return value.toExponential(digits - 1).replaceAll("-", "−");
    return String(Number(value.toPrecision(digits)));
  };
  /** An activation, of as many digits as the others in its column. */
  const strength = (value) => (value < 1000 ? value.toPrecision(3) : fmt(value));
  const RTL = "[\\p{sc=Arabic}\\p{sc=Hebrew}\\p{sc=Syriac}\\p{sc=Thaana}\\p{sc=Nko}]";
  const RTL_WORDS = new RegExp(`${RTL}(?:[\\s\\p{P}\\p{M}]*${RTL})*`, "gu");
  /** A text in which numbers and their percent signs stay on one line, and words that are read from
      right to left do not reverse the numbers behind them. */
  const sentence = (text) =>
    text.replaceAll(" %", "\u00a0%").replace(RTL_WORDS, "\u2068$&\u2069");
  /** A share as a percentage; only all is 100 %. */
  const percent = (share) => {
    if (share === null || share === undefined) return "–";
    return 0.999 < share && share < 1 ? "over 99.9 %" : `${fmt(100 * share)} %`;
  };
  const duration = (seconds) => {
    if (!Number.isFinite(seconds)) return "–";
    const s = Math.round(seconds);
    if (s < 60) return `${s} s`;
    return s < 3600
      ? `${Math.floor(s / 60)} min ${s % 60} s`
      : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  };

  /* figures: drawn when they come into view and something is new, also when the scheme changes */
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const templates = data("templates");
  const clear = "rgba(0,0,0,0)";
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const shown = new Map(); // node → {make, visible, stale}
  let printing = false; // on paper, which is light
  const draw = (node) => {
    const { data: traces, layout } = shown.get(node).make();
    shown.get(node).stale = false;
    Plotly.react(
      node,
      traces,
      {
        ...layout,
        template: templates[dark.matches && !printing ? "dark" : "light"],
        paper_bgcolor: clear,
        plot_bgcolor: clear,
        width: printing ? node.clientWidth : undefined,
      },
      config,
    );
  };
  const drawVisible = () => {
    for (const [node, { visible, stale }] of shown) if (visible && stale) draw(node);
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) shown.get(target).visible = isIntersecting;
      drawVisible();
    },
    { rootMargin: "300px" },
  );
  /** Draw what `make()` returns, {data, layout}, into a node: at once if it is in view, the first time soon in any case. */
  const plot = (node, make) => {
    if (!shown.has(node)) {
      watcher.observe(node);
      setTimeout(() => shown.get(node).stale && draw(node), 500);
    }
    shown.set(node, { visible: false, ...shown.get(node), make, stale: true });
    drawVisible();
  };
  dark.addEventListener("change", () => {
    for (const figure of shown.values()) figure.stale = true;
    drawVisible();
  });
  const print = (on) => {
    printing = on;
    document.body.classList.toggle("printing", on); // as wide as paper
    for (const node of shown.keys()) draw(node);
    if (!on) dispatchEvent(new Event("resize")); // plotly measures again
  };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  return {
    data,
    unpack,
    el,
    tile,
    facts,
    histogram,
    $,
    fmt,
    percent,
    strength,
    sentence,
    duration,
    plot,
    colour,
    dark,
    templates,
    colours: templates?.light.layout.colorway,
  };
})();
