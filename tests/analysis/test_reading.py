"""A sample of the rows: random, always the same, and of a size that does not follow the corpus."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
from scipy import stats

from nanosae.analysis.reading import drawn_rows


def test_the_drawn_rows_are_a_random_sample():
    corpus = SimpleNamespace(n_rows=1_000_000)
    rows = drawn_rows(corpus, 5000)
    assert len(np.unique(rows)) == 5000
    assert np.all(np.diff(rows) > 0)
    assert stats.kstest(rows / corpus.n_rows, "uniform").pvalue > 0.01
    np.testing.assert_array_equal(drawn_rows(corpus, 5000), rows)
    few = SimpleNamespace(n_rows=7)
    np.testing.assert_array_equal(drawn_rows(few, 5000), range(7))
    assert len(drawn_rows(SimpleNamespace(n_rows=0), 5000)) == 0


def test_drawing_from_many_rows_needs_little_memory():
    tracemalloc.start()
    drawn_rows(SimpleNamespace(n_rows=10_000_000), 10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22  # a permutation takes 80 MB
