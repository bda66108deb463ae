"""Figures of every stage, from training to topics: `from nanosae import plot`.

Each function takes a run folder or the objects themselves and returns a plotly figure, which shows
itself in a notebook; `figure.write_html` keeps it as a page, `figure.write_image` (with kaleido) as
PNG or SVG, and `plot.dark(figure)` is the same figure for dark pages. Texts and labels are escaped.
"""

from __future__ import annotations

import copy
import html
import json
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanosae.analysis.describe import known_labels
from nanosae.codes import Codes
from nanosae.view import maps
from nanosae.view.style import COLORS, MUTED, template
from nanosae.weights import Weights

if TYPE_CHECKING:
    import plotly.graph_objects as go

BINS = 64
POINTS = 20_000  # points of a map that are drawn; of more rows, a sample

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
    lines = [line for line in metrics(run) if "loss" in line]
    weighted = any(line.get("coefficient") for line in lines)
    last = (
        ("Sparsity coefficient", "coefficient")
        if weighted
        else ("Throughput", "thousand rows per second")
    )
    panels = [
        ("Loss", "loss per element"),
        ("Fraction of variance unexplained", "FVU"),
        ("Active latents", "L0 (latents per row)"),
        ("Dead latents", "dead (% of latents)"),
        ("Learning rate", "learning rate"),
        last,
    ]
    figure = _panels(panels, rows=2, columns=3, x="step")
    seen: set[str] = set()

    def line(name: str, values: list[Any], panel: int, color: str, dash: str = "solid") -> None:
        known = [(e["step"], y) for e, y in zip(lines, values, strict=True) if y is not None]
        if not known:
            return
        x, y = zip(*known, strict=True)
        mode = "lines" if len(known) > 2 else "lines+markers"
        style = {"color": color, "dash": dash, "width": 1.8}
        trace = {"x": x, "y": y, "name": name, "legendgroup": name, "mode": mode, "line": style}
        trace |= {"showlegend": name not in seen, "hovertemplate": "step %{x:,}: %{y:.4~g}"}
        figure.add_scatter(**trace, row=panel // 3 + 1, col=panel % 3 + 1)
        seen.add(name)

    line("training", [e["loss"] for e in lines], 0, COLORS[0])
    parts = list(dict.fromkeys(name for e in lines for name in e["parts"]))
    for i, name in enumerate(parts if len(parts) > 1 else []):
        line(name, [e["parts"].get(name, 0.0) for e in lines], 0, COLORS[2 + i % 5], "dot")
    for panel, name in ((1, "fvu"), (2, "l0")):
        line("training", [e[name] for e in lines], panel, COLORS[0])
        line("held-out", [e.get(f"heldout_{name}") for e in lines], panel, COLORS[1])
    line("training", [100 * e["dead"] for e in lines], 3, COLORS[0])
    line("training", [e["lr"] for e in lines], 4, COLORS[0])
    speed = [e["rows_per_second"] / 1000 if "rows_per_second" in e else None for e in lines]
    line("training", [e["coefficient"] for e in lines] if weighted else speed, 5, COLORS[0])
    figure.update_yaxes(rangemode="tozero")
    return _finish(figure, f"Training{_of(run)}", 620)


def weights(source: Any) -> go.Figure:
    """Plot the distributions of weights, norms and cosines; of a run at every snapshot, by slider.

    Args:
        source: A run folder with snapshots, or a model or Weights for its final state.

    Raises:
        FileNotFoundError: If the run has no snapshots.
    """
    if isinstance(source, str | Path):
        shots = snapshots(source)
    else:
        shots = {0: _histograms(_tensors(source))}
    names = [name for name in HISTOGRAMS if all(name in shot for shot in shots.values())]
    columns = 3
    panels = [(HISTOGRAMS[n][0], "share (%)") for n in names]
    figure = _panels(panels, rows=-(-len(names) // columns), columns=columns)
    states, bars = [], []
    for step, shot in shots.items():
        bars = [_bars(shot[name], shot[f"{name}_edges"]) for name in names]
        data = {key: [bar[key] for bar in bars] for key in ("x0", "dx", "y")}
        states.append({"method": "restyle", "label": f"{step:,}", "args": [data]})
    for i, name in enumerate(names):
        edges = [shot[f"{name}_edges"] for shot in shots.values()]
        low, high = min(e[0] for e in edges), max(e[-1] for e in edges)
        at = {"row": i // columns + 1, "col": i % columns + 1}
        look = {"marker": {"color": COLORS[0], "line": {"width": 0}}, "showlegend": False}
        hover = {"name": HISTOGRAMS[name][0], "hovertemplate": "%{x:.3~g}: %{y:.2~f} %"}
        figure.add_bar(**bars[i], **look, **hover, **at)
        if name == "log10_density":  # latents that are never active stand at -9
            low = min(
                e[:-1][(shot[name] > 0) & (e[:-1] > -8)].min(initial=-1)
                for e, shot in zip(edges, shots.values(), strict=True)
            )
        figure.update_xaxes(title_text=HISTOGRAMS[name][1], range=[low, high], **at)
    figure.update_layout(bargap=0)
    if len(states) > 1:
        look = {"active": len(states) - 1, "currentvalue": {"prefix": "step "}, "ticklen": 0}
        look |= {"pad": {"t": 44}, "x": 0, "len": 1, "minorticklen": 0}
        figure.update_layout(sliders=[look | {"steps": states}])
    height = 250 * -(-len(names) // columns) + 100
    return _finish(figure, f"Weights{_of(source)}", height)


def density(source: Any) -> go.Figure:
    """Plot how many features are active on which share of the rows (log10), and how many on none.

    Args:
        source: Codes, or a run folder with codes.
    """
    codes = _codes(source)
    counts = codes.counts
    alive = np.log10(counts[counts > 0] / max(codes.n_rows, 1))
    figure = _figure()
    _histogram(figure, alive, np.linspace(alive.min(initial=-1) - 0.1, 0, 51), "features")
    name, dead = "log10 of the share of rows on which a feature is active", int((counts == 0).sum())
    figure.update_xaxes(title_text=name)
    figure.update_yaxes(title_text="features")
    what = f"{len(counts):,} features, {dead:,} of them ({dead / len(counts):.1%}) never active"
    return _finish(figure, f"Activation density{_of(source)}", 420, what)


def dictionary(
    source: Any, labels: Mapping[int, str] | None = None, *, width: int = 960, seed: int = 0
) -> go.Figure:
    """Draw the decoder map: features lie near each other if their directions are alike.

    Points are features, larger where they are active on more rows (if codes are known); colours and
    labels are clusters of the map (HDBSCAN).

    Args:
        source: A model, Weights, codes in a run folder, or a run folder.
        labels: Names of features; by default those in the run's features.parquet.
        width: Width in pixels for which labels are placed without overlap.
        seed: Of the projection.
    """
    codes = source if hasattr(source, "shards") else None
    if isinstance(source, str | Path) and any(Path(source).glob("codes/*/manifest.json")):
        codes = Codes.open(source)
    decoder = _tensors(source if codes is None or codes is not source else codes.weights())["W_dec"]
    use = np.linalg.norm(decoder, axis=1) > 0
    if codes is not None:
        use &= codes.counts > 0
        labels = known_labels(codes) if labels is None else labels
    ids = np.flatnonzero(use)
    names = {place: (labels or {}).get(j, "") for place, j in enumerate(ids.tolist())}
    hover = [f"feature {j}<br>{_wrap(names[i])}" for i, j in enumerate(ids.tolist())]
    size: Any = 5.0
    if codes is not None:
        share = codes.density[ids]
        hover = [f"{h}<br>active on {d:.2%} of rows" for h, d in zip(hover, share, strict=True)]
        size = 3 + 9 * np.sqrt(share / max(share.max(), 1e-12))
    figure = _map(decoder[ids], names, hover, size, width, seed)
    what = f"{len(ids):,} features; near means a similar direction"
    return _finish(figure, f"Decoder map{_of(source)}", 720, what)


def texts(source: Any, *, points: int = POINTS, width: int = 960, seed: int = 0) -> go.Figure:
    """Draw the text map: rows lie near each other if their embeddings are alike.

    Colours and labels are clusters of the map (HDBSCAN); labels are words that set their texts
    apart.

    Args:
        source: Codes that know their embeddings, a run folder, or an array or frame of numbers.
        points: Rows to draw; of more, a random sample.
        width: Width in pixels for which labels are placed without overlap.
        seed: Of sample and projection.
    """
    is_codes = hasattr(source, "shards") or isinstance(source, str | Path)
    data: Any = _codes(source) if is_codes else np.asarray(source)
    n = data.n_rows if is_codes else len(data)
    rows = np.sort(np.random.default_rng(seed).choice(n, min(n, points), replace=False))
    x = data.vectors(rows) if is_codes else data[rows]
    known = is_codes and data.has_texts
    names = dict(enumerate(data.texts(rows).tolist())) if known else {}
    hover = [f"row {r}<br>{_wrap(names.get(i, ''))}" for i, r in enumerate(rows.tolist())]
    figure = _map(x, names, hover, 4.0, width, seed)
    what = f"{len(rows):,} of {n:,} rows; near means a similar embedding"
    return _finish(figure, f"Text map{_of(source)}", 720, what)


def plot_dictionary(model: Any) -> go.Figure:
    """Draw the features of a model, Weights or run folder as a map; see `dictionary`."""
    return dictionary(model)


def plot_umap(data: Any, *, width: int = 960, seed: int = 0) -> go.Figure:
    """Draw rows as a map: of an array or frame (n, width), codes or a run folder; see `texts`."""
    return texts(data, width=width, seed=seed)


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
    found = {}
    for path in sorted(Path(run).glob("snapshots/*.npz")):
        try:
            with np.load(path) as arrays:
                found[int(path.stem)] = dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            continue
    if not found:
        raise FileNotFoundError(
            f"{run}/snapshots holds no snapshot; training with a run folder writes them."
        )
    return found


def _map(
    x: np.ndarray, names: Mapping[int, str], hover: Sequence[str], size: Any, width: int, seed: int
) -> go.Figure:
    """Draw points where their rows are alike, coloured and labelled by cluster."""
    points, method = maps.project(x, seed=seed)
    group = maps.clusters(points)
    size = np.broadcast_to(np.asarray(size), len(points))
    figure = _figure()
    for g in range(-1, group.max(initial=-1) + 1):
        at = np.flatnonzero(group == g)
        color = MUTED if g < 0 else COLORS[g % len(COLORS)]
        marker = {"size": size[at], "color": color, "opacity": 0.35 if g < 0 else 0.75}
        trace = {"x": points[at, 0], "y": points[at, 1], "mode": "markers", "showlegend": False}
        trace |= {"marker": marker | {"line": {"width": 0}}, "hoverinfo": "text"}
        trace |= {
            "hovertext": [hover[i] for i in at.tolist()],
            "name": f"cluster {g}" if g >= 0 else "none",
        }
        figure.add_scattergl(**trace)
    for text, (a, b) in maps.labels(points, group, names, width, 600):
        figure.add_annotation(x=a, y=b, text=html.escape(text), showarrow=False, font={"size": 12})
    figure.update_xaxes(
        title_text=f"{method} 1", showticklabels=False, showgrid=False, zeroline=False
    )
    figure.update_yaxes(
        title_text=f"{method} 2", showticklabels=False, showgrid=False, zeroline=False
    )
    return figure


def _codes(source: Any) -> Codes:
    return source if hasattr(source, "shards") else Codes.open(source)


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


def _histograms(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a snapshot says of the weights, from their final state."""
    encoder, decoder = tensors["W_enc"].T, tensors["W_dec"]
    norms = np.linalg.norm(encoder, axis=1), np.linalg.norm(decoder, axis=1)
    some = np.linspace(0, len(decoder) - 1, min(len(decoder), 2048)).astype(int)
    unit = decoder[some] / np.maximum(norms[1][some, None], 1e-12)
    pairs = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    cosine = (encoder * decoder).sum(1) / np.maximum(norms[0] * norms[1], 1e-12)
    series = {"encoder_weight": encoder, "encoder_norm": norms[0], "encoder_decoder_cosine": cosine}
    series |= {"decoder_weight": decoder, "decoder_norm": norms[1], "decoder_cosine": pairs}
    out = {}
    for name, values in series.items():
        low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
        span = (low, high) if high - low > 1e-3 else (low - 0.5, low + 0.5)
        out[name], out[f"{name}_edges"] = np.histogram(values, bins=BINS, range=span)
    return out


def _bars(counts: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    """Return the bars of a histogram as shares in percent, in few numbers."""
    y = [float(f"{v:.4g}") for v in 100 * counts / max(counts.sum(), 1)]
    width = float(edges[1] - edges[0])
    return {"x0": float(edges[0]) + width / 2, "dx": width, "y": y}


def _histogram(figure: go.Figure, values: Any, edges: np.ndarray, unit: str) -> None:
    counts, _ = np.histogram(values, bins=edges)
    figure.add_bar(
        x=(edges[1:] + edges[:-1]) / 2,
        y=counts,
        width=np.diff(edges),
        marker={"color": COLORS[0], "line": {"width": 0}},
        hovertemplate=f"%{{x:.3~g}}: %{{y:,}} {unit}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(bargap=0)


def _figure() -> go.Figure:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": template()})


def _panels(panels: list[tuple[str, str]], rows: int, columns: int, x: str = "") -> go.Figure:
    """Make a grid of panels: (title, title of the y axis)."""
    from plotly.subplots import make_subplots

    titles = [title for title, _ in panels]
    space = {"horizontal_spacing": 0.085, "vertical_spacing": 0.36 / (rows + 0.5)}
    figure = make_subplots(rows, columns, subplot_titles=titles, **space)
    figure.update_layout(template=template())
    figure.update_annotations(font={"size": 13})
    for i, (_, name) in enumerate(panels):
        at = {"row": i // columns + 1, "col": i % columns + 1}
        figure.update_yaxes(title_text=name, **at)
        figure.update_xaxes(title_text=x, **at)
    return figure


def _finish(figure: go.Figure, title: str, height: int, subtitle: str = "") -> go.Figure:
    words: dict[str, Any] = {"text": html.escape(title)}
    if subtitle:
        words["subtitle"] = {"text": html.escape(subtitle), "font": {"size": 12, "color": MUTED}}
    return figure.update_layout(title=words, height=height)


def _of(source: Any) -> str:
    """Name the run in a title."""
    return f" · {Path(source).resolve().name}" if isinstance(source, str | Path) else ""


def _wrap(text: str, width: int = 60, most: int = 300) -> str:
    """Escape a text and break it into lines for a hover box."""
    text = " ".join(text.split())
    short = text if len(text) <= most else text[: most - 1] + "…"
    return "<br>".join(html.escape(line) for line in textwrap.wrap(short, width))
