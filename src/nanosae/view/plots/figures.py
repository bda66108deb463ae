"""Figures of every stage, from training to topics: `from nanosae import plot`.

Each function takes a run folder or the objects themselves and returns a plotly figure, which shows
itself in a notebook; `figure.write_html` keeps it as a page, `figure.write_image` (with kaleido) as
PNG or SVG, and `plot.dark(figure)` is the same figure for dark pages. Texts and labels are escaped.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries, and pandas' stubs see arrays for columns

from __future__ import annotations

import copy
import html
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanosae.analysis.coactivation import cooccurrence as together
from nanosae.codes import Codes
from nanosae.model.weights import Weights
from nanosae.runs.tables import known_labels
from nanosae.view import maps
from nanosae.view.files import read_arrays, read_json
from nanosae.view.style import COLORS, MUTED, template

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

BINS = 64
BAR = {"color": COLORS[0], "line": {"width": 0}}
INTERVAL = ["value", "low", "high"]
POINTS = 20_000  # points of a map that are drawn; of more rows, a sample

TRAINING = (  # panels: title, axis, column of the metrics
    ("Loss", "loss per element", "loss"),
    ("Fraction of variance unexplained", "FVU", "fvu"),
    ("Active latents", "L0 (latents per row)", "l0"),
    ("Dead latents", "dead (% of latents)", "dead"),
    ("Learning rate", "learning rate", "lr"),
)
STEP = "step %{x:,}: %{y:.4~g}"
HISTOGRAMS = {  # of a snapshot: name → title, axis
    "encoder_weight": ("Encoder weights", "weight"),
    "encoder_norm": ("Encoder norms", "norm of a latent's encoder column"),
    "encoder_decoder_cosine": ("Encoder against decoder", "cosine, same latent"),
    "decoder_weight": ("Decoder weights", "weight"),
    "decoder_norm": ("Decoder norms", "norm of a latent's decoder row"),
    "decoder_cosine": ("Decoder rows, pairs", "cosine, two latents"),
    "decoder_max_cosine": ("Decoder rows, nearest", "cosine with the nearest latent"),
    "log10_density": ("Density", "log10 of the share of rows"),
    "activation": ("Activations", "activation (units of scaled rows)"),
}


def dark(figure: go.Figure) -> go.Figure:
    """Return a copy of a figure in the dark theme."""
    return copy.deepcopy(figure).update_layout(template=template(dark=True))


def training(run: str | Path | Sequence[Mapping[str, Any]]) -> go.Figure:
    """Plot loss and its parts, FVU, L0, dead share, learning rate and sparsity coefficient.

    Args:
        run: A run folder, finished or not, or the lines of its metrics.jsonl as dictionaries. Where
            the activation has no sparsity coefficient, throughput takes its panel.

    Raises:
        FileNotFoundError: If the run has logged nothing.
    """
    import pandas as pd

    table = pd.json_normalize([line for line in metrics(run) if "loss" in line])
    parts = [column for column in table if column.startswith("parts.")]
    table[parts] = table[parts].fillna(0.0)
    table["dead"] *= 100
    if "rows_per_second" in table:
        table["speed"] = table["rows_per_second"] / 1000
    last = ("Throughput", "thousand rows per second", "speed")
    if any(table.get("coefficient", ())):
        last = ("Sparsity coefficient", "coefficient", "coefficient")
    titles, axes, columns = zip(*TRAINING, last, strict=True)
    curves = [(place, "training", column) for place, column in enumerate(columns)]
    curves += [(1, "held-out", "heldout_fvu"), (2, "held-out", "heldout_l0")]
    curves += [(0, part.removeprefix("parts."), part) for part in parts if len(parts) > 1]
    curves = [curve for curve in curves if curve[2] in table]
    names = list(dict.fromkeys(name for _, name, _ in curves))
    figure = _panels(titles, axes, ["step"] * len(titles))
    for place, name, column in curves:
        known, dash = table[["step", column]].dropna(), "dot" if column in parts else "solid"
        look = {"color": COLORS[names.index(name) % 7], "dash": dash, "width": 1.8}
        trace = {"x": known["step"].tolist(), "y": known[column].tolist(), "line": look}
        trace |= {"mode": "lines" if len(known) > 2 else "lines+markers", "legendgroup": name}
        trace |= {"showlegend": column in ("loss", "heldout_fvu", *parts)}
        figure.add_scatter(**trace, name=name, hovertemplate=STEP, **_cell(place))
    figure.update_yaxes(rangemode="tozero")
    return _finish(figure, f"Training{_of(run)}")


def weights(source: Any) -> go.Figure:
    """Plot the distributions of weights, norms and cosines; of a run at every snapshot, by slider.

    Args:
        source: A run folder with snapshots, or a model or Weights for its final state.

    Raises:
        FileNotFoundError: If the run has no snapshots.
    """
    shots = snapshots(source) if isinstance(source, str | Path) else {0: _histograms(source)}
    names = [n for n in HISTOGRAMS if all(n in shot and shot[n].any() for shot in shots.values())]
    titles, axes = zip(*(HISTOGRAMS[name] for name in names), strict=True)
    figure = _panels(titles, ["share (%)"] * len(names), axes)
    bars = [[_bars(shot, name) for name in names] for shot in shots.values()]
    for i, name in enumerate(names):
        hover = {"name": titles[i], "hovertemplate": "%{x:.3~g}: %{y:.2~f} %"}
        figure.add_bar(**bars[-1][i], marker=BAR, showlegend=False, **hover, **_cell(i))
        counts = np.array([shot[name] for shot in shots.values()])
        edges = np.array([shot[f"{name}_edges"] for shot in shots.values()])
        low, below = edges[:, 0].min(), edges[:, :-1]
        if name == "log10_density":  # latents that are never active stand at -9
            low = below[(counts > 0) & (below > -8)].min(initial=-1)
        figure.update_xaxes(range=[low, edges[:, -1].max()], **_cell(i))
    figure.update_layout(bargap=0)
    if len(shots) > 1:
        states = [
            {"method": "restyle", "label": f"{step:,}"}
            | {"args": [{key: [bar[key] for bar in drawn] for key in ("x0", "dx", "y")}]}
            for step, drawn in zip(shots, bars, strict=True)
        ]
        look = {"active": len(shots) - 1, "currentvalue": {"prefix": "step "}, "ticklen": 0}
        look |= {"pad": {"t": 44}, "x": 0, "len": 1, "minorticklen": 0}
        figure.update_layout(sliders=[look | {"steps": states}])
    return _finish(figure, f"Weights{_of(source)}")


def density(source: Any) -> go.Figure:
    """Plot how many features are active on which share of the rows (log10).

    Args:
        source: Codes, or a run folder with codes.
    """
    codes = _codes(source)
    alive = np.log10(codes.density[codes.counts > 0])
    n, dead = codes.n_features, codes.n_features - len(alive)
    edges = np.linspace(alive.min(initial=-1) - 0.1, min(0, alive.max(initial=-1) + 0.1), 51)
    what = f"{n:,} features, {dead:,} of them ({dead / n:.1%}) never active"
    title = f"Activation density{_of(source)}"
    axis = "log10 of the share of rows on which a feature is active"
    return _finish(_histogram(alive, edges, axis, "features"), title, 420, what)


def activations(source: Any, feature: int | None = None) -> go.Figure:
    """Plot the distribution of the activations of a feature, or of all (of 50,000 rows at most).

    Args:
        source: Codes, or a run folder with codes.
        feature: Which feature; None: all.

    Raises:
        ValueError: If there are no activations.
    """
    codes, label = _codes(source), "all features"
    if feature is None:
        rows = np.random.default_rng(0).permutation(codes.n_rows)[:50_000]
        values = codes.take(np.sort(rows)).data
    else:
        values, label = codes.feature(feature)[1], _name(_names(source), feature)
    if not len(values):
        raise ValueError(f"{label} has no activation on the {codes.n_rows:,} rows of {codes.path}.")
    edges, axis = np.linspace(0, values.max(), BINS + 1), "activation (in the units of the rows)"
    figure = _histogram(values, edges, axis, "activations")
    what = f"{label}: {len(values):,} activations above 0, mean {values.mean():.3g}"
    return _finish(figure, f"Activations{_of(source)}", 420, what)


def l0(source: Any) -> go.Figure:
    """Plot how many rows have how many active features.

    Args:
        source: Codes, or a run folder with codes.
    """
    codes = _codes(source)
    parts = [np.diff(block.indptr) for _, block in codes.shards(values=False)]
    values = np.concatenate([*parts, np.zeros(0, np.int64)])
    step = values.max(initial=0) // 100 + 1
    edges = np.arange(0, values.max(initial=0) + step + 1, step) - 0.5
    figure = _histogram(values, edges, "L0 (active features per row)", "rows")
    mean = values.mean() if len(values) else 0.0
    figure.add_vline(mean, line={"color": COLORS[1], "dash": "dash"})
    what = f"{len(values):,} rows, mean {mean:.1f} (dashed)"
    return _finish(figure, f"Active features per row{_of(source)}", 420, what)


def frontier(runs: Any, measure: str = "fvu") -> go.Figure:
    """Plot a measure of several runs against their L0.

    Args:
        runs: Run folders, a folder of them (as `nanosae.sweep` makes), or a mapping from names to
            run folders. Runs of equal activation and size are joined by a line.
        measure: "fvu", or a measure of `nanosae evaluate` such as "probe_f1@5" or "f1", whose
            baselines are drawn as dashed lines.

    Raises:
        FileNotFoundError: If a run has no metrics, or was not evaluated.
        ValueError: If a run is not finished, or does not have the measure.
    """
    import pandas as pd

    lines, beside = [], {}
    for name, run in _named_runs(runs).items():
        last = metrics(run)[-1]
        if not last.get("final"):
            raise ValueError(f"{run} stopped at step {last['step']}: finish it with --resume.")
        line = {"name": name, "l0": last["l0"]} | dict.fromkeys(INTERVAL, last["fvu"])
        if measure != "fvu":
            table = _evaluation(run)
            table = table[table["measure"] == measure].set_index("representation")
            if "codes" not in table.index:
                raise ValueError(
                    f"{run} was not evaluated for {measure!r}; evaluate it with labels."
                )
            line |= table.loc["codes", INTERVAL].to_dict()
            beside = table["value"].drop("codes").to_dict() | beside
        config = json.loads((Path(run) / "config.json").read_text("utf-8"))["config"]
        kind = f"{config['activation']}, {config['hidden_size']:,} features"
        lines.append(line | {"kind": kind})
    figure = _figure()
    for i, (kind, found) in enumerate(pd.DataFrame(lines).groupby("kind", sort=False)):
        found = found.sort_values("l0")
        look = {"color": COLORS[i % 7], "symbol": i, "size": 9}
        trace = {"x": found["l0"].tolist(), "name": kind, "mode": "lines+markers", "marker": look}
        trace |= {"customdata": [_safe(name) for name in found["name"]], "showlegend": True}
        hover = "%{customdata}<br>L0 %{x:.1f}, %{y:.3f}"
        figure.add_scatter(**trace, **_interval(found), hovertemplate=hover)
    for name, y in beside.items():
        where = {"annotation_text": _safe(name), "annotation_position": "top right"}
        figure.add_hline(y, line={"color": MUTED, "dash": "dash", "width": 1}, **where)
    figure.update_xaxes(title_text="L0 (active features per row)", rangemode="tozero")
    figure.update_yaxes(title_text="FVU, held-out rows" if measure == "fvu" else measure)
    return _finish(figure, f"{'FVU' if measure == 'fvu' else measure} and L0", 480)


def probing(runs: Any, measure: str = "f1") -> go.Figure:
    """Plot how well few features tell known labels, by their number, beside the baselines.

    Args:
        runs: Run folders that were evaluated with labels, one of them, a folder of them, a mapping
            from names to them, or an Evaluation in place of a run folder.
        measure: "f1", "auc" or "accuracy".

    Raises:
        FileNotFoundError: If a run was not evaluated.
        ValueError: If it was evaluated without labels.
    """
    ours, baselines = {}, {}
    for name, run in _named_runs(runs).items():
        table = _evaluation(run)
        k = table["measure"].str.extract(rf"^probe_{measure}@(\d+)$")[0].astype(float)
        table = table.assign(k=k).dropna(subset=["k"])
        if table.empty:
            raise ValueError(f"{name} has no probes: evaluate it with labels.")
        found = dict(list(table.groupby("representation", sort=False)))
        ours[name] = found.pop("codes")
        baselines = {f"{kind} (baseline)": line for kind, line in found.items()} | baselines
    figure = _figure()
    for i, (name, found) in enumerate((ours | baselines).items()):
        baseline = i >= len(ours)
        color, dash = (MUTED, "dot") if baseline else (COLORS[i % 7], "solid")
        trace = {"x": found["k"].tolist(), "name": _safe(name), "mode": "lines+markers"}
        trace |= {"line": {"color": color, "dash": dash}, "marker": {"symbol": i, "size": 8}}
        trace |= _interval(found, visible=not baseline)
        figure.add_scatter(**trace, hovertemplate="%{x} features: %{y:.3f}")
    ticks = sorted({k for found in ours.values() for k in found["k"]})
    figure.update_xaxes(title_text="features of the probe (log scale)", type="log", tickvals=ticks)
    figure.update_yaxes(title_text=f"{measure}, mean over labels, held-out rows")
    return _finish(figure, "Sparse probing", 480)


def cooccurrence(source: Any, families: Any = None, *, n: int = 60) -> go.Figure:
    """Draw which features are active together as a heat map, ordered by family.

    Args:
        source: Codes, or a run folder with codes.
        families: Families; by default the run's families.json.
        n: Features to draw: those of the largest families, the most frequent ones of each.

    Raises:
        FileNotFoundError: If the run has no families.json.
        ValueError: If there is no family.
    """
    codes, names = _codes(source), _names(source)
    table, _ = _families(codes.run if families is None else families)
    ids, sizes = [], []
    for members in table["members"]:
        block = [j for j in members if j not in ids][: min(max(n // 6, 4), n - len(ids))]
        ids += block
        sizes.append(len(block))
    both = together(codes, ids, min_share=0)[:, ids].toarray().astype(float)
    f = codes.counts[ids]
    share = both / np.maximum(np.minimum.outer(f, f), 1)
    np.fill_diagonal(share, np.nan)
    ticks = [_short(_name(names, j), 28) for j in ids]
    figure = _figure()
    hover = "%{y}<br>%{x}<br>together on %{z:.1%}<extra></extra>"
    figure.add_heatmap(z=share, coloraxis="coloraxis", hovertemplate=hover, xgap=1, ygap=1)
    ends = np.cumsum([0, *sizes]) - 0.5
    for a, b in pairwise(ends.tolist()):
        figure.add_shape(type="rect", x0=a, x1=b, y0=a, y1=b, line={"color": COLORS[1]})
    axis = {"tickvals": list(range(len(ids))), "ticktext": ticks, "tickfont": {"size": 10}}
    figure.update_yaxes(**axis, autorange="reversed", showgrid=False)
    figure.update_xaxes(**axis, showticklabels=False, showgrid=False, title="the same features")
    bar = {"title": {"text": "share of the<br>rarer one's rows"}, "tickformat": ".0%"}
    figure.update_layout(coloraxis={"colorbar": bar})
    what = f"{len(ids)} features of the {np.count_nonzero(sizes)} largest families (framed)"
    return _finish(figure, f"Co-occurrence{_of(source)}", 160 + 13 * len(ids), what)


def family_tree(
    source: Any, family: int | None = None, *, labels: Any = None, n: int = 3, most: int = 24
) -> go.Figure:
    """Draw families as trees: each feature stands below the more frequent one it fires with.

    Args:
        source: Families, or a run folder with families.json.
        family: Which family; None: the n largest that share no feature.
        labels: Names of features, by default the run's.
        n: How many families.
        most: Features of a family to draw, the most frequent first.

    Raises:
        FileNotFoundError: If the run has no families.json.
        ValueError: If there is no such family.
    """
    table, edges = _families(source)
    names, chosen, taken = _names(source) if labels is None else labels, [], set()
    if family is not None and family not in set(table["family"]):
        raise ValueError(f"there is no family {family}: they are 0 to {len(table) - 1}.")
    for line in table.to_dict("records"):
        fits = line["family"] == family if family is not None else taken.isdisjoint(line["members"])
        if fits and len(chosen) < n:
            chosen.append(line)
            taken |= set(line["members"])
    figure = _panels([_short(line["label"], 34) for line in chosen], [""] * n, [""] * n)
    for i, line in enumerate(chosen):
        kept = line["members"][:most]
        mine = edges[edges["pass"] == edges.loc[edges["parent"] == line["root"], "pass"].max()]
        mine = mine[mine["child"].isin(kept) & mine["parent"].isin(kept)]
        below = mine.groupby("parent")["child"].apply(list).to_dict()
        depth = dict(_descend(line["root"], below))
        y = {j: place for place, j in enumerate(depth)}
        x, down = [], []
        for p, j in zip(mine["parent"], mine["child"], strict=True):
            x += [depth[p], depth[p], depth[j], None]
            down += [y[p], y[j], y[j], None]
        figure.add_scatter(x=x, y=down, mode="lines", line={"color": MUTED, "width": 1}, **_cell(i))
        text = [f" {_short(_name(names, j), 30 - 4 * depth[j])}" for j in depth]
        dots = {"x": list(depth.values()), "y": list(y.values()), "text": text}
        dots |= {"hovertext": [f"feature {j}" for j in depth], "hoverinfo": "text"}
        dots |= {"mode": "markers+text", "textposition": "middle right", "cliponaxis": False}
        figure.add_scatter(**dots, marker={"color": COLORS[0], "size": 7}, **_cell(i))
        if more := line["size"] - len(kept):
            note = {"text": f"and {more} rarer ones", "font": {"color": MUTED}, "xanchor": "left"}
            figure.add_annotation(**note, x=0, y=len(y), showarrow=False, **_cell(i))
        figure.update_xaxes(range=[-0.3, max(depth.values()) + 4], visible=False, **_cell(i))
    figure.update_yaxes(range=[most + 0.6, -0.6], visible=False)
    figure.update_layout(showlegend=False)
    return _finish(figure, f"Families{_of(source)}", 130 + 21 * (most + 1))


def _descend(feature: int, below: Mapping[int, list[int]], depth: int = 0) -> Iterator[Any]:
    """Yield a feature and those below it with their depths, from top to bottom."""
    yield feature, depth
    for child in below.get(feature, []):
        yield from _descend(child, below, depth + 1)


def splitting_flow(
    small: Any,
    large: Any,
    *,
    n: int = 10,
    most: int = 6,
    threshold: float = 0.5,
    labels: Any = None,
) -> go.Figure:
    """Draw how features of a smaller SAE split into those of a larger one.

    Args:
        small: The smaller SAE: a run folder, model, Weights, or codes.
        large: The larger one; codes only if both are, and of the same rows.
        n: Features of the smaller one to draw: those with the most children.
        most: Children of each to draw, the most similar first.
        threshold: Least similarity (cosine, of codes correlation) of a child.
        labels: Names of the features of both, a pair of mappings; by default the runs'.

    Raises:
        ValueError: If no feature has two children.
    """
    from nanosae.analysis.matching import splitting

    sides = [s if hasattr(s, "shards") else _tensors(s)["W_dec"] for s in (small, large)]
    table = splitting(*sides, threshold=threshold).sort_values("n_children", ascending=False)
    table = table[table["n_children"] > 1].head(n)
    if table.empty:
        raise ValueError(f"no feature has two children more similar than {threshold}: lower it.")
    links = table.explode(["children", "similarities"])
    links = links[links.groupby("parent").cumcount() < most]
    source = links["parent"].map({j: place for place, j in enumerate(table["parent"])})
    target = len(table) + np.arange(len(links))
    left, right = labels or (_names(small), _names(large))
    text = [
        _short(_name(left, j), 34) + (f" (+{count - most})" if count > most else "")
        for j, count in zip(table["parent"], table["n_children"], strict=True)
    ]
    text += [_short(_name(right, j), 34) for j in links["children"]]
    color = [COLORS[place % 7] for place in [*range(len(table)), *source]]
    figure = _figure()
    links = {"source": source, "target": target, "value": links["similarities"]}
    links["color"] = [f"{COLORS[place % 7]}4d" for place in source]
    links["hovertemplate"] = "%{source.label} → %{target.label}: %{value:.2f}<extra></extra>"
    nodes = {"label": text, "color": color, "pad": 9, "thickness": 10, "line": {"width": 0}}
    nodes["hovertemplate"] = "%{label}<extra></extra>"
    figure.add_sankey(link=links, node=nodes, textfont={"size": 11})
    what = "left: the smaller SAE; right: features of the larger one; width: similarity"
    return _finish(figure, "Feature splitting", 120 + 21 * len(target), what)


def contrast(found: Any, *, n: int = 20) -> go.Figure:
    """Draw the findings of a contrast as a forest plot: effects with 95 % intervals.

    Args:
        found: What `contrast`, `explain` or `over_time` found, its dictionary or JSON file, or a
            run folder that holds one such file.
        n: Most findings to draw, the surest first.

    Raises:
        ValueError: If nothing was found.
    """
    import pandas as pd

    found = _contrast(found)
    table, about = pd.DataFrame(found["findings"]).head(n), found["about"]
    if table.empty:
        raise ValueError(f"nothing was found among {about['n_tested']:,} tests: nothing to draw.")
    numeric, several = found["kind"] == "numeric", len(set(table["target"])) > 1
    columns = ["effect", "low", "high"] if numeric else ["odds_ratio", "odds_low", "odds_high"]
    x, low, high = table[columns].to_numpy(float).T
    names = table["label"] + (" · " + table["target"] if several else "")
    target, rest = table["target"].iloc[0], about.get("b") or "the rest"
    axis = f"odds ratio, {'each class' if several else target} : {rest}, 95 % interval (log scale)"
    if found["kind"] == "trend":
        axis = f"odds ratio per {about['unit']}, 95 % interval (log scale)"
    axis = f"difference of {target}, 95 % interval" if numeric else axis
    figure, less = _figure(), (table["effect"] < 0).astype(int)
    bars = {"type": "data", "array": high - x, "arrayminus": x - low, "color": MUTED}
    trace = {"x": x, "y": list(range(len(x))), "mode": "markers", "error_x": bars}
    look = {"color": [COLORS[i] for i in less], "symbol": [2 * i for i in less], "size": 9}
    said = [_wrap(sentence, most=600) for sentence in found["sentences"][:n]]
    figure.add_scatter(**trace, marker=look, hovertext=said, hoverinfo="text", showlegend=False)
    figure.add_vline(0 if numeric else 1, line={"color": MUTED, "dash": "dash"})
    ticks = [_short(name, 44) for name in names]
    figure.update_yaxes(tickvals=list(range(len(x))), ticktext=ticks, showgrid=False)
    figure.update_yaxes(range=[len(x) - 0.4, -0.6], zeroline=False, ticklabelstandoff=6)
    scale = {} if numeric else {"type": "log", "dtick": 1 if high.max() > 30 * low.min() else None}
    figure.update_xaxes(title_text=_safe(axis), **scale)
    what = f"{len(found['findings'])} findings among {about['n_tested']:,} tests, held-out rows"
    title = f"What goes with {about.get('column') or target}"
    return _finish(figure, title, 170 + 24 * len(x), what)


def over_time(source: Any, column: Any = None, *, n: int = 6) -> go.Figure:
    """Plot shares of rows over time: of topics, or of the features of a trend.

    Args:
        source: Topics, or a run folder with codes (its topics are made again; 20 if there are no
            topics.parquet); or, without a column, what `over_time` found.
        column: Metadata column with numbers or dates, or one value per row.
        n: Lines to draw: the largest topics, or the surest trends.

    Raises:
        ValueError: If the column is missing, or holds neither numbers nor dates.
    """
    import pandas as pd

    if column is None:
        found = _contrast(source)
        if found["kind"] != "trend":
            raise ValueError(f"{found['kind']!r} findings have no time: give a column, or a trend.")
        what, column, shares = "Features", found["about"]["column"], pd.DataFrame(found["shares"])
        first = found["findings"][:n]
        lines = [(e["label"], shares[shares["feature"] == e["feature"]]) for e in first]
    else:
        what, lines = "Topics", _topic_shares(_topics(source), column, n)
        column = column if isinstance(column, str) else "time"
    if not lines:
        raise ValueError("nothing was found to change over time: nothing to draw.")
    titles = [_short(name, 36) for name, *_ in lines]
    figure = _panels(titles, ["share of rows", "", ""] * n, [_safe(str(column))] * n)
    for i, (_, line) in enumerate(lines):
        x, y, low, high = (line[k].tolist() for k in ("period", "share", "low", "high"))
        band = {"x": x + x[::-1], "y": low + high[::-1], "line": {"width": 0}, "mode": "lines"}
        band |= {"fill": "toself", "fillcolor": f"{COLORS[0]}33", "hoverinfo": "skip"}
        figure.add_scatter(**band, **_cell(i))
        look = {"mode": "lines+markers", "line": {"color": COLORS[0]}, "marker": {"size": 5}}
        look["hovertemplate"] = "%{x}: %{y:.1%}<extra></extra>"
        figure.add_scatter(x=x, y=y, **look, **_cell(i))
    most = max(line["high"].max() for _, line in lines)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.05 * most])
    figure.update_layout(showlegend=False)
    return _finish(figure, f"{what} over time{_of(source)}")


def _topic_shares(topics: Any, column: Any, n: int) -> list[tuple[str, pd.DataFrame]]:
    """Return the largest topics' names and their shares of the rows in each period."""
    import pandas as pd

    from nanosae.analysis.columns import as_times, is_missing

    named = isinstance(column, str)
    values = topics.codes.column(column) if named else np.asarray(column)
    known = ~is_missing(values)
    periods = as_times(values[known], column if named else "time")[0]
    shares = pd.crosstab(periods, topics.row_topic[known], normalize="index")
    first = topics.table.head(n)
    shares = shares.reindex(columns=first["Topic"], fill_value=0.0)
    lines = []
    for topic, words in zip(first["Topic"], first["Representation"], strict=True):
        line = pd.DataFrame({"period": shares.index, "share": shares[topic].to_numpy()})
        lines.append((", ".join(words[:3]), line.assign(low=line["share"], high=line["share"])))
    return lines


def dictionary(source: Any, labels: Mapping[int, str] | None = None) -> go.Figure:
    """Draw the decoder map: features lie near each other if their directions are alike.

    Points are features, larger where they are active on more rows (if codes are known); colours and
    labels are clusters of the map (HDBSCAN).

    Args:
        source: A model, Weights, codes in a run folder, or a run folder.
        labels: Names of features; by default those in the run's features.parquet.
    """
    codes = source if hasattr(source, "shards") else None
    if isinstance(source, str | Path) and any(Path(source).glob("codes/*/manifest.json")):
        codes = Codes.open(source)
    decoder = _tensors(source if codes is None else codes.weights())["W_dec"]
    use = np.linalg.norm(decoder, axis=1) > 0
    if codes is not None:
        use &= codes.counts > 0
    ids = np.flatnonzero(use)
    known = _names(source) if labels is None else labels
    names = {place: known.get(j, "") for place, j in enumerate(ids.tolist())}
    hover = [f"feature {j}<br>{_wrap(names[i])}" for i, j in enumerate(ids.tolist())]
    size: Any = 5.0
    if codes is not None:
        share = codes.density[ids]
        hover = [f"{h}<br>active on {d:.2%} of rows" for h, d in zip(hover, share, strict=True)]
        size = 3 + 9 * np.sqrt(share / max(share.max(), 1e-12))
    figure = _map(decoder[ids], names, hover, size)
    what = f"{len(ids):,} features; near means a similar direction"
    return _finish(figure, f"Decoder map{_of(source)}", 720, what)


def texts(source: Any, *, points: int = POINTS) -> go.Figure:
    """Draw the text map: rows lie near each other if their embeddings are alike.

    Colours and labels are clusters of the map (HDBSCAN); labels are words that set their texts
    apart.

    Args:
        source: Codes that know their embeddings, a run folder, or an array or frame of numbers.
        points: Rows to draw; of more, a random sample.
    """
    is_codes = hasattr(source, "shards") or isinstance(source, str | Path)
    data: Any = _codes(source) if is_codes else source
    if hasattr(data, "select_dtypes"):
        data = data.select_dtypes("number")
    data = data if is_codes else np.asarray(data)
    n = data.n_rows if is_codes else len(data)
    rows = np.sort(np.random.default_rng(0).choice(n, min(n, points), replace=False))
    x = data.vectors(rows) if is_codes else data[rows]
    known = is_codes and data.has_texts
    names = dict(enumerate(data.texts(rows).tolist())) if known else {}
    hover = [f"row {r}<br>{_wrap(names.get(i, ''))}" for i, r in enumerate(rows.tolist())]
    figure = _map(x, names, hover, 4.0)
    what = f"{len(rows):,} of {n:,} rows; near means a similar embedding"
    return _finish(figure, f"Text map{_of(source)}", 720, what)


def plot_dictionary(model: Any) -> go.Figure:
    """Draw the features of a model, Weights or run folder as a map; see `dictionary`."""
    return dictionary(model)


def plot_umap(data: Any) -> go.Figure:
    """Draw rows as a map: of an array or frame (n, width), codes or a run folder; see `texts`."""
    return texts(data)


def metrics(run: str | Path | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics.jsonl; one that is still being written is left out.

    Raises:
        FileNotFoundError: If there is none yet.
    """
    if not isinstance(run, str | Path):
        return [dict(line) for line in run]
    path = Path(run) / "metrics.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    if not found:
        raise FileNotFoundError(f"{path} is missing or empty: nothing was logged in this run yet.")
    return found


def snapshots(run: str | Path) -> dict[int, dict[str, np.ndarray]]:
    """Return a run's snapshots by step; one that is still being written is left out.

    Raises:
        FileNotFoundError: If there are none.
    """
    paths = sorted(Path(run).glob("snapshots/*.npz"))
    found = {int(path.stem): shot for path in paths if (shot := read_arrays(path)) is not None}
    if not found:
        raise FileNotFoundError(
            f"{run}/snapshots holds no snapshot; training with a run folder writes them."
        )
    return found


def _map(x: np.ndarray, names: Mapping[int, str], hover: Sequence[str], size: Any) -> go.Figure:
    """Draw points where their rows are alike, coloured and labelled by cluster."""
    if x.ndim != 2 or 0 in x.shape or not np.isfinite(x).all():
        bad = f", {(~np.isfinite(x)).sum()} of them not finite" if x.size else ""
        raise ValueError(f"a map needs rows of finite numbers, (n, width); got {x.shape}{bad}.")
    points, method = maps.project(x)
    group = maps.clusters(points)
    order = np.argsort(group, kind="stable")  # what lies in no cluster is drawn below the others
    color = [MUTED if g < 0 else COLORS[g % 7] for g in group[order].tolist()]
    look = {"color": color, "opacity": np.where(group[order] < 0, 0.35, 0.75), "line": {"width": 0}}
    look["size"] = np.broadcast_to(size, len(order))[order]
    trace = {"x": points[order, 0], "y": points[order, 1], "mode": "markers", "marker": look}
    trace |= {"hovertext": [hover[i] for i in order.tolist()], "hoverinfo": "text"}
    figure = _figure().add_scattergl(**trace, showlegend=False)
    for text, (a, b) in maps.labels(points, group, names, 960, 600):
        figure.add_annotation(x=a, y=b, text=_safe(text), showarrow=False, font={"size": 12})
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False}
    figure.update_xaxes(title_text=f"{method} 1", **bare)
    return figure.update_yaxes(title_text=f"{method} 2", **bare)


def _codes(source: Any) -> Codes:
    return source if hasattr(source, "shards") else Codes.open(source)


def _names(source: Any) -> dict[int, str]:
    """Return the labels of the run that a source is or lies in; none for other objects."""
    if hasattr(source, "shards"):
        return known_labels(source)
    return known_labels(Path(source)) if isinstance(source, str | Path) else {}


def _name(names: Mapping[int, str], feature: int) -> str:
    return names.get(feature) or f"feature {feature}"


def _named_runs(runs: Any) -> dict[str, Any]:
    if isinstance(runs, Mapping):
        return dict(runs)
    if isinstance(runs, str | Path) and not (Path(runs) / "config.json").exists():
        runs = sorted(p.parent for p in Path(runs).glob("*/config.json")) or runs
    runs = runs if isinstance(runs, list | tuple) else [runs]
    return {
        Path(r).name if isinstance(r, str | Path) else f"SAE {i}": r for i, r in enumerate(runs)
    }


def _evaluation(source: Any) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(source, str | Path):
        return source.table
    return pd.DataFrame(_json(Path(source) / "evaluation.json", "evaluate")["table"])


def _interval(table: pd.DataFrame, visible: bool = True) -> dict[str, Any]:
    """Return the values of a line, and the ends of their intervals as bars."""
    value, low, high = (table[name].to_numpy() for name in INTERVAL)
    bars = {"array": high - value, "arrayminus": value - low, "thickness": 1, "visible": visible}
    return {"y": value.tolist(), "error_y": bars}


def _families(source: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of families and of edges."""
    import pandas as pd

    if isinstance(source, str | Path):
        found = _json(Path(source) / "families.json", "families")
        table, edges = pd.DataFrame(found["families"]), pd.DataFrame(found["edges"])
    else:
        table, edges = source.table, source.edges
    if table.empty:
        raise ValueError("there are no families: no group of features fires together often enough.")
    return table, edges


def _contrast(source: Any) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return dict(source)
    if not isinstance(source, str | Path):
        return source.to_dict()
    path = Path(source)
    if path.is_dir():
        known = sorted(path.glob("contrasts/*.json"))
        if len(known) != 1:
            have = ", ".join(file.name for file in known) or "none"
            raise FileNotFoundError(f"{path}/contrasts holds {have}: name one file.")
        path = known[0]
    return _json(path, "contrast")


def _topics(source: Any) -> Any:
    if hasattr(source, "row_topic"):
        return source
    import pyarrow.parquet as pq

    from nanosae.analysis.topics import topics

    codes = _codes(source)
    path = codes.run / "topics.parquet" if codes.run else None
    n = pq.read_metadata(path).num_rows if path and path.exists() else 20
    return topics(codes, n)


def _json(path: Path, verb: str) -> dict[str, Any]:
    if (found := read_json(path)) is None:
        raise FileNotFoundError(f"{path} is missing: run `nanosae {verb}` first.")
    return found


def _tensors(source: Any) -> dict[str, np.ndarray]:
    """Return W_enc and W_dec of a run folder, Weights or a model."""
    if isinstance(source, str | Path):
        source = Weights.load(source)
    found = {}
    for name in ("W_enc", "W_dec"):
        tensor = getattr(source, name)
        tensor = tensor.detach().cpu() if hasattr(tensor, "detach") else tensor
        found[name] = np.asarray(tensor, np.float32)
    return found


def _histograms(model: Any) -> dict[str, np.ndarray]:
    """Return what a snapshot says of the weights, from their final state."""
    tensors = _tensors(model)
    encoder, decoder = tensors["W_enc"].T, tensors["W_dec"]
    norms = np.linalg.norm(encoder, axis=1), np.linalg.norm(decoder, axis=1)
    some = np.linspace(0, len(decoder) - 1, min(len(decoder), 2048)).astype(int)
    unit = decoder[some] / np.maximum(norms[1][some, None], 1e-12)
    pairs = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    same = encoder.shape == decoder.shape  # but for a transcoder
    cosine = (encoder * decoder).sum(1) / np.maximum(norms[0] * norms[1], 1e-12) if same else []
    series = {"encoder_weight": encoder, "encoder_norm": norms[0], "encoder_decoder_cosine": cosine}
    series |= {"decoder_weight": decoder, "decoder_norm": norms[1], "decoder_cosine": pairs}
    out = {}
    for name, values in series.items():
        low, high = (np.min(values), np.max(values)) if len(values) else (0.0, 0.0)
        span = (low, high) if high - low > 1e-3 else (low - 0.5, low + 0.5)
        out[name], out[f"{name}_edges"] = np.histogram(values, bins=BINS, range=span)
    return out


def _bars(shot: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """Return the bars of a histogram as shares in percent, in few numbers."""
    counts, edges = shot[name], shot[f"{name}_edges"]
    width = float(edges[1] - edges[0])
    y = [float(f"{share:.4g}") for share in 100 * counts / max(counts.sum(), 1)]
    return {"x0": float(edges[0]) + width / 2, "dx": width, "y": y}


def _histogram(values: Any, edges: np.ndarray, axis: str, unit: str) -> go.Figure:
    figure, counts = _figure(), np.histogram(values, bins=edges)[0]
    bars = {"x": (edges[1:] + edges[:-1]) / 2, "y": counts, "width": np.diff(edges)}
    hover = f"%{{x:.3~g}}: %{{y:,}} {unit}<extra></extra>"
    figure.add_bar(**bars, marker=BAR, showlegend=False, hovertemplate=hover)
    figure.update_xaxes(title_text=axis)
    figure.update_yaxes(title_text=unit)
    return figure.update_layout(bargap=0)


def _figure() -> go.Figure:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": template()})


def _panels(titles: Sequence[str], y: Sequence[str], x: Sequence[str]) -> go.Figure:
    """Make panels, three a row, with their titles and those of their axes."""
    from plotly.subplots import make_subplots

    rows = -(-len(titles) // 3)
    space = {"horizontal_spacing": 0.085, "vertical_spacing": 0.36 / (rows + 0.5)}
    figure = make_subplots(rows, min(3, len(titles)), subplot_titles=titles, **space)
    figure.update_layout(template=template(), height=120 + 240 * rows)
    figure.update_annotations(font={"size": 13})
    for i in range(len(titles)):
        figure.update_yaxes(title_text=y[i], **_cell(i))
        figure.update_xaxes(title_text=x[i], **_cell(i))
    return figure


def _cell(i: int) -> dict[str, int]:
    return {"row": i // 3 + 1, "col": i % 3 + 1}


def _finish(figure: go.Figure, title: str, height: int = 0, subtitle: str = "") -> go.Figure:
    words: dict[str, Any] = {"text": _safe(title)}
    if subtitle:
        words["subtitle"] = {"text": _safe(subtitle), "font": {"size": 12, "color": MUTED}}
    return figure.update_layout(title=words, height=height or figure.layout.height)


def _safe(text: str) -> str:
    """Escape what plotly would take for markup; it does not know &quot;."""
    return html.escape(text, quote=False)


def _of(source: Any) -> str:
    """Name the run in a title."""
    return f" · {Path(source).resolve().name}" if isinstance(source, str | Path) else ""


def _short(text: str, most: int) -> str:
    """Escape a text, cut to a length."""
    text = " ".join(text.split())
    return _safe(text if len(text) <= most else text[: most - 1] + "…")


def _wrap(text: str, width: int = 60, most: int = 300) -> str:
    """Escape a text and break it into lines for a hover box."""
    text = " ".join(text.split())
    short = text if len(text) <= most else text[: most - 1] + "…"
    return "<br>".join(_safe(line) for line in textwrap.wrap(short, width))
