"use strict";
/* A map of many points on a canvas: zoom (buttons, keys, pinch, wheel once it has the focus), pan,
   hover, click. Plotly's own point layer compiles code at run time, which our policy forbids.

   nano.points(node, {label, onclick(i), name(i)}) returns {set({x, y, colours, sizes, labels,
   extent}), dim(keep(i) or null), select(i), draw()}. `colours` and `sizes` hold one entry per point
   or are one value; `labels` are [text, x, y]; without `extent` [x0, x1, y0, y1] all points fit. */
nano.points = (node, { label, onclick = () => {}, name = (i) => `point ${i}`, height = 440 }) => {
  const { el, colour } = nano;
  const canvas = el("canvas", { tabIndex: 0, role: "img", "aria-label": label });
  const tip = el("div", { className: "tip", hidden: true });
  const button = (text, title, act) => el("button", { type: "button", title, "aria-label": title, onclick: act }, text);
  node.classList.add("points");
  node.style.height = `min(${height}px, 100vw)`;
  node.append(canvas, tip, el("div", { className: "zoom" }, button("+", "Zoom in", () => zoom(1.6)),
    button("−", "Zoom out", () => zoom(1 / 1.6)), button("⟲", "Show all", () => reset())));

  const context = canvas.getContext("2d");
  let data = { x: [], y: [], colours: "gray", sizes: 3, labels: [] }, keep = null, selected = -1, hovered = -1;
  let box = [0, 1, 0, 1], scale = 1, centre = [0.5, 0.5], size = [1, 1], waiting = false;
  const at = (list, i) => (Array.isArray(list) ? list[i] : list);
  const unit = () => Math.min(size[0] / (box[1] - box[0]), size[1] / (box[3] - box[2])) * 0.94 * scale;
  const toScreen = (x, y) => [size[0] / 2 + (x - centre[0]) * unit(), size[1] / 2 - (y - centre[1]) * unit()];
  const toData = (px, py) => [centre[0] + (px - size[0] / 2) / unit(), centre[1] - (py - size[1] / 2) / unit()];

  const paint = () => {
    waiting = false;
    const ratio = window.devicePixelRatio || 1, grow = Math.min(2.5, Math.sqrt(scale));
    Object.assign(canvas, { width: size[0] * ratio, height: size[1] * ratio });
    context.scale(ratio, ratio);
    const dot = (i, ring) => {
      const [px, py] = toScreen(data.x[i], data.y[i]), r = at(data.sizes, i) * grow;
      if (px < -r || py < -r || px > size[0] + r || py > size[1] + r) return;
      context.beginPath();
      context.arc(px, py, ring ? r + 3 : r, 0, 2 * Math.PI);
      if (ring) context.stroke();
      else context.fill();
    };
    for (let i = 0; i < data.x.length; i++) {
      context.globalAlpha = keep && !keep(i) ? 0.07 : 0.7;
      context.fillStyle = at(data.colours, i);
      dot(i, false);
    }
    Object.assign(context, { globalAlpha: 1, strokeStyle: colour("ink"), lineWidth: 2 });
    for (const i of [hovered, selected]) if (i >= 0) dot(i, true);
    Object.assign(context, { font: "600 12px system-ui, sans-serif", textAlign: "center", textBaseline: "middle",
      strokeStyle: colour("card"), fillStyle: colour("ink"), lineWidth: 4, lineJoin: "round" });
    const taken = []; // a label that would cover an earlier one waits until there is room
    for (const [text, x, y] of data.labels) {
      const half = context.measureText(text).width / 2 + 4, [sx, sy] = toScreen(x, y);
      if (sx < -half || sx > size[0] + half || sy < 0 || sy > size[1]) continue;
      const px = Math.max(half, Math.min(size[0] - half, sx)), py = Math.max(10, Math.min(size[1] - 10, sy));
      if (taken.some(([a, b, w]) => Math.abs(a - px) < w + half && Math.abs(b - py) < 19)) continue;
      taken.push([px, py, half]);
      context.strokeText(text, px, py);
      context.fillText(text, px, py);
    }
  };
  const draw = () => {
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  };
  const zoom = (factor, px = size[0] / 2, py = size[1] / 2) => {
    const [x, y] = toData(px, py);
    scale = Math.max(1, Math.min(60, scale * factor));
    const [u, v] = toData(px, py);
    centre = scale === 1 ? [(box[0] + box[1]) / 2, (box[2] + box[3]) / 2] : [centre[0] + x - u, centre[1] + y - v];
    canvas.style.touchAction = scale > 1 ? "none" : "pan-y"; // one finger scrolls the page until it is zoomed
    draw();
  };
  const reset = () => zoom(0);
  const pan = (dx, dy) => {
    centre = [centre[0] - dx / unit(), centre[1] + dy / unit()];
    draw();
  };
  const nearest = (px, py) => {
    let best = -1, least = 14 ** 2;
    for (let i = 0; i < data.x.length; i++) {
      if (keep && !keep(i)) continue;
      const [a, b] = toScreen(data.x[i], data.y[i]), d = (a - px) ** 2 + (b - py) ** 2;
      if (d < least) [best, least] = [i, d];
    }
    return best;
  };
  const hover = (i, px, py) => {
    if (i !== hovered) draw();
    hovered = i;
    tip.hidden = i < 0;
    canvas.style.cursor = i < 0 ? "grab" : "pointer";
    if (i < 0) return;
    tip.textContent = name(i);
    tip.style.left = `${Math.max(0, Math.min(px + 12, size[0] - tip.offsetWidth - 4))}px`;
    tip.style.top = `${py + 16 + tip.offsetHeight > size[1] ? py - tip.offsetHeight - 8 : py + 16}px`;
  };

  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    fingers.set(e.pointerId, [e.offsetX, e.offsetY]);
    moved = 0;
  });
  canvas.addEventListener("pointermove", (e) => {
    const before = fingers.get(e.pointerId), here = [e.offsetX, e.offsetY];
    if (!before) return hover(nearest(...here), ...here);
    const other = [...fingers].find(([id]) => id !== e.pointerId)?.[1];
    if (other) zoom(Math.hypot(here[0] - other[0], here[1] - other[1])
      / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), ...other);
    else if (scale > 1) pan(here[0] - before[0], here[1] - before[1]);
    moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
    fingers.set(e.pointerId, here);
    return undefined;
  });
  canvas.addEventListener("pointerup", (e) => {
    fingers.delete(e.pointerId);
    const i = moved < 6 ? nearest(e.offsetX, e.offsetY) : -1;
    if (i >= 0) onclick(i);
  });
  canvas.addEventListener("pointercancel", (e) => fingers.delete(e.pointerId));
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("wheel", (e) => {
    if (document.activeElement !== canvas && !e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    zoom(Math.exp(-e.deltaY / 300), e.offsetX, e.offsetY);
  }, { passive: false });
  const KEYS = { "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: reset,
    ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60) };
  canvas.addEventListener("keydown", (e) => {
    if (!KEYS[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    KEYS[e.key]();
  });
  new ResizeObserver(() => {
    size = [Math.max(1, node.clientWidth), Math.max(1, node.clientHeight)];
    draw();
  }).observe(node);
  nano.dark.addEventListener("change", draw);

  return {
    draw,
    set(given) {
      const first = data.x.length === 0;
      data = { ...data, ...given };
      const ends = (list) => list.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
      box = data.extent || [...ends(data.x), ...ends(data.y)];
      for (const i of [0, 2]) if (!(box[i + 1] > box[i])) [box[i], box[i + 1]] = [(box[i] || 0) - 1, (box[i] || 0) + 1];
      if (first) reset();
      draw();
    },
    dim(test) {
      keep = test;
      draw();
    },
    select(i) {
      selected = i;
      draw();
    },
  };
};
