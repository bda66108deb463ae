"""Held-out measures of a dictionary, beside baselines that need no trained SAE.

Every measure is computed for the codes and for four baselines (see `baselines`), on the same rows
with the same split. Features, thresholds and probes are fitted on the training part and measured on
the held-out part; duplicate groups and equal `groups` stay on one side. The 95 % intervals of F1,
AUC and accuracy account for the choice of held-out rows, with classes and fits held fixed; those of
other means account for the choice of the classes, features or rows that are averaged.

Not included: measures that need a language model, and TPP and SCR, which do not rank SAEs
(arXiv 2605.18229).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.columns import class_matrix, is_missing, one_per_row
from nanosae.analysis.evaluation.baselines import Representation, representations
from nanosae.analysis.evaluation.measures import (
    intruder_detection,
    reconstruction_measures,
    text_spaces,
    usage,
)
from nanosae.analysis.evaluation.probes import (
    RowClasses,
    best_features,
    dense_probe,
    sparse_probes,
)
from nanosae.analysis.matching import match, stability
from nanosae.analysis.reading import run_model
from nanosae.analysis.splits import duplicate_groups, held_out, split_notes
from nanosae.analysis.statistics import Estimate, mean_estimate
from nanosae.checked import plain
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import DataError, require_whole
from nanosae.fields import as_list
from nanosae.progress import tracked
from nanosae.runs.export import records

Measures = dict[str, Estimate]
# what measures can be, if not 0 to 1; intervals of few classes would exceed it
RANGES = {"l0": (0.0, np.inf), "fvu": (0.0, np.inf)}
RANGES |= dict.fromkeys(["cosine", "redundancy", "stability", "recovery"], (-1.0, 1.0))


@dataclass(repr=False)
class Evaluation:
    """The measures of a dictionary and of its baselines.

    Attributes:
        table: `representation, measure, value, low, high, n`: means over n classes, features or
            rows, with 95 % intervals.
        classes: The feature with the best training F1 for each class: `representation, class,
            feature, threshold, f1, auc, n_rows`, the last three on the held-out part.
        about: Options, counts, and `notes` if rows were sampled or the split differs from the one
            asked for.
    """

    table: pd.DataFrame
    classes: pd.DataFrame
    about: dict[str, Any]

    def wide(self) -> pd.DataFrame:
        """Return one row per measure and one column per representation."""
        wide = self.table.pivot(
            index="measure", columns="representation", values="value"
        )
        measures = self.table["measure"].unique()
        representations = self.table["representation"].unique()
        return wide.loc[measures, representations]

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as JSON types."""
        table, classes = records(self.table), records(self.classes)
        return {"about": self.about, "table": table, "classes": classes}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Evaluation:
        """Return an evaluation from its `to_dict()`; empty tables lose their columns."""
        return cls(
            table=pd.DataFrame(content["table"]),
            classes=pd.DataFrame(content["classes"]),
            about=content["about"],
        )

    def __repr__(self) -> str:
        return self.wide().round(3).to_string(na_rep="")

    def _repr_html_(self) -> str:
        return self.wide().round(3).to_html(na_rep="")


def evaluate(
    codes: Corpus,
    classes: Any = None,
    *,
    targets: np.ndarray | None = None,
    ks: Sequence[int] = (1, 2, 5, 10, 20),
    others: Sequence[Any] = (),
    truth: Corpus | None = None,
    baselines: bool = True,
    groups: str | None = None,
    min_rows: int = 10,
    max_rows: int = 25_000,
    heldout_share: float = 0.5,
    seed: int = 0,
) -> Evaluation:
    """Measure the features of a dictionary, and baselines.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        classes: A metadata column, or one value per row; a cell may hold several classes, joined
            by "|". Rows without a class are left out. None: only measures that need no classes.
            A pandas series is matched with the rows by its index if possible.
        targets: Targets of a transcoder, (n_rows, output_size). Without them its reconstruction is
            not measured. Baselines always reconstruct the rows.
        ks: Numbers of features of the sparse probes.
        others: Other SAEs of the same input, for `stability`; see `matching.stability`.
        truth: A corpus of the same rows with the true activations, for `recovery`: the correlation
            of each true feature with its one-to-one partner.
        baselines: Whether to measure the baselines as well; they need vectors.
        groups: A column whose equal values stay on one side of the split.
        min_rows: Minimum number of rows of a class, and of others, in either part.
        max_rows: Maximum number of rows; more are sampled. The share of dead features of the codes
            is always that of the whole corpus.
        heldout_share: Share of the rows to hold out.
        seed: Seed of the split, the sampling and the baselines.

    Raises:
        ConfigError: If `min_rows`, `max_rows` or `seed` is no whole number, or too small.
        DataError: If fewer than two rows are left, no class has enough rows, or classes or targets
            do not have one entry per row, or there are targets and no transcoder.
    """
    codes = as_codes(codes)
    ks = as_list(ks)
    require_whole(1, min_rows=min_rows, max_rows=max_rows)
    require_whole(0, seed=seed)
    for k in ks:
        require_whole(1, k=k)
    rng = np.random.default_rng(seed)
    column = classes if isinstance(classes, str) else None
    values = None if classes is None else one_per_row(codes, classes)
    rows, notes = _draw_rows(codes, values, column, max_rows, rng)
    if targets is not None:
        targets = _checked_targets(codes, targets)[rows]
    names = np.zeros(0, object)
    row_classes = None
    if values is not None:
        duplicate_group = duplicate_groups(codes, groups=groups, rows=rows)
        held = held_out(duplicate_group, heldout_share, seed)
        names, row_classes = _row_classes(values[rows], held, duplicate_group, min_rows)
        notes += split_notes(held, heldout_share)
    compared = representations(codes, rows, baselines, rng, targets)
    spaces = text_spaces(codes, rows, seed)
    measures: dict[str, Measures] = {}
    best = {}
    for name, representation in tracked(compared, "evaluate"):
        measures[name] = {}
        if row_classes is not None:
            single, best[name] = best_features(representation.activations, row_classes)
            probes = sparse_probes(representation.activations, row_classes, ks)
            measures[name] = single | probes
            if name == "dense":
                measures[name] |= dense_probe(codes.vectors(rows), row_classes)
        measures[name] |= _other_measures(representation, spaces, rng)
        del representation  # frees a large one before the next is made
    measures["codes"]["dead"] = _share_dead(codes)
    measures["codes"] |= _agreement_measures(codes, others, truth)
    about = {
        "rows": len(rows),
        "classes": column,
        "groups": groups,
        "min_rows": min_rows,
        "heldout_share": heldout_share,
        "seed": seed,
        "notes": notes,
    }
    return Evaluation(_as_table(measures), _class_table(best, names), plain(about))


def _share_dead(codes: Codes) -> Estimate:
    """Return the share of features that no row of the corpus activates, sampled or not."""
    share = float((codes.counts == 0).mean())
    return Estimate(share, np.nan, np.nan, codes.n_features)


def _agreement_measures(
    codes: Codes, others: Sequence[Any], truth: Corpus | None
) -> Measures:
    """Measure the stability of features across other SAEs, and the recovery of true features."""
    measures: Measures = {}
    if not isinstance(others, list | tuple):
        others = [] if others is None else [others]
    if others:
        scores = stability(codes.weights(), others)[codes.counts > 0]
        measures["stability"] = mean_estimate(scores)
    if truth is not None:
        true_codes = as_codes(truth)
        similarity = match(true_codes, codes)["partner_similarity"]
        measures["recovery"] = mean_estimate(similarity[true_codes.counts > 0])
    return measures


def _checked_targets(codes: Codes, targets: np.ndarray) -> np.ndarray:
    targets = np.asarray(targets)
    model = run_model(codes)
    if model is None or not model.is_transcoder:
        raise DataError(
            "there are targets, but the model of these codes is not a transcoder.",
            remedy="Leave them out: an SAE is compared with the vectors it encodes.",
        )
    needed = codes.n_rows, len(model.b_dec)
    if targets.shape != needed:
        raise DataError(
            f"targets have the shape {targets.shape}; {needed} is needed.",
            remedy="Give one vector per row, as wide as the output of the transcoder.",
        )
    return targets


def _draw_rows(
    codes: Codes,
    values: np.ndarray | None,
    column: str | None,
    max_rows: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[str]]:
    """Draw rows in ascending order, of those with a class; with a note if not all are drawn."""
    rows = np.arange(codes.n_rows)
    if values is not None:
        rows = np.flatnonzero(~is_missing(values))
    notes = []
    if len(rows) > max_rows:
        notes = [f"Measured on a sample of {max_rows:,} of {len(rows):,} rows."]
    drawn = np.sort(rng.permutation(rows)[:max_rows])
    if len(drawn) < 2:
        raise DataError(
            f"only {len(drawn)} of {codes.n_rows:,} rows can be measured; 2 are needed.",
            column=column,
            remedy="Give a column with classes, or more rows.",
        )
    return drawn, notes


def _row_classes(
    values: np.ndarray, held: np.ndarray, duplicate_group: np.ndarray, min_rows: int
) -> tuple[np.ndarray, RowClasses]:
    """Return the names and indicators of the classes with enough rows in both parts."""
    names, indicators = class_matrix(values)
    n_training = _minority_counts(indicators[~held])
    n_held = _minority_counts(indicators[held])
    is_frequent = np.minimum(n_training, n_held) >= min_rows
    if not is_frequent.any():
        raise DataError(
            f"none of {len(names)} classes has {min_rows} rows in both parts of the split.",
            remedy="Lower min_rows, or choose a column with fewer classes.",
        )
    row_classes = RowClasses(indicators[:, is_frequent], held, duplicate_group)
    return np.array(names, object)[is_frequent], row_classes


def _minority_counts(indicators: Any) -> np.ndarray:
    """Count the rows of each class, or the others if they are fewer."""
    n_inside = indicators.sum(0)
    return np.minimum(n_inside, indicators.shape[0] - n_inside)


def _other_measures(
    representation: Representation,
    spaces: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> Measures:
    """Compute the measures that need no classes."""
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


def _class_table(
    best: dict[str, dict[str, np.ndarray]], names: np.ndarray
) -> pd.DataFrame:
    """Return a table of the best feature of each class in each representation."""
    tables = [
        pd.DataFrame(chosen | {"representation": representation, "class": names})
        for representation, chosen in best.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _as_table(measures: dict[str, Measures]) -> pd.DataFrame:
    lines = []
    for representation, estimates in measures.items():
        for measure, estimate in estimates.items():
            line = {"representation": representation, "measure": measure}
            least, most = RANGES.get(measure, (0.0, 1.0))
            low, high = np.clip([estimate.low, estimate.high], least, most)
            lines.append(line | asdict(replace(estimate, low=low, high=high)))
    return pd.DataFrame(lines)
