"""States of small trainings, for tests of what a step does."""

from typing import Any

import numpy as np
import torch

from nanosae import TrainConfig
from nanosae.data.dataset import Dataset
from nanosae.sources import open_rows
from nanosae.train.state import TrainingState

SIZES: dict[str, Any] = {
    "hidden_size": 40,
    "k": 4,
    "batch_size": 64,
    "steps": 100,
    "noise": 0.0,
}


def rows(n=400, width=12, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def small_state(**fields):
    """A state before its first step, and its data."""
    data = Dataset(open_rows(rows()), seed=0)
    config = TrainConfig(**SIZES | fields).resolved(data.n_train, data.width)
    return TrainingState(config, data), data


def batch_of(data, seed=0, n=64):
    return torch.from_numpy(data.sample(n, seed=seed))


def gradients(state):
    """The gradients that Adam saw in the first step, from its mean with β1 = 0.9."""
    return {
        name: moments["exp_avg"] / 0.1
        for name, moments in state.optimizer.moments.items()
    }


def norm_of(tensors):
    return torch.stack([t.square().sum() for t in tensors.values()]).sum().sqrt().item()
