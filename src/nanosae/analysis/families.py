"""Feature families: groups of features that fire together, each under one broader feature.

After O'Neill, Ye, Iyer and Wu (arXiv 2408.00657): co-occurrence counts → maximum spanning forest →
edges directed from denser to rarer → every feature with more than two rarer neighbours is a root,
and its family is what can be reached from it. Roots are then taken out and the rest is searched
again, `passes` times. What differs from the paper's code, and why:

* **The weight is symmetric and corrected for chance.** With C_ij rows in common, f_i and f_j active
  rows and E = f_i·f_j ÷ n_rows in common by chance, H = (C − E) ÷ (min(f_i, f_j) − E): Loevinger's
  coefficient, 1 if one feature implies the other, 0 if they are independent, whatever their
  densities. The paper's C_ij ÷ (f_i + 1) goes through a graph builder that keeps whichever of M_ij,
  M_ji was written last: relabelling changes the families. C ÷ min(f_i, f_j) is symmetric, but a
  dense feature has a good part of everyone's rows by chance: on three corpora (4,096 features) the
  largest hub of the tree had 517 to 748 neighbours, with H 158 to 289, and with H the labels of
  neighbours agree more often. NPMI and Jaccard leave most features out (26 to 53 % and 12 to 26 %
  covered; H 83 to 96 %). Five rows of doubt are added below the line, against pairs of rare
  features: trees from two halves of the rows then have 0.44, 0.53, 0.45 of their edges in common
  instead of 0.43, 0.51, 0.38.
* **Nothing depends on the order of features.** They are sorted by content first (active rows, then
  sum of activations, then where they fire), and all ties are broken in that order.
* **A root's family does not need its ancestors to be roots**, so that a narrow feature at the top
  of a tree does not hide the families below it.

With `prefixes` the tree comes from a Matryoshka SAE instead: the parent of feature j is the feature
of a smaller prefix with the greatest (C − E) ÷ (f_j − E + 5) + cosine of directions: the share of
the child's rows on which it is active, beyond chance, and how alike their directions are.
On a corpus with 10 domains (2,048 features) parent and child then share the domain of their
strongest rows for 0.36, with the first term alone for 0.32, the second 0.31, at random 0.10.

A parent that is absorbed (silent where its child fires) cannot be found by co-occurrence.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph

from nanosae.analysis.describe import cooccurrence

if TYPE_CHECKING:
    import pandas as pd

    from nanosae.codes import Codes

BLOCK = 1024  # features whose co-occurrences with all others are held at a time
SHRINK = 5.0  # rows of doubt in H
MAX_OVERLAP = 0.6  # of children, Jaccard: beyond it only the larger family stays


@dataclass(frozen=True)
class Families:
    """Hold feature families.

    Attributes:
        table: One line per family, largest first: `family` (0, 1, …), `root`, `members` (the root,
            then from frequent to rare), `size`, `label`, `score` (block ratio ÷ that of families of
            the same sizes with random members), `block_ratio` (mean C ÷ min(f_i, f_j) inside ÷
            between members and others), `r` (the same mean, root with child ÷ child with child).
        edges: The forest(s), to draw: `parent`, `child`, `weight`, `round` (0, 1, …).
        stats: Means over all families, `coverage` (share of the eligible features in a family).
        parameters: What `families` was called with.
    """

    table: pd.DataFrame
    edges: pd.DataFrame
    stats: dict[str, float]
    parameters: dict[str, Any]

    @property
    def feature_family(self) -> dict[int, int]:
        """The smallest family of each feature that has one: feature → family."""
        pairs = zip(self.table["family"], self.table["members"], strict=True)
        return {
            j: int(k) for k, members in pairs for j in members
        }  # the largest families are first

    def to_json(self, path: str | Path | None = None) -> str:
        """Return everything as JSON; written to `path` in one step if that is given."""
        found: dict[str, Any] = {"format": 1, "parameters": self.parameters, "stats": self.stats}
        found["feature_family"] = self.feature_family
        for name, table in (("families", self.table), ("edges", self.edges)):
            found[name] = json.loads(str(table.to_json(orient="records")))
        text = json.dumps(found, ensure_ascii=False)
        if path is not None:
            Path(f"{path}.part").write_text(text, "utf-8")
            Path(f"{path}.part").replace(path)
        return text


def families(
    codes: Codes,
    labels: Any = None,
    *,
    features: Any = None,
    prefixes: Sequence[int] | None = None,
    directions: np.ndarray | None = None,
    min_weight: float = 0.1,
    passes: int = 4,
    min_children: int = 4,
    min_active: int = 5,
    max_density: float = 0.2,
    seed: int = 0,
) -> Families:
    """Group features into families by what they fire together with.

    Args:
        codes: The corpus.
        labels: Names of features: a table with `feature`, `label` and perhaps `label_auc` (the
            weight of its words), or a mapping from feature to label.
        features: Only these, such as those with a trustworthy label; None: all.
        prefixes: Prefix sizes of a Matryoshka SAE: make its tree instead of the spanning forest.
        directions: Decoder rows for the cosines in that tree, by default the model's.
        min_weight: Weakest H (or share of rows beyond chance) of an edge.
        passes: Rounds; before each but the first all roots are taken out.
        min_children: Fewest children of a family.
        min_active: Features active on fewer rows are left out (dead ones always are).
        max_density: Features active on a larger share of the rows are left out.
        seed: Draws the random families that scores are compared with.

    Returns:
        The families; of two whose children overlap by more than 0.6 (Jaccard) the larger one.

    Raises:
        ValueError: If `prefixes` do not ascend to the number of features.
    """
    given = {k: v for k, v in locals().items() if k not in ("codes", "labels", "directions")}
    given["features"] = None if features is None else len(features)
    import pandas as pd

    ids = content_order(codes)
    ids = ids[(codes.counts[ids] >= max(min_active, 1)) & (codes.density[ids] <= max_density)]
    ids = ids if features is None else ids[np.isin(ids, features)]
    level, edges, found, alive = None, [], [], np.ones(len(ids), bool)
    if prefixes is not None:
        level = _levels(codes, ids, list(prefixes))
        directions = codes.weights().directions() if directions is None else directions
    pairs, reach = _weights(codes, ids, level, directions, min_weight)
    for turn in range(passes if level is None else 1):
        tree = _forest(pairs, alive) if level is None else np.unique(pairs[1], return_index=True)[1]
        parent, child, weight = (part[tree] for part in pairs)
        edge = {"parent": ids[parent], "child": ids[child], "weight": weight, "pass": turn}
        edges.append(pd.DataFrame(edge))
        grown = _grow(parent, child, len(ids))
        alive[[root for root, _ in grown]] = False
        found += [family for family in grown if len(family[1]) >= min_children]
    blocks = [np.array([root, *children]) for root, children in _distinct(found)]
    shuffle, n = np.random.default_rng(seed).permutation, len(blocks)
    drawn = [shuffle(len(ids))[: len(block)] for block in blocks]
    ratio, r = _scores(codes, ids, blocks + drawn, reach)
    by_chance = pd.Series(ratio[n:]).mean()
    members, (names, words) = [ids[block].tolist() for block in blocks], feature_words(labels)
    table = pd.DataFrame({"family": range(n), "root": [m[0] for m in members]})
    table["members"], table["size"] = members, [len(m) for m in members]
    table["label"] = pd.Series([_family_label(m, names, words) for m in members], dtype=str)
    table["score"], table["block_ratio"], table["r"] = ratio[:n] / by_chance, ratio[:n], r[:n]
    covered = len({j for m in members for j in m}) / max(len(ids), 1)
    stats = {"families": n, "features": len(ids), "coverage": covered, "random_ratio": by_chance}
    stats |= table[["size", "score", "block_ratio", "r"]].mean().to_dict()
    stats = {name: float(value) for name, value in stats.items() if value == value}
    return Families(table, pd.concat(edges, ignore_index=True), stats, given)


def content_order(codes: Codes) -> np.ndarray:
    """Return all features from frequent to rare, in an order that no renumbering changes.

    Features active on as many rows come by falling sum of activations, then by where they are
    active. Only features with equal activations on equal rows keep the order of their numbers.
    """
    total, place = np.zeros((2, codes.n_features))
    for first, block in codes.shards():
        row = np.repeat(np.arange(first, first + block.shape[0]), np.diff(block.indptr))
        total += np.bincount(block.indices, block.data, codes.n_features)
        place += np.bincount(block.indices, block.data * np.sqrt(row + 1.0), codes.n_features)
    return np.lexsort((-place, -total, -codes.counts))


def feature_words(labels: Any) -> tuple[dict[int, str], dict[int, dict[str, float]]]:
    """Return each labelled feature's label, and what the words of its label are worth.

    The worth of a word is `label_auc` (0.5 if missing; 1 if nobody scored the labels) ×
    log(1 + labels ÷ labels with the word). `labels` is a table or a mapping.
    """
    labels = {} if labels is None else labels
    if "feature" not in labels:  # a mapping
        labels = {"feature": list(labels), "label": list(labels.values())}
    trust = labels["label_auc"] if "label_auc" in labels else np.ones(len(labels["feature"]))
    lines = zip(labels["feature"], labels["label"], np.nan_to_num(trust, nan=0.5), strict=True)
    known = [(int(j), name, float(t)) for j, name, t in lines if isinstance(name, str) and name]
    words = {j: set(re.findall(r"\w+", name.casefold())) for j, name, _ in known}
    everywhere = Counter(w for found in words.values() for w in found)
    rarity = {w: math.log(1 + len(words) / count) for w, count in everywhere.items()}
    worth = {j: {w: t * rarity[w] for w in words[j]} for j, _, t in known}
    return {j: name for j, name, _ in known}, worth


def common_words(members: Any, words: dict[int, dict[str, float]], n: int) -> list[str]:
    """Return the words of greatest worth in the labels of `members`.

    A word must be in two of their labels, or in the only one.
    """
    mine = [words[j] for j in members if j in words]
    count = Counter(w for found in mine for w in found)
    shared = [w for w, times in count.items() if times >= min(2, len(mine))]
    worth = {w: math.fsum(found.get(w, 0) for found in mine) for w in shared}
    return sorted(shared, key=lambda w: (-worth[w], w))[:n]


def _family_label(members: list[int], names: dict[int, str], words: dict[int, Any]) -> str:
    """Return common words, else the root's label, else the members."""
    listed = "features " + ", ".join(map(str, members[:4])) + (" …" if len(members) > 4 else "")
    return ", ".join(common_words(members, words, 3)) or names.get(members[0], listed)


def _weights(
    codes: Codes, ids: np.ndarray, level: Any, directions: Any, min_weight: float
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Return the pairs (i, j, weight) that may be edges, best first, and Σ_j C ÷ min(f_i, f_j).

    Places in `ids` stand for features. Without levels i < j and the weight is H. With levels i is
    of a lower level, and the weight is the share of j's rows that i has, beyond chance, + cosine.
    """
    f, kept, reach = codes.counts[ids].astype(np.float64), [], np.zeros(len(ids))
    for i, j, c in _counts(codes, ids):
        least = np.minimum(f[i], f[j])
        reach += np.bincount(i, c / least, len(ids))
        ordered, most = (i < j, least) if level is None else (level[i] < level[j], f[j])
        expected = f[i] * f[j] / codes.n_rows
        weight = (c - expected) / (most - expected + SHRINK)
        keep = ordered & (weight >= min_weight)
        i, j, weight, c = (part[keep] for part in (i, j, weight, c))
        if level is not None:
            weight = weight + (directions[ids[i]] * directions[ids[j]]).sum(1)
        kept.append((i, j, weight, c))
    i, j, weight, c = (np.concatenate(part) for part in zip(*kept, strict=True))
    best = np.lexsort((j, i, -c, -weight))
    return (i[best], j[best], weight[best]), reach


def _counts(codes: Codes, ids: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield (i, j, rows in common) of all pairs i ≠ j that have any, block by block."""
    for start in range(0, max(len(ids), 1), BLOCK):
        block: Any = cooccurrence(codes, ids[start : start + BLOCK], min_share=0)
        found = sp.coo_array(block[:, ids])
        i, j = found.row.astype(np.int64) + start, found.col.astype(np.int64)
        yield i[i != j], j[i != j], found.data[i != j]


def _forest(pairs: tuple[np.ndarray, ...], alive: np.ndarray) -> np.ndarray:
    """Return which pairs make the maximum spanning forest of the features that are left."""
    i, j, _ = pairs
    use = np.flatnonzero(alive[i] & alive[j])
    ranks = sp.csr_array((use + 1.0, (i[use], j[use])), shape=alive.shape * 2)  # no two are equal
    return np.sort(csgraph.minimum_spanning_tree(ranks).data.astype(np.int64)) - 1


def _levels(codes: Codes, ids: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Return the prefix that each feature enters with."""
    if sizes[:1] < [1] or sizes != sorted(set(sizes)) or sizes[-1] != codes.n_features:
        raise ValueError(
            f"prefixes={sizes} must ascend to n_features={codes.n_features}: cfg.json?"
        )
    return np.searchsorted(sizes, ids, side="right")


def _grow(parent: np.ndarray, child: np.ndarray, n: int) -> list[tuple[int, list[int]]]:
    """Return (root, all that is reachable) for every node with more than two children."""
    children: list[list[int]] = [[] for _ in range(n)]
    for p, c in zip(parent.tolist(), child.tolist(), strict=True):
        children[p].append(c)
    grown = []
    for root in (p for p in range(n) if len(children[p]) > 2):
        reached = list(children[root])
        for node in reached:  # grows while it is read; in a forest nothing is met twice
            reached += children[node]
        grown.append((root, sorted(reached)))
    return grown


def _distinct(found: list[tuple[int, list[int]]]) -> list[tuple[int, list[int]]]:
    """Return families, largest first, without those that overlap a larger kept one too much."""
    kept: list[tuple[int, set[int]]] = []
    for root, children in sorted(found, key=lambda family: (-len(family[1]), family[0])):
        mine = set(children)
        rivals = (other for _, other in kept if len(mine) > MAX_OVERLAP * len(other))
        if all(len(mine & other) <= MAX_OVERLAP * len(mine | other) for other in rivals):
            kept.append((root, mine))
    return [(root, sorted(children)) for root, children in kept]


def _scores(codes: Codes, ids: np.ndarray, blocks: list[np.ndarray], reach: np.ndarray) -> Any:
    """Return mean C ÷ min(f_i, f_j) inside ÷ across each block, and first line ÷ rest (R)."""
    f, n = codes.counts[ids].astype(np.float64), len(ids)
    m, first = np.array([len(b) for b in blocks]), np.array([b[0] for b in blocks], np.int64)
    member, block = np.concatenate([*blocks, first[:0]]), np.repeat(np.arange(len(m)), m)
    holds = sp.csr_array((np.ones(len(member)), (member, block)), shape=(n, len(m)))
    inside, root = np.zeros((2, len(m)))
    for i, j, c in _counts(codes, ids) if blocks else ():
        shares = sp.csr_array((c / np.minimum(f[i], f[j]), (i, j)), shape=(n, n))
        within = sp.csr_array((shares @ holds) * holds)  # of each member with its block
        inside += within.sum(0)
        root += within[first, np.arange(len(m))]
    across, siblings = holds.T @ reach - inside, inside - 2 * root
    across[across < 1e-9] = np.nan
    siblings[siblings < 1e-9] = np.nan
    return inside / (m - 1) * np.maximum(n - m, 1) / across, root * (m - 2) / siblings
