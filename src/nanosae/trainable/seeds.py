"""Seeds of random generators."""

from __future__ import annotations

import numpy as np

INITIAL_DIRECTIONS, TRAINING_NOISE, NESTING = 0, 1, 2  # what is drawn, each by itself


def mixed_seed(*numbers: int) -> int:
    """Return a seed of 32 bits that depends on every bit of all numbers.

    torch's generator on a CPU takes no more bits than these: of seed · 2³² + step it sees the step.

    Example:
        >>> mixed_seed(0, 1) == mixed_seed(1, 0)
        False
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
