"""The thresholds of an exported BatchTopK SAE, against a sort of all pre-activations."""

import numpy as np
import pytest

from nanosae.kernels import cpu
from nanosae.kernels.cpu import selection
from nanosae.trainable.export import export
from states import small_state

K = 4


def calibrated(n_latents):
    """Return the exported thresholds on normalised rows, and all pre-activations."""
    state, data = small_state(hidden_size=n_latents, activation="batchtopk")
    data.heldout = data.sample(100, seed=1)
    weights = {name: param.detach() for name, param in state.params.items()}
    model = export(state.config, data, weights)
    thresholds = model.threshold.detach() * data.scale / weights["W_dec"].norm(dim=1)
    rows = data.heldout[::2].astype(np.float64)
    return thresholds.numpy(), rows @ weights["W_enc"].double().numpy().T


@pytest.mark.parametrize("n_latents", [40, 4000])
def test_one_threshold_keeps_k_entries_of_a_calibration_row_on_average(n_latents):
    thresholds, pre_acts = calibrated(n_latents)
    descending = np.sort(pre_acts, axis=None)[::-1]
    n_kept = K * len(pre_acts)
    expected = (descending[n_kept - 1] + descending[n_kept]) / 2
    np.testing.assert_allclose(thresholds, expected, rtol=1e-5)


def test_calibration_does_not_list_the_positive_entries(monkeypatch):
    listed = []
    original = selection.select_above

    def recorded(*args):
        pairs = original(*args)
        listed.append(len(pairs.values))
        return pairs

    monkeypatch.setattr(selection, "select_above", recorded)
    monkeypatch.setattr(cpu, "select_above", recorded)
    _, pre_acts = calibrated(4000)
    n_positive = int((pre_acts > 0).sum())
    assert n_positive > 100 * K * len(pre_acts)
    assert listed[-1] < n_positive / 10  # the last selection
