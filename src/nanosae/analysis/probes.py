"""How well labels can be told from activations: by one feature, a few, or all columns.

Whatever is chosen (feature, threshold, probe) is chosen on the training part of the rows and
measured on the held-out part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import expit

from nanosae.analysis.classification import auc_scores, f1_scores, single_feature_scores
from nanosae.analysis.statistics import Estimate, mean_estimate, regress

SPARSE_RIDGE = 1.0  # penalty of the sparse probes, features at unit variance
INTERCEPT_RIDGE = 1e-6  # of their intercept: none, but for labels that all rows have
DENSE_RIDGE = 10.0  # of the probe of all columns, not of its intercept
MAX_LBFGS_STEPS = 150
COVERED_F1 = 0.5  # a label whose best feature reaches it is covered


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Labels of rows and their split.

    Attributes:
        labels: Indicators, csr_array (n_rows, n_labels).
        held: Whether a row is held out, bool (n_rows,).
        duplicate_group: Group of each row, int (n_rows,).
    """

    labels: Any
    held: np.ndarray
    duplicate_group: np.ndarray

    @property
    def training(self) -> np.ndarray:
        """Whether a row is not held out, bool (n_rows,)."""
        return ~self.held

    @property
    def held_truth(self) -> np.ndarray:
        """Which held-out row has which label, bool (n_held, n_labels)."""
        return self.labels[self.held].toarray() > 0

    @property
    def held_group(self) -> np.ndarray:
        """Duplicate group of each held-out row, (n_held,)."""
        return self.duplicate_group[self.held]


def best_features(
    activations: Any, rows: LabelledRows
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """Measure the best feature of each label, and the best one-to-one assignment.

    Args:
        activations: csc_array (n_rows, n_features).
        rows: Labels and split.

    Returns:
        `best_feature_f1`, `covered`, `best_feature_auc` and `one_to_one_f1`; and of each label the
        feature of best F1: `feature, threshold, f1, auc, n_rows`.
    """
    by_row = activations.tocsr()
    training = sp.csc_array(by_row[rows.training])
    held = sp.csc_array(by_row[rows.held])
    scores = single_feature_scores(training, rows.labels[rows.training])
    truth, group = rows.held_truth, rows.held_group
    labels = np.arange(truth.shape[1])

    best = scores.f1.argmax(0)
    threshold = scores.threshold[best, labels]
    strength = held[:, best].toarray()
    f1, mean_f1 = f1_scores(strength >= threshold, truth, group)
    auc, _ = auc_scores(strength, truth, group)
    best_by_auc = np.nanargmax(scores.auc, 0)
    _, mean_auc = auc_scores(held[:, best_by_auc].toarray(), truth, group)

    assigned, label = linear_sum_assignment(-scores.f1)
    predicted = held[:, assigned].toarray() >= scores.threshold[assigned, label]
    _, one_to_one = f1_scores(predicted, truth[:, label], group)
    measures = {
        "best_feature_f1": mean_f1,
        "covered": mean_estimate(f1 >= COVERED_F1),
        "best_feature_auc": mean_auc,
        "one_to_one_f1": one_to_one,
    }
    chosen = {
        "feature": best,
        "threshold": threshold,
        "f1": f1,
        "auc": auc,
        "n_rows": truth.sum(0),
    }
    return measures, chosen


def sparse_probes(
    activations: Any, rows: LabelledRows, ks: Sequence[int]
) -> dict[str, Estimate]:
    """Fit logistic regressions on the k features with the largest standardised mean difference.

    k-sparse probing, Gurnee et al., arXiv 2305.01610.

    Args:
        activations: csc_array (n_rows, n_features).
        rows: Labels and split.
        ks: Numbers of features.

    Returns:
        `probe_f1@k`, `probe_auc@k` and `probe_accuracy@k` for each k.
    """
    order = _by_mean_difference(
        activations.tocsr()[rows.training], rows.labels[rows.training]
    )
    truth = rows.labels.toarray() > 0
    measures = {}
    for k in ks:
        scores = np.empty(truth.shape)
        for label, features in enumerate(order[:, :k]):
            x = activations[:, features].toarray()
            scores[:, label] = fit_sparse_probe(x, truth[:, label], rows.training)
        measures |= _probe_measures(str(k), scores, rows)
    return measures


def dense_probe(x: np.ndarray, rows: LabelledRows) -> dict[str, Estimate]:
    """Fit logistic regressions on all columns.

    Args:
        x: Dense rows, (n_rows, width).
        rows: Labels and split.

    Returns:
        `probe_f1@all`, `probe_auc@all` and `probe_accuracy@all`.
    """
    scores = fit_dense_probe(x, rows.labels.toarray() > 0, rows.training)
    return _probe_measures("all", scores, rows)


def fit_sparse_probe(x: np.ndarray, y: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Fit a penalised logistic regression of one label on the training rows; score all rows.

    The intercept is not penalised. Rows on which no feature is active are alike, and enter as two
    rows with weights.

    Args:
        x: Activations of a few features, (n, k).
        y: The label, bool (n,).
        training: Rows to fit, bool (n,).

    Returns:
        Logits, (n,).
    """
    scale = x[training].std(0) + 1e-9
    active = training & x.any(1)
    inactive = training & ~active
    n_inactive = [(inactive & ~y).sum(), (inactive & y).sum()]
    two_zero_rows = np.zeros((2, x.shape[1]))
    features = np.vstack([x[active] / scale, two_zero_rows])
    design = np.c_[np.ones(len(features)), features]
    outcome = np.r_[y[active], 0, 1]
    weight = np.r_[np.ones(active.sum()), n_inactive]
    ridge = np.full(design.shape[1], SPARSE_RIDGE)
    ridge[0] = INTERCEPT_RIDGE
    beta, _ = regress(design, outcome, weight, ridge=ridge)
    return x @ (beta[1:] / scale) + beta[0]


def fit_dense_probe(x: np.ndarray, y: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Fit penalised logistic regressions of all labels on the training rows; score all rows.

    Intercepts are not penalised.

    Args:
        x: Dense rows, (n, width).
        y: The labels, bool (n, n_labels).
        training: Rows to fit, bool (n,).

    Returns:
        Logits, (n, n_labels).
    """
    mean = x[training].mean(0)
    deviation = x[training].std(0) + 1e-6
    x = (x - mean) / deviation
    x = np.c_[np.ones(len(x)), x]
    design, outcome = x[training], y[training]
    shape = (x.shape[1], y.shape[1])
    ridge = np.full((x.shape[1], 1), DENSE_RIDGE)
    ridge[0] = 0

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        beta = flat.reshape(shape)
        logits = design @ beta
        log_loss = np.logaddexp(0, logits).sum() - logits[outcome].sum()
        loss = log_loss + (ridge / 2 * beta * beta).sum()
        gradient = design.T @ (expit(logits) - outcome) + ridge * beta
        return loss, gradient.ravel()

    start = np.zeros(shape).ravel()
    options = {"maxiter": MAX_LBFGS_STEPS}
    fit = minimize(
        loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options
    )
    return x @ fit.x.reshape(shape)


def _by_mean_difference(x: Any, labels: Any) -> np.ndarray:
    """Order features by |mean with − mean without the label| ÷ deviation, (n_labels, F)."""
    sums = (labels.T @ x).toarray()
    n_positive = labels.sum(0)[:, None]
    mean_with = sums / n_positive
    mean_without = (x.sum(0) - sums) / (x.shape[0] - n_positive)
    variance = x.power(2).mean(0) - x.mean(0) ** 2
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    difference = np.abs((mean_with - mean_without) / deviation)
    return np.argsort(-difference, axis=1, kind="stable")


def _probe_measures(
    k: str, scores: np.ndarray, rows: LabelledRows
) -> dict[str, Estimate]:
    """Measure logits on the held-out rows: F1 (predicted where p ≥ ½), AUC, balanced accuracy.

    For the accuracy, a label is predicted where it is likelier than its share of the training rows.
    """
    truth, group = rows.held_truth, rows.held_group
    scores = scores[rows.held]
    rate = rows.labels[rows.training].mean(0)
    likely = scores >= np.log(rate / (1 - rate))
    return {
        f"probe_f1@{k}": f1_scores(scores >= 0, truth, group)[1],
        f"probe_auc@{k}": auc_scores(scores, truth, group)[1],
        f"probe_accuracy@{k}": auc_scores(likely, truth, group)[1],
    }
