"""Rows that carry their own number, and how they are told apart after they were dealt."""

from itertools import islice

import numpy as np


def vectors(n=50, width=12, seed=0):
    """Random rows whose values fit float16 exactly, so that every container holds the same."""
    return (
        np.random.default_rng(seed)
        .normal(size=(n, width))
        .astype(np.float16)
        .astype(np.float32)
    )


def numbered(n, width=3):
    """Rows that carry their own number in the first place."""
    x = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    x[:, 0] = np.arange(n)
    return x


def row_numbers(dataset, rows):
    """Undo the normalisation of the first column of `numbered` rows."""
    return np.rint(rows[:, 0] / np.float32(dataset.scale) + dataset.mean[0]).astype(int)


def deal_batches(dataset, batch_size, n_batches, start_row=0):
    """Concatenate batches; fewer if the data ends."""
    dealt = islice(dataset.batches(batch_size, start_row), n_batches)
    return np.concatenate([buffer[index] for buffer, index in dealt])


def deal(dataset, batch_size, n_rows, start_row=0):
    """Concatenate batches to the first n_rows rows."""
    return deal_batches(dataset, batch_size, -(-n_rows // batch_size), start_row)[
        :n_rows
    ]
