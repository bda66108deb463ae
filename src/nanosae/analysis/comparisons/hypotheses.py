"""Test all features and topics against all targets, and fit a joint model of each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.blas import with_one_blas_thread
from nanosae.analysis.comparisons.compared import Compared
from nanosae.analysis.comparisons.effects import (
    Candidates,
    Effects,
    Kind,
    cliffs_delta,
    effects,
)
from nanosae.analysis.comparisons.feature_sums import (
    FeatureSums,
    dense_column,
    feature_sums,
)
from nanosae.analysis.comparisons.findings import FALSE_DISCOVERY_RATE, Contrast
from nanosae.analysis.comparisons.joint_model import (
    MAX_ROWS,
    MIN_ROWS,
    ComparedRows,
    joint_model,
)
from nanosae.analysis.comparisons.selection import given_selected, rejection_cutoff
from nanosae.analysis.comparisons.strata import TEXT_LENGTH, strata
from nanosae.analysis.splits import duplicate_groups, held_out, split_notes
from nanosae.analysis.statistics import Z95, false_discovery
from nanosae.checked import plain
from nanosae.codes import Codes
from nanosae.errors import require_whole
from nanosae.fields import as_list
from nanosae.runs.tables import Labels, doubtful_labels, known_labels, labels_by_feature

MAX_P = 0.05  # of a finding, whatever its weight
TOPICS_SHARE = 0.2  # of the total weight of all tests
HELD_OUT_SHARE = 0.5  # of the rows, for the score of the joint model
MAX_MODEL_FEATURES = 10  # in the joint model
COUNT_DIGITS = 6  # to which sums of weights are rounded
NAMED = 10  # groups that a note names
MAX_GROUPS = 1000  # sums are held in memory for each pair of feature and group
MODEL_COLUMNS = ["target", "feature", "label", "coefficient", "stability"]


@dataclass(frozen=True)
class Question:
    """The targets of a comparison, and its rows.

    Attributes:
        kind: Kind of the targets.
        target: One target per column, csr_array (n_rows, n_targets): membership of a group (0 or
            1), a number or a time.
        rows: Rows that take part, bool (n_rows,).
        names: Names of the targets.
        facts: Facts that results repeat: `column`, and where they apply `b` (what the groups are
            compared with), `unit` (of time), `lists` (whether cells hold several values) and
            `left_out` (features that are not tested).
        notes: Remarks for users.
    """

    kind: Kind
    target: sp.csr_array
    rows: np.ndarray
    names: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """The keyword arguments that `contrast`, `explain` and `over_time` share; see `contrast`."""

    covariates: Sequence[str] | None
    groups: str | None
    min_active: int
    labels: Labels | None
    seed: int = 0
    copies: bool = False  # whether each copy of a text counts

    def __post_init__(self) -> None:
        require_whole(0, min_active=self.min_active, seed=self.seed)


def answer(compared: Compared, question: Question, options: Options) -> Contrast:
    """Test features and topics on all rows, and fit a joint model of each target."""
    result, _ = answer_and_rows(compared, question, options)
    return result


@with_one_blas_thread
def answer_and_rows(
    compared: Compared, question: Question, options: Options
) -> tuple[Contrast, ComparedRows]:
    """Return the answer to a question, and the rows that it rests on."""
    codes = compared.codes
    covariates, notes = _covariates(codes, options)
    rows = _rows(codes, question, covariates, options)
    question, group_notes = _with_large_groups(question, rows, options)
    target = question.target[rows.numbers]
    sums = feature_sums(compared, rows.numbers, target, rows.strata, rows.weight)
    tested = _are_tested(question, sums, options)
    names = _names(compared, options.labels)
    table = _test(compared, question, sums, tested, names, options)
    tested_features = tested[: compared.n_features]
    model, scores = _joint_models(
        codes, question, table, tested_features, rows, names, options
    )

    notes += _strata_notes(rows, covariates)
    notes += split_notes(rows.held, HELD_OUT_SHARE)
    notes += group_notes
    about = question.facts | plain(asdict(replace(options, labels=None)))
    about |= {
        "covariates": covariates,
        "fdr": FALSE_DISCOVERY_RATE,
        "heldout_share": HELD_OUT_SHARE,
        "n_select": MAX_MODEL_FEATURES,
        "n_rows": len(rows.numbers),
        "n_held_out": int(rows.held.sum()),
        "n_tested": int(tested.sum()),
        "n_topics_tested": int(tested[compared.n_features :].sum()),
        "n_independent": round(sums.n_independent),
        "n_candidates": len(table),
        "notes": question.notes + notes,
    }
    result = Contrast(question.kind, table, model, scores, about, pd.DataFrame())
    return result, rows


def _names(compared: Compared, given: Labels | None) -> np.ndarray:
    """Return the name of each feature and topic, object (F,)."""
    labels = known_labels(compared.codes)
    if given is not None:
        labels = labels_by_feature(given)
    names = []
    for feature in range(compared.n_features):
        name = labels.get(feature) or f"feature {feature}"
        names.append(name)
    if compared.topics is not None:
        names += compared.topics.names
    return np.array(names, object)


def _covariates(codes: Codes, options: Options) -> tuple[list[str], list[str]]:
    """Return the covariates, and a note if the text length cannot be one."""
    if options.covariates is not None:
        return as_list(options.covariates), []
    if codes.has_texts:
        return [TEXT_LENGTH], []
    return [], ["There are no texts: their length is not held equal."]


def _rows(
    codes: Codes, question: Question, covariates: Sequence[str], options: Options
) -> ComparedRows:
    """Weight, stratify and split the rows that take part."""
    numbers = np.flatnonzero(question.rows)
    if options.copies:
        duplicate_group = np.arange(len(numbers))
    else:
        duplicate_group = duplicate_groups(codes, groups=options.groups, rows=numbers)
    group_sizes = np.bincount(duplicate_group)
    weight = 1 / group_sizes[duplicate_group]
    stratum = strata(codes, numbers, covariates)
    held = held_out(duplicate_group, HELD_OUT_SHARE, options.seed)
    return ComparedRows(numbers, stratum, weight, duplicate_group, held)


def _strata_notes(rows: ComparedRows, covariates: Sequence[str]) -> list[str]:
    """Warn if most rows are alone in their stratum."""
    n_rows, _ = rows.strata.shape
    n_alone = int((rows.strata.sum(0) == 1).sum())
    if 2 * n_alone <= n_rows:
        return []
    held_equal = ", ".join(covariates)
    return [
        f"{n_alone:,} of {n_rows:,} rows contribute nothing: no other row has the same "
        f"{held_equal}. Hold fewer columns equal, or columns with fewer distinct values."
    ]


def _with_large_groups(
    question: Question, rows: ComparedRows, options: Options
) -> tuple[Question, list[str]]:
    """Drop groups with too few rows inside or outside, and return notes on them."""
    if question.kind != "groups":
        return question, []
    n_rows = len(rows.numbers)
    n_members = question.target[rows.numbers].sum(0)
    n_minority = np.minimum(n_members, n_rows - n_members)
    is_large = n_minority >= options.min_active
    is_small = n_members < options.min_active
    small = np.flatnonzero(is_small)
    without_rest = np.flatnonzero(~is_small & ~is_large)
    large = np.flatnonzero(is_large)
    largest_first = large[np.argsort(-n_minority[large], kind="stable")]
    compared = np.sort(largest_first[:MAX_GROUPS])
    notes = []
    if len(small):
        notes.append(f"In too few rows to be tested: {_listed(question, small)}.")
    if len(without_rest):
        named = _listed(question, without_rest)
        notes.append(f"In so many rows that too few others are left: {named}.")
    if len(compared) < len(large):
        notes.append(
            f"Only the {MAX_GROUPS:,} largest of {len(large):,} groups are compared."
        )
    names = [question.names[group] for group in compared]
    target = question.target[:, compared]
    return replace(question, target=target, names=names), notes


def _listed(question: Question, groups: np.ndarray) -> str:
    """List the first of some groups by name, and say how many more there are."""
    named = ", ".join(question.names[group] for group in groups[:NAMED])
    n_further = len(groups) - NAMED
    return f"{named} and {n_further:,} more" if n_further > 0 else named


def _are_tested(question: Question, sums: FeatureSums, options: Options) -> np.ndarray:
    """Return which pairs of feature and target are tested, bool (F, C)."""
    # the weights of a text's copies do not add up to exactly 1
    n_active = sums.n_active.sum(1).round(COUNT_DIGITS)
    is_common = n_active >= options.min_active
    if question.kind == "numeric":  # a single text has no variance
        n_smaller_side = np.minimum(n_active, sums.n_independent - n_active)
        is_common &= n_smaller_side >= 2
    left_out = question.facts.get("left_out", [])
    is_common[left_out] = False
    return np.repeat(is_common[:, None], len(question.names), axis=1)


def _test(
    compared: Compared,
    question: Question,
    sums: FeatureSums,
    tested: np.ndarray,
    names: np.ndarray,
    options: Options,
) -> pd.DataFrame:
    """Estimate and test the candidates; findings first, by decreasing difference."""
    candidates = _candidates(sums, tested)
    found = effects(compared, sums, question.kind, candidates)
    table = pd.DataFrame(
        {
            **_described(compared, question, sums, names, candidates),
            **_judged(found, sums, candidates, tested, compared.n_features),
            **found.descriptive,
        }
    )
    if question.kind != "numeric":
        table["odds_ratio"] = _odds(table["effect"])
        table["odds_low"] = _odds(table["low"])
        table["odds_high"] = _odds(table["high"])
    doubtful = set() if options.labels is not None else doubtful_labels(compared.codes)
    table["label_doubtful"] = table["feature"].isin(list(doubtful))
    is_found = table["found"].to_numpy()
    if question.kind == "groups":
        table["cliffs_delta"] = cliffs_delta(compared, sums, candidates, is_found)
    _add_topics(table, compared)
    difference = np.abs(found.difference)
    best_first = np.lexsort((-difference, ~is_found))
    return table.iloc[best_first].reset_index(drop=True)


def _judged(
    found: Effects,
    sums: FeatureSums,
    candidates: Candidates,
    tested: np.ndarray,
    n_features: int,
) -> dict[str, np.ndarray]:
    """Return which candidates are findings, and the effects and intervals given this selection.

    Pairs whose score test has p > 0.05 are not fitted. They count as tests with p = 1, and so do
    candidates with p > 0.05, which the weight of a topic could otherwise make a finding.
    """
    n_tested = int(tested.sum())
    weight = _weights(tested, n_features)[candidates.features]
    p = np.where(found.p <= MAX_P, found.p, 1)
    q = _q_values(p / weight, n_tested)
    is_found = q <= FALSE_DISCOVERY_RATE
    cutoff = rejection_cutoff(p, is_found, n_tested, FALSE_DISCOVERY_RATE, weight)
    cutoff = np.maximum(cutoff, Z95)
    z_screen = sums.z[candidates.features, candidates.targets]
    effect, low, high = _after_selection(found, is_found, cutoff, z_screen)
    return {
        "effect": effect,
        "low": low,
        "high": high,
        "raw_effect": found.effect,
        "error": found.error,
        "p": found.p,
        "q": q,
        "r": sums.r[candidates.features, candidates.targets],
        "found": is_found,
    }


def _add_topics(table: pd.DataFrame, compared: Compared) -> None:
    """Add the topic of each feature among the findings to the table."""
    is_found_feature = table["found"] & (table["feature"] >= 0)
    features = table.loc[is_found_feature, "feature"].to_numpy()
    table.loc[is_found_feature, "topic"] = compared.topics_of(features)


def _candidates(sums: FeatureSums, tested: np.ndarray) -> Candidates:
    """Return the tested pairs whose score test has p ≤ 0.05, target by target."""
    is_related = np.abs(sums.z) >= Z95
    is_candidate = tested & is_related
    targets, features = np.nonzero(is_candidate.T)
    return Candidates(features, targets)


def _weights(tested: np.ndarray, n_features: int) -> np.ndarray:
    """Return the weight of the tests of each feature and topic, with mean 1 over all tests, (F,).

    Topics get TOPICS_SHARE of the total weight and features the rest, if both are tested.
    """
    n_tests = tested.sum(axis=1)
    n_of_features = int(n_tests[:n_features].sum())
    n_of_topics = int(n_tests[n_features:].sum())
    weight = np.ones(len(tested))
    if not n_of_features or not n_of_topics:
        return weight
    n_all = n_of_features + n_of_topics
    weight[:n_features] = (1 - TOPICS_SHARE) * n_all / n_of_features
    weight[n_features:] = TOPICS_SHARE * n_all / n_of_topics
    return weight


def _described(
    compared: Compared,
    question: Question,
    sums: FeatureSums,
    names: np.ndarray,
    candidates: Candidates,
) -> dict[str, np.ndarray]:
    """Return the columns that identify the candidates, and the number of texts of each."""
    target_names = np.array(question.names, object)
    feature, topic = compared.split(candidates.features)
    n_active = sums.n_active[candidates.features].sum(1)
    return {
        "target": target_names[candidates.targets],
        "feature": feature,
        "topic": topic,
        "label": names[candidates.features],
        "n_active": n_active.round().astype(int),
    }


def _q_values(p: np.ndarray, n_tested: int) -> np.ndarray:
    """Return the q-values of the candidates; all other tests count as p = 1."""
    other_p = np.ones(n_tested - len(p))
    all_p = np.concatenate([np.minimum(p, 1), other_p])
    return false_discovery(all_p)[: len(p)]


def _odds(log_odds: Any) -> Any:
    """Return odds, kept finite and above 0."""
    return np.exp(np.clip(log_odds, -500, 500))


def _after_selection(
    found: Effects, is_found: np.ndarray, cutoff: Any, z_screen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return effects and the ends of their intervals, corrected for how each was selected.

    Findings passed the cutoff of the false discovery rate, other candidates the screening. An
    effect shrinks by the same factor as its score, so it keeps its sign. In rare features the error
    exceeds effect ÷ score, and the interval is then as wide as the error says.
    """
    z = np.where(is_found, found.z, z_screen)
    exceeded = np.where(is_found, cutoff, Z95)
    centre, *ends_of_z = given_selected(z, exceeded)
    size = np.abs(found.z)
    implied_error = np.abs(found.effect) / np.maximum(size, 1)
    larger_error = np.maximum(found.error, implied_error)
    error = np.where(is_found, larger_error, found.error)
    effect = found.effect * centre / z
    scaled = [found.effect * end / z for end in ends_of_z]
    shifted = [found.effect - error * (z - end) for end in ends_of_z]
    ends = np.stack(scaled + shifted)
    return effect, ends.min(axis=0), ends.max(axis=0)


def _joint_models(
    codes: Codes,
    question: Question,
    table: pd.DataFrame,
    tested: np.ndarray,
    rows: ComparedRows,
    names: np.ndarray,
    options: Options,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit a joint model of each target that has candidates; trends have none.

    Where there are many rows or targets, models are selected on a sample of the rows.
    """
    models: list[pd.DataFrame] = []
    scores: list[dict[str, Any]] = []
    with_candidates: set[str] = set()
    features = np.flatnonzero(tested.any(1))
    if question.kind != "trend" and len(features):
        with_candidates = set(table["target"])
    n_models = max(len(with_candidates), 1)
    n_rows = max(MAX_ROWS // n_models, MIN_ROWS)
    rows = rows.sample(n_rows, options.seed)
    strengths = None
    if with_candidates:
        strengths = codes.take(rows.numbers)[:, features]
    numeric = question.kind == "numeric"
    for target, name in enumerate(question.names):
        if name not in with_candidates:
            continue
        outcome = dense_column(question.target[rows.numbers], target)
        model, score = joint_model(
            strengths, rows, outcome, MAX_MODEL_FEATURES, numeric
        )
        model["target"] = name
        model["feature"] = features[model["column"]]
        model["label"] = names[model["feature"]]
        models.append(model.reindex(columns=MODEL_COLUMNS))
        scores.append({"target": name} | score)
    if not models:
        models = [pd.DataFrame(columns=MODEL_COLUMNS)]
    return pd.concat(models, ignore_index=True), pd.DataFrame(scores)
