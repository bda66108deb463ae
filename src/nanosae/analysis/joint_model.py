"""The few features that explain a target together: an L1 path on one part, a fit on the other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.feature_sums import FeatureSums, active_indicators, dense_column
from nanosae.analysis.statistics import Z95, false_discovery, regress, two_sided_p
from nanosae.codes import Codes

MAX_CANDIDATES = 2000  # strongest first: the path's Gram matrix is dense


def joint_model(
    codes: Codes,
    training: FeatureSums,
    report: FeatureSums,
    target: int,
    candidates: np.ndarray,
    n_select: int,
    numeric: bool,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Choose features on the training part; refit them on the held-out part, and score them there.

    The path is that of LARS with the lasso's modification (Efron, Hastie, Johnstone and Tibshirani,
    Ann. Stat. 32 (2004) 407), on "is active" within strata; the refit is logistic regression, or
    least squares for a number, with an intercept for every stratum.

    Args:
        codes: The corpus.
        training: Sums over the training part.
        report: Sums over the held-out part.
        target: Column of the target.
        candidates: Features that may be chosen.
        n_select: Most features to choose.
        numeric: Whether the target is a number rather than a class.

    Returns:
        One line per chosen feature: `feature, coefficient, low, high, p, q`; and the scores of the
        model fitted on the training part: `measure, n_features, covariates, features`.
    """
    strength = np.abs(training.z[candidates, target])
    strongest_first = np.argsort(-strength, kind="stable")
    candidates = candidates[strongest_first[:MAX_CANDIDATES]]
    active = active_indicators(codes, candidates)
    chosen = _lasso_path_end(
        active[training.rows], training, target, candidates, n_select
    )
    features = candidates[chosen]
    active = active[:, chosen]

    design, outcome = _design(active, training, target)
    report_design, report_outcome = _design(active, report, target)
    n_strata = report.strata.shape[1]
    score: dict[str, Any] = {
        "measure": "r2" if numeric else "auc",
        "n_features": len(features),
    }
    for name, width in (("covariates", n_strata), ("features", design.shape[1])):
        x = design[:, :width]
        beta, _ = regress(x, outcome, training.weight, linear=numeric)
        predicted = report_design[:, :width] @ beta
        score[name] = _score(report_outcome, predicted, numeric)

    beta, error = regress(report_design, report_outcome, report.weight, linear=numeric)
    beta, error = beta[n_strata:], error[n_strata:]
    p = two_sided_p(beta / error)
    model = {
        "feature": features,
        "coefficient": beta,
        "low": beta - Z95 * error,
        "high": beta + Z95 * error,
        "p": p,
        "q": false_discovery(p),
    }
    return pd.DataFrame(model), score


def _lasso_path_end(
    active: Any,
    training: FeatureSums,
    target: int,
    candidates: np.ndarray,
    n_select: int,
) -> np.ndarray:
    """Return which candidates have a coefficient at the end of the path, ascending."""
    from sklearn.linear_model import lars_path_gram

    within = training.n_active[candidates] / np.sqrt(training.n_rows)
    weighted = active.multiply(training.weight[:, None])
    gram = (active.T @ weighted).toarray() - within @ within.T
    scale = np.sqrt(np.diag(gram))
    correlation = training.co_deviation[candidates, target] / scale
    gram = gram / np.outer(scale, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal features LARS drops one, and says so
        *_, coefficients = lars_path_gram(
            correlation, gram, n_samples=1, max_iter=n_select, method="lasso"
        )
    return np.flatnonzero(coefficients[:, -1])


def _design(
    active: Any, part: FeatureSums, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return strata and features of a part side by side, dense, and the target."""
    design = sp.hstack([part.strata, active[part.rows]]).toarray()
    return design, dense_column(part.target, target)


def _score(outcome: np.ndarray, predicted: np.ndarray, numeric: bool) -> float:
    """Return R² of a number, or AUC of a class."""
    from sklearn.metrics import r2_score, roc_auc_score

    measure = r2_score if numeric else roc_auc_score
    return float(measure(outcome, predicted))
