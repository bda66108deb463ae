"""A file of rows to train on, and flags that make a training short."""

import numpy as np
import pytest

FLAGS = "--hidden-size 16 --k 3 --steps 6 --batch-size 32 --log-every 2"


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    np.save(tmp_path / "rows.npy", x)
    return str(tmp_path / "rows.npy")


@pytest.fixture
def flags():
    return FLAGS.split()
