"""Feature families: groups of features that are active together, each under a broader one.

After O'Neill, Ye, Iyer and Wu (arXiv 2408.00657):

1. Pairs of features that are active together more often than by chance are edges, weighed by
   Loevinger's coefficient (`family_edges`).
2. A maximum spanning forest keeps the heaviest; each edge leads from the denser feature to the
   rarer one.
3. A feature with more than two rarer neighbours is a root, and its family is what can be reached
   from it, whether or not it lies below another root.
4. The roots are taken out and the rest is searched again, `passes` times.

Features are sorted by content first and ties are broken in that order, so that families do not
depend on how features are numbered.

With `prefixes` the tree comes from a Matryoshka SAE instead: the parent of feature j is the feature
of a smaller prefix with the greatest (C − E) ÷ (f_j − E + 20) + cosine of directions: the share of
the child's rows on which it is active, beyond chance, and how alike their directions are.

A parent that is inactive where its child is active (feature absorption) cannot be found by
co-occurrence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.groups.family_edges import (
    Edges,
    best_parents,
    candidate_edges,
    content_order,
    descendants,
    prefix_levels,
    spanning_forest,
)
from nanosae.analysis.names.group_names import family_labels, feature_names
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError
from nanosae.runs.export import records

MIN_ROOT_EDGES = 3  # rarer neighbours of a root
SHOWN = 20  # families in a notebook
MAX_OVERLAP = 0.6  # of children, Jaccard: beyond it only the larger family stays


@dataclass(frozen=True, repr=False)
class Families:
    """Feature families, and the forests that they were cut from.

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
        smallest: dict[int, int] = {}
        lines = zip(self.table["family"], self.table["members"], strict=True)
        # the largest families are first, and the last wins
        for family, members in lines:
            smallest |= dict.fromkeys(members, int(family))
        return smallest

    def by_feature(self, n_features: int) -> pd.DataFrame:
        """Return every `feature` with its smallest `family`, which is missing if it has none."""
        family = pd.Series(self.feature_family, range(n_features), dtype="Int64")
        return family.rename("family").rename_axis("feature").reset_index()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types (`RUN/families.json`)."""
        content: dict[str, Any] = {
            "format": 1,
            "parameters": self.parameters,
            "stats": self.stats,
            "feature_family": {
                str(j): family for j, family in self.feature_family.items()
            },
        }
        return content | records(families=self.table, edges=self.edges)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Families:
        """Return what `to_dict` was called on; empty tables come back without columns."""
        return cls(
            table=pd.DataFrame(content["families"]),
            edges=pd.DataFrame(content["edges"]),
            stats=content["stats"],
            parameters=content["parameters"],
        )

    def __repr__(self) -> str:
        if self.table.empty:
            return self._head()
        return f"{self._head()}\n{self._shown().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<b>{self._head()}</b>{self._shown().to_html(index=False)}"

    def _head(self) -> str:
        return f"{len(self.table):,} families of {len(self.feature_family):,} features"

    def _shown(self) -> pd.DataFrame:
        columns = ["family", "size", "label", "score"]
        shown = self.table.loc[:, columns].head(SHOWN)
        return shown.assign(score=shown.score.round(2))

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def families(
    codes: Corpus,
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
    """Group features into families by what they are active together with.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
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
        seed: Seed of the random families that scores are compared with.

    Returns:
        The families; of two whose children overlap by more than 0.6 (Jaccard) the larger one.

    Raises:
        ConfigError: If `prefixes` do not ascend to the number of features, or there is no pass.
    """
    codes = as_codes(codes)
    if passes < 1:
        raise ConfigError(f"passes={passes} must be at least 1.")
    parameters = {
        "max_density": max_density,
        "min_active": min_active,
        "min_children": min_children,
        "min_weight": min_weight,
        "passes": passes,
        "prefixes": prefixes,
        "seed": seed,
    }
    eligible = _eligible(codes, features, min_active, max_density)
    if prefixes is None:
        edges, overlaps = candidate_edges(codes, eligible, min_weight)
        forests, found = _search_by_passes(edges, len(eligible), passes)
    else:
        level = prefix_levels(codes, eligible, prefixes)
        if directions is None:
            directions = codes.weights().directions()
        edges, overlaps = candidate_edges(
            codes, eligible, min_weight, level, directions
        )
        forests = [edges.take(best_parents(edges))]
        found = descendants(forests[0], len(eligible), MIN_ROOT_EDGES)
    large = [block for block in found if len(block) > min_children]
    blocks = without_overlaps(large)
    members = [eligible[block].tolist() for block in blocks]

    ratio, r, random_ratio = _scores(overlaps, blocks, seed)
    names = family_labels(members, feature_names(labels, codes))
    table = _family_table(members, names, ratio, r, random_ratio)
    stats = _summary(table, n_eligible=len(eligible), random_ratio=random_ratio)
    return Families(table, _edge_table(forests, eligible), stats, parameters)


def _family_table(
    members: list[list[int]],
    names: Sequence[str],
    ratio: np.ndarray,
    r: np.ndarray,
    random_ratio: float,
) -> pd.DataFrame:
    """Return the table of `Families`."""
    return pd.DataFrame(
        {
            "family": range(len(members)),
            "root": [features[0] for features in members],
            "members": members,
            "size": [len(features) for features in members],
            "label": pd.Series(names, dtype=str),
            "score": ratio / random_ratio,
            "block_ratio": ratio,
            "r": r,
        }
    )


def without_overlaps(blocks: list[np.ndarray]) -> list[np.ndarray]:
    """Sort families by size, and drop those whose children overlap those of a larger one.

    Args:
        blocks: Places of the members of each family, its root first.
    """
    kept: list[np.ndarray] = []
    kept_children: list[set[int]] = []
    for block in sorted(blocks, key=lambda block: (-len(block), block[0])):
        children = set(block[1:].tolist())
        if not any(_overlap(children, other) for other in kept_children):
            kept.append(block)
            kept_children.append(children)
    return kept


def _eligible(
    codes: Codes, features: Any, min_active: int, max_density: float
) -> np.ndarray:
    """Return the features that take part, from frequent to rare."""
    ordered = content_order(codes)
    active_enough = codes.counts[ordered] >= max(min_active, 1)
    eligible = ordered[active_enough & (codes.density[ordered] <= max_density)]
    return eligible if features is None else eligible[np.isin(eligible, features)]


def _search_by_passes(
    edges: Edges, n_features: int, passes: int
) -> tuple[list[Edges], list[np.ndarray]]:
    """Return each pass' spanning forest, and the families of all passes."""
    forests, found = [], []
    alive = np.ones(n_features, bool)
    for _ in range(passes):
        forest = edges.take(spanning_forest(edges, alive))
        blocks = descendants(forest, n_features, MIN_ROOT_EDGES)
        roots = [block[0] for block in blocks]
        alive[roots] = False
        forests.append(forest)
        found += blocks
    return forests, found


def _overlap(children: set[int], larger: set[int]) -> bool:
    """Return whether the Jaccard similarity of two sets exceeds the bound."""
    if len(children) <= MAX_OVERLAP * len(larger):
        return False  # too small to: saves counting what is in common
    return len(children & larger) > MAX_OVERLAP * len(children | larger)


def _scores(
    overlaps: Any, blocks: list[np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return block ratio and R of each family, and the mean block ratio of random families."""
    n_features = overlaps.shape[0]
    rng = np.random.default_rng(seed)
    random_blocks = [rng.permutation(n_features)[: len(block)] for block in blocks]
    if not blocks:
        return np.zeros(0), np.zeros(0), np.nan
    ratio, r = block_ratios(overlaps, blocks + random_blocks)
    n = len(blocks)
    random_ratio = pd.Series(ratio[n:]).mean()
    if random_ratio == 0:
        random_ratio = np.nan  # no random family has an overlap to be compared with
    return ratio[:n], r[:n], random_ratio


def block_ratios(
    overlaps: Any, blocks: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Compare overlaps inside each family with those across its border.

    The block ratio and R of O'Neill et al. (arXiv 2408.00657).

    Args:
        overlaps: C ÷ min(f_i, f_j), symmetric with an empty diagonal, csr_array (n, n).
        blocks: Places of the members of each family, its root first.

    Returns:
        Mean overlap of two members ÷ mean overlap of a member with another feature; and mean
        overlap of the root with a child ÷ that of two children; each (n_blocks,), NaN where the
        denominator is 0.
    """
    n_features = overlaps.shape[0]
    n_blocks = len(blocks)
    number = np.arange(n_blocks)
    size = np.array([len(block) for block in blocks])
    root = np.array([block[0] for block in blocks])
    member = np.concatenate(blocks)
    block_of_member = np.repeat(number, size)
    ones = np.ones(len(member))
    entries = (ones, (member, block_of_member))
    membership = sp.csr_array(entries, shape=(n_features, n_blocks))

    overlap_with_block = overlaps @ membership
    # of each member with all members of its own block
    member_sums = sp.csr_array(overlap_with_block * membership)
    inside = member_sums.sum(0)
    inside_and_across = membership.T @ overlaps.sum(1)
    across = inside_and_across - inside
    root_sum = member_sums[root, number]
    among_children = inside - 2 * root_sum
    across[across < 1e-9] = np.nan
    among_children[among_children < 1e-9] = np.nan
    # the counts of ordered pairs, divided by size: size − 1 inside, n − size across
    n_outside = np.maximum(n_features - size, 1)
    inside_of_member = inside / (size - 1)
    block_ratio = inside_of_member * n_outside / across
    r = root_sum * (size - 2) / among_children
    return block_ratio, r


def _summary(
    table: pd.DataFrame, n_eligible: int, random_ratio: float
) -> dict[str, float]:
    """Return the means of the table, counts and coverage, without those that are NaN."""
    covered = set().union(*table["members"])
    stats = {
        "families": len(table),
        "features": n_eligible,
        "coverage": len(covered) / max(n_eligible, 1),
        "random_ratio": random_ratio,
    }
    stats |= table[["size", "score", "block_ratio", "r"]].mean().to_dict()
    return {name: float(value) for name, value in stats.items() if not np.isnan(value)}


def _edge_table(forests: list[Edges], eligible: np.ndarray) -> pd.DataFrame:
    """List the edges of each pass by feature."""
    tables = []
    for turn, forest in enumerate(forests):
        edges = {
            "parent": eligible[forest.parent],
            "child": eligible[forest.child],
            "weight": forest.weight,
            "pass": turn,
        }
        tables.append(pd.DataFrame(edges))
    return pd.concat(tables, ignore_index=True)
