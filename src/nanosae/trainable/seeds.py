"""Seeds of random generators."""

from __future__ import annotations

import numpy as np

INITIAL_DIRECTIONS, TRAINING_NOISE, NESTING = 0, 1, 2  # independent streams


def mixed_seed(*numbers: int) -> int:
    """Return a seed of 32 bits that depends on every bit of all numbers.

    torch's CPU generator uses only the lower 32 bits of its seed: of seed · 2³² + step, the step.

    Example:
        >>> mixed_seed(0, 1) == mixed_seed(1, 0)
        False
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
