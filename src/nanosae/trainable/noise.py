"""Noise on training rows, against overfitting."""

from __future__ import annotations

import torch
from torch import Tensor

from nanosae.config import ResolvedConfig
from nanosae.trainable.seeds import TRAINING_NOISE, mixed_seed


def with_noise(
    config: ResolvedConfig, batch: Tensor, input_size: int, step: int
) -> Tensor:
    """Add Gaussian noise to the inputs of a step; the noise is a function of seed and step.

    Args:
        config: Gives `noise` and `seed`.
        batch: Rows of the whole step; targets in further columns stay as they are.
        input_size: Width of the inputs.
        step: Number of the step.
    """
    if config.noise == 0:
        return batch
    generator = torch.Generator(batch.device)
    generator.manual_seed(mixed_seed(config.seed, TRAINING_NOISE, step))
    noise = batch.new_empty(len(batch), input_size)
    noise.normal_(0, config.noise, generator=generator)
    batch = batch.clone()
    batch[:, :input_size] += noise
    return batch
