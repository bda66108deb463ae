"use strict";
/* The explorer's page. What it shows is the `view`, which is the part of the address after #: every
   view can be kept, sent and gone back to. A change of the view asks the server only for the parts
   that depend on what changed. Texts are put into the page as text. */
(() => {
  const { el, $, fmt, percent } = nano;
  const START = { q: "", f: [], value: null, tag: "", lasso: null, led: null, map: "rows", color: "auto", look: null,
    open: "", edit: {}, sort: "score", marked: false, pane: "map" };
  const LISTS = new Set(["f", "value", "lasso", "led", "look", "edit"]);
  let view = { ...START }, state = null, tools = null;

  // ── the view and the address ──

  const readHash = () => {
    const found = { ...START };
    for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
      if (!(key in START)) continue;
      try {
        found[key] = LISTS.has(key) ? JSON.parse(text) : key === "marked" ? text === "true" : text;
      } catch { /* a damaged part of an address counts as absent */ }
    }
    return found;
  };
  const toHash = () => {
    const kept = new URLSearchParams();
    for (const [key, value] of Object.entries(view)) {
      if (JSON.stringify(value) !== JSON.stringify(START[key])) kept.set(key, LISTS.has(key) ? JSON.stringify(value) : value);
    }
    return `#${kept}`;
  };
  /** Change the view; `quietly` replaces the entry in the browser's history. */
  const go = (changes, quietly = false) => {
    const before = view;
    view = { ...view, ...changes };
    if (toHash() !== location.hash) history[quietly ? "replaceState" : "pushState"](null, "", toHash());
    render(before);
  };
  const where = () => {
    const found = {};
    if (view.q) found.words = view.q;
    if (view.f.length) found.features = view.f;
    for (const key of ["value", "tag", "lasso", "led"]) if (view[key]) found[key] = view[key];
    return found;
  };

  // ── asking ──

  const running = new Map();
  /** Ask the server; a newer question of the same `kind` cancels an older one. */
  const ask = async (kind, path, params = {}, body = null) => {
    running.get(kind)?.abort();
    const control = new AbortController();
    running.set(kind, control);
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(params)) {
      query.set(key, JSON.stringify(value));
    }
    const options = { signal: control.signal };
    if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
    const answer = await fetch(`/api/${path}${query.size ? `?${query}` : ""}`, options);
    if (answer.headers.get("content-type") === "application/octet-stream") return readPoints(await answer.arrayBuffer());
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error || `The server answered ${answer.status}.`);
    return found;
  };
  /** Read the server's bytes: head, ids, positions, values, marks, density. */
  const readPoints = (buffer) => {
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
  };
  /** Run a task that asks; say in `node` what went wrong. */
  const trying = async (node, task) => {
    try {
      await task();
    } catch (error) {
      if (error.name === "AbortError") return;
      const lost = error instanceof TypeError && /fetch|network/i.test(error.message);
      const text = lost ? "The explorer does not answer. Is it still running?" : error.message;
      node.replaceChildren(el(node.tagName === "UL" ? "li" : "p", { className: "error", role: "alert" }, text));
    }
  };
  const say = (text) => { $("#say").textContent = text; };
  const count = (n, one) => `${n.toLocaleString("en-US")} ${one}${n === 1 ? "" : "s"}`;
  const noun = () => (state.texts ? "text" : "row");
  const called = (id, name) => name || `feature ${id}`;
  const openFeature = (id) => go({ open: `feature:${id}`, edit: {}, pane: "detail" });
  const openRow = (id) => go({ open: `row:${id}`, edit: {}, pane: "detail" });
  const featureLink = (id, name) => el("button", { className: "link", onclick: () => openFeature(id) }, called(id, name));
  const toggleFilter = (id) => go({ f: view.f.includes(id) ? view.f.filter((j) => j !== id) : [...view.f, id] });
  const opened = (kind) => (view.open.startsWith(`${kind}:`) ? view.open.slice(kind.length + 1) : null);

  // ── the list of features ──

  const star = (id, on) => el("button", { className: "star", "aria-pressed": String(on),
    "aria-label": `Bookmark ${id}`, title: "Bookmark", onclick: (event) => {
      const button = event.currentTarget, now = button.getAttribute("aria-pressed") !== "true";
      trying($("#adds"), async () => {
        await ask(`star ${id}`, "bookmark", {}, { feature: id, on: now });
        for (const other of document.querySelectorAll(`[aria-label="Bookmark ${id}"]`)) {
          other.setAttribute("aria-pressed", String(now));
          other.textContent = now ? "★" : "☆";
        }
        say(now ? "Bookmarked" : "Bookmark removed");
      });
    } }, on ? "★" : "☆");

  const featureLine = (line) => el("li", { className: "feature", "data-feature": String(line.feature) },
    el("button", { className: "main", onclick: () => openFeature(line.feature) },
      el("span", { className: "name" }, called(line.feature, line.name)),
      el("span", { className: "sub" }, el("span", {}, `№ ${line.feature}`), el("span", {}, count(line.rows, noun())),
        line.score > 0 ? el("span", { title: "How well its words find unseen texts (AUC)" }, `AUC ${line.score.toFixed(2)}`) : null),
      el("span", { className: "share", style: { width: `${Math.max(1, 100 * Math.sqrt(line.rows / state.rows))}%` } })),
    star(line.feature, line.marked));

  /** Put a page of lines into a list, and a button for the next one. */
  const fill = (list, found, at, line, more) => {
    if (at === 0) list.replaceChildren();
    else list.lastElementChild?.remove();
    list.append(...found.lines.map(line));
    const next = at + found.lines.length;
    if (next < found.total) {
      list.append(el("li", {}, el("button", { className: "more", onclick: () => more(next) },
        `Show more of ${found.total.toLocaleString("en-US")}`)));
    }
    if (!found.total) list.append(el("li", { className: "busy" }, "Nothing meets these conditions."));
  };
  const listFeatures = (at = 0) => trying($("#feature-list"), async () => {
    const asked = { words: view.q, sort: view.sort, marked: view.marked, at };
    const found = await ask("features", "features", asked);
    $("#features-title").textContent = view.q || view.marked ? count(found.total, "feature") : "Features";
    fill($("#feature-list"), found, at, featureLine, listFeatures);
    markOpen();
  });

  // ── the list of rows ──

  const rowLine = (line) => el("li", { className: "row", "data-row": String(line.row) },
    el("button", { className: "main", onclick: () => openRow(line.row) },
      el("span", { className: "text" }, line.text || `row ${line.row}`),
      el("span", { className: "sub" }, line.features.map(([id, name]) => called(id, name)).join(" · "))));
  const listRows = (at = 0) => trying($("#row-list"), async () => {
    const found = await ask("rows", "texts", { where: where(), at });
    for (const [id, name] of Object.entries(found.names)) names.set(Number(id), name);
    listChips();
    $("#rows-title").textContent = count(found.total, noun());
    $("#compare").disabled = $("#tag-all").disabled = !found.total || (found.total === state.rows);
    $("#export").href = `/api/export?${new URLSearchParams({ where: JSON.stringify(where()) })}`;
    fill($("#row-list"), found, at, rowLine, listRows);
    markOpen();
    if (at === 0) say(`${count(found.total, noun())} found`);
  });
  const markOpen = () => {
    for (const item of document.querySelectorAll("[data-feature], [data-row]")) {
      const id = item.dataset.feature ? `feature:${item.dataset.feature}` : `row:${item.dataset.row}`;
      item.classList.toggle("open", id === view.open);
    }
  };

  const chip = (text, drop) => el("span", { className: "chip" }, el("span", { dir: "auto" }, text),
    el("button", { className: "drop", "aria-label": `Remove the condition ${text}`, onclick: () => {
      go(drop);
      $("#rows-title").focus();
    } }, "×"));
  const names = new Map();
  const listChips = () => {
    const short = (text) => (text.length > 40 ? `${text.slice(0, 39)}…` : text);
    const chips = view.f.map((id) => chip(short(called(id, names.get(id))), { f: view.f.filter((j) => j !== id) }));
    if (view.q) chips.push(chip(`words: ${short(view.q)}`, { q: "" }));
    if (view.value) chips.push(chip(`${view.value[0]}: ${short(view.value[1])}`, { value: null }));
    if (view.tag) chips.push(chip(`tag: ${short(view.tag)}`, { tag: "" }));
    if (view.lasso) chips.push(chip("selected on the map", { lasso: null }));
    if (view.led) chips.push(chip("led by the selected features", { led: null }));
    $("#chips").replaceChildren(...chips);
  };
  const listTags = (tags) => {
    state.tags = tags;
    const known = Object.entries(tags);
    $("#tags").hidden = !known.length;
    $("#tags").replaceChildren(el("option", { value: "" }, "all tags"),
      ...known.map(([tag, n]) => el("option", { value: tag }, `${tag} (${n.toLocaleString("en-US")})`)));
    $("#tags").value = view.tag;
  };

  // ── the map ──

  const color = () => {
    const id = opened("feature");
    if (view.color === "feature" || (view.color === "auto" && id !== null && view.map === "rows")) return id === null ? "" : `feature:${id}`;
    if (view.color !== "auto") return view.color;
    return state.colors[0] || "";
  };
  const drawMap = (fresh, place = fresh) => trying($("#legend"), async () => {
    const note = $("#map-note");
    note.hidden = Boolean(state.map);
    if (!state.map) {
      const failed = state.jobs.map && state.jobs.map !== "working";
      note.textContent = failed ? "The map could not be made; the server's terminal says why." : "The map is being drawn, once. Lists and search work meanwhile.";
      tools.clear();
      return;
    }
    if (fresh) tools.clear();
    const [x, y, width] = view.look || [], look = view.look ? { x, y, width } : null;
    const asked = { color: color(), where: where() };
    if (!place && tools.points) asked.box = tools.box(0.25);
    else if (look) asked.box = [x - width, y - width, x + width, y + width];
    const found = await ask("map", `points/${view.map}`, asked);
    tools.show(found, place ? look : null, found.marked > 0 || Object.keys(asked.where).length > 0);
    $("#plane canvas").setAttribute("aria-label",
      `Map of ${count(found.total, view.map === "rows" ? noun() : "feature")}, ${found.inside.toLocaleString("en-US")} in view`);
    drawLegend(found.legend);
    markMap();
    if (fresh) {
      const kind = view.map, regions = await ask("regions", `regions/${kind}`);
      if (kind === view.map) tools.label(regions);
    }
  });
  const markMap = () => {
    const id = opened(view.map === "rows" ? "row" : "feature");
    tools.mark(id === null ? null : Number(id), view.map === "rows" ? view.lasso : view.led);
  };
  const drawLegend = (legend) => {
    const dark = nano.dark.matches, column = color().startsWith("column:") ? color().slice(7) : null;
    const parts = [el("b", {}, legend.title)];
    if (legend.kind === "scale") {
      const stops = dark ? legend.dark : legend.light;
      parts.push(el("span", {}, fmt(legend.low)),
        el("span", { className: "ramp", style: { background: `linear-gradient(90deg, ${stops.join(",")})` } }), el("span", {}, fmt(legend.high)));
    }
    for (const { name, color: shade } of legend.entries || []) {
      const dot = el("i", { style: { background: shade } });
      const pick = column && view.map === "rows" && name !== "others";
      parts.push(pick
        ? el("button", { className: "key", title: `Only ${name}`, onclick: () => go({ value: [column, name] }) }, dot, el("span", {}, name))
        : el("span", { className: "key", title: name }, dot, el("span", {}, name)));
    }
    $("#legend").replaceChildren(...(legend.title ? parts : []));
  };
  /** What the map says of a point; nothing if a newer question came in between. */
  const nameOf = async (id) => {
    try {
      if (view.map === "rows") return (await ask("hover", `row/${id}`)).text.slice(0, 300) || `row ${id}`;
      return called(id, (await ask("hover", "features", { words: String(id) })).lines[0]?.name);
    } catch {
      return "";
    }
  };

  // ── details ──

  const body = $("#detail-body");
  const heading = (title) => el("h3", {}, title);
  const list = (items) => el("ul", { className: "plain" }, items.map((item) => el("li", {}, item)));
  const pairs = (items, unit) => list(items.map(([id, name, value]) =>
    el("div", { className: "pair" }, featureLink(id, name), el("span", { className: "mono", title: unit }, value.toFixed(2)))));
  const busy = (text) => body.replaceChildren(el("p", { className: "busy", role: "status" }, text));

  const showFeature = (id) => trying(body, async () => {
    const card = await ask("detail", `card/${id}`), { facts } = card;
    names.set(card.feature, card.name);
    const score = facts.label_auc ? ` · its words find unseen texts with AUC ${facts.label_auc.toFixed(2)}` : "";
    const rename = el("form", { onsubmit: (event) => {
      event.preventDefault();
      renameFeature(card.feature, rename.elements[0].value);
    } }, el("input", { type: "text", value: card.name, maxlength: "200", "aria-label": "Name of this feature" }), el("button", {}, "Rename"));
    const filtered = view.f.includes(card.feature);
    const parts = [
      el("p", { className: "kicker" }, `Feature ${card.feature}`, facts.health && facts.health !== "ok" ? el("span", { className: "chip warn" }, facts.health) : null,
        card.named ? el("span", { className: "chip" }, "named by you") : null, star(card.feature, card.marked)),
      el("h2", {}, called(card.feature, card.name)),
      el("p", { className: "muted small" }, `Active on ${count(card.rows, noun())} (${percent(card.density)})${score}`),
      el("div", { className: "actions" },
        el("button", { className: filtered ? "" : "primary", "aria-pressed": String(filtered), onclick: () => toggleFilter(card.feature) },
          filtered ? `Do not filter by it` : `Filter ${noun()}s by it`),
        card.named ? el("button", { onclick: () => renameFeature(card.feature, "") }, "Give its label back") : null, rename),
      heading("How strongly it is active"),
      ...nano.histogram(card.histogram, card.max, card.mean),
    ];
    for (const [what, lines] of Object.entries(card.examples)) {
      parts.push(heading({ strongest: "Strongest", "from strong to weak": "From strong to weak", "near misses": "Near misses: alike, but silent",
        "hard negatives": "Close to its texts, but silent" }[what] || what));
      parts.push(list(lines.map((line) => el("button", { className: "example", onclick: () => openRow(line.row) },
        el("span", { className: "meter" }, fmt(line.activation), el("i", { style: { width: `${(100 * line.activation) / (card.max || 1)}%` } })),
        el("span", { className: "text" }, line.text || `row ${line.row}`)))));
    }
    if (card.family) parts.push(heading("Family"), el("p", {}, card.family));
    if (facts.keywords) parts.push(heading("Keywords"), el("p", { className: "small" }, facts.keywords.split(", ").slice(0, 15).join(", ")));
    if (card.partners.length) parts.push(heading("Active together with"), pairs(card.partners, "normalised pointwise mutual information"));
    if (card.near.length) parts.push(heading("Similar direction"), pairs(card.near, "cosine"));
    body.replaceChildren(...parts);
    body.scrollTop = 0;
  });
  const renameFeature = (id, name) => trying(body, async () => {
    await ask("rename", "rename", {}, { feature: id, name });
    say(name ? "Renamed" : "The label is back");
    await Promise.all([showFeature(id), listFeatures()]);
    listChips();
  });

  /* a text: its features on sliders, and the ranking that follows them */
  let steered = null;
  const showRow = (id) => trying(body, async () => {
    const row = await ask("detail", `row/${id}`);
    const tags = el("div", { className: "chips" });
    const drawTags = (known) => tags.replaceChildren(...known.map((tag) => el("span", { className: "chip" }, tag,
      el("button", { className: "drop", "aria-label": `Remove the tag ${tag}`, onclick: () => tagRow(row, tag, false, drawTags) }, "×"))));
    drawTags(row.tags);
    const add = el("form", { onsubmit: (event) => {
      event.preventDefault();
      const tag = add.elements[0].value.trim();
      add.reset();
      if (tag) tagRow(row, tag, true, drawTags);
    } }, el("input", { type: "text", maxlength: "80", placeholder: "Tag", "aria-label": "New tag of this text" }), el("button", {}, "Add tag"));
    body.replaceChildren(
      el("p", { className: "kicker" }, `${state.texts ? "Text" : "Row"} ${row.row}`),
      el("p", { className: "whole", tabindex: "0", role: "group", "aria-label": "The text" }, row.text),
      nano.facts(Object.entries(row.columns), "small"),
      tags, el("div", { className: "actions" }, add));
    showSteering({ row: row.row }, row.features);
  });
  const tagRow = (row, tag, on, drawTags) => trying(body, async () => {
    listTags((await ask("tag", "tag", {}, { tag, rows: [row.row], on })).tags);
    row.tags = on ? [...new Set([...row.tags, tag])] : row.tags.filter((t) => t !== tag);
    drawTags(row.tags);
    say(on ? `Tagged ${tag}` : `Tag ${tag} removed`);
  });
  const showQuery = (query) => trying(body, async () => {
    busy("Looking for texts of this meaning…");
    const found = await ask("detail", "steer", { query });
    body.replaceChildren(el("p", { className: "kicker" }, "By meaning"), el("h2", {}, query));
    showSteering({ query }, found.features);
  });

  const showSteering = (start, features) => {
    const sliders = el("div"), ranking = el("div", { className: "ranking" }), top = Math.max(...features.map(([, , a]) => a), 0.1) * 1.5;
    steered = { start, ranking, sliders, top };
    const shown = new Set(Object.keys(view.edit).map(Number));
    const first = features.filter(([id], i) => i < 8 || shown.has(id)), rest = features.filter((f) => !first.includes(f));
    sliders.append(...first.map((f) => slider(...f)));
    const have = new Set(features.map(([id]) => id));
    for (const id of shown) if (!have.has(id)) sliders.append(slider(id, names.get(id) || "", 0));
    const more = rest.length ? el("button", { className: "link small", onclick: () => {
      more.remove();
      sliders.append(...rest.map((f) => slider(...f)));
    } }, `Show all ${features.length} features`) : null;
    const add = el("form", { className: "tools adding", onsubmit: (event) => {
      event.preventDefault();
      addFeature(add.elements[0].value);
      add.reset();
    } }, el("input", { type: "text", list: "suggestions", placeholder: "Add a feature", autocomplete: "off", "aria-label": "Feature to add, by label or number",
      oninput: (event) => suggest(event.target.value) }), el("button", {}, "Add"),
    el("button", { onclick: () => { go({ edit: {} }, true); showOpen(); } }, "Reset"));
    body.append(heading(state.steer ? "Its features: move them" : "Its features"), sliders, more || "", state.steer ? add : "", ranking);
    body.scrollTop = 0;
    rank();
  };
  const slider = (id, name, activation) => {
    names.set(id, name);
    const value = view.edit[id] ?? activation, { top } = steered;
    const output = el("output", { className: "mono" }, value.toFixed(2));
    const input = el("input", { type: "range", min: "0", max: String(Math.max(top, value)), step: String(top / 100), value: String(value),
      disabled: !state.steer, "aria-label": `Activation of ${called(id, name)}`, "data-slider": String(id), oninput: () => {
        const now = Number(input.value), same = Math.abs(now - activation) < top / 150;
        output.textContent = now.toFixed(2);
        line.classList.toggle("changed", !same);
        const edit = { ...view.edit, [id]: now };
        if (same) delete edit[id];
        go({ edit }, true);
      } });
    input.value = String(value);
    const line = el("div", { className: `steer${id in view.edit ? " changed" : ""}` }, featureLink(id, name), input, output);
    return line;
  };
  let typing = 0;
  const suggest = (words) => {
    clearTimeout(typing);
    typing = setTimeout(() => trying($("#adds"), async () => {
      const found = await ask("suggest", "features", { words });
      $("#suggestions").replaceChildren(...found.lines.slice(0, 12).map((line) => el("option", { value: `${line.feature} ${line.name}` })));
    }), 150);
  };
  const addFeature = async (text) => {
    const number = /^\d+/.exec(text.trim());
    const found = await ask("suggest", "features", { words: number ? number[0] : text });
    const line = found.lines[0];
    if (!line) return void say("No feature is called so.");
    if ($(`[data-slider="${line.feature}"]`)) return void $(`[data-slider="${line.feature}"]`).focus();
    steered.sliders.append(slider(line.feature, line.name, 0));
    const input = $(`[data-slider="${line.feature}"]`);
    input.value = String(steered.top / 1.5);
    input.dispatchEvent(new Event("input"));
    input.focus();
  };
  const moveOf = (hit, i) => {
    if (!Object.keys(view.edit).length) return null;
    if (hit.was === null) return el("span", { className: "up" }, "new");
    const by = hit.was - i;
    return by === 0 ? el("span", {}, "=") : el("span", { className: by > 0 ? "up" : "down", "aria-label": `${by > 0 ? "up" : "down"} ${Math.abs(by)}` },
      `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`);
  };
  const rank = () => trying(steered.ranking, async () => {
    const { ranking, start } = steered;
    if (!ranking.firstChild) ranking.append(el("p", { className: "busy" }, "Ranking…"));
    const found = await ask("rank", "steer", { ...start, edit: view.edit });
    for (const [id, name] of Object.entries(found.names)) {
      const link = $(`[data-slider="${id}"]`)?.parentElement.firstElementChild;
      if (link) link.textContent = called(id, name);
    }
    ranking.replaceChildren(heading(Object.keys(view.edit).length ? "Ranked by what you made of it" : "Most alike"),
      el("p", { className: "muted small", role: "status" }, found.note),
      el("ol", { className: "plain", id: "ranking" }, found.hits.slice(0, 20).map((hit, i) => el("li", { "data-hit": String(hit.row) },
        el("button", { className: "example", onclick: () => openRow(hit.row) },
          el("span", { className: "rank" }, fmt(hit.score, 2), " ", moveOf(hit, i)), el("span", { className: "text" }, hit.text || `row ${hit.row}`))))));
  });

  const showContrast = () => trying(body, async () => {
    busy("Comparing the selection with all others…");
    const found = await ask("detail", "contrast", { where: where() });
    const lines = found.findings.map((f) => el("div", {}, el("div", { className: "pair" }, featureLink(f.feature, f.label),
      el("button", { className: "link small", onclick: () => toggleFilter(f.feature), "aria-label": `Filter by ${f.label}` }, "filter")),
    el("div", { className: "odds" }, el("span", {}, percent(f.share)), el("i", { style: { width: `${100 * f.share}%` } }),
      el("span", {}, percent(f.share_rest)), el("i", { className: "rest", style: { width: `${100 * f.share_rest}%` } })),
    el("div", { className: "muted small" }, `odds ratio ${fmt(f.odds_ratio)} (95 % CI ${fmt(f.odds_low)} to ${fmt(f.odds_high)}), q = ${fmt(f.q, 2)}`)));
    const [a, b] = found.compared;
    body.replaceChildren(el("h2", {}, `What distinguishes ${count(found.rows, noun())}`),
      el("p", { className: "muted small" }, `${count(a, noun())} of the selection (blue) against ${count(b, "other")} (grey). Features were chosen on one half; `
        + `the figures are of the other, ${count(found.held_out, noun())} that chose nothing. ${found.notes.join(" ")}`),
      lines.length ? list(lines) : el("p", {}, "Nothing differs by more than chance would."));
    body.scrollTop = 0;
    say(`${count(lines.length, "finding")}`);
  });
  const showNothing = () => body.replaceChildren(el("h2", {}, "Where to start"), list([
    "Open a feature: what it stands for, its strongest texts, and where on the map it is active.",
    "Filter by one feature or several, by words, or by a group in the legend.",
    "Open a text, move its features, and watch the ranking follow.",
    "Draw a lasso on a map and see what distinguishes the selection.",
    "Bookmark and name features, tag texts, and take them away as a CSV.",
  ]), el("p", { className: "muted small" }, "The address of this page always leads back to what you see. Press / to search."));
  const showOpen = () => {
    steered = null;
    const [kind] = view.open.split(":"), id = view.open.slice(kind.length + 1);
    return ({ feature: () => showFeature(id), row: () => showRow(id), query: () => showQuery(id), contrast: showContrast }[kind] || showNothing)();
  };

  // ── rendering what changed ──

  const render = (before = null) => {
    const changed = (...keys) => !before || keys.some((key) => JSON.stringify(view[key]) !== JSON.stringify(before[key]));
    const chosen = changed("q", "f", "value", "tag", "lasso", "led");
    $("#words").value = view.q;
    $("#sort").value = view.sort;
    $("#marked").setAttribute("aria-pressed", String(view.marked));
    $("#color").value = view.color;
    if (chosen) listChips();
    if (changed("tag") && state.tags) $("#tags").value = view.tag;
    for (const button of document.querySelectorAll("[data-map]")) button.setAttribute("aria-pressed", String(button.dataset.map === view.map));
    for (const section of document.querySelectorAll("main > section")) section.classList.toggle("shown", section.id === view.pane);
    for (const button of document.querySelectorAll("[data-pane]")) button.setAttribute("aria-current", String(button.dataset.pane === view.pane));
    if (before && changed("pane") && $("#panes").offsetHeight) $(`#${view.pane}`).focus();
    if (changed("q", "sort", "marked")) listFeatures();
    if (chosen) listRows();
    let shown = null; // a click is answered first, the map follows
    if (changed("open") || (chosen && view.open === "contrast:")) shown = showOpen();
    else if (changed("f") && opened("feature") !== null) showFeature(opened("feature"));
    else if (changed("edit") && steered) rank();
    if (changed("open")) markOpen();
    if (changed("map")) drawMap(true);
    else if (chosen || changed("color") || (changed("open") && color() !== drawn)) Promise.resolve(shown).then(() => drawMap(false));
    else if (changed("open")) markMap();
    drawn = color();
  };
  let drawn = "";

  // ── controls ──

  const connect = () => {
    tools = nano.map($("#plane"), {
      label: "Map",
      help: "map-help",
      name: nameOf,
      pick: (id) => (view.map === "rows" ? openRow(id) : openFeature(id)),
      lasso: (corners) => {
        lassoing(false);
        const rounded = corners.map((c) => c.map((x) => Number(x.toPrecision(5))));
        go({ [view.map === "rows" ? "lasso" : "led"]: rounded, open: "contrast:", edit: {} });
      },
      move: (look) => {
        go({ look: look && [look.x, look.y, look.width].map((v) => Number(v.toPrecision(5))) }, true);
        drawMap(false);
      },
    });
    const lassoing = (on) => {
      $("#lasso").setAttribute("aria-pressed", String(on));
      tools.draw(on);
    };
    const pressed = (node) => node.getAttribute("aria-pressed") === "true";
    $("#search").addEventListener("submit", (event) => {
      event.preventDefault();
      go({ q: $("#words").value.trim(), pane: "rows" });
    });
    $("#words").addEventListener("search", () => { if (!$("#words").value && view.q) go({ q: "" }); });
    $("#meaning").addEventListener("click", () => {
      const query = $("#words").value.trim();
      if (query) go({ open: `query:${query}`, edit: {}, pane: "detail" });
      else $("#words").focus();
    });
    $("#sort").addEventListener("change", (event) => go({ sort: event.target.value }));
    $("#marked").addEventListener("click", () => go({ marked: !view.marked }));
    $("#color").addEventListener("change", (event) => go({ color: event.target.value }));
    $("#tags").addEventListener("change", (event) => go({ tag: event.target.value }));
    for (const button of document.querySelectorAll("[data-map]")) {
      button.addEventListener("click", () => go({ map: button.dataset.map, look: null }));
    }
    for (const button of document.querySelectorAll("[data-pane]")) button.addEventListener("click", () => go({ pane: button.dataset.pane }, true));
    $("#lasso").addEventListener("click", () => lassoing(!pressed($("#lasso"))));
    $("#in-view").addEventListener("click", () => {
      if (!tools.points) return;
      const [x0, y0, x1, y1] = tools.box().map((x) => Number(x.toPrecision(5)));
      go({ [view.map === "rows" ? "lasso" : "led"]: [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], open: "contrast:", edit: {} });
    });
    $("#compare").addEventListener("click", () => { go({ open: "contrast:", edit: {}, pane: "detail" }); });
    $("#tag-all").addEventListener("click", () => {
      const form = $("#tag-form");
      form.hidden = !form.hidden;
      $("#tag-all").setAttribute("aria-expanded", String(!form.hidden));
      if (!form.hidden) $("#tag-name").focus();
    });
    $("#tag-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const tag = $("#tag-name").value.trim();
      trying($("#chips"), async () => {
        const done = await ask("tag", "tag", {}, { tag, where: where() });
        listTags(done.tags);
        $("#tag-form").hidden = true;
        $("#tag-all").setAttribute("aria-expanded", "false");
        $("#tag-form").reset();
        $("#tag-all").focus();
        say(`${count(done.rows, noun())} tagged ${tag}`);
      });
    });
    document.addEventListener("keydown", (event) => {
      const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
      if (event.key === "/" && !writing) {
        event.preventDefault();
        $("#words").focus();
      } else if (event.key === "Escape" && pressed($("#lasso"))) lassoing(false);
    });
    const fromAddress = () => {
      const before = view;
      view = readHash();
      render(before);
      if (JSON.stringify(view.look) !== JSON.stringify(before.look)) drawMap(false, true);
    };
    addEventListener("popstate", fromAddress);
    addEventListener("hashchange", () => { if (toHash() !== location.hash) fromAddress(); });
    nano.dark.addEventListener("change", () => { if (tools.points) drawLegend(tools.points.legend); });
  };

  const drawState = () => {
    document.title = `${state.run} · nanoSAE explorer`;
    $("#run").textContent = state.corpus === "default" ? state.run : `${state.run} / ${state.corpus}`;
    $("#facts").textContent = `${count(state.rows, noun())} · ${count(state.features, "feature")}`;
    const option = (value, text) => el("option", { value }, text);
    $("#color").replaceChildren(option("auto", "colour: automatic"), option("feature", "open feature"),
      ...state.colors.map((name) => option(name, name)), ...state.columns.map((name) => option(`column:${name}`, name)));
    for (const button of document.querySelectorAll('[data-map="rows"], [data-pane="rows"]')) button.textContent = state.texts ? "Texts" : "Rows";
    $("#adds").replaceChildren(...Object.entries(state.adds).map(([what, command]) =>
      el("p", { className: "hint" }, `No ${what} yet: `, el("code", {}, command))));
    if (state.jobs.index && !state.index) {
      const failed = state.jobs.index !== "working";
      $("#adds").append(el("p", { className: "hint" }, failed ? "The text index could not be made; the server's terminal says why."
        : "The index for searching words is being made, once."));
    }
    listTags(state.tags);
  };
  /** Look again while the server prepares the map or the index. */
  const watch = () => {
    if (!Object.values(state.jobs).includes("working")) return;
    setTimeout(() => trying($("#adds"), async () => {
      const before = state;
      state = await ask("state", "state");
      drawState();
      if (state.map !== before.map || JSON.stringify(state.jobs) !== JSON.stringify(before.jobs)) drawMap(true);
      watch();
    }), 1500);
  };

  trying($("#feature-list"), async () => {
    state = await ask("state", "state");
    view = readHash();
    connect();
    drawState();
    render();
    watch();
  });
})();
