"use strict";
/* A map of many points on a canvas: a density raster of all of them, and above it those that the
   server sent. Pixels are written straight into an image: twenty thousand points take some
   milliseconds, with or without a graphics card. */

/** Read the server's bytes: head, ids, positions, values, marks, density. */
function readPoints(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const { n, raster: [width, height] } = head;
  let at = 4 + length;
  const next = (Type, count) => {
    const array = new Type(buffer, at, count);
    at += array.byteLength;
    return array;
  };
  return { ...head, ids: next(Uint32Array, n), xy: next(Float32Array, 2 * n), values: next(Float32Array, n),
    marks: next(Uint8Array, n), density: next(Uint8Array, width * height) };
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
/** The colour at a share of a ramp, [r, g, b]. */
function ramp(stops, share) {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  const [from, to] = [rgb(stops[i]), rgb(stops[i + 1])];
  return from.map((value, c) => Math.round(value + (to[c] - value) * (at - i)));
}

/** Make a map of a canvas. `on`: pick(id), hover(id or null, x, y), lasso(polygon), move(view). */
function pointMap(canvas, on) {
  const pen = canvas.getContext("2d");
  const layer = document.createElement("canvas");
  const cloud = document.createElement("canvas");
  let points = null, regions = [], open = null, polygon = null, colours = null, order = null;
  let view = null; // middle x, y and the width shown, in the map's units
  let drawing = null, dim = false, moving = 0, hovered = null, asked = false;
  let drawnAt = null; // the view that the layer of points was drawn for
  let whole = true; // until somebody moves: the view follows the size of the canvas

  const size = () => [canvas.clientWidth || 1, canvas.clientHeight || 1];
  const ratio = () => Math.min(window.devicePixelRatio || 1, 2);
  const scale = () => size()[0] / view.width;
  const toScreen = (x, y) => [size()[0] / 2 + (x - view.x) * scale(), size()[1] / 2 - (y - view.y) * scale()];
  const toMap = (x, y) => [view.x + (x - size()[0] / 2) / scale(), view.y - (y - size()[1] / 2) / scale()];

  const wholeView = () => {
    const [x0, y0, x1, y1] = points.whole, [w, h] = size();
    return { x: (x0 + x1) / 2, y: (y0 + y1) / 2, width: Math.max(x1 - x0, ((y1 - y0) * w) / h) };
  };
  const box = (margin = 0) => {
    const [w, h] = size(), half = (view.width / 2) * (1 + margin), tall = half * (h / w);
    return [view.x - half, view.y - tall, view.x + half, view.y + tall];
  };

  /** One colour per point, packed as the image has it. */
  const paint = () => {
    const dark = nano.dark.matches, { legend, values } = points;
    const quiet = rgb(dark ? "#5b6470" : "#a9b1bb");
    const table = legend.kind === "groups" ? legend.entries.filter((e) => e.name !== "others").map((e) => rgb(e.color))
      : legend.kind === "scale" ? Array.from({ length: 64 }, (_, i) => ramp(legend[dark ? "dark" : "light"], i / 63))
        : [rgb(dark ? "#6fb3ee" : "#0b62a8")];
    const span = legend.kind === "scale" ? Math.max(legend.high - legend.low, 1e-12) : 1;
    colours = new Uint32Array(values.length);
    for (let i = 0; i < values.length; i++) {
      const place = legend.kind === "scale" ? Math.round(((values[i] - legend.low) / span) * 63) : values[i];
      const [r, g, b] = table[place] || quiet;
      colours[i] = ((table[place] ? 255 : 150) << 24) | (b << 16) | (g << 8) | r;
    }
    const last = (i) => 2 * points.marks[i] + (colours[i] >>> 24 === 255);
    order = Uint32Array.from(colours.keys()).sort((i, j) => last(i) - last(j) || i - j);
    const [w, h] = points.raster, ink = rgb(dark ? "#8fa3b8" : "#50647a");
    cloud.width = w;
    cloud.height = h;
    const image = new ImageData(w, h);
    for (let i = 0; i < w * h; i++) {
      const to = 4 * ((h - 1 - Math.floor(i / w)) * w + (i % w));
      image.data.set(ink, to);
      image.data[to + 3] = points.density[i] * 0.42;
    }
    cloud.getContext("2d").putImageData(image, 0, 0);
  };

  /** A disc's pixels with their coverage. */
  const disc = (radius) => {
    const found = [], edge = Math.ceil(radius + 0.5);
    for (let y = -edge; y <= edge; y++) {
      for (let x = -edge; x <= edge; x++) {
        const cover = Math.min(Math.max(radius + 0.5 - Math.hypot(x, y), 0), 1);
        if (cover > 0) found.push([x, y, cover]);
      }
    }
    return found;
  };

  const drawPoints = () => {
    const [w, h] = size().map((s) => Math.round(s * ratio()));
    if (layer.width !== w || layer.height !== h) [layer.width, layer.height] = [w, h];
    const image = new ImageData(w, h), bytes = image.data, k = scale() * ratio();
    const { xy, marks, ids } = points, n = ids.length, many = points.total > 4000;
    const small = disc((many ? 1.6 : 2.7) * ratio()), large = disc((many ? 2.3 : 3.6) * ratio());
    const step = moving ? Math.ceil(n / 8000) : 1, dx = w / 2 - view.x * k, dy = h / 2 + view.y * k;
    for (let o = 0; o < n; o += step) {
      const i = order[o];
      const px = Math.round(dx + xy[2 * i] * k), py = Math.round(dy - xy[2 * i + 1] * k);
      if (px < -9 || py < -9 || px > w + 9 || py > h + 9) continue;
      const colour = colours[i], strong = !dim || marks[i], shape = marks[i] ? large : small;
      const solid = (0.86 * (colour >>> 24)) / 255;
      const r = colour & 255, g = (colour >> 8) & 255, b = (colour >> 16) & 255;
      for (const [x, y, cover] of shape) {
        const X = px + x, Y = py + y;
        if (X < 0 || Y < 0 || X >= w || Y >= h) continue;
        const at = 4 * (Y * w + X), alpha = cover * (strong ? solid : 0.13), old = bytes[at + 3] / 255;
        const sum = alpha + old * (1 - alpha), mine = alpha / sum;
        bytes[at] += (r - bytes[at]) * mine;
        bytes[at + 1] += (g - bytes[at + 1]) * mine;
        bytes[at + 2] += (b - bytes[at + 2]) * mine;
        bytes[at + 3] = 255 * sum;
      }
    }
    layer.getContext("2d").putImageData(image, 0, 0);
  };

  const ring = (i, radius, width) => {
    const [x, y] = toScreen(points.xy[2 * i], points.xy[2 * i + 1]);
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.lineWidth = width + 2;
    pen.strokeStyle = nano.colour("card");
    pen.stroke();
    pen.lineWidth = width;
    pen.strokeStyle = nano.colour("ink");
    pen.stroke();
  };

  const drawPolygon = (corners, closed) => {
    pen.beginPath();
    corners.forEach((c) => pen.lineTo(...toScreen(...c)));
    if (closed) pen.closePath();
    pen.strokeStyle = nano.colour("accent");
    pen.lineWidth = 1.5;
    pen.setLineDash([5, 4]);
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 0.07;
    pen.fillStyle = nano.colour("accent");
    pen.fill();
    pen.globalAlpha = 1;
  };

  const drawRegions = () => {
    pen.font = "600 12px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    const taken = [], [w, h] = size();
    for (const { text, x, y } of regions) {
      const [px, py] = toScreen(x, y), half = pen.measureText(text).width / 2 + 4;
      const apart = taken.every(([a, b, c]) => Math.abs(a - px) > half + c || Math.abs(b - py) > 17);
      if (!apart || px < half || px > w - half || py < 10 || py > h - 10) continue;
      taken.push([px, py, half]);
      pen.lineWidth = 4;
      pen.strokeStyle = nano.colour("card");
      pen.strokeText(text, px, py);
      pen.fillStyle = nano.colour("ink");
      pen.fillText(text, px, py);
    }
  };

  const draw = () => {
    asked = false;
    const [w, h] = size(), r = ratio();
    if (canvas.width !== Math.round(w * r) || canvas.height !== Math.round(h * r)) {
      [canvas.width, canvas.height] = [Math.round(w * r), Math.round(h * r)];
    }
    pen.setTransform(r, 0, 0, r, 0, 0);
    pen.clearRect(0, 0, w, h);
    if (!points || !view) return;
    if (whole) view = wholeView();
    const [x0, y0, x1, y1] = points.box, [left, top] = toScreen(x0, y1), [right, bottom] = toScreen(x1, y0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(cloud, left, top, right - left, bottom - top);
    const same = drawnAt && layer.width === canvas.width && layer.height === canvas.height;
    const near = same && Math.abs(Math.log(drawnAt.width / view.width)) < 0.3
      && Math.hypot(view.x - drawnAt.x, view.y - drawnAt.y) < 0.2 * view.width;
    if (!moving || !near) {
      drawPoints();
      drawnAt = view;
    }
    const grown = drawnAt.width / view.width, [mx, my] = toScreen(drawnAt.x, drawnAt.y);
    pen.drawImage(layer, mx - (w / 2) * grown, my - (h / 2) * grown, w * grown, h * grown);
    if (polygon) drawPolygon(polygon, true);
    if (drawing) drawPolygon(drawing, false);
    drawRegions();
    for (const [id, radius, width] of [[hovered, 6, 1.5], [open, 7, 2.5]]) {
      const i = id === null ? -1 : points.ids.indexOf(id);
      if (i >= 0) ring(i, radius, width);
    }
    if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
      pen.strokeStyle = nano.colour("muted");
      pen.lineWidth = 1;
      pen.strokeRect(w / 2 - 8, h / 2 - 8, 16, 16);
    }
  };
  const redraw = () => {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  };

  let settled = 0;
  const moved = (all = false) => {
    moving = 1;
    whole = all;
    clearTimeout(settled);
    settled = setTimeout(() => {
      moving = 0;
      redraw();
      on.move(whole ? null : { ...view });
    }, 160);
    redraw();
  };
  const zoom = (factor, x, y) => {
    const [mx, my] = toMap(x, y), most = 1.6 * wholeView().width;
    const width = Math.min(Math.max(view.width / factor, most * 1e-4), most), real = view.width / width;
    view = { x: mx + (view.x - mx) / real, y: my + (view.y - my) / real, width };
    moved();
  };
  const nearest = (x, y, within) => {
    if (!points || !view) return null;
    const [mx, my] = toMap(x, y), { xy, ids, marks } = points;
    let best = null, least = (within / scale()) ** 2;
    for (let i = 0; i < ids.length; i++) {
      if (dim && !marks[i]) continue;
      const far = (xy[2 * i] - mx) ** 2 + (xy[2 * i + 1] - my) ** 2;
      if (far <= least) [best, least] = [ids[i], far];
    }
    return best;
  };

  /* pointers: one pans or draws, two zoom */
  const held = new Map();
  let travelled = 0;
  const place = (event) => {
    const frame = canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    travelled = 0;
    if (drawing && points) drawing = [toMap(...place(event))];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!points || !view) return;
    const [x, y] = place(event), before = held.get(event.pointerId);
    if (!before) {
      const found = event.pointerType === "mouse" && !drawing ? nearest(x, y, 10) : null;
      canvas.classList.toggle("over", found !== null);
      if (found !== hovered) redraw();
      hovered = found;
      on.hover(found, x, y);
      return;
    }
    held.set(event.pointerId, [x, y]);
    travelled += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    if (drawing) {
      drawing.push(toMap(x, y));
      redraw();
    } else if (held.size === 2) {
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      const far = (p) => Math.max(Math.hypot(p[0] - other[0], p[1] - other[1]), 1);
      zoom(far([x, y]) / far(before), (x + other[0]) / 2, (y + other[1]) / 2);
    } else {
      view = { ...view, x: view.x - (x - before[0]) / scale(), y: view.y + (y - before[1]) / scale() };
      moved();
    }
  });
  const release = (event) => {
    if (!held.delete(event.pointerId) || !points) return;
    if (drawing && travelled > 20) {
      const step = Math.max(1, Math.ceil(drawing.length / 60));
      const corners = drawing.filter((_, i) => i % step === 0);
      drawing = [];
      on.lasso(corners);
    } else if (!drawing && travelled < 6 && event.type === "pointerup") {
      const found = nearest(...place(event), event.pointerType === "mouse" ? 10 : 22);
      if (found !== null) on.pick(found);
    }
    redraw();
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => {
    hovered = null;
    on.hover(null);
    redraw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (points && view) zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...place(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!points || !view) return;
    const [w, h] = size(), step = view.width / 8;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) {
      view = { ...view, x: view.x + moves[event.key][0], y: view.y + moves[event.key][1] };
      moved();
    } else if (event.key === "+" || event.key === "=") zoom(1.4, w / 2, h / 2);
    else if (event.key === "-") zoom(1 / 1.4, w / 2, h / 2);
    else if (event.key === "0") handle.whole();
    else if (event.key === "Enter") {
      const found = nearest(w / 2, h / 2, w);
      if (found !== null) on.pick(found);
    } else return;
    event.preventDefault();
  });
  for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, redraw);
  new ResizeObserver(redraw).observe(canvas);
  nano.dark.addEventListener("change", () => {
    if (points) paint();
    drawnAt = null;
    redraw();
  });

  const handle = {
    /** Show what the server sent; `look` is the view to take, else the present one or all. */
    show(found, look, dimmed) {
      points = found;
      drawnAt = null;
      if (look) whole = false;
      dim = dimmed;
      view = look || view || wholeView();
      paint();
      redraw();
    },
    clear() {
      points = view = null;
      whole = true;
      regions = [];
      redraw();
    },
    label(found) { regions = found; redraw(); },
    mark(id, corners) { [open, polygon] = [id, corners]; redraw(); },
    draw(start) {
      drawing = start ? [] : null;
      canvas.classList.toggle("drawing", start);
      redraw();
    },
    zoom(factor) { if (view) zoom(factor, size()[0] / 2, size()[1] / 2); },
    whole() { if (points) moved(true); },
    /** The rectangle in view, a little wider with a margin. */
    box,
    /** Where a point is on the screen, or null; what is shown, for tests. */
    where: (id) => {
      const i = points ? points.ids.indexOf(id) : -1;
      return i < 0 ? null : toScreen(points.xy[2 * i], points.xy[2 * i + 1]);
    },
    get points() { return points; },
    get view() { return view; },
  };
  return handle;
}
