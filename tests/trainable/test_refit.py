"""The refit decoder against dense least squares in float64."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import LinAlgError, lstsq

from nanosae import SAETrainer, TrainConfig
from nanosae.trainable import refit
from nanosae.trainable.refit import LeastSquares, Refit, refit_decoder
from states import rows as random_rows


def problem(n=300, hidden=20, width=6, seed=0):
    """Sparse activations of a decoder that was shrunk by a third; the target has noise."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 2, (n, hidden)) * (rng.random((n, hidden)) < 0.2)
    decoder = rng.normal(size=(hidden, width))
    target = 1.5 * values @ decoder + rng.normal(3, 0.5, (n, width))
    trained = Refit(decoder.astype(np.float32), np.zeros(width, np.float32))
    return trained, sp.csr_array(values.astype(np.float32)), target.astype(np.float32)


def dense_solution(trained, acts, target, ridge, scaled=True):
    """Solve the stacked system with a column of ones for the bias, which has no penalty."""
    x, d0 = acts.toarray().astype(float), trained.decoder.astype(float)
    y = target.astype(float)
    made, wanted = x @ d0, y - y.mean(0)
    made = made - made.mean(0)
    scale = (made * wanted).sum() / (made**2).sum() if scaled else 1.0
    energies = (x**2).sum(0)
    root = np.sqrt(ridge * np.median(energies[energies > 0]))
    left = np.block(
        [
            [x, np.ones((len(x), 1))],
            [root * np.eye(x.shape[1]), np.zeros((x.shape[1], 1))],
        ]
    )
    right = np.vstack([y, root * scale * d0])
    solution = lstsq(left, right)[0]
    return solution[:-1], solution[-1]


@pytest.mark.parametrize("n", [300, 12])  # rows, for 20 latents
@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_the_refit_is_the_dense_least_squares_solution(ridge, n):
    trained, acts, target = problem(n)
    found = LeastSquares(trained, acts, target).solve(ridge)
    decoder, bias = dense_solution(trained, acts, target, ridge)
    assert found.decoder == pytest.approx(decoder, abs=1e-4)
    assert found.bias == pytest.approx(bias, abs=1e-3)
    for other in (
        dense_solution(trained, acts, target, 2 * ridge),
        dense_solution(trained, acts, target, ridge, scaled=False),
    ):
        assert np.abs(found.decoder - other[0]).max() > 1e-3  # the check can fail


def test_ridges_in_turn_are_solved_as_if_each_was_alone():
    trained, acts, target = problem()
    shared = LeastSquares(trained, acts, target)
    for ridge in refit.RIDGES:
        alone = LeastSquares(trained, acts, target).solve(ridge)
        found = shared.solve(ridge)
        np.testing.assert_array_equal(found.decoder, alone.decoder)
        np.testing.assert_array_equal(found.bias, alone.bias)


def test_blocks_in_turn_come_near_the_whole_solution(monkeypatch):
    trained, acts, target = problem()
    whole = LeastSquares(trained, acts, target).solve(1.0)
    monkeypatch.setattr(refit, "BLOCK_LATENTS", 7)
    blocks = LeastSquares(trained, acts, target).solve(1.0)
    change = np.abs(whole.decoder - trained.decoder).max()
    assert np.abs(blocks.decoder - whole.decoder).max() < 0.02 * change
    error = [it.squared_error(acts, target) for it in (trained, whole, blocks)]
    assert error[2] < error[1] + 0.01 * (error[0] - error[1])


def test_latents_that_are_never_active_keep_their_scaled_direction():
    trained, acts, target = problem()
    without = acts.toarray()
    without[:, 4] = 0
    found = LeastSquares(trained, sp.csr_array(without), target).solve(1.0)
    cosine = found.decoder[4] @ trained.decoder[4]
    cosine /= np.linalg.norm(found.decoder[4]) * np.linalg.norm(trained.decoder[4])
    assert cosine == pytest.approx(1, abs=1e-5)


def test_rows_that_chose_nothing_decide_whether_to_refit():
    trained, acts, target = problem()
    assert refit_decoder(trained, acts, target, acts, target) is not trained
    rng = np.random.default_rng(1)
    few, shuffled = acts[:12], rng.permutation(target)[:12]
    fits = acts @ trained.decoder + trained.bias
    assert refit_decoder(trained, few, shuffled, acts, fits) is trained


def test_relu_reconstructs_better_at_the_same_support(monkeypatch):
    data = random_rows(n=3000, width=12) @ np.diag(np.linspace(0.2, 2, 12))
    config = TrainConfig(hidden_size=40, steps=200, l1_coefficient=0.01)
    found = SAETrainer(config)
    model = found.train(data, progress=False)
    monkeypatch.setattr("nanosae.trainable.export._needs_refit", lambda config: False)
    plain = SAETrainer(config)
    shrunk = plain.train(data, progress=False)
    assert found.metrics_["fvu"] < 0.9 * plain.metrics_["fvu"]
    one, two = model.features(data), shrunk.features(data)
    differing = ((one > 0) != (two > 0)).sum()
    assert differing < 0.001 * one.nnz  # rounding


def test_activations_that_differ_by_many_orders_leave_what_was_trained():
    """Their products in float32 have rounding errors above the ridge."""
    rng = np.random.default_rng(0)
    trained, acts, target = problem()
    dense = 1e-3 * acts.toarray()
    dense[:2, :8] = rng.uniform(1e4, 2e4, (2, 8))
    wide = sp.csr_array(dense)
    with pytest.raises(LinAlgError):  # the check can fail
        LeastSquares(trained, wide, target).solve(min(refit.RIDGES))
    found = refit_decoder(trained, wide, target, wide, target)
    assert np.isfinite(found.decoder).all()
    assert found.squared_error(wide, target) <= trained.squared_error(wide, target)
