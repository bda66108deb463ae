"""Features that go with a number or with classes."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from nanosae.analysis.contrast import contrast
from nanosae.analysis.explain import explain
from nanosae.analysis.splits import held_out
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
    assert set(explain(compared_codes, copy).findings["feature"]) == set(
        compared.group_odds
    )
    assert len(explain(compared_codes, copy, covariates=["group"]).findings) == 0


def test_numbers_are_least_squares(tmp_path):
    rng = np.random.default_rng(2)
    on = rng.random((3000, 6)) < 0.2
    y = rng.uniform(-1, 1, 3000) + 0.5 * on[:, 0]  # bounded: nothing is far out
    codes = active_with_target(tmp_path, on, y)
    result = explain(codes, "y")
    row = result.table.set_index("feature").loc[0]
    held = held_out(np.arange(3000), 0.5, 0)
    clipped = np.clip(y, *np.quantile(y, [0.01, 0.99]))[held]
    x = on[held][:, [0]].astype(float)
    outside = LinearRegression().fit(x, clipped)
    left = ((clipped - outside.predict(x)) ** 2).sum() / (len(x) - 2)
    error = np.sqrt(left / ((x - x.mean()) ** 2).sum())
    assert row["effect"] == pytest.approx(outside.coef_[0])
    assert row["high"] - row["low"] == pytest.approx(2 * 1.959964 * error, rel=1e-5)
    assert row["r"] == pytest.approx(np.corrcoef(x[:, 0], clipped)[0, 1])


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
