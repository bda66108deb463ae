"use strict";
/* A map of many points on a canvas: zoom (buttons, keys, pinch, wheel), pan, hover, click, lasso.

   nano.map(node, on) fills a node and returns what stands at the end of this file. `on.label` and
   `on.help` (the id of an element) are for screen readers; name(id) returns what to say of a point,
   or promises it; pick(id), lasso(corners) and move(view; null if all is shown) are called when
   somebody did so, and lack() when the canvas has grown beyond the points that were sent. With
   `on.page` the map lies in a page that scrolls: wheel and finger move the page until the map has
   the focus or is zoomed. */

nano.map = (node, on) => {
  const { el, colour } = nano;
  const canvas = el("canvas", {
    tabIndex: 0,
    role: "application",
    "aria-label": on.label,
    "aria-describedby": on.help,
  });
  const tip = el("div", { className: "tip", role: "tooltip", hidden: true });
  const button = (text, title, act) =>
    el("button", { title, "aria-label": title, onclick: act }, text);
  canvas.style.touchAction = on.page ? "pan-y" : "none";
  node.classList.add("points");
  node.append(
    canvas,
    tip,
    el(
      "div",
      { className: "zoom", role: "group", "aria-label": "Zoom" },
      button("+", "Zoom in", () => zoom(1.5)),
      button("−", "Zoom out", () => zoom(1 / 1.5)),
      button("⤢", "Show the whole map", () => showAll()),
    ),
  );

  const pen = canvas.getContext("2d");
  const layer = document.createElement("canvas"); // the points
  const cloud = document.createElement("canvas"); // how densely they lie, those included that were not sent
  let points = null;
  let colours = null; // of the points, and their order
  let regions = []; // words and where to write them
  let open = null; // the id of the point that is open
  let polygon = null;
  let view = null; // middle x, y and the width shown, in the map's units
  let drawing = null; // corners of the lasso that is being drawn
  let dim = false; // whether only marked points stand out
  let moving = false;
  let hovered = null; // the id of the point below the pointer
  let asked = false; // whether a frame is on its way
  let drawnAt = null; // the view that the layer of points was drawn for
  let whole = true; // until somebody moves: the view follows the size of the canvas

  const size = () => [canvas.clientWidth || 1, canvas.clientHeight || 1];
  const ratio = () => Math.min(window.devicePixelRatio || 1, 2);
  const scale = () => size()[0] / view.width;
  const toScreen = (x, y) => [
    size()[0] / 2 + (x - view.x) * scale(),
    size()[1] / 2 - (y - view.y) * scale(),
  ];
  const toMap = (x, y) => [
    view.x + (x - size()[0] / 2) / scale(),
    view.y - (y - size()[1] / 2) / scale(),
  ];

  const wholeView = () => nano.viewOf(points.whole, size(), on.page ? 1.06 : 1);
  const box = (margin = 0) => {
    if (whole) view = wholeView(); // also before it is drawn
    const [w, h] = size();
    const halfWidth = (view.width / 2) * (1 + margin);
    const halfHeight = halfWidth * (h / w);
    return [view.x - halfWidth, view.y - halfHeight, view.x + halfWidth, view.y + halfHeight];
  };

  /** Give a canvas so many pixels; to set them clears it. */
  const fit = (target, width, height) => {
    const pixels = [Math.round(width), Math.round(height)];
    if (target.width === pixels[0] && target.height === pixels[1]) return;
    [target.width, target.height] = pixels;
  };
  /** Give the points their colours, and paint how densely they lie. */
  const paint = () => {
    const dark = nano.dark.matches;
    colours = nano.paint.colours(points, dark);
    if (points.density) nano.paint.density(cloud, points, dark);
  };
  const drawPoints = () => {
    const [w, h] = size();
    fit(layer, w * ratio(), h * ratio());
    const look = { view, scale: scale() * ratio(), ratio: ratio(), dim, moving };
    nano.paint.points(layer, points, colours, look);
  };

  const stroke = (lineWidth, ink) => {
    Object.assign(pen, { lineWidth, strokeStyle: colour(ink) });
    pen.stroke();
  };
  /** Draw a ring around a point, if it is among those that are known. */
  const drawRing = (id, width) => {
    const i = id === null ? -1 : points.ids.indexOf(id);
    if (i < 0) return;
    const [x, y] = toScreen(points.xy[2 * i], points.xy[2 * i + 1]);
    pen.beginPath();
    pen.arc(x, y, (points.sizes ? points.sizes[i] : 3) + 3, 0, 2 * Math.PI);
    stroke(width + 2, "card");
    stroke(width, "ink");
  };
  const drawPolygon = (corners, closed) => {
    pen.beginPath();
    for (const corner of corners) pen.lineTo(...toScreen(...corner));
    if (closed) pen.closePath();
    pen.fillStyle = colour("accent");
    pen.setLineDash([5, 4]);
    stroke(1.5, "accent");
    pen.setLineDash([]);
    pen.globalAlpha = 0.07;
    pen.fill();
    pen.globalAlpha = 1;
  };
  /** Where the buttons and the note lie: middle x, y, half the width and height. */
  const buttonBoxes = () => {
    const canvasBox = canvas.getBoundingClientRect();
    return [...node.querySelectorAll(".zoom, .note")]
      .map((part) => part.getBoundingClientRect())
      .filter((box) => box.width > 0)
      .map((box) => [
        box.left - canvasBox.left + box.width / 2,
        box.top - canvasBox.top + box.height / 2,
        box.width / 2 + 4,
        box.height / 2 + 4,
      ]);
  };
  /** Write the labels of regions, as far as there is room. */
  const drawRegions = () => {
    Object.assign(pen, {
      font: "600 12px system-ui, sans-serif",
      textAlign: "center",
      textBaseline: "middle",
      lineJoin: "round",
      lineWidth: 4,
      strokeStyle: colour("card"),
      fillStyle: colour("ink"),
    });
    const wanted = regions.map(({ text, x, y }) => [text, ...toScreen(x, y)]);
    for (const place of nano.paint.places(pen, wanted, size(), buttonBoxes())) {
      pen.strokeText(...place);
      pen.fillText(...place);
    }
  };

  const drawCloud = () => {
    const [x0, y0, x1, y1] = points.box;
    const [left, top] = toScreen(x0, y1);
    const [right, bottom] = toScreen(x1, y0);
    pen.drawImage(cloud, left, top, right - left, bottom - top);
  };
  /** Whether the layer of points, moved and scaled, will do for the present view. */
  const layerIsNear = () =>
    drawnAt &&
    layer.width === canvas.width &&
    layer.height === canvas.height &&
    Math.abs(Math.log(drawnAt.width / view.width)) < 0.3 &&
    Math.hypot(view.x - drawnAt.x, view.y - drawnAt.y) < 0.2 * view.width;
  const drawLayer = (w, h) => {
    if (!moving || !layerIsNear()) {
      drawPoints();
      drawnAt = view;
    }
    const grown = drawnAt.width / view.width;
    const [x, y] = toScreen(drawnAt.x, drawnAt.y);
    pen.drawImage(layer, x - (w / 2) * grown, y - (h / 2) * grown, w * grown, h * grown);
  };
  /** Show where Enter would open a point, to those who use the keys. */
  const drawMiddle = (w, h) => {
    if (!canvas.matches(":focus-visible")) return;
    Object.assign(pen, { lineWidth: 1, strokeStyle: colour("muted") });
    pen.strokeRect(w / 2 - 8, h / 2 - 8, 16, 16);
  };
  const draw = () => {
    asked = false;
    const [w, h] = size();
    const pixels = ratio();
    fit(canvas, w * pixels, h * pixels);
    pen.setTransform(pixels, 0, 0, pixels, 0, 0);
    pen.clearRect(0, 0, w, h);
    if (!points) return;
    if (whole) view = wholeView();
    if (points.density) drawCloud();
    drawLayer(w, h);
    if (polygon) drawPolygon(polygon, true);
    if (drawing) drawPolygon(drawing, false);
    drawRegions();
    drawRing(hovered, 1.5);
    drawRing(open, 2.5);
    drawMiddle(w, h);
  };
  const redraw = () => {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  };

  let settled = 0;
  const go = (to) => {
    whole = to === null;
    if (to) view = { ...view, ...to };
    moving = true;
    hover(null);
    if (on.page) canvas.style.touchAction = whole ? "pan-y" : "none";
    clearTimeout(settled);
    settled = setTimeout(() => {
      moving = false;
      redraw();
      on.move?.(whole ? null : { ...view });
    }, 160);
    redraw();
  };
  const showAll = () => points && go(null);
  const pan = (dx, dy) => go({ x: view.x - dx / scale(), y: view.y + dy / scale() });
  const zoom = (factor, x = size()[0] / 2, y = size()[1] / 2) => {
    if (!points) return;
    const [mx, my] = toMap(x, y);
    const most = 1.6 * wholeView().width;
    const width = clamp(view.width / factor, most * 1e-4, most);
    const real = view.width / width;
    go({ x: mx + (view.x - mx) / real, y: my + (view.y - my) / real, width });
  };
  /** The id of the point nearest to a place, of those within so many pixels; null if none is. */
  const nearest = (x, y, within) => nano.nearest(points, toMap(x, y), within / scale(), dim);
  const pickNearest = (x, y, within) => {
    const found = nearest(x, y, within);
    if (found !== null) on.pick?.(found);
  };

  let telling = 0;
  const hover = (id, x, y) => {
    if (id === hovered) return;
    hovered = id;
    tip.hidden = true;
    canvas.classList.toggle("over", id !== null);
    redraw();
    clearTimeout(telling);
    if (id !== null) telling = setTimeout(() => tell(id, x, y), 60);
  };
  const tell = async (id, x, y) => {
    const text = await on.name(id);
    const [w, h] = size();
    if (hovered !== id || !text) return;
    tip.textContent = text;
    tip.hidden = false;
    const below = y + 16 + tip.offsetHeight < h;
    Object.assign(tip.style, {
      left: `${clamp(x + 14, 4, Math.max(4, w - tip.offsetWidth - 6))}px`,
      top: `${below ? y + 16 : Math.max(y - tip.offsetHeight - 10, 4)}px`,
    });
  };

  /* pointers: one pans or draws, two zoom */
  const distance = (a, b) => Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1);
  /** Zoom around the middle of two fingers, of which one has moved. */
  const pinch = (from, to, other) => {
    const [x, y] = [(to[0] + other[0]) / 2, (to[1] + other[1]) / 2];
    zoom(distance(to, other) / distance(from, other), x, y);
  };
  const held = new Map();
  let travelled = 0;
  const place = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return; // a menu opens, which hides that the button is released
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    travelled = 0;
    if (drawing && points) drawing = [toMap(...place(event))];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!points) return;
    const [x, y] = place(event);
    const before = held.get(event.pointerId);
    if (!before) {
      hover(event.pointerType === "mouse" && !drawing ? nearest(x, y, 10) : null, x, y);
      return;
    }
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    if (drawing) {
      drawing.push(toMap(x, y));
      redraw();
    } else if (other) pinch(before, [x, y], other);
    else pan(x - before[0], y - before[1]);
    travelled += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    held.set(event.pointerId, [x, y]);
  });
  const release = (event) => {
    if (!held.delete(event.pointerId) || !points) return;
    const isUp = event.type === "pointerup"; // else it was taken away
    if (drawing && (!isUp || travelled <= 20)) drawing = [];
    else if (drawing) {
      const step = Math.max(1, Math.ceil(drawing.length / 60));
      const corners = drawing.filter((_, i) => i % step === 0);
      drawing = [];
      on.lasso(corners);
    } else if (isUp && travelled < 6) {
      pickNearest(...place(event), event.pointerType === "mouse" ? 10 : 22);
    }
    redraw();
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (on.page && document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...place(event));
    },
    { passive: false },
  );
  const KEYS = {
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    0: showAll,
    ArrowLeft: () => pan(80, 0),
    ArrowRight: () => pan(-80, 0),
    ArrowUp: () => pan(0, 80),
    ArrowDown: () => pan(0, -80),
    Enter: () => {
      const [w, h] = size();
      pickNearest(w / 2, h / 2, w);
    },
  };
  canvas.addEventListener("keydown", (event) => {
    if (!points || !KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, redraw);
  const watchSize = () => {
    redraw();
    const isShown = points !== null && canvas.clientWidth > 0;
    if (isShown && !whole && nano.lacksPoints(points, box())) on.lack?.();
  };
  new ResizeObserver(watchSize).observe(canvas);
  nano.dark.addEventListener("change", () => {
    if (points) paint();
    drawnAt = null;
    redraw();
  });

  /** End what somebody is doing with the map: it shows something else. */
  const stop = () => {
    clearTimeout(settled);
    moving = false;
    drawing &&= [];
    held.clear();
  };

  return {
    stop,
    /** Show points; `look` is the view to take, null for all, undefined for the present one.
        With `dimmed` only the marked stand out. */
    show(found, look, dimmed) {
      points = found;
      drawnAt = null;
      if (look !== undefined) whole = look === null;
      dim = dimmed;
      view = look || view || wholeView();
      paint();
      redraw();
    },
    clear() {
      stop();
      points = view = null;
      whole = true;
      regions = [];
      hover(null);
      redraw();
    },
    /** Write [{text, x, y}] as far as there is room. */
    label(found) {
      regions = found;
      redraw();
    },
    /** Mark a point as open and draw a polygon; null for none. */
    mark(id, corners = null) {
      [open, polygon] = [id, corners];
      redraw();
    },
    /** Let the next stroke be a lasso, or not. */
    draw(start) {
      drawing = start ? [] : null;
      canvas.classList.toggle("drawing", start);
      redraw();
    },
    /** The rectangle in view, a little wider with a margin. */
    box,
    get points() {
      return points;
    },
  };
};
