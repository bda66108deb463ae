"""Figures of related features: co-occurrence, family trees, splitting between two SAEs."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries, and pandas' stubs see arrays for columns

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nanosae.analysis.coactivation import cooccurrence as count_together
from nanosae.analysis.matching import splitting
from nanosae.codes import Codes, as_codes
from nanosae.errors import DataError
from nanosae.runs.tables import Labels, labels_by_feature
from nanosae.view.plots.base import (
    empty_figure,
    escape_short,
    panel,
    panel_figure,
    run_of,
    run_suffix,
    titled,
)
from nanosae.view.plots.sources import (
    family_tables,
    feature_name,
    labels_of,
    weight_matrices,
)
from nanosae.view.style import COLORS, MUTED


def cooccurrence(source: Any, families: Any = None, *, n: int = 60) -> go.Figure:
    """Draw a heat map of features that are active together, ordered by family.

    Args:
        source: Codes, a run folder with codes, or an `Analysis`.
        families: Families; by default the run's families.json.
        n: Number of features: the most frequent ones of the largest families.

    Raises:
        MissingError: If the run has no families.json.
        DataError: If there is no family.
    """
    source = run_of(source)
    codes = as_codes(source)
    labels = labels_of(source)
    table, _ = family_tables(codes.run if families is None else families)
    features, sizes = _features_by_family(table["members"], n)
    ticks = [escape_short(feature_name(labels, feature), 28) for feature in features]
    figure = empty_figure()
    figure.add_heatmap(
        z=_shares_together(codes, features),
        coloraxis="coloraxis",
        hovertemplate="%{y}<br>%{x}<br>together on %{z:.1%}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    ends = np.cumsum([0, *sizes]) - 0.5
    for low, high in pairwise(ends.tolist()):
        figure.add_shape(
            type="rect", x0=low, x1=high, y0=low, y1=high, line={"color": COLORS[1]}
        )
    axis = {
        "tickvals": list(range(len(features))),
        "ticktext": ticks,
        "tickfont": {"size": 10},
    }
    figure.update_yaxes(**axis, autorange="reversed", showgrid=False)
    figure.update_xaxes(
        **axis, showticklabels=False, showgrid=False, title="the same features"
    )
    bar = {"title": {"text": "share of the<br>rarer one's rows"}, "tickformat": ".0%"}
    figure.update_layout(coloraxis={"colorbar": bar})
    n_drawn = np.count_nonzero(sizes)
    subtitle = f"{len(features)} features of the {n_drawn} largest families (framed)"
    height = 160 + 13 * len(features)
    return titled(figure, f"Co-occurrence{run_suffix(source)}", height, subtitle)


def _features_by_family(
    families: Sequence[list[int]], n: int
) -> tuple[list[int], list[int]]:
    """Return n features, family by family, and the number from each family."""
    per_family = max(n // 6, 4)
    features: list[int] = []
    sizes = []
    for members in families:
        new = [feature for feature in members if feature not in features]
        room = min(per_family, n - len(features))
        features += new[:room]
        sizes.append(len(new[:room]))
    return features, sizes


def _shares_together(codes: Codes, features: list[int]) -> np.ndarray:
    """Return the share of the rarer feature's rows on which both are active; diagonal NaN."""
    with_all = count_together(codes, features, min_share=0)
    together = with_all[:, features].toarray().astype(float)
    counts = codes.counts[features]
    rarer = np.minimum.outer(counts, counts)
    shares = together / np.maximum(rarer, 1)
    np.fill_diagonal(shares, np.nan)
    return shares


def family_tree(
    source: Any,
    family: int | None = None,
    *,
    labels: Labels | None = None,
    n: int = 3,
    most: int = 24,
) -> go.Figure:
    """Draw families as trees in which each feature is below the more frequent one it occurs with.

    Args:
        source: Families, a run folder with families.json, or an `Analysis`.
        family: Number of a family; None: the n largest families that share no feature.
        labels: Labels of features, a mapping or a table; by default those of the run.
        n: Number of families.
        most: Maximum number of features of a family; the most frequent are drawn.

    Raises:
        MissingError: If the run has no families.json.
        DataError: If there is no such family.
    """
    source = run_of(source)
    table, edges = family_tables(source)
    known = labels_of(source) if labels is None else labels_by_feature(labels)
    chosen = _chosen_families(table, family, n)
    titles = [escape_short(line["label"], 34) for line in chosen]
    figure = panel_figure(titles, [""] * n, [""] * n)
    for i, line in enumerate(chosen):
        members = line["members"][:most]
        own_edges = _tree_edges(edges, line["root"], members)
        n_lines = _add_tree(figure, i, own_edges, line["root"], known)
        n_left_out = line["size"] - len(members)
        if n_left_out:
            _note_left_out(figure, i, n_left_out, n_lines)
    figure.update_yaxes(range=[most + 0.6, -0.6], visible=False)
    figure.update_layout(showlegend=False)
    height = 130 + 21 * (most + 1)
    return titled(figure, f"Families{run_suffix(source)}", height)


def _chosen_families(
    table: pd.DataFrame, family: int | None, n: int
) -> list[dict[Any, Any]]:
    """Return one family, or the n largest that share no feature."""
    lines = table.to_dict("records")
    if family is not None:
        named = [line for line in lines if line["family"] == family]
        if not named:
            raise DataError(
                f"there is no family {family}: there are 0 … {len(table) - 1}."
            )
        return named[:n]
    chosen: list[dict[Any, Any]] = []
    taken: set[int] = set()
    for line in lines:
        if len(chosen) < n and taken.isdisjoint(line["members"]):
            chosen.append(line)
            taken |= set(line["members"])
    return chosen


def _tree_edges(edges: pd.DataFrame, root: int, members: list[int]) -> Any:
    """Return the edges between members in the last pass in which the root was a parent."""
    last_pass = edges.loc[edges["parent"] == root, "pass"].max()
    own = edges[edges["pass"] == last_pass]
    is_inside = own["child"].isin(members) & own["parent"].isin(members)
    return own[is_inside]


def _add_tree(
    figure: go.Figure, i: int, edges: pd.DataFrame, root: int, labels: Mapping[int, str]
) -> int:
    """Draw a tree in the i-th panel, growing to the right; return its number of lines."""
    children = edges.groupby("parent")["child"].apply(list).to_dict()
    depth = dict(_walk(root, children))
    line = {feature: place for place, feature in enumerate(depth)}
    x: list[int | None] = []
    y: list[int | None] = []
    for parent, child in zip(edges["parent"], edges["child"], strict=True):
        x += [depth[parent], depth[parent], depth[child], None]
        y += [line[parent], line[child], line[child], None]
    names = [
        _tree_label(feature_name(labels, feature), depth[feature]) for feature in depth
    ]
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": MUTED, "width": 1}, **panel(i)
    )
    figure.add_scatter(
        x=list(depth.values()),
        y=list(line.values()),
        text=names,
        hovertext=[f"feature {feature}" for feature in depth],
        hoverinfo="text",
        mode="markers+text",
        textposition="middle right",
        cliponaxis=False,
        marker={"color": COLORS[0], "size": 7},
        **panel(i),
    )
    deepest = max(depth.values())
    figure.update_xaxes(range=[-0.3, deepest + 4], visible=False, **panel(i))
    return len(depth)


def _tree_label(name: str, depth: int) -> str:
    return f" {escape_short(name, 30 - 4 * depth)}"


def _walk(
    feature: int, children: Mapping[int, list[int]], depth: int = 0
) -> Iterator[tuple[int, int]]:
    """Yield a feature and its descendants with their depths, in depth-first order."""
    yield feature, depth
    for child in children.get(feature, []):
        yield from _walk(child, children, depth + 1)


def _note_left_out(figure: go.Figure, i: int, n_left_out: int, n_lines: int) -> None:
    """Note below a tree of `n_lines` lines how many features are not shown."""
    figure.add_annotation(
        text=f"and {n_left_out} rarer ones",
        font={"color": MUTED},
        xanchor="left",
        x=0,
        y=n_lines,
        showarrow=False,
        **panel(i),
    )


def splitting_flow(
    small: Any,
    large: Any,
    *,
    n: int = 10,
    most: int = 6,
    threshold: float = 0.5,
    labels: tuple[Labels, Labels] | None = None,
) -> go.Figure:
    """Draw how features of a smaller SAE split into features of a larger one.

    Args:
        small: The smaller SAE: a run folder, model, Weights, or codes.
        large: The larger SAE; if one is codes, both must be, and of the same rows.
        n: Number of features of the smaller SAE: those with the most children.
        most: Maximum number of children of each; the most similar are drawn.
        threshold: Minimum similarity of a child: the cosine, or for codes the correlation. It is
            lower than that of `splitting` (0.7), which tells children from novel features: where a
            feature splits into two unrelated ones, it has at most a cosine of 0.71 with both.
        labels: Labels of the features of both, a pair of mappings or tables; by default those of
            the runs.

    Raises:
        DataError: If no feature has two children.
    """
    small = run_of(small)
    large = run_of(large)
    table = splitting(
        _codes_or_decoder(small), _codes_or_decoder(large), threshold=threshold
    )
    table = table.sort_values("n_children", ascending=False)
    parents = table[table["n_children"] > 1].head(n)
    if parents.empty:
        raise DataError(
            f"No feature has two children with a similarity above {threshold:g}.",
            remedy="Lower the threshold.",
        )
    children = parents.explode(["children", "similarities"])
    children = children[children.groupby("parent").cumcount() < most]
    left, right = labels_of(small), labels_of(large)
    if labels is not None:
        left, right = map(labels_by_feature, labels)
    texts = _parent_texts(parents, left, most)
    texts += [
        escape_short(feature_name(right, feature), 34)
        for feature in children["children"]
    ]
    place_of_parent = {feature: i for i, feature in enumerate(parents["parent"])}
    parent_of_child = children["parent"].map(place_of_parent).tolist()
    figure = empty_figure()
    _add_flow(figure, parent_of_child, children["similarities"].tolist(), texts)
    subtitle = (
        "left: the smaller SAE; right: features of the larger one; "
        f"width: similarity, above {threshold:g}"
    )
    return titled(figure, "Feature splitting", 120 + 21 * len(children), subtitle)


def _add_flow(
    figure: go.Figure,
    parent_of_child: list[int],
    similarities: list[float],
    texts: list[str],
) -> None:
    """Draw parents on the left, their children on the right, and a band for each pair.

    Args:
        figure: The figure.
        parent_of_child: Position of each child's parent among the parents.
        similarities: Similarity of each child and its parent.
        texts: Texts of the parents, then of the children.
    """
    n_children = len(parent_of_child)
    n_parents = len(texts) - n_children
    parent_colors = [COLORS[i % len(COLORS)] for i in range(n_parents)]
    child_colors = [parent_colors[parent] for parent in parent_of_child]
    link = {
        "source": parent_of_child,
        "target": list(range(n_parents, len(texts))),
        "value": similarities,
        "color": [f"{color}4d" for color in child_colors],  # 30 % opaque
        "hovertemplate": "%{source.label} → %{target.label}: %{value:.2f}<extra></extra>",
    }
    node = {
        "label": texts,
        "color": parent_colors + child_colors,
        "pad": 9,
        "thickness": 10,
        "line": {"width": 0},
        "hovertemplate": "%{label}<extra></extra>",
    }
    figure.add_sankey(link=link, node=node, textfont={"size": 11})


def _codes_or_decoder(source: Any) -> Any:
    if isinstance(source, Codes):
        return source
    _, W_dec = weight_matrices(source)
    return W_dec


def _parent_texts(parents: pd.DataFrame, labels: Any, most: int) -> list[str]:
    """Return the names of parents, with the number of children that are not drawn."""
    texts = []
    columns = parents["parent"], parents["n_children"]
    for feature, n_children in zip(*columns, strict=True):
        text = escape_short(feature_name(labels, feature), 34)
        if n_children > most:
            text += f" (+{n_children - most})"
        texts.append(text)
    return texts
