"""How good is a dictionary? Held-out measures, always beside what needs no trained SAE.

Each measure is taken of the codes and of four baselines (see `baselines`), on the same rows with
the same split. Whatever is chosen (feature, threshold, probe) is chosen on the training part and
measured on the held-out part; duplicate groups and equal `groups` are kept together. Intervals are
95 %, for other held-out rows with labels and fits held fixed.

Not here: what needs a language model; TPP and SCR, which do not rank SAEs (arXiv 2605.18229).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.columns import is_missing, label_matrix, one_per_row
from nanosae.analysis.evaluation.baselines import Representation, representations
from nanosae.analysis.evaluation.measures import (
    intruder_detection,
    reconstruction_measures,
    text_spaces,
    usage,
)
from nanosae.analysis.evaluation.probes import (
    LabelledRows,
    best_features,
    dense_probe,
    sparse_probes,
)
from nanosae.analysis.matching import match, stability
from nanosae.analysis.splits import duplicate_groups, held_out, split_notes
from nanosae.analysis.statistics import Estimate, mean_estimate
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError, DataError
from nanosae.progress import tracked
from nanosae.runs.export import records

Measures = dict[str, Estimate]


@dataclass(repr=False)
class Evaluation:
    """The measures of a dictionary and of its baselines.

    Attributes:
        table: `representation, measure, value, low, high, n`: the mean over n labels, features or
            rows.
        labels: The feature of best F1 on the training part, for each label: `representation,
            label, feature, threshold, f1, auc, n_rows`; the last three on the held-out part.
        about: Options, counts, and `notes` where the split is not what was asked for.
    """

    table: pd.DataFrame
    labels: pd.DataFrame
    about: dict[str, Any]

    def wide(self) -> pd.DataFrame:
        """Return one line per measure, one column per representation."""
        wide = self.table.pivot(
            index="measure", columns="representation", values="value"
        )
        measures = self.table["measure"].unique()
        representations = self.table["representation"].unique()
        return wide.loc[measures, representations]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {"about": self.about} | records(table=self.table, labels=self.labels)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Evaluation:
        """Return what `to_dict` was called on; empty tables come back without columns."""
        return cls(
            table=pd.DataFrame(content["table"]),
            labels=pd.DataFrame(content["labels"]),
            about=content["about"],
        )

    def __repr__(self) -> str:
        return self.wide().round(3).to_string(na_rep="")

    def _repr_html_(self) -> str:
        return self.wide().round(3).to_html(na_rep="")


def evaluate(
    codes: Corpus,
    labels: Any = None,
    *,
    targets: np.ndarray | None = None,
    ks: Sequence[int] = (1, 2, 5, 10, 20),
    others: Sequence[Any] = (),
    truth: Codes | None = None,
    baselines: bool = True,
    groups: str | None = None,
    min_rows: int = 10,
    max_rows: int = 25_000,
    share: float = 0.5,
    seed: int = 0,
) -> Evaluation:
    """Measure a dictionary.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        labels: A metadata column, or one value per row: several labels in a cell are joined by "|",
            rows without any are left out. None: only what needs no labels.
        targets: What a transcoder is to make of the rows, (n_rows, output_size). Without them its
            reconstruction is not measured; that of the baselines is always of the rows.
        ks: Numbers of features of the sparse probes.
        others: Other SAEs of the same input, for stability, as `matching.stability` takes them.
        truth: Codes of the same rows with the known activations, for recovery: the correlation of
            each true feature with its one-to-one partner.
        baselines: Whether to measure the baselines too; they need vectors.
        groups: A column whose equal values are kept on one side of the split.
        min_rows: Rows with a label, and without it, that either part needs.
        max_rows: Most rows to use, drawn from those with labels.
        share: Share of the rows to hold out.
        seed: Seed of the split, the draws and the baselines.

    Raises:
        ConfigError: If `min_rows` is below 1.
        DataError: If fewer than two rows are left, no label has enough of them, or labels or
            targets are not one per row.
    """
    codes = as_codes(codes)
    if min_rows < 1:
        raise ConfigError(f"min_rows={min_rows} must be at least 1.")
    rng = np.random.default_rng(seed)
    values = None if labels is None else one_per_row(codes, labels)
    rows = _draw_rows(codes, values, max_rows, rng)
    if len(rows) < 2:
        raise DataError(
            f"{len(rows)} of {codes.n_rows:,} rows are left to measure; 2 are needed.",
            column=labels if isinstance(labels, str) else None,
            remedy="Give a column with labels, or more rows.",
        )
    if targets is not None:
        targets = _targets_of(codes, targets)[rows]
    names = np.zeros(0, object)
    labelled = None
    notes = []
    if values is not None:
        duplicate_group = duplicate_groups(codes, groups=groups, rows=rows)
        held = held_out(duplicate_group, share, seed)
        names, labelled = _labelled_rows(values[rows], held, duplicate_group, min_rows)
        notes = split_notes(held, share)
    compared = representations(codes, rows, baselines, rng, targets)
    spaces = text_spaces(codes, rows, seed)
    measures: dict[str, Measures] = {}
    best = {}
    for name, representation in tracked(compared, "evaluate"):
        measures[name] = {}
        if labelled is not None:
            with_labels = _with_labels(representation, labelled, ks)
            measures[name], best[name] = with_labels
            if name == "dense":
                measures[name] |= dense_probe(codes.vectors(rows), labelled)
        measures[name] |= _without_labels(representation, spaces, rng)
        del representation  # dense ones are large: the next one takes its place
    measures["codes"] |= _beside_others(codes, others, truth)
    about = {
        "rows": len(rows),
        "labels": labels if isinstance(labels, str) else None,
        "groups": groups,
        "min_rows": min_rows,
        "share": share,
        "seed": seed,
        "notes": notes,
    }
    return Evaluation(_as_table(measures), _label_table(best, names), about)


def _beside_others(
    codes: Codes, others: Sequence[Any], truth: Codes | None
) -> Measures:
    """Measure how well features are found again in other SAEs, and known ones in these."""
    measures: Measures = {}
    if others:
        scores = stability(codes.weights(), others)[codes.counts > 0]
        measures["stability"] = mean_estimate(scores)
    if truth is not None:
        similarity = match(truth, codes)["partner_similarity"]
        measures["recovery"] = mean_estimate(similarity[truth.counts > 0])
    return measures


def _targets_of(codes: Codes, targets: np.ndarray) -> np.ndarray:
    targets = np.asarray(targets)
    if targets.ndim != 2 or len(targets) != codes.n_rows:
        raise DataError(
            f"targets have the shape {targets.shape}, but the corpus has {codes.n_rows:,} rows.",
            remedy="Give one vector for each row.",
        )
    return targets


def _draw_rows(
    codes: Codes, values: np.ndarray | None, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows, of those that have a label where labels are given; ascending."""
    rows = np.arange(codes.n_rows)
    if values is not None:
        rows = np.flatnonzero(~is_missing(values))
    return np.sort(rng.permutation(rows)[:most])


def _labelled_rows(
    values: np.ndarray, held: np.ndarray, duplicate_group: np.ndarray, min_rows: int
) -> tuple[np.ndarray, LabelledRows]:
    """Return the names and indicators of the labels with enough rows in both parts."""
    names, labels = label_matrix(values)
    fewest = np.minimum(_rarer_side(labels[~held]), _rarer_side(labels[held]))
    enough = np.flatnonzero(fewest >= min_rows)
    if not len(enough):
        raise DataError(
            f"none of {len(names)} labels has {min_rows} rows in both halves.",
            remedy="Lower min_rows, or take a column with fewer different labels.",
        )
    labelled = LabelledRows(labels[:, enough], held, duplicate_group)
    return np.array(names, object)[enough], labelled


def _rarer_side(labels: Any) -> np.ndarray:
    """Count the rows with each label, or those without it if they are fewer."""
    n_with = labels.sum(0)
    return np.minimum(n_with, labels.shape[0] - n_with)


def _with_labels(
    representation: Representation, labelled: LabelledRows, ks: Sequence[int]
) -> tuple[Measures, dict[str, np.ndarray]]:
    """Measure what needs labels; also return the best feature of each label."""
    activations = representation.activations
    single, chosen = best_features(activations, labelled)
    return single | sparse_probes(activations, labelled, ks), chosen


def _without_labels(
    representation: Representation,
    spaces: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> Measures:
    """Measure what needs no labels."""
    measures: Measures = {}
    for space, points in spaces.items():
        estimate = intruder_detection(representation.activations, points, rng)
        measures[f"intruder_{space}"] = estimate
    measures |= usage(representation)
    original = representation.original
    reconstruction = representation.reconstruction
    if original is not None and reconstruction is not None:
        measures |= reconstruction_measures(original, reconstruction, rng)
    return measures


def _label_table(
    best: dict[str, dict[str, np.ndarray]], names: np.ndarray
) -> pd.DataFrame:
    """List the best feature of each label in each representation."""
    tables = [
        pd.DataFrame(chosen | {"representation": representation, "label": names})
        for representation, chosen in best.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _as_table(measures: dict[str, Measures]) -> pd.DataFrame:
    """List every measure of every representation."""
    lines = []
    for representation, estimates in measures.items():
        for measure, estimate in estimates.items():
            line = {"representation": representation, "measure": measure}
            lines.append(line | asdict(estimate))
    return pd.DataFrame(lines)
