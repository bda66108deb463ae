"""Refit of the decoder by least squares, with the encoder fixed.

A penalty on activations shrinks them (Wright and Sharkey, Addressing Feature Suppression in SAEs,
2024), and a decoder whose prefixes also reconstruct alone is not optimal as a whole. With the
activations A fixed, the best decoder solves a linear problem:

    min over D, b of  ‖target − A·D − b‖² + ridge · ‖D − s·D₀‖²

where D₀ is the trained decoder and s the best scale of its reconstructions. The ridge keeps latents
that are active on few rows close to their trained decoder rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import LinAlgError, cho_factor, cho_solve

BLOCK_LATENTS = 4096  # latents solved for at once
SWEEPS = 3  # passes over the blocks, if there are several
RIDGES = 0.1, 1.0, 10.0  # in units of the median Σ activation² of the active latents


class Refit(NamedTuple):
    """A decoder and its bias, in float32."""

    decoder: np.ndarray
    bias: np.ndarray

    def squared_error(self, acts: Any, target: np.ndarray) -> float:
        """Return Σ‖target − reconstruction‖²."""
        difference = acts @ self.decoder
        difference += self.bias
        difference -= target
        return _sum_of_products(difference, difference)


def refit_decoder(
    trained: Refit,
    acts: Any,
    target: np.ndarray,
    heldout_acts: Any,
    heldout_target: np.ndarray,
) -> Refit:
    """Return the decoder that is best on held-out rows: the trained one, or one of its refits.

    Args:
        trained: Decoder (hidden_size, output_size) and bias (output_size,).
        acts: Activations of training rows, csr_array (n_rows, hidden_size) float32.
        target: What they should reconstruct, (n_rows, output_size) float32.
        heldout_acts: Activations of held-out rows, which choose the ridge.
        heldout_target: What these should reconstruct.

    Example:
        >>> acts = sp.csr_array(np.eye(4, 3, dtype=np.float32))
        >>> wanted = 2 * np.eye(4, 3, dtype=np.float32)
        >>> trained = Refit(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
        >>> refit_decoder(trained, acts, wanted, acts, wanted).decoder.round(1).tolist()
        [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]
    """
    best = trained
    lowest_error = trained.squared_error(heldout_acts, heldout_target)
    problem = LeastSquares(trained, acts, target)
    for ridge in RIDGES:
        try:
            refit = problem.solve(ridge)
        except LinAlgError:  # activations that differ by many orders of magnitude
            continue
        error = refit.squared_error(heldout_acts, heldout_target)
        if error < lowest_error:
            best, lowest_error = refit, error
    return best


class LeastSquares:
    """The problem above without the ridge, for some rows.

    Args:
        trained: Decoder and bias.
        acts: csr_array (n_rows, hidden_size).
        target: (n_rows, output_size).
    """

    def __init__(self, trained: Refit, acts: Any, target: np.ndarray) -> None:
        self._mean_acts = np.asarray(acts.mean(0), np.float32)
        self._mean_target = target.mean(0)
        self._residual = target - self._mean_target
        self._prior = _subtract_best_multiple(
            self._residual, trained.decoder, acts, self._mean_acts
        )
        energy = np.asarray(acts.power(2).sum(0))
        active = np.flatnonzero(energy)  # the others keep their decoder rows
        self._typical_energy = float(np.median(energy[active])) if len(active) else 1.0
        self._acts = sp.csc_array(acts)
        starts = range(0, len(active), BLOCK_LATENTS)
        self._blocks = [active[start : start + BLOCK_LATENTS] for start in starts]
        # one matrix serves every ridge; those of several blocks are too large to keep
        self._row_gram = self._latent_gram = None
        if acts.shape[0] < min(len(active), BLOCK_LATENTS):
            self._row_gram = self._gram_of_rows()
        elif len(self._blocks) == 1:
            self._latent_gram = self._gram_of_latents(active)

    def solve(self, ridge: float) -> Refit:
        """Return the solution: exact for up to 4,096 rows or active latents, whichever are fewer.

        More are solved by block coordinate descent.

        Args:
            ridge: In units of the median over active latents of Σ activation².
        """
        penalty = ridge * self._typical_energy
        if self._row_gram is None:
            decoder = self._solve_for_latents(penalty)
        else:
            decoder = self._solve_for_rows(self._row_gram, penalty)
        return Refit(decoder, self._mean_target - self._mean_acts @ decoder)

    def _solve_for_rows(self, gram: np.ndarray, penalty: float) -> np.ndarray:
        """Return the prior plus a combination of rows, Aᵀ·(A·Aᵀ + penalty)⁻¹·residual."""
        weights = _solve(gram, penalty, self._residual)
        change = self._acts.T @ weights - np.outer(self._mean_acts, weights.sum(0))
        return self._prior + change

    def _solve_for_latents(self, penalty: float) -> np.ndarray:
        """Return the decoder after solving for one block of latents after another."""
        decoder = self._prior.copy()
        residual = self._residual.copy()
        for _ in range(SWEEPS if len(self._blocks) > 1 else 1):
            for block in self._blocks:
                gram = self._latent_gram
                if gram is None:
                    gram = self._gram_of_latents(block)
                acts = self._acts[:, block]
                ridge_gradient = penalty * (decoder[block] - self._prior[block])
                # the residual has mean zero
                gradient = acts.T @ residual - ridge_gradient
                change = _solve(gram, penalty, gradient)
                decoder[block] += change
                residual -= acts @ change - self._mean_acts[block] @ change
        return decoder

    def _gram_of_latents(self, block: np.ndarray) -> np.ndarray:
        """Return the products of the centred activations of each two latents of a block."""
        acts, mean = self._acts[:, block], self._mean_acts[block]
        gram = (acts.T @ acts).toarray().astype(np.float64)
        gram -= acts.shape[0] * np.outer(mean, mean)
        return gram

    def _gram_of_rows(self) -> np.ndarray:
        """Return the products of the centred activations of each two rows."""
        gram = (self._acts @ self._acts.T).toarray().astype(np.float64)
        gram -= gram.mean(0)
        gram -= gram.mean(1, keepdims=True)
        return gram


def _subtract_best_multiple(
    residual: np.ndarray, decoder: np.ndarray, acts: Any, mean_acts: np.ndarray
) -> np.ndarray:
    """Return s·D₀, and subtract its reconstruction of the centred targets from the residual."""
    recon = acts @ decoder
    recon -= mean_acts @ decoder
    squares = _sum_of_products(recon, recon)
    scale = _sum_of_products(recon, residual) / max(squares, 1e-12)
    recon *= scale
    residual -= recon
    return scale * decoder


def _solve(gram: np.ndarray, penalty: float, target: np.ndarray) -> np.ndarray:
    """Return (gram + penalty)⁻¹·target."""
    penalised = gram.copy()
    penalised[np.diag_indices_from(penalised)] += penalty
    factor = cho_factor(penalised, overwrite_a=True, check_finite=False)
    return cho_solve(factor, target).astype(np.float32)


def _sum_of_products(a: np.ndarray, b: np.ndarray) -> float:
    """Return Σ a·b, accumulated in float64 without copying the arrays."""
    return float(np.einsum("ij,ij->", a, b, dtype=np.float64))
