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
  dense feature has a good part of everyone's rows by chance and becomes everyone's parent.
* **Rare pairs must be surer.** A pair is dropped if more than one pair as close is expected by
  chance among all pairs, and 20 rows of doubt are added below the line of H.

Measured on CLINC150, WordNet and Debian (4,096 features): the largest hub of the tree has 138, 217,
111 neighbours (C ÷ min: 517, 748, 627), the strongest rows of neighbours share a label for 0.41,
0.16, 0.14 (C ÷ min: 0.35, 0.15, 0.13; any two features: 0.10, 0.05, 0.05), and 76, 85, 84 % of the
features are in a family (Jaccard: 26, 12, 14; NPMI: 30, 53, 26). Further:

* **Nothing depends on the order of features.** They are sorted by content first (active rows, then
  sum of activations, then where they fire), and all ties are broken in that order.
* **A root's family does not need its ancestors to be roots**, so that a narrow feature at the top
  of a tree does not hide the families below it.

With `prefixes` the tree comes from a Matryoshka SAE instead: the parent of feature j is the feature
of a smaller prefix with the greatest (C − E) ÷ (f_j − E + 20) + cosine of directions: the share of
the child's rows on which it is active, beyond chance, and how alike their directions are.
Strongest rows of parent and child then share their CLINC150 domain for 0.36 and their WordNet
lexname for 0.12 (first term alone 0.32, 0.13; second 0.31, 0.09; random parents 0.10, 0.05), and
two halves of the rows name the same parent for 0.71, 0.62 of the features (first alone 0.43, 0.46).

A parent that is absorbed (silent where its child fires) cannot be found by co-occurrence.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.special import gammainc

from nanosae.analysis.coactivation import cooccurrence
from nanosae.codes import Codes
from nanosae.runs.tables import known_labels, load_features, records

SHRINK = 20.0  # rows of doubt in H
MAX_OVERLAP = 0.6  # of children, Jaccard: beyond it only the larger family stays


@dataclass(frozen=True)
class Families:
    """Hold feature families.

    Attributes:
        table: One line per family, largest first: `family` (0, 1, …), `root`, `members` (the root,
            then from frequent to rare), `size`, `label`, `score` (block ratio ÷ mean block ratio of
            families of the same sizes with random members), `block_ratio` (mean of
            C ÷ min(f_i, f_j) inside ÷ between members and others, where less than 5 % counts as 0),
            `r` (the same mean, root with child ÷ child with child).
        edges: The forest of each pass, to draw: `parent`, `child`, `weight`, `pass` (0, 1, …).
        stats: Means of the table over all families, their number, `coverage` (share of the eligible
            features in a family), `random_ratio` (mean block ratio of random families).
        parameters: What `families` was called with.
    """

    table: pd.DataFrame
    edges: pd.DataFrame
    stats: dict[str, float]
    parameters: dict[str, Any]

    @property
    def feature_family(self) -> dict[int, int]:
        """The smallest family of each feature that has one: feature → family."""
        # the largest families are first, and the last one wins
        pairs = zip(self.table["family"], self.table["members"], strict=True)
        return {j: int(k) for k, members in pairs for j in members}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types (`RUN/families.json`)."""
        found: dict[str, Any] = {"format": 1, "parameters": self.parameters, "stats": self.stats}
        found["feature_family"] = {str(j): k for j, k in self.feature_family.items()}
        return found | records(families=self.table, edges=self.edges)

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def families(
    codes: Codes,
    labels: pd.DataFrame | None = None,
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
        labels: Names of features: a table with `feature`, `label` and perhaps `label_auc`, which
            weighs the label's words; by default the run's.
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
    args = sorted(locals().items())
    given = {k: v for k, v in args if k not in ("codes", "labels", "features", "directions")}
    ids = content_order(codes)
    ids = ids[(codes.counts[ids] >= max(min_active, 1)) & (codes.density[ids] <= max_density)]
    ids = ids if features is None else ids[np.isin(ids, features)]
    level, edges, found, alive = None, [], [], np.ones(len(ids), bool)
    if prefixes is not None:
        level = _levels(codes, ids, list(prefixes))
        directions = codes.weights().directions() if directions is None else directions
    pairs, shares = _weights(codes, ids, level, directions, min_weight)
    for turn in range(passes if level is None else 1):
        tree = _forest(pairs, alive) if level is None else np.unique(pairs[1], return_index=True)[1]
        parent, child, weight = (part[tree] for part in pairs)
        edge = {"parent": ids[parent], "child": ids[child], "weight": weight, "pass": turn}
        edges.append(pd.DataFrame(edge))
        graph = sp.csr_array((np.ones(len(tree)), (parent, child)), shape=shares.shape)
        roots = np.flatnonzero(np.diff(graph.indptr) > 2)
        reached = (csgraph.breadth_first_order(graph, r, return_predecessors=False) for r in roots)
        found += [np.append(r[0], np.sort(r[1:])) for r in reached if len(r) > min_children]
        alive[roots] = False
    blocks, shuffle = _distinct(found), np.random.default_rng(seed).permutation
    n, members = len(blocks), [ids[block].tolist() for block in blocks]
    drawn = [shuffle(len(ids))[: len(block)] for block in blocks]
    ratio, r = _scores(shares, blocks + drawn) if n else np.zeros((2, 0))
    table = pd.DataFrame({"family": range(n), "root": [m[0] for m in members]})
    table["members"], table["size"] = members, [len(m) for m in members]
    names = named(labels, codes)
    table["label"] = pd.Series(_family_labels(members, names), dtype=str)
    by_chance = pd.Series(ratio[n:]).mean()
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
        length = np.diff(block.indptr)
        row = np.repeat(np.arange(first, first + len(length)), length)
        total += np.bincount(block.indices, block.data, codes.n_features)
        place += np.bincount(block.indices, block.data * np.sqrt(row + 1.0), codes.n_features)
    return np.lexsort((-place, -total, -codes.counts))


def named(labels: pd.DataFrame | None, codes: Codes | None = None) -> dict[int, tuple[str, float]]:
    """Return feature → (label, weight) of a table, without empty labels; else the run's.

    The weight is `label_auc`: 0.5 where it is missing, 1 if there is no such column.
    """
    if labels is None and codes is not None and codes.run is not None:
        known, scored = known_labels(codes), named(load_features(codes.run, codes))
        return {j: (name, scored.get(j, (name, 1.0))[1]) for j, name in known.items()}
    if labels is None or "label" not in labels:
        return {}
    weight = labels["label_auc"].fillna(0.5) if "label_auc" in labels else [1.0] * len(labels)
    lines = zip(labels["feature"], labels["label"], weight, strict=True)
    return {int(j): (name, float(w)) for j, name, w in lines if isinstance(name, str) and name}


def common_words(groups: Any, names: Mapping[int, tuple[str, float]], n: int) -> list[list[str]]:
    """Return the words that set the labels of each group of features apart, best first.

    A word is worth the weight of the group's labels with it × log(their share ÷ the share of all
    labels with it). It must be in two of the group's labels, or in the only one.

    Example:
        >>> names = {0: ("bank loan", 1.0), 1: ("the bank", 0.9), 2: ("the river", 1.0)}
        >>> common_words([[0, 1], [2]], names, 2)
        [['bank'], ['river', 'the']]
    """
    words = {j: set(re.findall(r"\w+", name.lower())) for j, (name, _) in names.items()}
    everywhere, result = Counter(w for found in words.values() for w in found), []
    for group in groups:
        mine = [(w, names[j][1]) for j in group if j in words for w in words[j]]
        labelled, times = sum(j in words for j in group), Counter(w for w, _ in mine)
        worth = dict.fromkeys((w for w in times if times[w] >= min(2, labelled)), 0.0)
        for w, weight in mine:
            if w in worth:
                worth[w] += weight * np.log(times[w] / labelled * len(words) / everywhere[w])
        result.append([w for w in sorted(worth, key=lambda w: (-worth[w], w)) if worth[w] > 0][:n])
    return result


def _family_labels(members: list[list[int]], names: Any) -> list[str]:
    """Return common words, else the root's label, else the members."""
    shared = common_words(members, names, 3)
    listed = [f"features {', '.join(map(str, m[:4]))}{' …' * (len(m) > 4)}" for m in members]
    lines = zip(shared, members, listed, strict=True)
    return [", ".join(words) or names.get(m[0], (other,))[0] for words, m, other in lines]


def _weights(
    codes: Codes, ids: np.ndarray, level: Any, directions: Any, min_weight: float
) -> tuple[tuple[np.ndarray, ...], Any]:
    """Return the pairs (i, j, weight) that may be edges, best first, and C ÷ min(f_i, f_j).

    Places in `ids` stand for features. Without levels i < j and the weight is H. With levels i is
    of a lower level, and the weight is the share of j's rows that i has, beyond chance, + cosine.
    """
    f = codes.counts[ids].astype(np.float64)
    both: Any = cooccurrence(codes, ids, min_share=min(0.05, min_weight))
    both = sp.coo_array(both[:, ids])
    other = both.row != both.col
    i, j, c = both.row[other].astype(np.int64), both.col[other].astype(np.int64), both.data[other]
    shares = sp.csr_array((c / np.minimum(f[i], f[j]), (i, j)), shape=both.shape)
    ordered = i < j if level is None else level[i] < level[j]
    expected = f[i] * f[j] / max(codes.n_rows, 1)
    weight = (c - expected) / (f[j] - expected + SHRINK)  # without levels f[j] ≤ f[i]
    # gammainc(c, E): the chance of c or more rows in common, if they are Poisson with mean E
    keep = ordered & (weight >= min_weight) & (gammainc(c, expected) * len(ids) ** 2 / 2 <= 1)
    i, j, c, weight = i[keep], j[keep], c[keep], weight[keep]
    if level is not None:
        weight = weight + np.einsum("ab,ab->a", directions[ids[i]], directions[ids[j]])
    best = np.lexsort((j, i, -c, -weight))
    return (i[best], j[best], weight[best]), shares


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


def _distinct(found: list[np.ndarray]) -> list[np.ndarray]:
    """Return families, largest first, without those that overlap a larger kept one too much."""
    kept: list[tuple[np.ndarray, set[int]]] = []
    for block in sorted(found, key=lambda block: (-len(block), block[0])):
        mine = set(block[1:].tolist())
        rivals = (other for _, other in kept if len(mine) > MAX_OVERLAP * len(other))
        if all(len(mine & other) <= MAX_OVERLAP * len(mine | other) for other in rivals):
            kept.append((block, mine))
    return [block for block, _ in kept]


def _scores(shares: Any, blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean share inside ÷ across each block, and of its first line ÷ of the rest (R)."""
    n, m = shares.shape[0], np.array([len(block) for block in blocks])
    first, member = np.array([block[0] for block in blocks]), np.concatenate(blocks)
    block = np.repeat(np.arange(len(m)), m)
    holds = sp.csr_array((np.ones(len(member)), (member, block)), shape=(n, len(m)))
    within = sp.csr_array((shares @ holds) * holds)  # of each member with its block
    inside, root = within.sum(0), within[first, np.arange(len(m))]
    across, siblings = holds.T @ shares.sum(1) - inside, inside - 2 * root
    across[across < 1e-9] = np.nan
    siblings[siblings < 1e-9] = np.nan
    return inside / (m - 1) * np.maximum(n - m, 1) / across, root * (m - 2) / siblings
