"""The settings of a training that concern its data reach the dataset."""

import numpy as np
import pytest

from nanosae import TrainConfig
from nanosae.data.open import open_dataset
from nanosae.data.stream import Stream
from numbered import numbered, row_numbers


def opened(kind, **settings):
    x = numbered(1000)
    return open_dataset(
        iter([x]) if kind == "stream" else x, None, TrainConfig(**settings)
    )


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_settings_reach_the_dataset(kind):
    assert isinstance(opened(kind), Stream) == (kind == "stream")
    assert opened(kind).n_heldout == 50
    assert opened(kind, heldout_share=0.2).n_heldout == 200
    assert opened(kind).in_memory
    rows = [
        row_numbers(data, data.heldout)
        for data in (opened(kind), opened(kind, data_seed=1))
    ]
    assert set(rows[0]) != set(rows[1])
    other = opened(kind, seed=7)  # of the weights, not of the data
    assert np.array_equal(row_numbers(other, other.heldout), rows[0])
    with pytest.raises(ValueError, match="width 3, expected 4"):
        opened(kind, input_size=4)


def test_the_bound_of_memory_reaches_the_dataset():
    three_floats = 12
    assert opened("array", buffer_bytes=1000 * three_floats).in_memory
    assert not opened("array", buffer_bytes=1000 * three_floats - 1).in_memory
    short = opened("stream", buffer_bytes=400 * three_floats)
    assert short.n_train + short.n_heldout == 100
