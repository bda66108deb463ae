"use strict";
/* The points of a map: what is known of them, their colours, and how they become pixels. Pixels are
   written straight into an image: twenty thousand points take some milliseconds, with or without a
   graphics card. (Plotly's own point layer compiles code at run time, which our policies forbid.) */

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

/** What a map shows, of lists of x and y; `more` may say values, marks, sizes, legend, whole. */
nano.points = (x, y, more = {}) => {
  const n = x.length;
  const least = (numbers) => numbers.reduce((a, b) => Math.min(a, b));
  const most = (numbers) => numbers.reduce((a, b) => Math.max(a, b));
  return {
    ids: Uint32Array.from(x.keys()),
    xy: Float32Array.from({ length: 2 * n }, (_, i) => (i % 2 ? y : x)[i >> 1]),
    values: new Float32Array(n),
    marks: new Uint8Array(n),
    legend: { kind: "none" },
    total: n,
    whole: [least(x), least(y), most(x), most(y)],
    ...more,
  };
};

/** The view, middle x, y and width, that shows a box on a canvas, with an edge around it. */
nano.viewOf = ([x0, y0, x1, y1], [width, height], edge) => ({
  x: (x0 + x1) / 2,
  y: (y0 + y1) / 2,
  width: edge * Math.max(x1 - x0, ((y1 - y0) * width) / height) || 1,
});

/** The id of the point nearest to a place, of those within a distance; null if none is. */
nano.nearest = ({ xy, ids, marks }, [x, y], within, markedOnly) => {
  let best = null;
  let least = within ** 2;
  for (let i = 0; i < ids.length; i++) {
    if (markedOnly && !marks[i]) continue;
    const distance = (xy[2 * i] - x) ** 2 + (xy[2 * i + 1] - y) ** 2;
    if (distance <= least) [best, least] = [ids[i], distance];
  }
  return best;
};

/** Whether points inside a box were not sent; those of a page that were sent at once all are. */
nano.lacksPoints = ({ box: sent, whole }, box) => {
  if (!sent) return false;
  const [x0, y0] = [Math.max(box[0], whole[0]), Math.max(box[1], whole[1])];
  const [x1, y1] = [Math.min(box[2], whole[2]), Math.min(box[3], whole[3])];
  return x0 < sent[0] || y0 < sent[1] || x1 > sent[2] || y1 > sent[3];
};

nano.paint = (() => {
  const STEPS = 64; // colours of a scale
  const KNOWN = 255; // opacity of a point that the legend has a colour for
  const REST = 200; // of one of the many groups that share a colour
  const UNKNOWN = 150; // of another one
  const SOLID = 0.86; // share of its opacity that a point is drawn with
  const DIMMED = 0.13; // of points that are not marked, where the marked ones stand out
  const MANY = 4000; // points, of which each is drawn smaller
  const WHILE_MOVING = 8000; // points that are drawn while the map moves
  const OUTSIDE = 20; // pixels beyond the edge, where a point may still reach into the image
  const DENSITY = 0.42; // opacity of the densest place

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  /** The colour at a share of a ramp, [r, g, b]. */
  const ramp = (stops, share) => {
    const at = share * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    const [from, to] = [rgb(stops[i]), rgb(stops[i + 1])];
    return from.map((value, c) => Math.round(value + (to[c] - value) * (at - i)));
  };

  /** The colours of a legend, [r, g, b, opacity], and what finds the place of a value among them. */
  const colourTable = (legend, dark) => {
    if (legend.kind === "groups") {
      const table = legend.entries.map(({ color, rest }) => [...rgb(color), rest ? REST : KNOWN]);
      return { table, placeOf: (value) => value };
    }
    if (legend.kind === "scale") {
      const stops = dark ? legend.dark : legend.light;
      const last = STEPS - 1;
      const span = Math.max(legend.high - legend.low, 1e-12);
      const table = Array.from({ length: STEPS }, (_, i) => [...ramp(stops, i / last), KNOWN]);
      const placeOf = (value) => clamp(Math.round(((value - legend.low) / span) * last), 0, last);
      return { table, placeOf };
    }
    return { table: [[...rgb(dark ? "#6fb3ee" : "#0b62a8"), KNOWN]], placeOf: (value) => value };
  };

  /** One colour per point, packed as an image has it, and the order in which they cover each other:
      marked points last, those without a colour first, and then those that share one. */
  const colours = ({ legend, values, marks }, dark) => {
    const quiet = [...rgb(dark ? "#5b6470" : "#a9b1bb"), UNKNOWN];
    const { table, placeOf } = colourTable(legend, dark);
    const packed = Uint32Array.from(values, (value) => {
      const [r, g, b, opacity] = table[placeOf(value)] || quiet;
      return (opacity << 24) | (b << 16) | (g << 8) | r;
    });
    const height = (i) => 256 * marks[i] + (packed[i] >>> 24);
    const order = Uint32Array.from(packed.keys()).sort((i, j) => height(i) - height(j) || i - j);
    return { packed, order };
  };

  /** Paint how densely the points lie, those included that were not sent. */
  const density = (canvas, points, dark) => {
    const [width, height] = points.raster;
    const ink = rgb(dark ? "#8fa3b8" : "#50647a");
    const image = new ImageData(width, height);
    points.density.forEach((value, i) => {
      const row = height - 1 - Math.floor(i / width); // its rows come from below
      const pixel = row * width + (i % width);
      image.data.set([...ink, value * DENSITY], 4 * pixel);
    });
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  /** A disc's pixels with their coverage. */
  const disc = (radius) => {
    const pixels = [];
    const edge = Math.ceil(radius + 0.5);
    for (let y = -edge; y <= edge; y++) {
      for (let x = -edge; x <= edge; x++) {
        const cover = clamp(radius + 0.5 - Math.hypot(x, y), 0, 1);
        if (cover > 0) pixels.push([x, y, cover]);
      }
    }
    return pixels;
  };

  /** Lay a colour over a pixel, which starts at `at` in the image's bytes. */
  const blend = (bytes, at, r, g, b, alpha) => {
    const old = bytes[at + 3] / 255;
    const sum = alpha + old * (1 - alpha);
    const mine = alpha / sum;
    bytes[at] += (r - bytes[at]) * mine;
    bytes[at + 1] += (g - bytes[at + 1]) * mine;
    bytes[at + 2] += (b - bytes[at + 2]) * mine;
    bytes[at + 3] = 255 * sum;
  };

  /** Paint the points: `scale` in pixels per unit of the map, `ratio` in pixels per CSS pixel.
      `dim` lets the marked ones stand out; while `moving` some of many points are enough. */
  const points = (canvas, found, { packed, order }, { view, scale, ratio, dim, moving }) => {
    const { width, height } = canvas;
    const { xy, marks, sizes } = found;
    const image = new ImageData(width, height);
    const usual = found.total > MANY ? 1.6 : 2.7;
    const left = width / 2 - view.x * scale;
    const top = height / 2 + view.y * scale;
    const step = moving ? Math.ceil(marks.length / WHILE_MOVING) : 1;
    const discs = {};
    for (let place = 0; place < marks.length; place += step) {
      const i = order[place];
      const x = Math.round(left + xy[2 * i] * scale);
      const y = Math.round(top - xy[2 * i + 1] * scale);
      if (x < -OUTSIDE || y < -OUTSIDE || x > width + OUTSIDE || y > height + OUTSIDE) continue;
      const colour = packed[i];
      const [r, g, b] = [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];
      const opacity = !dim || marks[i] ? (SOLID * (colour >>> 24)) / 255 : DIMMED;
      const radius = (sizes ? sizes[i] : usual) + 0.8 * marks[i];
      discs[radius] ??= disc(radius * ratio);
      for (const [dx, dy, cover] of discs[radius]) {
        const px = x + dx;
        const py = y + dy;
        if (px < 0 || py < 0 || px >= width || py >= height) continue;
        blend(image.data, 4 * (py * width + px), r, g, b, cover * opacity);
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  /** Where to write texts, [text, x, y]; one that would cover an earlier one, or a box of `taken`
      (middle x, y, half the width and height), is left out. */
  const places = (pen, wanted, [width, height], taken) => {
    const found = [];
    for (const [text, x, y] of wanted) {
      const half = pen.measureText(text).width / 2 + 4;
      if (x < 0 || x > width || y < 0 || y > height || 2 * half > width) continue;
      const px = clamp(x, half, width - half);
      const py = clamp(y, 10, height - 10);
      const overlaps = ([otherX, otherY, halfWidth, halfHeight]) =>
        Math.abs(otherX - px) < half + halfWidth && Math.abs(otherY - py) < 9 + halfHeight;
      if (taken.some(overlaps)) continue;
      taken.push([px, py, half, 9]);
      found.push([text, px, py]);
    }
    return found;
  };

  return { colours, density, places, points };
})();
