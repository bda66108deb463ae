"""Two-dimensional maps: layouts, clusters of points, and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from nanosae.analysis.groups.topic_words import spelled, topic_words
from nanosae.lengths import unit
from nanosae.text.words import Words

Placer = Callable[[np.ndarray], np.ndarray]
SAMPLE = 10_000  # rows on which a layout is fitted; the others are placed among them
NEIGHBOURS = 5  # sampled rows among which another row is placed
BLOCK = 4096  # rows placed at a time
MIN_UMAP_ROWS = 16  # fewer rows have no neighbourhoods
HEAP = 0.5  # clusters with a larger share of the points are divided
MIN_CLUSTERED = 20  # fewer points are not clustered
PARTS = 16  # of a map without gaps
MIN_PART = 8  # mean number of points of a part
HALF_LETTER = 3.6  # pixels, half the mean width of a letter
N_WORDS = 3  # in the name of a cluster
SPELLING_LETTERS = 1000  # of each text, from which the spelling of words is taken


def project(x: np.ndarray, *, sample: int = SAMPLE) -> tuple[np.ndarray, str]:
    """Lay out rows in the plane by cosine similarity.

    With the `umap` extra, UMAP (McInnes et al., arXiv 1802.03426) lays out a sample, and every
    other row is placed at the weighted mean of its nearest sampled rows. Without it, the axes are
    the first two principal components of the sample. Rows of zeros, which have no direction, are
    placed in the middle of the others.

    Args:
        x: Rows, (n, width).
        sample: Number of rows to fit on.

    Returns:
        Positions, (n, 2) float32, and "UMAP" or "PCA".
    """
    x = unit(np.asarray(x, np.float32))
    n = len(x)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(n, min(n, sample), replace=False))
    points, place, method = fit(x[chosen])
    out = np.zeros((n, 2), np.float32)
    out[chosen] = points
    others = np.setdiff1d(np.arange(n), chosen)
    for start in range(0, len(others), BLOCK):
        rows = others[start : start + BLOCK]
        out[rows] = place(x[rows])
    return out, method


def fit(x: np.ndarray) -> tuple[np.ndarray, Placer, str]:
    """Lay out a sample of rows; see `project`.

    Returns:
        Positions (n, 2), a function that places other rows (a few thousand at a time), and "UMAP"
        or "PCA".
    """
    x = unit(np.asarray(x, np.float32))
    points, place_directed, method = _fit_directed(x[x.any(1)])
    middle = np.median(points, axis=0) if len(points) else np.zeros(2)

    def with_zeros(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        all_points = np.tile(middle, (len(rows), 1))
        all_points[rows.any(1)] = points
        return all_points

    def place(rows: np.ndarray) -> np.ndarray:
        return with_zeros(place_directed(rows[rows.any(1)]), rows)

    return with_zeros(points, x), place, method


def _fit_directed(x: np.ndarray) -> tuple[np.ndarray, Placer, str]:
    """Lay out unit rows; see `fit`."""
    if len(x) < 2:
        return _at_origin(x), _at_origin, "PCA"
    if len(x) < MIN_UMAP_ROWS or find_spec("umap") is None:
        place = _principal_plane(x)
        return place(x), place, "PCA"
    points = _umap_points(x)

    def place_near(rows: np.ndarray) -> np.ndarray:
        cosine = unit(rows) @ x.T
        nearest = np.argpartition(-cosine, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weight = 1 / (1.0001 - np.take_along_axis(cosine, nearest, 1))
        share = weight / weight.sum(1, keepdims=True)
        return np.einsum("nk,nkd->nd", share, points[nearest])

    return points, place_near, "UMAP"


def _at_origin(rows: np.ndarray) -> np.ndarray:
    return np.zeros((len(rows), 2))


def _umap_points(x: np.ndarray) -> np.ndarray:
    from umap import UMAP

    n_neighbors = min(15, len(x) - 1)
    umap = UMAP(metric="cosine", random_state=0, n_jobs=1, n_neighbors=n_neighbors)
    return np.asarray(umap.fit_transform(x))


def _principal_plane(x: np.ndarray) -> Placer:
    """Return a function that projects rows onto the first two principal components of x."""
    from sklearn.decomposition import PCA

    n_components = min(2, x.shape[1])
    pca = PCA(n_components, svd_solver="covariance_eigh").fit(x)
    mean, axes = np.asarray(pca.mean_), np.asarray(pca.components_)

    def place(rows: np.ndarray) -> np.ndarray:
        points = (unit(rows) - mean) @ axes.T
        return np.pad(points, ((0, 0), (0, 2 - n_components)))

    return place


def clusters(
    points: np.ndarray, method: str = "UMAP", *, sample: int = SAMPLE
) -> np.ndarray:
    """Return the cluster of each point, numbered by decreasing size; -1 for none.

    UMAP leaves gaps between clusters, and HDBSCAN finds them on a sample. Principal components
    leave no gaps, and density-based clusters would be arbitrary: k-means divides them evenly.

    Args:
        points: Positions, (n, 2).
        method: "UMAP" or "PCA", from `project`.
        sample: Number of points for HDBSCAN.
    """
    n = len(points)
    if n < MIN_CLUSTERED:
        return np.full(n, -1)
    if method == "PCA":
        return _parts(points)
    from scipy.spatial import KDTree
    from sklearn.cluster import HDBSCAN

    rng = np.random.default_rng(0)
    chosen = rng.choice(n, min(n, sample), replace=False)
    sample_points = points[chosen]
    options = {
        "min_samples": 5,
        "copy": True,
        "min_cluster_size": max(8, len(chosen) // 150),
    }
    cluster = HDBSCAN(**options).fit_predict(sample_points)
    largest = np.bincount(cluster + 1)[1:].max(initial=0)
    if largest > HEAP * len(chosen):
        cluster = HDBSCAN(**options, max_cluster_size=len(chosen) // 8).fit_predict(
            sample_points
        )
    _, nearest = KDTree(sample_points).query(points)
    return _numbered_by_size(cluster)[nearest]


def _parts(points: np.ndarray) -> np.ndarray:
    """Divide points without gaps into parts of similar extent, numbered by decreasing size."""
    from sklearn.cluster import KMeans

    n_distinct = len(np.unique(points, axis=0))
    n_parts = min(PARTS, len(points) // MIN_PART, n_distinct)
    part = KMeans(max(n_parts, 1), n_init="auto", random_state=0).fit_predict(points)
    return _numbered_by_size(part)


def _numbered_by_size(cluster: np.ndarray) -> np.ndarray:
    """Renumber clusters by decreasing size; −1 stays."""
    _, place = largest_first(cluster)
    return place[cluster]


def largest_first(
    group: np.ndarray, n_groups: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Order groups by decreasing size.

    Args:
        group: Group of each point, −1 for none.
        n_groups: Minimum number of groups, including empty ones.

    Returns:
        The groups, the largest first; and the position of each group in that order, followed by a
        −1, so that indexing with −1 (no group) gives −1.

    Example:
        >>> order, place = largest_first(np.array([1, 0, 1, -1]))
        >>> order.tolist(), place[[1, 0, 1, -1]].tolist()
        ([1, 0], [0, 1, 0, -1])
    """
    sizes = np.bincount(group[group >= 0], minlength=max(n_groups, 1))
    order = np.argsort(-sizes, kind="stable")
    return order, np.append(np.argsort(order), -1)


def labels(
    points: np.ndarray,
    cluster: np.ndarray,
    names: Mapping[int, str],
    width: int,
    height: int,
) -> list[tuple[str, tuple[float, float]]]:
    """Return labels of clusters and positions at which they do not overlap.

    A cluster is labelled by the terms that distinguish the names of its points (see
    `nanosae.analysis.groups.topic_words`). Larger clusters are placed first; labels that do not fit
    near the middle of their cluster are left out.

    Args:
        points: Positions, (n, 2).
        cluster: Cluster of each point, (n,).
        names: Point → text.
        width: Width of the drawing area, in pixels.
        height: Height of the drawing area, in pixels.
    """
    named = [i for i in sorted(names) if names[i]]
    if cluster.max(initial=-1) < 0 or not named:
        return []
    texts = _cluster_names([names[i] for i in named], cluster[named])
    area = np.array([width, height])
    low = points.min(0)
    span = np.maximum(np.ptp(points, axis=0), 1e-12)
    scale = area / span
    placed: list[Box] = []
    labelled = []
    for c, text in enumerate(texts):
        if not text:
            continue
        half_size = np.array([HALF_LETTER * len(text) + 6, 10])
        pixels = (points[cluster == c] - low) * scale
        middle = np.clip(_middle(pixels), half_size, area - half_size)
        box = _free_box(middle, half_size, placed)
        if box is not None:
            placed.append(box)
            x, y = box.middle / scale + low
            labelled.append((text, (float(x), float(y))))
    return labelled


class Box(NamedTuple):
    """The box of a label: its middle, and half its width and height, in pixels."""

    middle: np.ndarray
    half_size: np.ndarray

    def is_clear_of(self, other: Box) -> bool:
        """Return whether two boxes do not overlap."""
        distance = np.abs(self.middle - other.middle)
        return bool((distance >= self.half_size + other.half_size).any())


def _middle(pixels: np.ndarray) -> np.ndarray:
    """Return the point nearest to the median, which lies inside a cluster of any shape."""
    distance = np.linalg.norm(pixels - np.median(pixels, axis=0), axis=1)
    return pixels[distance.argmin()]


def _free_box(
    middle: np.ndarray, half_size: np.ndarray, placed: list[Box]
) -> Box | None:
    """Return a box at, above or below the middle that overlaps no other; None if there is none."""
    for shift in (0, 20, -20, 40, -40):
        box = Box(middle + np.array([0, shift]), half_size)
        if all(box.is_clear_of(other) for other in placed):
            return box
    return None


def _cluster_names(texts: list[str], cluster: np.ndarray) -> list[str]:
    """Return the words that distinguish the texts of each cluster, in their usual spelling."""
    every_text = np.ones(len(texts), bool)
    words = Words(np.array(texts, dtype=object), every_text)
    found = topic_words(words, cluster, cluster.max() + 1, N_WORDS)
    names = []
    for own, terms in enumerate(found):
        members = np.flatnonzero(cluster == own)
        own_texts = [texts[i][:SPELLING_LETTERS] for i in members]
        names.append(", ".join(spelled(terms, own_texts)))
    return names
