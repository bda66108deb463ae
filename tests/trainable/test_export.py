"""The thresholds of exported BatchTopK and JumpReLU SAEs, against a sort of pre-activations."""

import numpy as np
import pytest
import torch

from nanosae.kernels import cpu
from nanosae.kernels.cpu import selection
from nanosae.trainable import export as module
from nanosae.trainable.export import export
from states import small_state

K = 4


def calibrated(n_latents, activation="batchtopk"):
    """Return the exported thresholds on normalised rows, and all pre-activations.

    Both are divided by the thresholds of the training; of BatchTopK these are 1.
    """
    state, data = small_state(hidden_size=n_latents, activation=activation)
    data.heldout = data.sample(100, seed=1)
    weights = {name: param.detach() for name, param in state.params.items()}
    trained = torch.ones(n_latents)
    if activation == "jumprelu":
        trained = torch.linspace(0.01, 0.05, n_latents)
        weights["log_threshold"] = trained.log()
    model = export(state.config, data, weights)
    thresholds = model.threshold.detach() * data.scale / weights["W_dec"].norm(dim=1)
    rows = data.heldout[::2].astype(np.float64)
    pre_acts = rows @ weights["W_enc"].double().numpy().T
    return (thresholds / trained).numpy(), pre_acts / trained.numpy()


@pytest.mark.parametrize("n_latents", [40, 4000])
@pytest.mark.parametrize("activation", ["batchtopk", "jumprelu"])
def test_one_threshold_keeps_k_entries_of_a_calibration_row_on_average(
    n_latents, activation, monkeypatch
):
    monkeypatch.setattr(module, "CALIBRATION_BLOCK", 7)
    thresholds, pre_acts = calibrated(n_latents, activation)
    descending = np.sort(pre_acts, axis=None)[::-1]
    n_kept = K * len(pre_acts)
    expected = (descending[n_kept - 1] + descending[n_kept]) / 2
    np.testing.assert_allclose(thresholds, expected, rtol=1e-5)


@pytest.fixture
def listed(monkeypatch):
    """The number of entries of each selection above thresholds."""
    numbers = []
    original = selection.select_above

    def recorded(*args):
        pairs = original(*args)
        numbers.append(len(pairs.values))
        return pairs

    monkeypatch.setattr(selection, "select_above", recorded)
    monkeypatch.setattr(cpu, "select_above", recorded)
    return numbers


def test_calibration_does_not_list_the_positive_entries(listed):
    _, pre_acts = calibrated(4000)
    n_positive = int((pre_acts > 0).sum())
    assert n_positive > 100 * K * len(pre_acts)
    assert listed[-1] < n_positive / 10  # the last selection


def test_calibration_of_jumprelu_lists_the_entries_of_few_rows_together(
    listed, monkeypatch
):
    monkeypatch.setattr(module, "CALIBRATION_BLOCK", 7)
    _, ratios = calibrated(4000, "jumprelu")
    n_listable = (ratios > 0.2).sum(axis=1)
    assert n_listable.sum() > 100 * K * len(ratios)
    of_export = listed[-8:]  # of 50 rows
    assert of_export[0] == n_listable[:7].sum()
    # further blocks list what may be among the largest so far
    assert max(of_export[1:]) < of_export[0] / 4
