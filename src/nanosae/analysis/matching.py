"""Which features of one SAE are those of another: matching, splitting, stability.

Two similarities. Of two sets of directions (the same input space): the cosine. Of two codes of the
same rows (any two SAEs, also of different widths or encoders): the correlation of activations.

Two matchings. The best match of each feature alone (argmax) asks "is there anything like it?", and
many features may share a match; one-to-one (the assignment with the greatest sum) asks "is this
the same dictionary?". Argmax flatters: report both, next to two seeds of one configuration, since
even those agree only in part (Paulo and Belrose, arXiv 2501.16615). In O'Neill et al. (arXiv
2408.00657) a feature is recurrent if its best cosine exceeds 0.9 and novel otherwise; the parent
of a feature of a larger SAE is its best match in the smaller one.

Up to 5,000 features a side the assignment is exact (dense). Beyond, each feature may only be given
one of its 32 nearest or nothing, and the best assignment among those is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.statistics import unit
from nanosae.codes import Codes

BLOCK = 512  # features compared with all others at a time
DENSE = 5000  # features a side up to which the assignment sees every pair
CANDIDATES = 32  # beyond that: pairs per feature


def match(a: Any, b: Any) -> pd.DataFrame:
    """Match every feature of `a` with features of `b`.

    Args:
        a: Weights or an array of directions, (n_features, width); or codes.
        b: Likewise; codes must be of the same rows.

    Returns:
        One line per feature of `a`: `feature`; `match` and `similarity` (the most similar feature
        of `b`; ties: the lower number); `mutual` (it is also the best match of its match);
        `partner` and `partner_similarity` (one-to-one; -1 and 0 if nothing similar was left).
        Similarities lie between −1 and 1; those of dead features are 0.

    Raises:
        ValueError: If widths or numbers of rows differ.
        TypeError: If one is codes and the other is not.

    Example:
        >>> found = match(np.eye(3), np.array([[0, 2.0, 0], [1, 1, 0]]))
        >>> found["match"].tolist(), found["partner"].tolist()
        ([1, 0, 0], [1, 0, -1])
    """
    n, m = _n_features(a), _n_features(b)
    best, similarity, kept = [], [], []
    back, back_similarity = np.full(m, -1), np.full(m, -np.inf)
    for start, block in _similarities(a, b):
        best.append(block.argmax(1))
        similarity.append(block.max(1))
        above = block.max(0) > back_similarity
        back[above], back_similarity[above] = start + block.argmax(0)[above], block.max(0)[above]
        if m > CANDIDATES and max(n, m) > DENSE:
            block[block < np.partition(block, -CANDIDATES, axis=1)[:, [-CANDIDATES]]] = 0
        kept.append(sp.csr_array(np.maximum(block, 0)))
    found = pd.DataFrame({"feature": np.arange(n), "match": np.concatenate(best)})
    found["similarity"] = np.concatenate(similarity).astype(np.float64)
    found["mutual"] = back[found["match"]] == found["feature"]
    found["partner"], found["partner_similarity"] = _assign(sp.csr_array(sp.vstack(kept)))
    return found


def splitting(small: Any, large: Any, threshold: float = 0.0) -> pd.DataFrame:
    """List which features of a larger SAE have which parent in a smaller one.

    Args:
        small: The smaller SAE: weights, directions or codes.
        large: The larger one, of the same kind.
        threshold: A feature that is more similar to its parent is a child, others are novel.

    Returns:
        One line per feature of the smaller SAE: `parent`, `n_children`, `children` and their
        `similarities`, most similar first.
    """
    found = match(large, small).sort_values("similarity", ascending=False, kind="stable")
    found = found[found["similarity"] > threshold]
    by_parent = dict(list(found.groupby("match")))
    lines = [by_parent.get(parent, found[:0]) for parent in range(_n_features(small))]
    table = pd.DataFrame({"parent": range(len(lines)), "n_children": [len(c) for c in lines]})
    table["children"] = [c["feature"].tolist() for c in lines]
    table["similarities"] = [c["similarity"].tolist() for c in lines]
    return table


def recurrence(
    matches: pd.DataFrame, baseline: pd.DataFrame | None = None, threshold: float = 0.9
) -> dict[str, float]:
    """Return the share of recurrent features, by argmax and one-to-one.

    Args:
        matches: What `match` found between the two SAEs in question.
        baseline: What it found between two seeds of one configuration.
        threshold: A feature with a greater similarity is recurrent, one without it is novel.

    Returns:
        `argmax` and `one_to_one` (shares), `median_argmax` and `median_one_to_one` (similarities),
        and the same of the baseline as `baseline_…`.
    """
    found = {}
    for prefix, table in (("", matches), ("baseline_", baseline)):
        if table is not None:
            for name, column in (("argmax", "similarity"), ("one_to_one", "partner_similarity")):
                values = table[column].to_numpy()
                found[f"{prefix}{name}"] = float((values > threshold).mean())
                found[f"{prefix}median_{name}"] = float(np.median(values))
    return found


def stability(model: Any, others: Sequence[Any]) -> np.ndarray:
    """Return how well each feature is found again in other SAEs.

    Args:
        model: Weights, directions or codes.
        others: The same of SAEs trained with other seeds or on other halves of the data.

    Returns:
        The mean similarity with the one-to-one partner, (n_features,): 1 if every SAE has it, about
        the greatest cosine of random directions if none has.

    Raises:
        ValueError: If there are no others.
    """
    if not others:
        raise ValueError("stability needs another SAE, got 0 others: train with another seed.")
    return np.mean([match(model, other)["partner_similarity"] for other in others], axis=0)


def _n_features(side: Any) -> int:
    return side.n_features if hasattr(side, "shards") else len(_directions(side))


def _directions(side: Any) -> np.ndarray:
    return unit(np.asarray(side.W_dec if hasattr(side, "W_dec") else side, np.float32))


def _similarities(a: Any, b: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first feature of `a`, its block's similarities with all of `b`)."""
    if hasattr(a, "shards") != hasattr(b, "shards"):
        raise TypeError("match needs two codes, or two weights or arrays of directions, not a mix.")
    if hasattr(a, "shards"):
        yield from _correlations(a, b)
        return
    x, y = _directions(a), _directions(b)
    if x.shape[1] != y.shape[1]:
        have = f"directions are {x.shape[1]} and {y.shape[1]} wide"
        raise ValueError(f"{have}: cosines need one width; match codes of the same rows instead.")
    for start in range(0, len(x), BLOCK):
        yield start, x[start : start + BLOCK] @ y.T


def _correlations(a: Codes, b: Codes) -> Iterator[tuple[int, np.ndarray]]:
    """Yield blocks of correlations of activations over the common rows."""
    if a.n_rows != b.n_rows:
        have = f"the codes have {a.n_rows} and {b.n_rows} rows"
        raise ValueError(f"{have}: encode the same rows with both SAEs, in the same order.")
    (mean_a, sd_a), (mean_b, sd_b) = _moments(a), _moments(b)
    for start in range(0, a.n_features, BLOCK):
        block = np.arange(start, min(start + BLOCK, a.n_features))
        left: Any = sp.csr_array(a.features(block).T).astype(np.float64)
        cross = np.zeros((len(block), b.n_features))
        for first, rows in b.shards():
            part = left[:, first : first + len(rows.indptr) - 1]
            cross += (part @ rows.astype(np.float64)).toarray()
        scale = np.outer(sd_a[block], sd_b)
        cross = cross / max(a.n_rows, 1) - np.outer(mean_a[block], mean_b)
        yield start, np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)


def _moments(codes: Codes) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each feature over all rows."""
    total, square = np.zeros((2, codes.n_features))
    for _, rows in codes.shards():
        total += np.bincount(rows.indices, rows.data, codes.n_features)
        square += np.bincount(rows.indices, rows.data.astype(np.float64) ** 2, codes.n_features)
    mean, square = total / max(codes.n_rows, 1), square / max(codes.n_rows, 1)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _assign(pairs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return each line's partner and similarity in the matching with the greatest sum."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, m = pairs.shape
    if max(n, m) <= DENSE:
        i, j = linear_sum_assignment(pairs.toarray(), maximize=True)
    else:  # costs 1 to 2, and a column of its own in which each line stays alone for 2
        pairs.eliminate_zeros()
        cost = sp.csr_array((2 - pairs.data, pairs.indices, pairs.indptr), pairs.shape)
        alone = sp.diags_array(np.full(n, 2.0))
        i, j = min_weight_full_bipartite_matching(sp.csr_array(sp.hstack([cost, alone])))
    i, j = i[j < m], j[j < m]
    partner, similarity = np.full(n, -1), np.zeros(n)
    similarity[i] = pairs[i][:, j].diagonal()
    partner[i] = np.where(similarity[i] > 0, j, -1)
    return partner, similarity
