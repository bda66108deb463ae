"""The state of a training: a checkpoint holds all of it."""

import json

import pytest
import torch

from nanosae.train.metrics import evaluate, take_snapshot
from nanosae.train.state import TrainingState
from nanosae.train.step import take_step
from states import batch_of, small_state


def trained(activation, n_steps=6, **fields):
    state, data = small_state(activation=activation, warmup=0.02, noise=0.1, **fields)
    for seed in range(n_steps):
        take_step(state, batch_of(data, seed))
        if seed == n_steps - 3:
            state.counters.l0 = 4.0
            evaluate(state)
            state.keep_as_best()
    return state, data


def same_tensors(one, two):
    return one.keys() == two.keys() and all(
        torch.equal(one[name], two[name]) for name in one
    )


@pytest.mark.parametrize(
    "activation", ["topk", "batchtopk", "relu", "gated", "jumprelu"]
)
def test_a_checkpoint_brings_back_every_part_of_the_state(activation):
    state, data = trained(activation)
    state.silent_rows += torch.arange(
        len(state.silent_rows)
    )  # all may have been active
    assert state.best_params
    assert not torch.equal(state.best_params["W_enc"], state.params["W_enc"])
    tensors, numbers = state.checkpoint()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    numbers = json.loads(json.dumps(numbers))
    restored = TrainingState(state.config, data)
    assert not same_tensors(restored.params, state.params)  # the comparison can fail
    restored.restore(tensors, numbers)
    assert same_tensors(restored.params, state.params)
    assert same_tensors(restored.best_params, state.best_params)
    assert torch.equal(restored.silent_rows, state.silent_rows)
    assert (
        restored.counters
        == state.counters
        != TrainingState(state.config, data).counters
    )
    for name in state.params:
        moments = state.optimizer.moments[name]
        assert {"exp_avg", "exp_avg_sq", "step"} == moments.keys()
        assert moments["step"] > 0
        assert same_tensors(restored.optimizer.moments[name], moments)


def test_a_snapshot_counts_positive_activations_alone():
    """Pairs in the window below jumprelu's threshold are kept, but inactive."""
    state, _ = trained("jumprelu")
    state.counters.window = 1.0
    x = state.heldout.double()
    pre_acts = x @ state.params["W_enc"].detach().double().T
    pre_acts += state.params["b_enc"].detach()
    theta = state.params["log_threshold"].detach().double().exp()
    is_active = pre_acts > theta
    is_kept = pre_acts > theta - state.counters.window / 2
    assert is_kept.sum() > 2 * is_active.sum()
    assert take_snapshot(state)["activation"].sum() == is_active.sum()


def test_best_weights_are_those_of_the_best_evaluation():
    state, _ = trained("topk")
    assert same_tensors(state.best_weights(), state.best_params)
    state.best_params = {}
    assert torch.equal(state.best_weights()["W_enc"], state.params["W_enc"])


def test_a_gpu_that_is_not_there_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=r"device='cuda' needs a GPU"):
        small_state(device="cuda")
