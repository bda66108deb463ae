"""Features that go with a number or with classes."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import statsmodels.api as statsmodels
from scipy.stats import t as student
from scipy.stats import ttest_ind

from nanosae.analysis.columns import one_hot
from nanosae.analysis.comparisons.compared import Compared
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.feature_sums import FeatureSums, feature_sums
from nanosae.codes import write_codes
from nanosae.errors import DataError
from small_corpora import active_with_target


def test_explain_finds_what_drives_a_number(compared_codes, compared):
    result = explain(compared_codes, "score")
    assert set(result.findings["feature"]) == set(compared.score_weights)
    signs = dict(
        zip(result.findings["feature"], np.sign(result.findings["effect"]), strict=True)
    )
    assert signs == {j: np.sign(w) for j, w in compared.score_weights.items()}
    assert set(compared.score_weights) <= set(result.model["feature"])
    score = result.scores.iloc[0]
    assert score["measure"] == "r2"
    assert score["covariates"] < 0.05 < score["features"]


def test_a_column_can_be_held_equal(compared_codes, compared):
    """`copy` follows group: with group held equal, nothing is left of its differences."""
    rng = np.random.default_rng(0)
    copy = np.where(
        rng.random(compared_codes.n_rows) < 0.85,
        compared.columns["group"],
        rng.choice(["A", "B"], 2000),
    )
    raw = set(explain(compared_codes, copy).findings["feature"])
    assert raw >= set(compared.group_odds)
    assert len(raw) <= len(compared.group_odds) + 1
    assert len(explain(compared_codes, copy, covariates=["group"]).findings) == 0


@pytest.mark.parametrize("n_strata", [1, 4])
def test_numbers_are_least_squares_with_errors_for_unequal_variance(tmp_path, n_strata):
    """Against statsmodels: coefficient, HC3 error; Welch's degrees of freedom by hand."""
    rng = np.random.default_rng(2)
    on = rng.random((1500, 6)) < 0.05
    stratum = rng.integers(0, n_strata, 1500)
    spread = np.where(on[:, 0], 3.0, 1.0)
    y = rng.uniform(-1, 1, 1500) * spread + 1.5 * on[:, 0] + stratum
    codes = active_with_target(tmp_path, on, y, stratum=stratum.astype(str))
    row = explain(codes, "y", covariates=["stratum"]).table.set_index("feature").loc[0]
    clipped = np.clip(y, *np.quantile(y, [0.01, 0.99]))
    x = np.column_stack([on[:, 0], np.eye(n_strata)[stratum]]).astype(float)
    outside = statsmodels.OLS(clipped, x).fit()
    robust = outside.get_robustcov_results("HC3")
    assert row["raw_effect"] == pytest.approx(outside.params[0])
    variance = robust.bse[0] ** 2
    within = x[:, 0] - (x[:, 1:] @ (np.linalg.pinv(x[:, 1:]) @ x[:, 0]))
    leverage = outside.get_influence().hat_matrix_diag
    terms = (within * outside.resid / (1 - leverage)) ** 2 / (within**2).sum() ** 2
    assert terms.sum() == pytest.approx(variance)
    n = on[:, 0].sum()
    parts = (
        terms[on[:, 0]].sum() ** 2 / (n - 1),
        terms[~on[:, 0]].sum() ** 2 / (1499 - n),
    )
    degrees = variance**2 / sum(parts)
    half = student.ppf(0.975, degrees) * robust.bse[0]
    assert row["error"] * 1.959964 == pytest.approx(half, rel=1e-5)
    p = 2 * student.sf(abs(outside.params[0]) / robust.bse[0], degrees)
    assert row["p"] >= p * (1 - 1e-6)
    assert robust.bse[0] > 1.5 * outside.bse[0]  # what equal variances would say


def test_parts_of_a_text_in_a_stratum_of_their_own_hide_no_effect(tmp_path):
    """Two near-duplicates of many are alone in a place: less than a text, and no leverage of 1."""
    rng = np.random.default_rng(0)
    on = rng.random((600, 3)) < 0.1
    y = on[:, 0] + rng.uniform(-1, 1, 600)
    place = np.full(600, "near")
    source = np.arange(600)
    source[:4] = 0
    on[:4, 0] = [True, False, True, False]
    alone = explain(
        active_with_target(tmp_path / "a", on, y, place=place, source=source),
        "y",
        covariates=["place"],
        groups="source",
    )
    place[:2] = "far"
    parts = explain(
        active_with_target(tmp_path / "b", on, y, place=place, source=source),
        "y",
        covariates=["place"],
        groups="source",
    )
    expected, found = (result.table.set_index("feature") for result in (alone, parts))
    assert expected.loc[0, "found"]
    assert found.loc[0, "found"]
    assert found.loc[0, "error"] == pytest.approx(expected.loc[0, "error"], rel=0.1)


def test_the_interval_of_a_huge_effect_is_hardly_wider_than_its_error(tmp_path):
    """At |z| > 38 p-values underflow, and scores must not end there."""
    rng = np.random.default_rng(0)
    on = rng.random((20_000, 2)) < 0.5
    y = on[:, 0] + rng.uniform(-1.5, 1.5, 20_000)
    row = explain(active_with_target(tmp_path, on, y), "y").table.iloc[0]
    z = row["raw_effect"] / row["error"]
    assert z > 70
    width = row["high"] - row["low"]
    assert 1 <= width / (2 * 1.96 * row["error"]) < 1.25
    assert row["low"] < row["effect"] < row["high"]
    assert row["effect"] == pytest.approx(row["raw_effect"])


def test_few_rows_alike_by_chance_are_no_finding(tmp_path):
    """Welch's test alone is fooled by ten equal numbers; the score test is not."""
    rng = np.random.default_rng(0)
    on = np.zeros((1000, 2))
    on[:10, 0] = 1
    on[rng.permutation(1000)[:300], 1] = 1
    y = rng.normal(size=1000)
    y[:10] = 0.65 + 1e-3 * rng.normal(size=10)
    table = explain(active_with_target(tmp_path, on, y), "y").table
    assert ttest_ind(y[:10], y[10:], equal_var=False).pvalue < 1e-20
    assert not table["found"].any()


def test_infinite_numbers_are_left_out_and_counted(tmp_path):
    rng = np.random.default_rng(0)
    on = rng.random((600, 5)) < 0.3
    y = on[:, 2] + rng.normal(size=600)
    y[:7], y[7:9] = np.inf, np.nan
    result = explain(active_with_target(tmp_path, on, y), "y")
    assert result.findings["feature"].tolist() == [2]
    assert result.about["n_rows"] == 591
    assert "7 of 600 rows are left out: y is infinite." in result.about["notes"]


@pytest.mark.parametrize("value", [5, 2.5])
def test_a_number_that_is_nearly_constant_is_refused(tmp_path, value):
    """Winsorised, it would be constant, and nothing could be associated with it."""
    on = np.random.default_rng(0).random((600, 5)) < 0.3
    y = np.full(600, value)
    y[:5] = value - 1
    y[[7, 8, 9, 10, 11]] = value + 1, value + 2, value + 3, value + 3, value + 4
    codes = active_with_target(tmp_path, on, y)
    message = f"'y' is {value} in all but 10 of 600 rows; at least 7 must be above it"
    with pytest.raises(DataError, match=re.escape(message)):
        explain(codes, "y")
    y[12:14] = value + 1
    assert explain(active_with_target(tmp_path / "more", on, y), "y").about["n_rows"]


def test_numbers_in_words_that_are_not_finite_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    on = rng.random((600, 5)) < 0.3
    y = on[:, 2] + rng.normal(size=600)
    words = y.astype(str).astype(object)
    words[:7], words[7:9] = "inf", "nan"
    codes = active_with_target(tmp_path, on, np.zeros(600))
    result = explain(codes, words, kind="numeric")
    assert result.about["n_rows"] == 591
    assert result.findings["feature"].tolist() == [2]


def test_a_number_of_one_text_is_not_tested(tmp_path):
    rng = np.random.default_rng(0)
    on = np.zeros((60, 3), bool)
    on[0, 0], on[:30, 1], on[1:, 2] = True, True, True
    y = rng.normal(size=60) + 3 * on[:, 1]
    y[0] = 30.0
    codes = active_with_target(tmp_path, on, y)
    result = explain(codes, "y", min_active=1)
    assert result.about["n_tested"] == 1
    assert result.findings["feature"].tolist() == [1]


def test_of_what_the_strata_decide_sums_in_another_order_are_equal():
    """0.1 + 0.2 is more than 0.3 by rounding: no row is left without the feature."""
    sums = FeatureSums(
        rows=np.arange(2),
        target=None,
        strata=None,
        weight=np.array([0.1, 0.2]),
        n_rows=np.array([0.1 + 0.2]),
        n_active=sp.csr_array([[0.3]]),
        target_sum=np.array([[0.7]]),
        active_target_sum=np.array([[0.7]]),
        target_squares=np.array([[0.2]]),
    )
    assert sums.n_rows[0] != sums.n_active[0, 0]
    assert sums.active_squares.toarray().tolist() == [[0]]
    assert sums.z.tolist() == [[0]]


def test_memory_does_not_grow_with_features_times_strata(tmp_path):
    rng = np.random.default_rng(0)
    n_rows, n_features, n_strata = 2000, 4000, 1000
    features = rng.integers(0, n_features, 20 * n_rows)
    ends = np.arange(0, len(features) + 1, 20)
    entries = (np.ones(len(features), np.float32), features, ends)
    active = sp.csr_array(entries, shape=(n_rows, n_features))
    active.sum_duplicates()
    codes = write_codes(tmp_path, active)
    target = sp.csr_array(rng.random((n_rows, 1)))
    strata = one_hot(np.arange(n_rows) % n_strata)
    weight = rng.random(n_rows)
    tracemalloc.start()
    sums = feature_sums(Compared(codes), np.arange(n_rows), target, strata, weight)
    z = sums.z
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * n_features * n_strata / 2  # bytes of one dense array: 32 MB

    indicator = active.toarray() > 0
    of_strata = [
        np.flatnonzero(strata[:, [s]].toarray()[:, 0]) for s in range(n_strata)
    ]
    score, variance = np.zeros(n_features), np.zeros(n_features)
    y = target.toarray()[:, 0]
    for rows in of_strata:
        w = weight[rows, None]
        x = indicator[rows] - np.average(indicator[rows], axis=0, weights=weight[rows])
        d = (y[rows] - np.average(y[rows], weights=weight[rows]))[:, None]
        score += (w * x * d).sum(0)
        freedom = max(w.sum() - 1, 1)
        variance += (w * x**2).sum(0) * (w * d**2).sum() / freedom
    np.testing.assert_allclose(
        z[:, 0], score / np.sqrt(np.where(variance > 0, variance, 1)), atol=1e-9
    )


@pytest.mark.parametrize("follows", ["feature", "target"])
def test_what_the_strata_decide_is_no_finding(tmp_path, follows):
    """The deviations are sums in another order: rounding over nothing was a score of 10¹³⁸."""
    rng = np.random.default_rng(8)
    stratum = rng.integers(0, 6, 900)
    on = rng.random((900, 3)) < 0.3
    y = rng.gamma(2, 3, 900).round(1)
    if follows == "feature":
        on[:, 0] = stratum >= 3
    else:
        y = np.array([0.1, 0.3, 0.7, 1.1, 1.3, 2.9])[stratum]
    codes = active_with_target(tmp_path, on, y, stratum=stratum.astype(str))
    result = explain(codes, "y", covariates=["stratum"])
    assert 0 not in set(result.table["feature"])
    assert len(result.findings) == 0


def test_one_huge_number_makes_no_finding(tmp_path):
    rng = np.random.default_rng(0)
    on = rng.random((2000, 50)) < 0.02
    y = rng.normal(size=2000)
    y[on[:, 0]] += 0.0
    y[np.flatnonzero(on[:, 0])[:4]] = 1e6
    assert (
        0
        not in explain(active_with_target(tmp_path, on, y), "y")
        .findings["feature"]
        .tolist()
    )


@pytest.mark.slow
def test_classes_each_against_the_rest(compared_codes, compared):
    result = explain(compared_codes, "topics")
    best = result.findings.drop_duplicates("target").set_index("target")["feature"]
    assert [compared.names.index(name) for name in best.index] == best.tolist()
    assert len(best) > 40
    two = contrast(compared_codes, by="group")
    assert two.table["target"].unique().tolist() == ["B"]


def test_rare_classes_are_left_out_and_named(compared_codes, compared):
    y = compared.columns["group"].copy()
    y[:4] = "tiny"
    result = explain(compared_codes, y)
    assert "tiny" in " ".join(result.about["notes"])
    assert "tiny" not in set(result.table["target"])


def test_missing_values_are_no_group(compared_codes, compared):
    y = compared.columns["group"].copy()
    y[::3] = ""
    y[1::3] = None
    result = explain(compared_codes, y, kind="classes")
    assert result.about["n_rows"] == (2000 - len(y[::3]) - len(y[1::3]))
    assert result.about["b"] == "A"


@pytest.mark.parametrize(
    "offset", [2**62, -(2**62), 2**63, 10**400], ids=["2^62", "-2^62", "2^63", "10^400"]
)
def test_large_integers_are_explained_by_their_differences(tmp_path, offset):
    """In float64 they would all be equal, and 10⁴⁰⁰ would be no number at all."""
    rng = np.random.default_rng(0)
    active = rng.random((300, 4)) < 0.3
    small = rng.integers(0, 50, 300) + 30 * active[:, 0]
    codes = active_with_target(tmp_path, active, small)
    large = [int(number) + offset for number in small]
    large[7] = None
    expected = explain(codes, np.r_[small[:7], np.nan, small[8:]])
    pd.testing.assert_frame_equal(explain(codes, large).table, expected.table)
    if offset < 10**308:  # as cells of a CSV file
        as_text = [None if number is None else str(number) for number in large]
        found = explain(codes, as_text).table
        pd.testing.assert_frame_equal(found, expected.table)
    assert len(expected.findings)


def test_values_may_be_a_tensor_of_any_type(tmp_path):
    import torch

    rng = np.random.default_rng(0)
    active = rng.random((300, 4)) < 0.3
    small = rng.integers(0, 50, 300) + 30 * active[:, 0]
    codes = active_with_target(tmp_path, active, small)
    expected = explain(codes, small).table
    for dtype in (torch.bfloat16, torch.float16, torch.int64):
        values = torch.tensor(small, dtype=dtype)
        if dtype.is_floating_point:
            values.requires_grad_()
        pd.testing.assert_frame_equal(explain(codes, values).table, expected)
