"""How well activations predict classes: with one feature, a few, or all columns.

Features, thresholds and probes are fitted on the training part of the rows and measured on the
held-out part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import expit

from nanosae.analysis.classification import (
    SingleFeatureScores,
    auc_scores,
    f1_scores,
    single_feature_scores,
)
from nanosae.analysis.regression import fit_in_strata
from nanosae.analysis.statistics import Estimate, mean_estimate

SPARSE_RIDGE = 1.0  # penalty of the sparse probes, for features with unit variance
DENSE_RIDGE = 10.0  # penalty of the dense probe, except for its intercept
MAX_LBFGS_STEPS = 150
COVERED_F1 = 0.5  # a class is covered if its best feature reaches this F1


@dataclass(frozen=True, eq=False)
class RowClasses:
    """The classes of rows, and the split of the rows.

    Attributes:
        indicators: Whether a row is of a class, csr_array (n_rows, n_classes).
        held: Whether a row is held out, bool (n_rows,).
        duplicate_group: Group of each row, int (n_rows,).
    """

    indicators: Any
    held: np.ndarray
    duplicate_group: np.ndarray

    @property
    def training(self) -> np.ndarray:
        """Whether a row is in the training part, bool (n_rows,)."""
        return ~self.held

    @property
    def held_truth(self) -> np.ndarray:
        """Classes of the held-out rows, bool (n_held, n_classes)."""
        return self.indicators[self.held].toarray() > 0

    @property
    def held_group(self) -> np.ndarray:
        """Duplicate group of each held-out row, (n_held,)."""
        return self.duplicate_group[self.held]


def best_features(
    activations: Any, rows: RowClasses
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """Measure the best single feature of each class, and the best one-to-one assignment.

    Returns:
        `best_feature_f1`, `covered`, `best_feature_auc` and `one_to_one_f1`; and the feature with
        the best training F1 of each class: `feature, threshold, f1, auc, n_rows`.
    """
    by_row = activations.tocsr()
    training = sp.csc_array(by_row[rows.training])
    training_classes = rows.indicators[rows.training]
    scores = single_feature_scores(training, training_classes)
    held = sp.csc_array(by_row[rows.held])
    truth = rows.held_truth
    group = rows.held_group
    n_classes = truth.shape[1]

    best = scores.f1.argmax(0)
    threshold = scores.threshold[best, np.arange(n_classes)]
    strength = held[:, best].toarray()
    predicted = strength >= threshold
    f1, mean_f1 = f1_scores(predicted, truth, group)
    auc, _ = auc_scores(strength, truth, group)

    best_by_auc = np.nanargmax(scores.auc, 0)
    strength_by_auc = held[:, best_by_auc].toarray()
    _, mean_auc = auc_scores(strength_by_auc, truth, group)
    is_covered = f1 >= COVERED_F1
    measures = {
        "best_feature_f1": mean_f1,
        "covered": mean_estimate(is_covered),
        "best_feature_auc": mean_auc,
        "one_to_one_f1": _one_to_one_f1(scores, held, rows),
    }
    chosen = {
        "feature": best,
        "threshold": threshold,
        "f1": f1,
        "auc": auc,
        "n_rows": truth.sum(0),
    }
    return measures, chosen


def _one_to_one_f1(
    scores: SingleFeatureScores, held: Any, rows: RowClasses
) -> Estimate:
    """Measure the assignment of classes to distinct features with the best training F1.

    If there are more classes than features, those that get none have an F1 of 0.
    """
    assigned, class_ = linear_sum_assignment(-scores.f1)
    threshold = scores.threshold[assigned, class_]
    strength = held[:, assigned].toarray()
    truth = rows.held_truth
    predicted = np.zeros_like(truth)
    predicted[:, class_] = strength >= threshold
    _, mean_f1 = f1_scores(predicted, truth, rows.held_group)
    return mean_f1


def sparse_probes(
    activations: Any, rows: RowClasses, ks: Sequence[int]
) -> dict[str, Estimate]:
    """Fit logistic regressions on the k features with the largest standardised mean difference.

    This is k-sparse probing (Gurnee et al., arXiv 2305.01610).

    Returns:
        `probe_f1@k`, `probe_auc@k` and `probe_accuracy@k` for each k.
    """
    training_classes = rows.indicators[rows.training]
    order = _by_mean_difference(activations.tocsr()[rows.training], training_classes)
    truth = rows.indicators.toarray() > 0
    measures = {}
    for k in ks:
        scores = np.empty(truth.shape)
        for class_, features in enumerate(order[:, :k]):
            x = activations[:, features].toarray()
            logits = fit_sparse_probe(x, truth[:, class_], rows.training)
            scores[:, class_] = logits
        measures |= _probe_measures(str(k), scores, rows)
    return measures


def dense_probe(x: np.ndarray, rows: RowClasses) -> dict[str, Estimate]:
    """Fit logistic regressions on all columns; returns the measures of `sparse_probes` as @all."""
    truth = rows.indicators.toarray() > 0
    scores = fit_dense_probe(x, truth, rows.training)
    return _probe_measures("all", scores, rows)


def fit_sparse_probe(x: np.ndarray, y: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Fit a ridge-penalised logistic regression on the training rows, and score all rows.

    The intercept is not penalised. All rows without an active feature have the same design row, so
    they enter as two weighted rows, one for each outcome.

    Args:
        x: Activations of a few features, (n, k).
        y: Whether a row is of the class, bool (n,).
        training: Rows to fit on, bool (n,).

    Returns:
        Logits, (n,).
    """
    deviation = x[training].std(0, dtype=np.float64) + 1e-9
    active = training & x.any(1)
    inactive = training & ~active
    n_inactive_without = (inactive & ~y).sum()
    n_inactive_with = (inactive & y).sum()
    n_active = active.sum()

    two_zero_rows = np.zeros((2, x.shape[1]))
    features = np.vstack([x[active], two_zero_rows]) / deviation
    no_strata = sp.csr_array((len(features), 0))
    outcome = np.r_[y[active], 0, 1]
    weight = np.r_[np.ones(n_active), n_inactive_without, n_inactive_with]
    fit = fit_in_strata(
        features, no_strata, outcome, weight, linear=False, ridge=SPARSE_RIDGE
    )
    return fit.constant + x @ (fit.of_columns / deviation)


def fit_dense_probe(x: np.ndarray, y: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Do what `fit_sparse_probe` does for dense rows (n, width) and all classes (n, n_classes)."""
    mean = x[training].mean(0)
    deviation = x[training].std(0) + 1e-6
    constant = np.ones(len(x))
    columns = np.c_[constant, (x - mean) / deviation]
    design = columns[training]
    outcome = y[training]
    n_columns = columns.shape[1]
    n_classes = y.shape[1]
    shape = (n_columns, n_classes)
    ridge = np.full((n_columns, 1), DENSE_RIDGE)
    ridge[0] = 0

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        beta = flat.reshape(shape)
        logits = design @ beta
        log_normaliser = np.logaddexp(0, logits).sum()
        log_loss = log_normaliser - logits[outcome].sum()
        penalty = (ridge / 2 * beta * beta).sum()
        loss = log_loss + penalty
        error = expit(logits) - outcome
        gradient = design.T @ error + ridge * beta
        return loss, gradient.ravel()

    start = np.zeros(shape).ravel()
    options = {"maxiter": MAX_LBFGS_STEPS}
    fit = minimize(
        loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options
    )
    beta = fit.x.reshape(shape)
    return columns @ beta


def _by_mean_difference(x: Any, classes: Any) -> np.ndarray:
    """Order features by standardised |mean with − mean without the class|, (n_classes, F)."""
    n_rows = x.shape[0]
    n_with = classes.sum(0)[:, None]
    n_without = n_rows - n_with
    exact = x.astype(np.float64)
    sums_with = (classes.T @ exact).toarray()
    sums_without = exact.sum(0) - sums_with
    mean_with = sums_with / n_with
    mean_without = sums_without / n_without
    mean_square = exact.power(2).mean(0)
    variance = mean_square - exact.mean(0) ** 2
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    difference = np.abs((mean_with - mean_without) / deviation)
    return np.argsort(-difference, axis=1, kind="stable")


def _probe_measures(
    k: str, scores: np.ndarray, rows: RowClasses
) -> dict[str, Estimate]:
    """Measure logits on the held-out rows: F1 (predicting p ≥ ½), AUC and balanced accuracy.

    The balanced accuracy predicts a class where p exceeds its share of the training rows.
    """
    truth = rows.held_truth
    group = rows.held_group
    held_scores = scores[rows.held]
    training_classes = rows.indicators[rows.training]
    share = training_classes.mean(0)
    prior_log_odds = np.log(share / (1 - share))
    exceeds_prior = held_scores >= prior_log_odds
    _, f1 = f1_scores(held_scores >= 0, truth, group)
    _, auc = auc_scores(held_scores, truth, group)
    # the AUC of a 0/1 prediction is its balanced accuracy
    _, accuracy = auc_scores(exceeds_prior, truth, group)
    return {
        f"probe_f1@{k}": f1,
        f"probe_auc@{k}": auc,
        f"probe_accuracy@{k}": accuracy,
    }
