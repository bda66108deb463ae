"""Choose hypotheses on the training part of the rows and test them on the held-out part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.columns import one_hot
from nanosae.analysis.effects import Kind, cliffs_delta, effects
from nanosae.analysis.feature_sums import (
    FeatureSums,
    active_indicators,
    dense_column,
    feature_sums,
)
from nanosae.analysis.findings import Contrast
from nanosae.analysis.joint_model import joint_model
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.analysis.statistics import Z95, false_discovery, two_sided_p
from nanosae.analysis.strata import TEXT_LENGTH, strata
from nanosae.codes import Codes
from nanosae.runs.tables import known_labels

MODEL_COLUMNS = ["target", "feature", "label", "coefficient", "low", "high", "p", "q"]


@dataclass(frozen=True)
class Question:
    """What is compared.

    Attributes:
        kind: What the targets are.
        target: One target per column, csr_array (n_rows, n_targets): membership of a group (0 or
            1), a number or a time.
        rows: Rows that take part, bool (n_rows,).
        names: Names of the targets.
        facts: What results say of it: `column`, and where they apply `b` (what the groups are
            compared with), `unit` (of time) and `left_out` (features that are not tested).
    """

    kind: Kind
    target: sp.csr_array
    rows: np.ndarray
    names: list[str]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How to test; the keywords of `contrast`, `explain` and `over_time`.

    Attributes:
        covariates: Columns to hold equal, and "length" for the texts' length; None: the length if
            there are texts; `()`: nothing.
        groups: A column whose equal values are one source (an author, a thread): kept on one side
            of the split and counted as one text.
        fdr: False discovery rate that is put up with.
        share: Share of the rows to hold out.
        min_active: Independent texts of either part on which a feature must be active to be tested
            (and rows in which a class must occur).
        n_select: Most features in the joint model.
        labels: Names of features; None: those in the run's features.parquet.
        seed: Seed of the split.
    """

    covariates: Sequence[str] | None = None
    groups: str | None = None
    fdr: float = 0.05
    share: float = 0.5
    min_active: int = 10
    n_select: int = 10
    labels: Mapping[int, str] | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Hypotheses:
    """Pairs of feature and target that the training part proposes, (K,), and counts and notes."""

    features: np.ndarray
    targets: np.ndarray
    n_tested: int
    notes: list[str]


def answer(codes: Codes, question: Question, options: Options) -> Contrast:
    """Choose hypotheses on one part of the rows, test them on the other, for every target."""
    covariates, notes = _covariates(codes, options)
    rows = np.flatnonzero(question.rows)
    training, report = _split_sums(codes, question, rows, covariates, options)
    hypotheses = _hypotheses(question, training, report, options)
    names = feature_names(codes, options.labels)
    table = _test(codes, question, hypotheses, training, report, names, options)
    model, scores = _joint_models(
        codes, question, hypotheses, training, report, names, options
    )

    shares = pd.DataFrame()
    if question.kind == "trend":
        findings = table.loc[table["found"], "feature"].to_numpy()
        shares = shares_by_period(codes, rows, question.target, findings)
    about = question.facts | asdict(options)
    about |= {"covariates": list(covariates), "labels": None}
    about |= {
        "n_rows": len(rows),
        "n_held_out": len(report.rows),
        "n_tested": hypotheses.n_tested,
        "n_independent": round(report.n_independent),
        "n_candidates": len(hypotheses.features),
        "notes": notes + hypotheses.notes,
    }
    return Contrast(question.kind, table, model, scores, about, shares)


def feature_names(codes: Codes, labels: Mapping[int, str] | None) -> np.ndarray:
    """Return what to call each feature, object (n_features,)."""
    labels = known_labels(codes) if labels is None else labels
    numbers = range(codes.n_features)
    names = [labels.get(feature) or f"feature {feature}" for feature in numbers]
    return np.array(names, object)


def shares_by_period(
    codes: Codes, rows: np.ndarray, target: Any, features: np.ndarray
) -> pd.DataFrame:
    """Compute the share of rows with each feature in each period, and Jeffreys' 95 % interval.

    Brown, Cai and DasGupta, Stat. Sci. 16 (2001) 101, §4.3.

    Args:
        codes: The corpus.
        rows: Rows that take part.
        target: Times of all rows, csr_array (n_rows, 1).
        features: Which features.

    Returns:
        `feature, period, n, n_active, share, low, high`.
    """
    from scipy.special import betaincinv

    times = dense_column(target[rows], 0)
    periods, level = np.unique(times, return_inverse=True)
    active = active_indicators(codes, features)[rows]
    n_active = (active.T @ one_hot(level)).toarray().ravel()
    n = np.tile(np.bincount(level), len(features))
    tails = [[0.025], [0.975]]
    low, high = betaincinv(n_active + 0.5, n - n_active + 0.5, tails)
    columns = {
        "feature": np.repeat(features, len(periods)),
        "period": np.tile(periods, len(features)),
        "n": n,
        "n_active": n_active.astype(np.int64),
        "share": n_active / n,
        "low": low,
        "high": high,
    }
    return pd.DataFrame(columns)


def _covariates(codes: Codes, options: Options) -> tuple[Sequence[str], list[str]]:
    """Return the covariates, and a note where the texts' length cannot be one."""
    if options.covariates is not None:
        return options.covariates, []
    if codes.has_texts:
        return [TEXT_LENGTH], []
    return [], ["There are no texts: their length is not held equal."]


def _split_sums(
    codes: Codes,
    question: Question,
    rows: np.ndarray,
    covariates: Sequence[str],
    options: Options,
) -> tuple[FeatureSums, FeatureSums]:
    """Split the rows; sum over the training and over the held-out part."""
    duplicate_group = duplicate_groups(codes, groups=options.groups, rows=rows)
    weight = 1 / np.bincount(duplicate_group)[duplicate_group]
    stratum = strata(codes, rows, covariates)
    held = held_out(duplicate_group, options.share, options.seed)

    def sums(part: np.ndarray) -> FeatureSums:
        part_rows = rows[part]
        return feature_sums(
            codes, part_rows, question.target[part_rows], stratum[part], weight[part]
        )

    return sums(~held), sums(held)


def _hypotheses(
    question: Question, training: FeatureSums, report: FeatureSums, options: Options
) -> _Hypotheses:
    """Propose the pairs with p ≤ 0.05 in the training part.

    Any bound is valid here, for q rests on the held-out part alone.
    """
    notes = []
    large = np.ones(len(question.names), dtype=bool)
    if question.kind == "groups":
        large = np.minimum(training.n_minority, report.n_minority) >= options.min_active
    small = [name for name, ok in zip(question.names, large, strict=True) if not ok]
    if small:
        notes.append(f"In too few rows of a half to be tested: {', '.join(small)}.")
    fewest = np.minimum(training.n_active.sum(1), report.n_active.sum(1))
    common = fewest >= options.min_active
    common[question.facts.get("left_out", [])] = False
    tested = common[:, None] & large
    proposed = tested & (np.abs(training.z) >= Z95)
    targets, features = np.nonzero(proposed.T)
    return _Hypotheses(features, targets, int(tested.sum()), notes)


def _test(
    codes: Codes,
    question: Question,
    hypotheses: _Hypotheses,
    training: FeatureSums,
    report: FeatureSums,
    names: np.ndarray,
    options: Options,
) -> pd.DataFrame:
    """Estimate and test every hypothesis on the held-out part; findings and sure effects first."""
    features, targets = hypotheses.features, hypotheses.targets
    table = pd.DataFrame(
        {
            "target": np.array(question.names, object)[targets],
            "feature": features,
            "label": names[features],
            "n_active": report.n_active[features].sum(1).round().astype(int),
            **effects(report, question.kind, features, targets),
            "r": report.r[features, targets],
        }
    )
    z_select = training.z[features, targets]
    table["q"] = false_discovery(table["p"])
    table["p_select"] = two_sided_p(z_select)
    same_sign = np.sign(table["effect"]) == np.sign(z_select)
    table["found"] = (table["q"] <= options.fdr) & same_sign
    if question.kind == "groups":
        found = table["found"].to_numpy()
        table["cliffs_delta"] = cliffs_delta(codes, report, features, targets, found)
    nearer_end = np.maximum(table["low"], -table["high"])
    surely = np.maximum(0, nearer_end)
    best_first = np.lexsort((-surely, ~table["found"]))
    return table.iloc[best_first].reset_index(drop=True)


def _joint_models(
    codes: Codes,
    question: Question,
    hypotheses: _Hypotheses,
    training: FeatureSums,
    report: FeatureSums,
    names: np.ndarray,
    options: Options,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Explain each target with hypotheses by a few features together; trends have no model."""
    models: list[pd.DataFrame] = []
    scores: list[dict[str, Any]] = []
    targets = [] if question.kind == "trend" else np.unique(hypotheses.targets).tolist()
    for target in targets:
        candidates = hypotheses.features[hypotheses.targets == target]
        numeric = question.kind == "numeric"
        model, score = joint_model(
            codes, training, report, target, candidates, options.n_select, numeric
        )
        model["target"] = question.names[target]
        model["label"] = names[model["feature"]]
        models.append(model.reindex(columns=MODEL_COLUMNS))
        scores.append({"target": question.names[target]} | score)
    if not models:
        models = [pd.DataFrame(columns=MODEL_COLUMNS)]
    return pd.concat(models, ignore_index=True), pd.DataFrame(scores)
