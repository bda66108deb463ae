"""Feature families: groups of features that are active together, each under a broader one.

After O'Neill, Ye, Iyer and Wu (arXiv 2408.00657):

1. Pairs of features that are active together more often than by chance are edges, weighted by
   Loevinger's coefficient (`family_edges`).
2. A maximum spanning forest keeps the heaviest edges, each directed from the denser feature to the
   rarer one.
3. A feature with more than two rarer neighbours is a root. Its family consists of all features that
   can be reached from it, even if it is itself below another root. Families with fewer than
   `min_children` features below the root are dropped.
4. The roots are removed and the search is repeated, `passes` times in total.

Features are first sorted by content, and ties are broken in that order, so families do not depend
on the numbering of features.

With `prefixes` the tree comes from a Matryoshka SAE instead: the parent of feature j is the feature
of a smaller prefix with the largest (C − E) ÷ (f_j − E + 20) + cosine of directions, that is, the
share of the child's rows on which the parent is active, beyond chance, plus the similarity of their
directions.

A parent that is inactive where its child is active (feature absorption) cannot be found from
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
from nanosae.analysis.reading import chosen_features
from nanosae.analysis.similarity import directions_of_features
from nanosae.checked import plain
from nanosae.codes import Codes, Corpus, as_codes, run_folder
from nanosae.errors import require_number, require_whole
from nanosae.fields import as_list
from nanosae.runs.export import records
from nanosae.runs.results import FAMILIES_FORMAT, fresh_value, save_result
from nanosae.runs.tables import Labels, save_features

MIN_ROOT_EDGES = 3  # rarer neighbours of a root
SHOWN = 20  # families in a notebook
MAX_OVERLAP = 0.6  # Jaccard similarity of the children of two families


@dataclass(frozen=True, repr=False)
class Families:
    """Feature families, and the forests from which they were taken.

    Attributes:
        table: One row per family, largest first: `family` (0, 1, …), `root`, `members` (the root,
            then from frequent to rare), `size`, `label`, `score` (block ratio ÷ mean block ratio of
            families of the same sizes with random members), `block_ratio` (mean overlap
            C ÷ min(f_i, f_j) between members ÷ mean overlap of members with other features, where
            overlaps below 5 % count as 0), `r` (mean overlap of the root with children ÷ mean
            overlap between children).
        edges: The forest of each pass: `parent`, `child`, `weight`, `pass` (0, 1, …).
        stats: Means of the table over all families, their number, `coverage` (share of the eligible
            features in a family), `random_ratio` (mean block ratio of random families).
        parameters: The arguments of `families`.
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
        # smaller families come later and overwrite larger ones
        for family, members in lines:
            smallest |= dict.fromkeys(members, int(family))
        return smallest

    def by_feature(self, n_features: int) -> pd.DataFrame:
        """Return a frame of every `feature` and its smallest `family`, missing if it has none."""
        family = pd.Series(self.feature_family, range(n_features), dtype="Int64")
        return family.rename("family").rename_axis("feature").reset_index()

    def to_dict(self) -> dict[str, Any]:
        """Return the families as JSON types (`RUN/families.json`)."""
        return {
            "format": FAMILIES_FORMAT,
            "parameters": self.parameters,
            "stats": self.stats,
            "feature_family": {
                str(j): family for j, family in self.feature_family.items()
            },
            "families": records(self.table),
            "edges": records(self.edges),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Families:
        """Return families from their `to_dict()`; empty tables lose their columns."""
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
        n_features = len(self.feature_family)
        return f"{len(self.table):,} families of {n_features:,} features"

    def _shown(self) -> pd.DataFrame:
        columns = ["family", "size", "label", "score"]
        shown = self.table.loc[:, columns].head(SHOWN)
        return shown.assign(score=shown.score.round(2))

    def to_json(self) -> str:
        """Return the families as a JSON string."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def families(
    codes: Corpus,
    labels: Labels | None = None,
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
    """Group features into families by co-activation.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        labels: Labels of features: a mapping, or a table with `feature`, `label` and optionally
            `label_auc`, which weights the label's words; by default those of the run.
        features: The features to group (numbers or a mask), such as those with a trustworthy label;
            None: all.
        prefixes: Prefix sizes of a Matryoshka SAE, to use its tree instead of spanning forests.
        directions: Decoder rows for the cosines in that tree; by default those of the model.
        min_weight: Minimum H (with `prefixes`: share of rows beyond chance) of an edge.
        passes: Number of passes; all roots are removed between two passes.
        min_children: Minimum number of children of a family.
        min_active: Features active on fewer rows are left out, and dead ones always.
        max_density: Features active on a larger share of the rows are left out.
        seed: Seed of the random families with which scores are compared.

    Returns:
        The families. If the children of two have a Jaccard similarity above 0.6, only the larger
        family is kept.

    Raises:
        ConfigError: If `prefixes` do not ascend to the number of features, or a number is out of
            range.
        DataError: If a feature does not exist, or there is not one direction per feature.
    """
    codes = as_codes(codes)
    require_whole(1, passes=passes)
    require_whole(0, min_children=min_children, min_active=min_active, seed=seed)
    require_number(min_weight=min_weight, max_density=max_density)
    prefixes = None if prefixes is None else as_list(prefixes)
    parameters = plain(
        {
            "max_density": max_density,
            "min_active": min_active,
            "min_children": min_children,
            "min_weight": min_weight,
            "passes": passes,
            "prefixes": prefixes,
            "seed": seed,
        }
    )
    eligible = _eligible(codes, features, min_active, max_density)
    level = None
    if prefixes is not None:
        level = prefix_levels(codes, eligible, prefixes)
        directions = directions_of_features(codes, directions)
    edges, overlaps = candidate_edges(codes, eligible, min_weight, level, directions)
    if prefixes is None:
        forests, found = _search_by_passes(edges, len(eligible), passes)
    else:
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


def save_families(codes: Codes, found: Families) -> None:
    """Save families with their features in the run folder."""
    save_result(codes, "families.json", found.to_dict(), found.parameters)
    save_features(run_folder(codes), found.by_feature(codes.n_features), codes)


def family_names(codes: Codes) -> dict[int, str]:
    """Return the names of the run's families by number; none if they are stale."""
    if codes.run is None:
        return {}
    found = fresh_value(codes.run, "families.json", codes)
    families = [] if found is None else found["families"]
    return {family["family"]: family["label"] for family in families}


def _family_table(
    members: list[list[int]],
    names: Sequence[str],
    ratio: np.ndarray,
    r: np.ndarray,
    random_ratio: float,
) -> pd.DataFrame:
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
    """Sort families by size, and drop those whose children overlap with those of a larger one.

    Args:
        blocks: Positions of the members of each family, its root first.
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
    """Return the eligible features, from frequent to rare."""
    ordered = content_order(codes)
    is_frequent = codes.counts[ordered] >= max(min_active, 1)
    is_sparse = codes.density[ordered] <= max_density
    eligible = ordered[is_frequent & is_sparse]
    return eligible[np.isin(eligible, chosen_features(codes, features))]


def _search_by_passes(
    edges: Edges, n_features: int, passes: int
) -> tuple[list[Edges], list[np.ndarray]]:
    """Return the spanning forest of each pass, and the families of all passes."""
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
    """Return whether the Jaccard similarity of two sets exceeds MAX_OVERLAP."""
    if len(children) <= MAX_OVERLAP * len(larger):
        return False  # too small for it: saves computing the intersection
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
        random_ratio = np.nan  # no random family has any overlap
    return ratio[:n], r[:n], random_ratio


def block_ratios(
    overlaps: Any, blocks: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the block ratio and R of families (O'Neill et al., arXiv 2408.00657).

    Args:
        overlaps: C ÷ min(f_i, f_j), symmetric with an empty diagonal, csr_array (n, n).
        blocks: Positions of the members of each family, its root first.

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
    # only the overlaps of members with their own block
    member_sums = sp.csr_array(overlap_with_block * membership)
    inside = member_sums.sum(0)
    inside_and_across = membership.T @ overlaps.sum(1)
    across = inside_and_across - inside
    root_sum = member_sums[root, number]
    among_children = inside - 2 * root_sum
    across[across < 1e-9] = np.nan
    among_children[among_children < 1e-9] = np.nan
    # numbers of ordered pairs, divided by size: size − 1 inside, n − size across
    n_outside = np.maximum(n_features - size, 1)
    mean_inside = inside / (size - 1)
    mean_across = across / n_outside
    block_ratio = mean_inside / mean_across
    r = root_sum * (size - 2) / among_children
    return block_ratio, r


def _summary(
    table: pd.DataFrame, n_eligible: int, random_ratio: float
) -> dict[str, float]:
    """Return means of the table, counts and coverage, except those that are NaN."""
    covered = set().union(*table["members"])
    stats = {
        "families": len(table),
        "features": n_eligible,
        "coverage": len(covered) / max(n_eligible, 1),
        "random_ratio": random_ratio,
    }
    stats |= table[["size", "score", "block_ratio", "r"]].mean().to_dict()
    known = pd.Series(stats, dtype=np.float64).dropna()
    return {str(name): value for name, value in known.items()}


def _edge_table(forests: list[Edges], eligible: np.ndarray) -> pd.DataFrame:
    """Return the edges of all passes between numbers of features."""
    tables = []
    for number, forest in enumerate(forests):
        edges = {
            "parent": eligible[forest.parent],
            "child": eligible[forest.child],
            "weight": forest.weight,
            "pass": number,
        }
        tables.append(pd.DataFrame(edges))
    return pd.concat(tables, ignore_index=True)
