"""Regression with an intercept for each stratum, in time that is linear in the number of strata.

A row is in one stratum, so the block of the information matrix that belongs to the intercepts is
diagonal, and the intercepts are eliminated by its Schur complement: only systems as large as the
number of columns are solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

MAX_NEWTON_STEPS = 100
CONVERGED = 1e-12  # Newton steps stop when the log-likelihood can grow by no more
ROUNDING = 1e-12  # relative error of a sum
RIDGE = 1e-3  # penalty of the coefficients of strata and columns
CONSTANT_RIDGE = 1e-9  # keeps the constant finite where all rows are of one class


@dataclass(frozen=True)
class StrataFit:
    """A fitted model: constant + intercept of the stratum + columns · coefficients.

    Attributes:
        constant: What is predicted for a row without strata and columns.
        of_strata: Intercept of each stratum, (S,).
        of_columns: Coefficient of each column, (k,).
    """

    constant: float
    of_strata: np.ndarray
    of_columns: np.ndarray

    def predict(self, columns: np.ndarray, strata: Any) -> np.ndarray:
        """Return the linear predictor of rows, (n,)."""
        return self.constant + strata @ self.of_strata + columns @ self.of_columns


def fit_in_strata(
    columns: np.ndarray,
    strata: Any,
    target: np.ndarray,
    weight: np.ndarray,
    *,
    linear: bool,
    ridge: float = RIDGE,
) -> StrataFit:
    """Fit least squares or logistic regression by Newton's method, halving steps that lower it.

    The constant is hardly penalised, so it is what is predicted in strata without rows. Columns
    are centred for the fit, and the constant is corrected for it.

    Args:
        columns: The columns, (n, k).
        strata: Stratum of each row, one-hot, csr_array (n, S); S may be 0.
        target: The number, or 0 and 1 for logistic regression, (n,).
        weight: Weight of each row, (n,).
        linear: Fit least squares instead of logistic regression.
        ridge: Penalty of the coefficients of the columns, Σ ridge ÷ 2 · β².
    """
    n_rows, n_columns = columns.shape
    centre = np.average(columns, axis=0, weights=weight)
    design = np.column_stack([np.ones(n_rows), columns - centre])
    penalty = np.full(n_columns + 1, ridge)
    penalty[0] = CONSTANT_RIDGE
    beta = np.zeros(n_columns + 1)
    alpha = np.zeros(strata.shape[1])

    def loss_of(alpha: np.ndarray, beta: np.ndarray) -> float:
        predicted = strata @ alpha + design @ beta
        if linear:
            losses = (target - predicted) ** 2 / 2
        else:
            losses = np.logaddexp(0, predicted) - target * predicted
        penalties = RIDGE * (alpha @ alpha) + penalty @ beta**2
        return float(weight @ losses + penalties / 2)

    loss = loss_of(alpha, beta)
    for _ in range(MAX_NEWTON_STEPS):
        predicted = strata @ alpha + design @ beta
        mean = predicted if linear else expit(predicted)
        curvature = weight if linear else weight * mean * (1 - mean)
        residual = weight * (target - mean)
        alpha_step, step, growth = _newton_step(
            design, strata, curvature, residual, alpha, beta, penalty
        )
        if growth < CONVERGED:
            break
        new_loss = loss_of(alpha + alpha_step, beta + step)
        while new_loss > loss * (1 + ROUNDING):
            step /= 2
            alpha_step /= 2
            new_loss = loss_of(alpha + alpha_step, beta + step)
        beta += step
        alpha += alpha_step
        loss = new_loss
    constant = beta[0] - centre @ beta[1:]
    return StrataFit(float(constant), alpha, beta[1:])


def _newton_step(
    design: np.ndarray,
    strata: Any,
    curvature: np.ndarray,
    residual: np.ndarray,
    alpha: np.ndarray,
    beta: np.ndarray,
    penalty: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the steps of the intercepts and of the coefficients, and twice the gain they promise.

    Args:
        design: Constant and centred columns, (n, k + 1).
        strata: Stratum of each row, one-hot, csr_array (n, S).
        curvature: Second derivative of each row's loss by its prediction, (n,).
        residual: Its negative first derivative, (n,).
        alpha: The intercepts, (S,).
        beta: The coefficients, (k + 1,).
        penalty: Their penalties, (k + 1,).
    """
    gradient = design.T @ residual - penalty * beta
    alpha_gradient = strata.T @ residual - RIDGE * alpha

    alpha_information = strata.T @ curvature + RIDGE
    weighted_design = curvature[:, None] * design
    cross = strata.T @ weighted_design  # (S, k + 1)
    explained = cross / alpha_information[:, None]
    full_information = design.T @ weighted_design + np.diag(penalty)
    information = full_information - cross.T @ explained
    remaining_gradient = gradient - explained.T @ alpha_gradient

    step = _solve(information, remaining_gradient)
    alpha_step = (alpha_gradient - cross @ step) / alpha_information
    growth = gradient @ step + alpha_gradient @ alpha_step
    return alpha_step, step, float(growth)


def _solve(information: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Solve the Newton equations, whatever units columns have."""
    scale = 1 / np.sqrt(np.maximum(np.diag(information), CONSTANT_RIDGE))
    scaled = scale[:, None] * information * scale
    return scale * np.linalg.solve(scaled, scale * gradient)
