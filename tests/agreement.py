"""Agreement of activations that were computed in two ways.

Two ways of computing round differently. So an entry whose pre-activation lies within rounding of
its threshold, or of the smallest entry that a top-k keeps, may be active in one result and inactive
in the other. Every other entry must be active in both or in neither, with the same value to
rounding.
"""

from typing import Any, NamedTuple

import numpy as np

EPSILON = float(np.finfo(np.float32).eps)


class Decisions(NamedTuple):
    """What an encoder decides on, in float64, by entry: (rows, latents).

    Attributes:
        pre: What is compared with the threshold.
        threshold: What `pre` must exceed, of a shape that broadcasts.
        rounding: How far a float32 computation of `pre` (less its threshold) may be off.
        gain: What an error of `pre` is multiplied by in the activation.
    """

    pre: np.ndarray
    threshold: np.ndarray
    rounding: np.ndarray
    gain: np.ndarray = np.ones(1)

    def undecided(self) -> np.ndarray:
        """Mark the entries that rounding may keep or leave out."""
        return np.abs(self.pre - self.threshold) <= self.rounding

    def decided_rows(self, factor: float = 1.0) -> np.ndarray:
        """Mark the rows of which every way of computing keeps the same entries.

        Args:
            factor: How many times the rounding the ways may be off.
        """
        distance = np.abs(self.pre - self.threshold)
        return (distance > factor * self.rounding).all(axis=1)

    def activations(self) -> np.ndarray:
        """Return the activations where these are the pre-activations themselves."""
        return np.where(self.pre > self.threshold, self.pre, 0.0)


def decisions_above(x: Any, weight: Any, bias: Any, threshold: Any = 0.0) -> Decisions:
    """Decide by a threshold on x · weightᵀ + bias.

    Args:
        x: Rows, (rows, input_size).
        weight: Encoder, latent-major, (latents, input_size).
        bias: (latents,).
        threshold: A number, or one for each latent.
    """
    x, weight, bias, threshold = (
        as_dense(part) for part in (x, weight, bias, threshold)
    )
    pre = x @ weight.T + bias
    terms = np.abs(x) @ np.abs(weight).T + np.abs(bias) + np.abs(threshold)
    n_terms = x.shape[1] + 2
    return Decisions(pre, threshold, n_terms * EPSILON * terms)


def decisions_topk(x: Any, weight: Any, bias: Any, k: int) -> Decisions:
    """Decide by the k-th largest positive entry of each row; arguments as of `decisions_above`."""
    pre, _, rounding, _ = decisions_above(x, weight, bias)
    threshold = _between(np.sort(pre, axis=1), k)
    return Decisions(pre, threshold, rounding + rounding.max(axis=1, keepdims=True))


def decisions_batchtopk(x: Any, weight: Any, bias: Any, total: int) -> Decisions:
    """Decide by the `total`-th largest positive entry; arguments as of `decisions_above`."""
    pre, _, rounding, _ = decisions_above(x, weight, bias)
    threshold = _between(np.sort(pre, axis=None)[None], total)
    return Decisions(pre, threshold, rounding + rounding.max())


def _between(ascending: np.ndarray, k: int) -> np.ndarray:
    """Return the middle of the k-th largest entry of each row and the next one, or 0 if higher."""
    place = ascending.shape[1] - k
    if place <= 0:
        return np.zeros((len(ascending), 1))
    middle = ascending[:, place - 1 : place + 1].mean(axis=1, keepdims=True)
    return np.maximum(middle, 0)


def decisions_of(model: Any, x: Any) -> Decisions:
    """Decide as a saved SAE does.

    Args:
        model: `SAEModel` or `Weights`.
        x: Raw rows, (rows, input_size).
    """
    tensors = {name: as_dense(tensor) for name, tensor in model.tensors().items()}
    architecture = model.cfg["architecture"]
    rows = as_dense(x)
    size = np.abs(rows)
    if model.cfg.get("apply_b_dec_to_input", True):
        rows = rows - tensors["b_dec"]
        size = size + np.abs(tensors["b_dec"])
    bias = tensors["b_gate"] if "b_gate" in tensors else tensors["b_enc"]
    weight = tensors["W_enc"].T
    threshold = np.zeros_like(bias)
    if "threshold" in tensors:
        threshold = np.maximum(tensors["threshold"], 0)
    made = decisions_above(rows, weight, bias, threshold)
    if architecture.startswith("topk"):
        made = decisions_topk(rows, weight, bias, model.cfg["k"])
    centring = EPSILON * size @ np.abs(weight).T
    made = made._replace(rounding=made.rounding + centring)
    if "r_mag" in tensors:
        made = made._replace(gain=np.exp(tensors["r_mag"]))
    return made


def assert_agree(
    found: Any, expected: Any, decisions: Decisions, rtol: float = 1e-5
) -> None:
    """Fail unless two results keep the same entries with the same values, to rounding.

    Args:
        found: Activations, (rows, latents): an array, a sparse matrix or a tensor.
        expected: The same, computed in another way.
        decisions: What both decide on.
        rtol: What else the values may differ by, as a share of the expected ones.
    """
    found, expected = as_dense(found), as_dense(expected)
    assert found.shape == expected.shape == decisions.pre.shape
    undecided = decisions.undecided()
    one_sided = (found != 0) != (expected != 0)
    wrong = one_sided & ~undecided
    assert not wrong.any(), (
        f"kept by one only: {_report(wrong, found, expected, decisions)}"
    )
    tolerance = 2 * decisions.rounding * decisions.gain + rtol * np.abs(expected)
    close = np.abs(found - expected) <= tolerance  # false for NaN
    wrong = ~close & ~one_sided
    assert not wrong.any(), (
        f"values differ: {_report(wrong, found, expected, decisions)}"
    )


def as_dense(values: Any) -> np.ndarray:
    """Return an array, a sparse matrix, a tensor or a number as a float64 array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if hasattr(values, "toarray"):
        values = values.toarray()
    return np.asarray(values, np.float64)


def _report(wrong: np.ndarray, found: Any, expected: Any, decisions: Decisions) -> str:
    row, latent = np.argwhere(wrong)[0]
    distance = (decisions.pre - decisions.threshold)[row, latent]
    return (
        f"{wrong.sum()} entries; row {row}, latent {latent}: {found[row, latent]:.9g} against "
        f"{expected[row, latent]:.9g}, {distance:.3g} above the threshold, where rounding is "
        f"{decisions.rounding[row, latent]:.3g}"
    )
