"""Describe: what the activations of a corpus say about each feature.

Statistics and example rows come from the codes; neighbours from the decoder, if the run's model is
there; near misses and hard negatives from the embeddings, if they are known; monosemanticity from a
second space (TF-IDF of the texts), since in the SAE's own space it would be circular. With f the
rows of a feature, c those of a pair and N all rows,

    lift = c·N / (f_i·f_j)         npmi = log(lift) / −log(c / N)

Working memory is bounded by a block of features: 16,384 features on a million rows need no
matrix of features × features. Labels are not made here.
"""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.statistics import one_per_row, unit
from nanosae.codes import Codes, indices
from nanosae.runs.tables import known_labels

BLOCK_PAIRS = 2**22  # active pairs of the features that are looked at together
BLOCK_CELLS = 2**24  # entries of a dense block of some features × all features
MIN_TOGETHER = 5  # rows a pair must share to be listed as co-active
BINS = 20  # of the activation histogram, between 0 and the feature's maximum
DENSE = 0.2  # density above which a feature is called dense
DUPLICATE = 0.95  # likeness from which on the rarer of two features is called a duplicate


def describe(
    codes: Codes,
    texts: Any = True,
    *,
    features: Any = None,
    n: int = 10,
    pool: int = 20000,
    seed: int = 0,
) -> pd.DataFrame:
    """Describe features, one line each.

    Args:
        codes: The corpus.
        texts: Texts of its rows; True for those beside the codes, False to leave out what reads
            them: `top_texts` and `monosemanticity`.
        features: Which features; all by default.
        n: Length of the lists: rows, neighbours, partners.
        pool: Rows, drawn at random, among which silent rows are looked for; all if there are fewer.
        seed: Seed of the pool.

    Returns:
        A frame with `feature, density, n_active, mean_activation, std_activation, max_activation,
        histogram, top_rows, quantile_rows` (one from the middle of each of n equal bands of ranks),
        `coactive, coactive_count, coactive_lift, coactive_npmi, duplicate_of` (the more frequent of
        two features with a decoder cosine or an overlap of rows, Jaccard, of at least DUPLICATE;
        −1: none) and `health` (ok, dead, dense: density above DENSE, duplicate). With the run's
        model also `nearest, nearest_cosine, opposite, opposite_cosine`; with embeddings
        `near_misses` (the silent rows nearest to the decoder direction) and `hard_negatives` (those
        nearest to the mean of the top rows); with texts `top_texts` and `monosemanticity`.
    """
    counts, model = codes.counts, model_of(codes)
    directions = None if model is None else model.directions()
    silent = None
    if codes.has_vectors:
        means = (x.mean(0) for _, x in codes.scan())
        centre = np.mean(list(means), 0) if model is None else model.b_dec
        silent = Silent(codes, codes.n_rows, pool, seed, centre)
    frames = []
    for block in _blocks(codes, features):
        active = codes.features(block)
        facts = {"feature": block, "density": counts[block] / max(codes.n_rows, 1)}
        facts |= _activity(active, n)
        partners, twins = _partners(codes, block, active, n)
        facts |= partners
        if directions is not None:
            facts |= _neighbours(directions, counts, block, n)
            near = zip(twins, facts["nearest"], facts["nearest_cosine"], strict=True)
            twins = [[*known, *found[cosine >= DUPLICATE]] for known, found, cosine in near]
        if silent is not None:
            means = silent.means(facts["top_rows"])
            towards = means if directions is None else directions[block]
            facts["near_misses"] = silent.nearest(block, towards, n)
            facts["hard_negatives"] = silent.nearest(block, means, n)
        facts["duplicate_of"] = _kept(counts, block, twins)
        kinds = [counts[block] == 0, facts["density"] > DENSE, facts["duplicate_of"] >= 0]
        facts["health"] = np.select(kinds, ["dead", "dense", "duplicate"], "ok")
        frames.append(pd.DataFrame(facts))
    frame = pd.concat(frames, ignore_index=True)
    if texts is True:
        texts = codes.texts(marks="") if codes.has_texts else False
    if texts is not False:
        texts = one_per_row(codes, texts)
        frame["top_texts"] = [texts[rows].tolist() for rows in frame["top_rows"]]
        frame["monosemanticity"] = monosemanticity(codes, features, _tfidf(texts))
    return frame


def cooccurrence(codes: Codes, features: Any = None, min_share: float = 0.05) -> sp.csr_array:
    """Count the rows on which two features are active together.

    Args:
        codes: The corpus.
        features: The rows of the result; all features by default.
        min_share: Keep only pairs that share at least this part of the rarer feature's rows: at
            most l0 ÷ min_share partners per feature, which bounds the result. 0 keeps all pairs.

    Returns:
        Counts, (len(features), n_features) int32; a feature meets itself on all its rows.
    """
    counts, parts = codes.counts, [sp.csr_array((0, codes.n_features), dtype=np.int32)]
    for block in _blocks(codes, features):
        both = _together(codes, codes.features(block))
        both[both < min_share * np.minimum.outer(counts[block], counts)] = 0
        parts.append(sp.csr_array(both))
    return sp.csr_array(sp.vstack(parts, format="csr"))


def monosemanticity(codes: Codes, features: Any = None, space: Any = None) -> np.ndarray:
    """Return how much more alike a feature's texts are than any two texts.

    The activation-weighted mean similarity of two different active rows, which is
    (‖Σ aᵢeᵢ‖² − Σ aᵢ²‖eᵢ‖²) / ((Σ aᵢ)² − Σ aᵢ²), minus the mean over all pairs of rows.

    Args:
        codes: The corpus.
        features: Which features; all by default.
        space: Unit rows eᵢ of another space, (n_rows, any) dense or sparse; by default the TF-IDF
            of the texts. The SAE's own embeddings would make the measure circular.

    Returns:
        (len(features),) float64: 0 is chance, 1 equal texts; nan for fewer than two active rows.
    """
    space = _tfidf(codes.texts(marks="")) if space is None else space
    mass = np.asarray((space * space).sum(axis=1)).ravel()
    total, pairs = np.asarray(space.sum(axis=0)).ravel(), codes.n_rows**2 - codes.n_rows
    chance = ((total**2).sum() - mass.sum()) / max(pairs, 1)
    found = []
    for block in _blocks(codes, features):
        weights: Any = sp.csr_array(codes.features(block).T, dtype=np.float64)
        summed, squared = weights @ space, weights.power(2)
        alike = np.asarray((summed * summed).sum(axis=1)).ravel() - squared @ mass
        among = weights.sum(axis=1) ** 2 - squared.sum(axis=1)
        among[np.diff(weights.indptr) < 2] = np.nan
        found.append(alike / among - chance)
    return np.concatenate(found)


@dataclass(frozen=True)
class Card:
    """What is known of one feature; prints as text, shows as HTML in notebooks.

    Attributes:
        feature: Its number.
        label: Its label, if the run has labels; else "".
        facts: Its line of `describe`, as plain Python values.
        examples: For `top_rows`, `quantile_rows`, `near_misses` and `hard_negatives`: (row,
            activation, text), as far as they are known.
    """

    feature: int
    label: str
    facts: dict[str, Any]
    examples: dict[str, list[tuple[int, float, str]]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [self._title(), *self._numbers()]
        for kind, rows in self.examples.items():
            lines += ["", kind.replace("_", " ")]
            lines += [f"  {a:8.3f}  row {r}  {' '.join(text.split())[:90]}" for r, a, text in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<h4>{html.escape(self._title())}</h4>"]
        parts += [f"<p>{html.escape(line)}</p>" for line in self._numbers()]
        for kind, rows in self.examples.items():
            cells = (f"<td>{a:.3f}</td><td>{r}</td><td>{html.escape(t)}</td>" for r, a, t in rows)
            body = "".join(f"<tr>{cell}</tr>" for cell in cells)
            parts.append(f"<b>{kind.replace('_', ' ')}</b><table>{body}</table>")
        return f"<div>{''.join(parts)}</div>"

    def _title(self) -> str:
        return f"feature {self.feature} · {self.label or 'no label'} · {self.facts['health']}"

    def _numbers(self) -> list[str]:
        f = self.facts
        mean, sd, top = (f[f"{what}_activation"] for what in ("mean", "std", "max"))
        share = f"density {f['density']:.3%} ({f['n_active']} rows)"
        tops = max([*f["histogram"], 1])
        bars = "".join(" ▁▂▃▄▅▆▇█"[-(-8 * count // tops)] for count in f["histogram"])
        lines = [f"{share} · mean {mean:.3g} ± {sd:.3g} · max {top:.3g} · {bars}"]
        for name, value in (("nearest", "cosine"), ("opposite", "cosine"), ("coactive", "npmi")):
            pairs = zip(f.get(name, []), f.get(f"{name}_{value}", []), strict=True)
            lines += [f"{name} ({value}): " + ", ".join(f"{j} ({v:.2f})" for j, v in pairs)]
        return [line for line in lines if not line.endswith(": ")]


def card(codes: Codes, feature: int, *, described: Any = None, **options: Any) -> Card:
    """Return the card of one feature.

    Args:
        codes: The corpus.
        feature: Its number.
        described: A frame from `describe` that has its line; else the line is computed, by default
            without what reads all texts.
        **options: Passed to `describe`.
    """
    frame = described
    if frame is None:
        frame = describe(codes, **{"texts": False, "features": [feature]} | options)
    line = frame[frame["feature"] == feature].iloc[0]
    facts = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in line.items()}
    examples = {}
    for kind in ("top_rows", "quantile_rows", "near_misses", "hard_negatives"):
        rows = facts.get(kind, [])
        acts = codes.take(rows)[:, [feature]].toarray().ravel().tolist()
        texts = codes.texts(rows).tolist() if codes.has_texts else [""] * len(rows)
        examples[kind] = list(zip(rows, acts, texts, strict=True))
    label = known_labels(codes).get(int(feature), "")
    return Card(int(feature), label, facts, {k: v for k, v in examples.items() if v})


class Silent:
    """Look among a random pool of rows for silent ones near to a direction.

    Rows are unit vectors from a centre: embeddings, or without them activations, projected to 256
    random directions.
    """

    def __init__(self, codes: Codes, rows: Any, pool: int, seed: int, centre: Any = 0.0) -> None:
        rng = np.random.default_rng(seed)
        self.codes, self.centre = codes, centre
        self.mix = None if codes.has_vectors else rng.standard_normal((codes.n_features, 256)) / 16
        self.rows = np.sort(rng.permutation(rows)[:pool])
        self.active, self.x = sp.csc_array(codes.take(self.rows)), self.points(self.rows)

    def points(self, rows: np.ndarray) -> np.ndarray:
        """Return any rows as unit vectors, float32."""
        x = self.codes.vectors(rows) if self.mix is None else self.codes.take(rows) @ self.mix
        return unit(x - self.centre).astype(np.float32)

    def means(self, rows: list[np.ndarray]) -> np.ndarray:
        """Return the mean direction of each list of rows."""
        flat, back = np.unique(np.concatenate([*rows, self.rows[:0]]), return_inverse=True)
        x = self.points(flat)
        ptr = np.cumsum([0, *(len(r) for r in rows)])
        which = sp.csr_array((np.ones(len(back), np.float32), back, ptr), shape=(len(rows), len(x)))
        return unit(which @ x)

    def nearest(self, block: np.ndarray, towards: np.ndarray, n: int) -> list[np.ndarray]:
        """Return, for each feature, up to n silent rows of the pool, the nearest first."""
        score = towards @ self.x.T
        fires: Any = self.active[:, block].tocoo()
        score[fires.col, fires.row] = -np.inf
        return [self.rows[places] for places in largest(score, n)[0]]


def _activity(active: sp.csc_array, n: int) -> dict[str, Any]:
    """Return statistics and example rows of each column."""
    size, acts, ptr = np.diff(active.indptr), active.data.astype(np.float64), active.indptr
    m = len(size)
    owner = np.repeat(np.arange(m), size)
    mean = np.bincount(owner, acts, m) / np.maximum(size, 1)
    spread = np.bincount(owner, (acts - mean[owner]) ** 2, m) / np.maximum(size, 1)
    peak = np.zeros(m)
    np.maximum.at(peak, owner, acts)
    cell = owner * BINS + np.minimum(acts / peak[owner] * BINS, BINS - 1).astype(np.int64)
    # codes hold 11 significant bits: the upper 18 bits of an activation order it exactly, so that
    # (owner, activation falling, place) fits one integer, and integers sort fast
    falling = 2**18 - (active.data.view(np.int32) >> 13).astype(np.int64)
    places = np.sort(owner << 49 | falling << 30 | np.arange(len(acts))) & 2**30 - 1
    rows = active.indices[places].astype(np.int64)
    return {
        "n_active": size.astype(np.int64),
        "mean_activation": mean,
        "std_activation": np.sqrt(spread),
        "max_activation": peak,
        "histogram": list(np.bincount(cell, minlength=m * BINS).reshape(m, BINS)),
        "top_rows": [rows[a : min(a + n, b)] for a, b in pairwise(ptr)],
        "quantile_rows": [_middles(rows[a:b], n) for a, b in pairwise(ptr)],
    }


def _middles(rows: np.ndarray, n: int) -> np.ndarray:
    """Return the middle one of each of n equal bands; all rows if there are fewer."""
    n = min(n, len(rows))
    return rows[((np.arange(n) + 0.5) * len(rows) / max(n, 1)).astype(np.int64)]


def _together(codes: Codes, active: Any) -> np.ndarray:
    """Return the rows shared by each column and each feature, (columns, n_features) int32."""
    (_, m), width = active.shape, codes.n_features
    both = np.zeros((m, width), np.int32)
    for first, block in codes.shards(values=False):
        rows: Any = block
        part = active[first : first + rows.shape[0]]
        for a in range(0, m, 64):
            b = min(a + 64, m)
            ptr = part.indptr[a : b + 1]
            met = rows[part.indices[ptr[0] : ptr[-1]]]
            owner = np.repeat(np.arange(b - a), np.diff(ptr))
            cell = np.repeat(owner * width, np.diff(met.indptr)) + met.indices
            both[a:b] += np.bincount(cell, minlength=(b - a) * width).reshape(b - a, width)
    return both


def _partners(codes: Codes, block: np.ndarray, active: Any, n: int) -> tuple[dict, list]:
    """Return what is most surely active together with the features of a block, and twins."""
    both, counts = _together(codes, active), codes.counts
    cells = np.flatnonzero(both >= MIN_TOGETHER)
    i, j = np.divmod(cells, codes.n_features)
    c, mine, other = both.ravel()[cells], counts[block[i]], counts[j]
    lift = c * codes.n_rows / (mine * other)
    kept = (lift > 1) & (block[i] != j)
    i, j, c, mine, other, lift = (x[kept] for x in (i, j, c, mine, other, lift))
    npmi = np.log(lift) / -np.log(c / codes.n_rows)
    ends = np.searchsorted(i, np.arange(len(block) + 1))
    first = [_first(npmi, a, b, n) for a, b in pairwise(ends)]
    names = ("coactive", "coactive_count", "coactive_lift", "coactive_npmi")
    values = zip(names, (j, c.astype(np.int64), lift, npmi), strict=True)
    facts: dict[str, Any] = {name: [value[few] for few in first] for name, value in values}
    same = c >= DUPLICATE * (mine + other - c)
    return facts, [j[a:b][same[a:b]] for a, b in pairwise(ends)]


def _kept(counts: np.ndarray, block: np.ndarray, twins: list) -> np.ndarray:
    """Name the first twin that fires more often than a feature, or as often with a lower number."""
    ahead = [
        [o for o in others if counts[j] and (-counts[o], o) < (-counts[j], j)]
        for j, others in zip(block, twins, strict=True)
    ]
    return np.array([found[0] if found else -1 for found in ahead], np.int64)


def _neighbours(directions: np.ndarray, counts: np.ndarray, block: np.ndarray, n: int) -> dict:
    alive = np.flatnonzero(counts)
    cosine, facts = directions[block] @ directions[alive].T, {}
    me = np.flatnonzero(np.isin(block, alive))
    for name, sign in (("nearest", 1), ("opposite", -1)):
        score = sign * cosine
        score[me, np.searchsorted(alive, block[me])] = -np.inf
        found, best = largest(score, n)
        facts[name] = [alive[places] for places in found]
        facts[f"{name}_cosine"] = [sign * b for b in best]
    return facts


def largest(score: np.ndarray, n: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return places and values of each row's n largest finite entries; ties: the lower place."""
    m, width = score.shape
    n = min(n, width)
    bound = np.partition(score, width - n, axis=1)[:, width - n] if n else np.full(m, np.inf)
    bound = np.maximum(bound, np.finfo(score.dtype).min)[:, None]
    i, j = np.divmod(np.flatnonzero(score >= bound), max(width, 1))
    best = score[i, j]
    ends = np.searchsorted(i, np.arange(m + 1))
    first = [_first(best, a, b, n) for a, b in pairwise(ends)]
    return [j[few] for few in first], [best[few] for few in first]


def _first(values: np.ndarray, start: int, stop: int, n: int) -> np.ndarray:
    """Return the places of the n largest of values[start:stop], the largest first."""
    return start + np.argsort(-values[start:stop], kind="stable")[:n]


def _blocks(codes: Codes, features: Any) -> list[np.ndarray]:
    """Cut features (None: all) into runs of bounded width and number of active pairs."""
    features = indices(features, codes.n_features, "feature")
    width = max(1, min(1024, BLOCK_CELLS // codes.n_features))
    pairs = np.cumsum(codes.counts[features]) // BLOCK_PAIRS
    cuts = np.diff(pairs) + np.diff(np.arange(len(features)) // width)
    return np.split(features, np.flatnonzero(cuts) + 1)


def model_of(codes: Codes) -> Any:
    """Return the run's model, or None if the codes lie in no run."""
    return codes.weights() if codes.run and (codes.run / "model").exists() else None


def _tfidf(texts: np.ndarray) -> sp.csr_array:
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    plain: Any = {"alternate_sign": False, "norm": None}
    words = HashingVectorizer(n_features=2**18, **plain)
    return sp.csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(words.transform(texts)))
