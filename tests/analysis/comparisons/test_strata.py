"""Strata against bins and values by hand."""

import numpy as np
import pytest

from nanosae.analysis.comparisons.strata import strata
from small_corpora import active_with_target, corpus


def partition(codes, covariates):
    """Stratum of each row."""
    matrix = strata(codes, np.arange(codes.n_rows), covariates)
    assert (matrix.sum(1) == 1).all()
    return matrix.toarray().argmax(1)


def write(tmp_path, **columns):
    n_rows = len(next(iter(columns.values())))
    return active_with_target(
        tmp_path, np.ones((n_rows, 1)), np.zeros(n_rows), **columns
    )


@pytest.mark.parametrize(("n_rows", "n_bins"), [(300, 5), (1200, 12), (6000, 50)])
def test_one_number_is_cut_at_quantiles_one_bin_per_hundred_rows(
    tmp_path, n_rows, n_bins
):
    number = np.random.default_rng(0).permutation(n_rows) * 1.5
    stratum = partition(write(tmp_path, number=number), ["number"])
    sizes = np.bincount(stratum)
    assert len(sizes) == n_bins
    assert np.ptp(sizes) <= 1
    assert (np.diff(stratum[np.argsort(number)]) >= 0).all()


def test_several_covariates_are_cut_into_five_and_crossed(tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        "a": rng.random(2000),
        "b": rng.random(2000),
        "c": rng.choice(["x", "y"], 2000),
    }
    codes = write(tmp_path, **columns)
    assert len(set(partition(codes, ["a", "b", "c"]))) == 5 * 5 * 2
    a, both = partition(codes, ["a", "c"]), partition(codes, ["a", "b", "c"])
    # finer strata lie within coarser ones
    assert len(set(zip(a, both, strict=True))) == 50


def test_few_different_numbers_go_by_value_and_missing_ones_are_apart(tmp_path):
    eleven = np.arange(660) % 11 * 1.0
    assert len(set(partition(write(tmp_path / "a", number=eleven), ["number"]))) == 11
    number = np.arange(660.0)
    number[::10] = np.nan
    stratum = partition(write(tmp_path / "b", number=number), ["number"])
    assert len(set(stratum[::10])) == 1
    assert not set(stratum[::10]) & set(np.delete(stratum, np.arange(0, 660, 10)))


def test_the_length_of_texts_is_a_covariate_unless_a_column_is_called_so(tmp_path):
    texts = ["x" * (1 + i % 3) for i in range(30)]
    codes = corpus(tmp_path / "a", np.ones((30, 1)), texts)
    by_length = set(zip(partition(codes, ["length"]), map(len, texts), strict=True))
    assert len(by_length) == len({stratum for stratum, _ in by_length}) == 3
    named = corpus(
        tmp_path / "b", np.ones((30, 1)), texts, metadata={"length": ["a", "b"] * 15}
    )
    assert partition(named, ["length"]).tolist() == [i % 2 for i in range(30)]
    assert partition(codes, []).tolist() == [0] * 30


def test_texts_are_as_long_as_others_that_are_a_letter_shorter(tmp_path):
    """Else "pear" and "apple" in otherwise equal texts would be compared with themselves alone."""
    lengths = np.tile([28, 29, 60, 61, 190, 193], 20)
    codes = corpus(tmp_path, np.ones((120, 1)), ["x" * length for length in lengths])
    stratum = partition(codes, ["length"])
    assert len(set(stratum)) == 3
    assert (stratum[::2] == stratum[1::2]).all()
