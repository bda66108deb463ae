"""The joint model: chosen and fitted on all rows, scored where nothing was chosen."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score, roc_auc_score

from nanosae.analysis.comparisons import hypotheses
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.joint_model import (
    ComparedRows,
    _Data,
    _deviations,
    _forward,
    _screen,
    joint_model,
)
from nanosae.analysis.splits import held_out
from small_corpora import active_with_target

N = 2000
HELD = held_out(np.arange(N), 0.5, 0)


def rows(weight=None, stratum=None):
    """All rows, each a text of its own, half of them held out."""
    numbers = np.arange(N)
    stratum = np.zeros(N, int) if stratum is None else stratum
    strata = sp.csr_array(np.eye(stratum.max() + 1)[stratum])
    weight = np.ones(N) if weight is None else weight
    return ComparedRows(numbers, strata, weight, numbers, HELD)


@pytest.fixture
def strengths():
    rng = np.random.default_rng(0)
    return (rng.random((N, 12)) < 0.25) * rng.gamma(3, size=(N, 12))


def test_of_a_number_it_is_least_squares(strengths):
    y = strengths @ np.r_[1.0, -1.0, 0.5, np.zeros(9)]
    y = y + np.random.default_rng(1).normal(size=N)
    model, score = joint_model(sp.csr_array(strengths), rows(), y, 3, True)
    assert set(model["column"]) == {0, 1, 2}
    assert model["stability"].tolist() == [1, 1, 1]
    x = strengths[:, model["column"]] / strengths[:, model["column"]].std(0)
    fit = LinearRegression().fit(x, y)
    np.testing.assert_allclose(model["coefficient"], fit.coef_, rtol=1e-4)
    other = LinearRegression().fit(x[~HELD], y[~HELD])
    assert np.abs(other.coef_ - fit.coef_).max() > 1e-3  # the parts can be told apart
    held_score = r2_score(y[HELD], other.predict(x[HELD]))
    assert score["features"] == pytest.approx(held_score, abs=1e-5)
    assert score["features"] != pytest.approx(fit.score(x, y), abs=1e-5)


def test_of_a_group_it_is_logistic_regression(strengths):
    logit = strengths @ np.r_[0.7, -0.7, 0.4, np.zeros(9)] - 0.5
    y = (np.random.default_rng(2).random(N) < 1 / (1 + np.exp(-logit))).astype(float)
    model, score = joint_model(sp.csr_array(strengths), rows(), y, 3, False)
    chosen = model["column"].to_numpy()
    assert set(chosen) == {0, 1, 2}
    x = strengths[:, chosen] / strengths[:, chosen].std(0)
    fit, other = (
        LogisticRegression(C=np.inf, tol=1e-9, max_iter=1000).fit(x[part], y[part])
        for part in (np.ones(N, bool), ~HELD)
    )
    np.testing.assert_allclose(model["coefficient"], fit.coef_[0], rtol=0.01)
    auc = roc_auc_score(y[HELD], other.decision_function(x[HELD]))
    assert score["features"] == pytest.approx(auc, abs=1e-3)
    assert score["covariates"] == 0.5


def test_it_sees_strengths_and_not_only_where_features_are_active(tmp_path):
    rng = np.random.default_rng(0)
    strengths = rng.gamma(2, size=(N, 2)).astype(np.float32)  # active everywhere
    y = strengths[:, 0] + 0.1 * rng.normal(size=N)
    model, score = joint_model(sp.csr_array(strengths), rows(), y, 2, True)
    assert model["column"].tolist()[0] == 0
    assert score["features"] > 0.9
    is_active = sp.csr_array((strengths > 0).astype(float))
    blind, _ = joint_model(is_active, rows(), y, 2, True)
    assert len(blind) == 0


def best_next(x, y, weight, chosen):
    """The column with which weighted least squares leaves the smallest error: tried one by one."""
    errors = []
    for column in range(x.shape[1]):
        if column in chosen:
            errors.append(np.inf)
            continue
        design = x[:, [*chosen, column]]
        fit = LinearRegression().fit(design, y, sample_weight=weight)
        errors.append((weight * (y - fit.predict(design)) ** 2).sum())
    return int(np.argmin(errors))


def test_each_feature_lowers_the_error_most_with_both_sides_weighing_the_same(
    strengths,
):
    rng = np.random.default_rng(5)
    strengths[:, 5] = strengths[:, 0] + rng.gamma(1, size=N)
    logit = strengths[:, [0, 1, 2]] @ np.r_[1.0, 0.5, 0.5] - 5
    y = (rng.random(N) < 1 / (1 + np.exp(-logit))).astype(float)
    model, _ = joint_model(sp.csr_array(strengths), rows(), y, 4, False)
    weight = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    chosen = []
    while len(chosen) < 4:
        chosen.append(best_next(strengths, y, weight, chosen))
    assert model["column"].tolist() == chosen
    alone = np.argsort(-np.abs(np.corrcoef(strengths.T, y)[-1, :-1]))[:4]
    assert alone.tolist() != chosen  # not simply the strongest ones


def greedy_least_squares(x, y, n_select):
    """The columns that lower the residual of a whole new fit most, one after the other."""
    chosen = []
    for _ in range(n_select):
        errors = {}
        for column in set(range(x.shape[1])) - set(chosen):
            trial = x[:, [*chosen, column]]
            fitted = trial @ np.linalg.lstsq(trial, y, rcond=None)[0]
            errors[column] = ((y - fitted) ** 2).sum()
        chosen.append(min(errors, key=errors.__getitem__))
    return chosen


def test_columns_that_overlap_are_chosen_as_by_whole_new_fits():
    rng = np.random.default_rng(0)
    differs_from_separate_fits = 0
    for _ in range(20):
        common = rng.normal(size=(300, 3))
        x = common @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(300, 12))
        y = x @ rng.normal(size=12) + rng.normal(size=300)
        gram = x.T @ x
        chosen = _forward(np.diag(gram), x.T @ y, gram.__getitem__, 6)
        assert chosen.tolist() == greedy_least_squares(x, y, 6)
        alone = (x.T @ y) ** 2 / (x**2).sum(axis=0)
        differs_from_separate_fits += set(chosen) != set(np.argsort(-alone)[:6])
    assert differs_from_separate_fits > 10  # or an order without fits would pass, too


def test_chance_is_not_scored_as_an_explanation():
    """Chosen and scored on the same rows, ten of 500 random features look good; honestly not."""
    rng = np.random.default_rng(0)
    x = (rng.random((N, 500)) < 0.05).astype(float)
    y = (rng.random(N) < 0.3).astype(float)
    model, score = joint_model(sp.csr_array(x), rows(), y, 10, False)
    assert score["features"] < 0.55
    chosen = x[:, model["column"]]
    fit = LogisticRegression().fit(chosen, y)
    assert roc_auc_score(y, fit.decision_function(chosen)) > 0.59
    assert model["stability"].mean() < 0.6


def test_it_has_at_most_so_many_features(tmp_path, strengths, monkeypatch):
    y = strengths[:, :8].sum(1) + np.random.default_rng(1).uniform(size=N)
    monkeypatch.setattr(hypotheses, "MAX_MODEL_FEATURES", 3)
    result = explain(active_with_target(tmp_path, strengths, y), "y")
    assert len(result.findings) == 8
    assert result.scores.iloc[0]["n_features"] == len(result.model) == 3


def within(values, stratum):
    """Deviations from the stratum's mean."""
    means = np.array([values[stratum == s].mean() for s in (0, 1)])
    return values - means[stratum]


def test_its_first_feature_correlates_most_within_strata():
    """The stratum decides feature 0 almost alone, so that little of its variance is within."""
    rng = np.random.default_rng(3)
    stratum = rng.integers(0, 2, N)
    active = np.zeros((N, 2))
    active[:, 0] = rng.random(N) < np.where(stratum, 0.95, 0.05)
    active[:, 1] = rng.random(N) < 0.5
    y = 5 * stratum + 0.6 * active[:, 0] + 0.6 * active[:, 1] + rng.uniform(size=N)
    model, _ = joint_model(sp.csr_array(active), rows(stratum=stratum), y, 1, True)
    x = np.column_stack([within(column, stratum) for column in active.T])
    r = np.abs([np.corrcoef(column, within(y, stratum))[0, 1] for column in x.T])
    crude = np.abs([np.corrcoef(column, y)[0, 1] for column in active.T])
    assert r.argmax() != crude.argmax()  # strata make the difference
    assert model["column"].tolist() == [r.argmax()]


@pytest.mark.parametrize("numeric", [True, False])
def test_strata_without_training_rows_are_predicted_as_the_average(numeric):
    """Not as 0 or as even odds, which for a large number or a rare class is far away."""
    rng = np.random.default_rng(0)
    stratum = np.where(HELD & (rng.random(N) < 0.5), 1, 0)
    x = rng.gamma(2, size=(N, 3))
    y = 10 + x[:, 0] + rng.uniform(-1, 1, N)
    if not numeric:
        y = (rng.random(N) < 1 / (1 + np.exp(7 - 2 * x[:, 0]))).astype(float)
    _, score = joint_model(sp.csr_array(x), rows(stratum=stratum), y, 3, numeric)
    if numeric:
        assert -0.1 < score["covariates"] < 0.1
        assert score["features"] > 0.8
    else:
        expected = roc_auc_score(y[HELD], x[HELD, 0])
        assert score["features"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_a_number_decides_nothing(strengths, unit):
    y = strengths[:, 0] + np.random.default_rng(1).normal(size=N)
    model, score = joint_model(sp.csr_array(strengths), rows(), y, 3, True)
    other, other_score = joint_model(sp.csr_array(strengths), rows(), unit * y, 3, True)
    assert len(model) > 0
    assert other["column"].tolist() == model["column"].tolist()
    np.testing.assert_allclose(other["coefficient"], unit * model["coefficient"])
    assert other_score == pytest.approx(score)


@pytest.mark.parametrize("numeric", [True, False])
def test_copies_count_once_in_its_score(strengths, numeric):
    """Half of the held-out rows are copies of the first one."""
    rng = np.random.default_rng(1)
    y = strengths[:, 0] + rng.normal(size=N)
    if not numeric:
        y = (y > 1).astype(float)
    held = np.flatnonzero(HELD)
    copies = held[: len(held) // 2]
    strengths[copies], y[copies] = strengths[copies[0]], y[copies[0]]
    weight = np.ones(N)
    weight[copies] = 1 / len(copies)
    _, score = joint_model(sp.csr_array(strengths), rows(weight), y, 1, numeric)
    once = np.r_[copies[0], held[len(copies) :]]
    training = np.flatnonzero(~HELD)
    fit = LinearRegression().fit(strengths[training, :1], y[training])
    predicted = fit.predict(strengths[once, :1])
    measure = r2_score if numeric else roc_auc_score
    assert score["features"] == pytest.approx(measure(y[once], predicted), abs=1e-3)


def test_features_that_define_a_group_are_not_in_its_model(tmp_path):
    rng = np.random.default_rng(0)
    active = rng.random((N, 6)) < 0.2
    active[:, 1] = np.where(rng.random(N) < 0.6, active[:, 0], active[:, 1])
    codes = active_with_target(tmp_path, active, np.zeros(N))
    assert contrast(codes, 0).model["feature"].tolist()[0] == 1
    assert 0 not in contrast(codes, 0).model["feature"].tolist()


def test_a_half_of_few_groups_may_hold_no_row(tmp_path):
    """One in sixteen divisions of five texts puts all of them on one side."""
    on = np.zeros((5, 3), bool)
    on[:2, 0], on[2:, 1] = True, True
    codes = active_with_target(tmp_path, on, np.zeros(5))
    found = contrast(codes, np.arange(2), min_active=1)
    assert found.model["stability"].between(0, 1).all()


def test_activations_are_scaled_by_the_deviation_of_numpy_in_float64():
    """In float32 that of the first column, which is 0.02, would be 0.05."""
    rng = np.random.default_rng(0)
    always = 2 + 0.02 * rng.normal(size=200_000)
    seldom = rng.random(200_000) * (rng.random(200_000) < 0.01)
    strengths = np.column_stack([always, seldom, np.ones(200_000)]).astype(np.float32)
    expected = strengths.std(axis=0, dtype=np.float64)
    expected[2] = 1  # constant
    assert _deviations(sp.csr_array(strengths)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("deviation", [1, 0.1, 0.02])
def test_a_feature_that_is_always_active_is_fitted_as_any_other(deviation):
    rng = np.random.default_rng(0)
    y = (rng.random(N) < 0.5).astype(float)
    always = 8 + deviation * (y + rng.normal(size=N))
    model, score = joint_model(sp.csr_array(always[:, None]), rows(), y, 1, False)
    standardised = (always - always.mean()) / always.std()
    fit = LogisticRegression(C=np.inf, tol=1e-9).fit(standardised[:, None], y)
    assert model["coefficient"].tolist() == pytest.approx(fit.coef_[0], rel=0.01)
    held_auc = roc_auc_score(y[HELD], always[HELD])
    assert score["features"] == pytest.approx(held_auc)


def test_candidates_correlate_with_the_target_within_strata():
    rng = np.random.default_rng(4)
    n = 400
    stratum = rng.integers(5, size=n)
    weight = rng.choice([0.5, 1.0], n)
    y = rng.normal(size=n) + 2 * stratum
    noise = rng.random((n, 60))
    # more and more of the target, and of the strata, which are nothing but confounders
    x = noise + np.linspace(0, 0.12, 60) * y[:, None] + 0.3 * (stratum[:, None] % 3)
    x[rng.random(x.shape) < 0.3] = 0
    strata = sp.csr_array(np.eye(5)[stratum])
    found = _screen(_Data(sp.csr_array(x), y, weight, strata, numeric=True))

    def within(values):
        own = np.zeros_like(values)
        for number in range(5):
            is_own = stratum == number
            mean = np.average(values[is_own], axis=0, weights=weight[is_own])
            own[is_own] = values[is_own] - mean
        return own * np.sqrt(weight).reshape((n,) + (1,) * (values.ndim - 1))

    inside, target = within(x), within(y)
    r = inside.T @ target / np.linalg.norm(inside, axis=0) / np.linalg.norm(target)
    expected = np.flatnonzero(np.abs(r) * np.sqrt(weight.sum()) >= 1.959964)
    assert 5 < len(expected) < 55
    assert sorted(found.tolist()) == expected.tolist()
    assert (np.diff(np.abs(r[found])) <= 0).all()
