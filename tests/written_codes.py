"""Sizes of the corpora that tests write, and what they hold in all."""

import numpy as np

N, M = 230, 40


def rebuilt(codes):
    """Join the shards, both ways round."""
    by_row = np.zeros((codes.n_rows, codes.n_features))
    for first, block in codes.shards():
        by_row[first : first + block.shape[0]] = block.toarray()
    by_feature = codes.features(range(codes.n_features)).toarray()
    np.testing.assert_array_equal(by_row, by_feature)
    return by_row
