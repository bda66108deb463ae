"""Nesting: features ordered from general to special, and activations from strong to weak.

Besides the whole dictionary, each step reconstructs from a random prefix of the latents alone:
nested dropout (Rippel, Gelbart and Adams 2014), or a Matryoshka SAE (Bussmann et al. 2025) without
fixed sizes. Early latents learn what is common, which reduces feature splitting. The number of kept
entries varies from step to step, so that the strongest ones carry most of the information
(Multi-TopK: Gao et al. 2024, 5.3).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nanosae.config import ResolvedConfig
from nanosae.trainable.seeds import NESTING

FEWEST, MOST = 0.25, 2.0  # entries kept per row, in units of k
SHORTEST = 1 / 64  # prefix, as a share of the latents


class Nesting(NamedTuple):
    """What one step keeps and reconstructs from.

    Attributes:
        k: Entries kept per row, on average.
        prefix: Number of first latents that also reconstruct alone.
    """

    k: int
    prefix: int


def draw_nesting(config: ResolvedConfig, step: int) -> Nesting | None:
    """Draw k and prefix log-uniformly, as a function of (seed, step); None if not nested."""
    if not config.nested:
        return None
    generator = np.random.default_rng((config.seed, NESTING, step))
    k = round(config.expected_l0 * _log_uniform(generator, FEWEST, MOST))
    prefix = math.floor(config.hidden_size * _log_uniform(generator, SHORTEST, 1.0))
    return Nesting(k=min(max(1, k), config.hidden_size), prefix=max(1, prefix))


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return math.exp(generator.uniform(math.log(low), math.log(high)))
