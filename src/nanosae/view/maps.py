"""Two-dimensional maps: where points lie, which lie together, and what to write beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from nanosae.analysis.statistics import unit

Placer = Callable[[np.ndarray], np.ndarray]
SAMPLE = 10_000  # rows that a projection is fitted on; the others are placed among them
NEIGHBOURS = 5  # of the sample, between which another row is placed
BLOCK = 4096  # rows placed at a time
HEAP = 0.5  # a cluster of more than this share of the points is divided
COMMON = 0.2  # share of the texts beyond which a word names no cluster, in any language


def project(x: np.ndarray, *, sample: int = SAMPLE, seed: int = 0) -> tuple[np.ndarray, str]:
    """Lay rows out in the plane by cosine.

    With the extra `umap`, UMAP (McInnes et al., arXiv 1802.03426) lays out a sample, and every
    other row is placed at the mean of its nearest sample rows, weighted by closeness. Without it,
    the two first principal components of the sample are the axes.

    Args:
        x: Rows, (n, width), none of them zero.
        sample: Rows to fit on.
        seed: Of sample and layout: equal seeds give equal maps.

    Returns:
        Positions, (n, 2) float32, and "UMAP" or "PCA".
    """
    x = unit(np.asarray(x, np.float32))
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(x), min(len(x), sample), replace=False))
    points, place, method = fit(x[chosen], seed=seed)
    out = np.zeros((len(x), 2), np.float32)
    out[chosen] = points
    others = np.setdiff1d(np.arange(len(x)), chosen)
    for start in range(0, len(others), BLOCK):
        rows = others[start : start + BLOCK]
        out[rows] = place(x[rows])
    return out, method


def fit(x: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, Placer, str]:
    """Lay a sample of rows out; see `project`.

    Returns:
        Positions (n, 2) float32, a function that places other rows (some thousand at a time), and
        "UMAP" or "PCA".
    """
    x = unit(np.asarray(x, np.float32))
    if len(x) < 2:
        return np.zeros((len(x), 2)), lambda rows: np.zeros((len(rows), 2)), "PCA"
    if len(x) < 16 or find_spec("umap") is None:
        return _components(x)
    from umap import UMAP

    umap = UMAP(metric="cosine", random_state=seed, n_jobs=1, n_neighbors=min(15, len(x) - 1))
    points = np.asarray(umap.fit_transform(x))

    def place(rows: np.ndarray) -> np.ndarray:
        cosine = unit(rows) @ x.T
        near = np.argpartition(-cosine, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weight = 1 / (1.0001 - np.take_along_axis(cosine, near, 1))
        return np.einsum("nk,nkd->nd", weight / weight.sum(1, keepdims=True), points[near])

    return points, place, "UMAP"


def _components(x: np.ndarray) -> tuple[np.ndarray, Placer, str]:
    from sklearn.decomposition import PCA

    pca = PCA(min(2, x.shape[1]), svd_solver="covariance_eigh").fit(x)

    def place(rows: np.ndarray) -> np.ndarray:
        return np.pad(pca.transform(unit(rows)), ((0, 0), (0, 2 - pca.n_components_)))

    return place(x), place, "PCA"


def clusters(points: np.ndarray, *, sample: int = SAMPLE, seed: int = 0) -> np.ndarray:
    """Return the cluster of each point, largest first, -1 for none: HDBSCAN on a sample."""
    from scipy.spatial import KDTree
    from sklearn.cluster import HDBSCAN

    n = len(points)
    if n < 20:
        return np.full(n, -1)
    chosen = np.random.default_rng(seed).choice(n, min(n, sample), replace=False)
    some, options = points[chosen], {"min_samples": 5, "copy": True}
    options["min_cluster_size"] = max(8, len(some) // 150)
    found = HDBSCAN(**options).fit_predict(some)
    if np.bincount(found + 1)[1:].max(initial=0) > HEAP * len(some):
        found = HDBSCAN(**options, max_cluster_size=len(some) // 8).fit_predict(some)
    sizes = np.bincount(found[found >= 0], minlength=1)
    rank = np.append(np.argsort(np.argsort(-sizes, kind="stable")), -1)  # of cluster -1: -1
    return rank[found][KDTree(points[chosen]).query(points)[1]]


def labels(
    points: np.ndarray, group: np.ndarray, names: Mapping[int, str], width: int, height: int
) -> list[tuple[str, tuple[float, float]]]:
    """Return words for clusters and where they fit without covering each other.

    A cluster is called by the words that set the names of its points apart. Larger clusters come
    first; one whose label finds no place near its middle goes without.

    Args:
        points: (n, 2).
        group: Cluster of each point.
        names: Point → text.
        width: Of the drawing area, in pixels.
        height: Likewise.
    """
    known = [i for i in sorted(names) if names[i]]
    if group.max(initial=-1) < 0 or not known:
        return []
    words = _words([names[i] for i in known], group[known])
    low, span = points.min(0), np.maximum(np.ptp(points, axis=0), 1e-12)
    scale = np.array([width, height]) / span
    placed: list[Any] = []
    out = []
    for g, text in enumerate(words):
        half = np.array([3.6 * len(text) + 6, 10])
        mine = (points[group == g] - low) * scale
        middle = mine[np.linalg.norm(mine - np.median(mine, axis=0), axis=1).argmin()]
        middle = np.clip(middle, half, [width, height] - half)
        for shift in (0, 20, -20, 40, -40):
            at = middle + np.array([0, shift])
            if text and all((np.abs(at - p) >= half + h).any() for p, h in placed):
                placed.append((at, half))
                a, b = at / scale + low
                out.append((text, (float(a), float(b))))
                break
    return out


def _words(texts: list[str], group: np.ndarray, most: int = 3) -> list[str]:
    """Return the words of each group's texts that are most surely likelier there."""
    from nanosae.analysis.keywords import log_odds
    from nanosae.text.words import Words, is_stop_word

    words = Words(np.array(texts, dtype=object), np.ones(len(texts), bool))
    usable = words.single & (words.share < COMMON)
    usable &= ~np.array([is_stop_word(term) for term in words.terms], bool)
    total, found = words.presence.sum(0), []
    for g in range(group.max() + 1):
        inside = group == g
        y = words.presence[np.flatnonzero(inside)].sum(0)
        z = log_odds(y, inside.sum(), total - y, (~inside).sum(), words.share)[1]
        z[~usable | (y < 2) | (z < 1)] = 0
        best = np.argsort(-z, kind="stable")[:most].tolist()
        found.append(", ".join(str(words.terms[t]) for t in best if z[t]))
    return found
