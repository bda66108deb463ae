"""Contrast, trends and explanations against planted truth and outside oracles."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import chi2, fisher_exact, hypergeom
from scipy.stats.contingency import odds_ratio
from sklearn.linear_model import LinearRegression, LogisticRegression

from nanosae.analysis.columns import label_matrix
from nanosae.analysis.contrast import contrast
from nanosae.analysis.explain import explain
from nanosae.analysis.log_odds import fit_log_odds
from nanosae.analysis.over_time import over_time
from nanosae.analysis.splits import held_out
from nanosae.analysis.statistics import regress
from nanosae.codes import write_codes
from planted import planted_corpus

LEVELS = np.array([0.0, 1.0])


@pytest.fixture(scope="module")
def planted():
    return planted_corpus(seed=1)


@pytest.fixture(scope="module")
def codes(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "codes" / "default"
    return write_codes(
        path,
        planted.activations,
        texts=planted.texts,
        metadata=planted.columns,
        vectors=planted.embeddings,
    )


def small(tmp_path, on, y, **metadata):
    """Codes from an on/off matrix and a column y; neither texts nor vectors."""
    metadata = {"y": np.asarray(y), **metadata}
    return write_codes(tmp_path / "codes", sp.csr_array(np.float32(on)), metadata=metadata)


# Planted truth


def test_contrast_finds_all_planted_differences_and_their_sizes(codes, planted):
    result = contrast(codes, "B", "A", by="group")
    found = result.findings.set_index("feature")
    assert set(found.index) == set(planted.group_odds)
    for j, odds in planted.group_odds.items():
        row = found.loc[j]
        assert np.sign(row["effect"]) == np.sign(np.log(odds))
        assert abs(row["effect"] - np.log(odds)) < 2 * (row["high"] - row["low"]) / 2
        assert row["odds_ratio"] == pytest.approx(np.exp(row["effect"]))
        assert row["risk_difference"] == pytest.approx(row["share"] - row["share_rest"])


def test_explain_finds_what_drives_a_number(codes, planted):
    result = explain(codes, "score")
    assert set(result.findings["feature"]) == set(planted.score_weights)
    signs = dict(zip(result.findings["feature"], np.sign(result.findings["effect"]), strict=True))
    assert signs == {j: np.sign(w) for j, w in planted.score_weights.items()}
    assert set(planted.score_weights) <= set(result.model["feature"])
    score = result.scores.iloc[0]
    assert score["measure"] == "r2"
    assert score["covariates"] < 0.05 < score["features"]


def test_trends_are_found_with_their_slopes(codes, planted):
    result = over_time(codes, "year")
    found = result.findings.set_index("feature")
    assert set(planted.year_slopes) <= set(found.index)
    assert len(found) <= len(planted.year_slopes) + 1
    inside = [
        found.loc[j, "low"] < slope < found.loc[j, "high"]
        for j, slope in planted.year_slopes.items()
    ]
    assert sum(inside) >= len(inside) - 1  # each interval may miss with 5 %
    one = result.shares.query(f"feature == {found.index[0]}")
    truth = pd.crosstab(
        planted.columns["year"], planted.activations[:, [found.index[0]]].toarray()[:, 0] > 0
    )
    assert one["n_active"].tolist() == truth[True].tolist()
    assert one["n"].tolist() == truth.sum(axis=1).tolist()
    interval = one[["low", "share", "high"]].to_numpy() + np.array([-1e-5, 0, 0])
    assert (np.diff(interval, axis=1) >= 0).all()


def test_text_length_is_held_equal_unless_told_otherwise(codes, planted):
    """Channel depends on text length alone: raw differences are many, adjusted ones none."""
    raw = contrast(codes, "long", "short", by="channel", covariates=())
    assert len(raw.findings) >= 5
    assert len(contrast(codes, "long", "short", by="channel").findings) == 0


def test_a_column_can_be_held_equal(codes, planted):
    """`copy` follows group: with group held equal, nothing is left of its differences."""
    rng = np.random.default_rng(0)
    copy = np.where(
        rng.random(codes.n_rows) < 0.85, planted.columns["group"], rng.choice(["A", "B"], 2000)
    )
    assert set(explain(codes, copy).findings["feature"]) == set(planted.group_odds)
    assert len(explain(codes, copy, covariates=["group"]).findings) == 0


def test_shuffled_labels_find_nothing(codes, planted):
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(3):
        group = rng.permutation(planted.columns["group"])
        result = explain(codes, group, seed=seed)
        hits += len(result.findings) > 0
        for auc in result.scores["features"] if len(result.scores) else []:
            assert auc < 0.56
        hits += len(explain(codes, rng.permutation(planted.columns["score"])).findings) > 0
    assert hits <= 1  # each finds something with at most 5 %


def test_selection_and_report_on_the_same_rows_would_be_caught(codes):
    """The twin: effects of chosen noise look real on the rows that chose them, not on others."""
    rng = np.random.default_rng(3)
    on = rng.random((400, 300)) < 0.1
    y = rng.random(400) < 0.5
    half = np.arange(400) < 200

    def r(rows):
        return np.array([np.corrcoef(on[rows, j], y[rows])[0, 1] for j in range(300)])

    best = np.argsort(-np.abs(r(half)))[:5]
    assert np.abs(r(half)[best]).mean() > 2 * np.abs(r(~half)[best]).mean()
    assert np.abs(r(half)[best]).mean() > 0.15


# Statistics against outside oracles


def first_of(fit):
    """Slope, error and likelihood ratio of the first feature."""
    return float(fit.slope[0]), float(fit.error[0]), float(fit.likelihood_ratio[0])


def fit(a, m, n1, n0):
    """One feature, one cell: on in `a` of `n1` rows of the group, in `m` rows in all."""
    n = np.array([[[n0, n1]]], float)
    return first_of(fit_log_odds(np.array([a]), np.array([[m]]), n, LEVELS))


@pytest.mark.parametrize(("a", "m", "n1", "n0"), [(7, 20, 60, 90), (0, 12, 40, 50), (9, 9, 30, 30)])
def test_one_cell_is_haldane_anscombe_and_woolf(a, m, n1, n0):
    beta, error, _ = fit(a, m, n1, n0)
    cells = np.array([a, m - a, n1 - a, n0 - (m - a)]) + 0.5
    assert beta == pytest.approx(np.log(cells[0] * cells[3] / (cells[1] * cells[2])), rel=1e-6)
    assert error == pytest.approx(np.sqrt((1 / cells).sum()), rel=1e-5)


def test_the_correction_is_small_beside_the_conditional_estimate():
    a, m, n1, n0 = 40, 60, 200, 300
    outside = odds_ratio([[a, m - a], [n1 - a, n0 - (m - a)]])
    low, high = outside.confidence_interval(0.95)
    beta, error, _ = fit(a, m, n1, n0)
    assert beta == pytest.approx(np.log(outside.statistic), abs=0.03)
    assert beta - 1.96 * error == pytest.approx(np.log(low), abs=0.1)
    assert beta + 1.96 * error == pytest.approx(np.log(high), abs=0.1)


@pytest.mark.parametrize(("n1", "n0", "m"), [(500, 500, 10), (50, 950, 30), (20, 9980, 100)])
def test_p_is_never_bold_and_close_to_fisher(n1, n0, m):
    """Size of the test under the exact null distribution; the score test is the bold twin."""
    a = np.arange(max(0, m - n0), min(m, n1) + 1)
    n = np.broadcast_to([[n0, n1]], (len(a), 1, 2)).astype(float)
    fitted = fit_log_odds(a.astype(float), np.full((len(a), 1), float(m)), n, LEVELS)
    p = chi2.sf(fitted.likelihood_ratio, 1)
    weight = hypergeom.pmf(a, n0 + n1, m, n1)
    expected, variance = m * n1 / (n0 + n1), hypergeom.var(n0 + n1, m, n1)
    score = chi2.sf((a - expected) ** 2 / variance, 1)
    bold = []
    for level in (0.05, 1e-3, 1e-5):
        assert weight[p <= level].sum() <= level
        bold.append(weight[score <= level].sum() > level)
    assert any(bold) or n1 == n0
    fisher = [fisher_exact([[x, m - x], [n1 - x, n0 - m + x]])[1] for x in a]
    tail = (a > expected) & (np.array(fisher) > 1e-9)
    assert (np.abs(np.log10(p[tail]) - np.log10(np.array(fisher)[tail])) < 1.2).all()


def test_several_cells_are_a_logistic_regression_with_cells():
    rng = np.random.default_rng(0)
    cell, group = rng.integers(0, 4, 4000), rng.random(4000) < 0.4
    on = rng.random(4000) < 1 / (1 + np.exp(2 - 0.5 * cell - 0.8 * group))
    x = np.column_stack([group, np.eye(4)[cell]])
    outside = LogisticRegression(C=np.inf, fit_intercept=False, max_iter=1000, tol=1e-8).fit(x, on)
    p = outside.predict_proba(x)[:, 1]
    error = np.sqrt(np.linalg.inv((x.T * (p * (1 - p))) @ x)[0, 0])
    null = LogisticRegression(C=np.inf, fit_intercept=False, max_iter=1000, tol=1e-8).fit(
        x[:, 1:], on
    )
    q = null.predict_proba(x[:, 1:])[:, 1]
    ratio = 2 * (np.log(np.where(on, p, 1 - p)) - np.log(np.where(on, q, 1 - q))).sum()

    active = np.array([[(on & (cell == s)).sum() for s in range(4)]], float)
    n = np.array([[[(~group & (cell == s)).sum(), (group & (cell == s)).sum()] for s in range(4)]])
    total = np.array([(on & group).sum()], float)
    beta, got_error, got_ratio = first_of(fit_log_odds(total, active, n * 1.0, LEVELS))
    assert beta == pytest.approx(outside.coef_[0, 0], abs=0.01)
    assert got_error == pytest.approx(error, rel=0.01)
    assert got_ratio == pytest.approx(ratio, rel=0.03)  # half a text moved towards no effect
    crude = fit(total[0], active.sum(), n[..., 1].sum(), n[..., 0].sum())[0]
    assert abs(crude - outside.coef_[0, 0]) < 0.2  # cells are balanced here


def test_ignoring_cells_is_rejected_where_they_matter():
    """Simpson's paradox: in each cell the odds are equal, pooled they are not."""
    active, n = np.array([[90.0, 10.0]]), np.array([[[20.0, 160.0], [160.0, 20.0]]])
    beta, error, ratio = first_of(fit_log_odds(np.array([81.0]), active, n, LEVELS))
    assert abs(beta) < 0.1 * error * 10
    assert chi2.sf(ratio, 1) > 0.5
    pooled = fit(81, 100, 180, 180)
    assert chi2.sf(pooled[2], 1) < 1e-6


def test_trend_is_a_logistic_regression_on_time():
    rng = np.random.default_rng(1)
    time = rng.integers(0, 6, 5000).astype(float)
    on = rng.random(5000) < 1 / (1 + np.exp(3 - 0.3 * time))
    outside = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(time[:, None], on)
    n = np.bincount(time.astype(int)).astype(float)[None, None]
    active, total = np.array([[on.sum()]], float), np.array([time[on].sum()])
    beta, error, _ = first_of(fit_log_odds(total, active, n, np.arange(6.0)))
    assert beta == pytest.approx(outside.coef_[0, 0], abs=0.003)
    assert 0.3 - 3 * error < beta < 0.3 + 3 * error


def test_numbers_are_least_squares(tmp_path):
    rng = np.random.default_rng(2)
    on = rng.random((3000, 6)) < 0.2
    y = rng.uniform(-1, 1, 3000) + 0.5 * on[:, 0]  # bounded: nothing is far out
    codes = small(tmp_path, on, y)
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
    assert 0 not in explain(small(tmp_path, on, y), "y").findings["feature"].tolist()


def test_group_columns_agree_with_counts_by_hand(tmp_path):
    rng = np.random.default_rng(4)
    on = rng.random((1200, 5)) < [0.3, 0.1, 0.1, 0.1, 0.1]
    y = np.where(rng.random(1200) < np.where(on[:, 0], 0.8, 0.3), "yes", "no")
    strengths = on * rng.integers(1, 4, on.shape)  # ties
    codes = small(tmp_path, strengths, y)
    row = contrast(codes, "yes", by="y").table.set_index("feature").loc[0]
    held = held_out(np.arange(1200), 0.5, 0)
    yes, x, s = (y == "yes")[held], on[held, 0], strengths[held, 0]
    assert row["n_active"] == x.sum()
    assert row["share"] == pytest.approx(x[yes].mean())
    assert row["share_rest"] == pytest.approx(x[~yes].mean())
    assert row["r"] == pytest.approx(np.corrcoef(x, yes)[0, 1])
    pairs = np.sign(s[yes][:, None] - s[~yes][None, :])
    assert row["cliffs_delta"] == pytest.approx(pairs.mean())


def test_regression_agrees_with_sklearn():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(500), rng.normal(size=(500, 3))])
    y = (rng.random(500) < 1 / (1 + np.exp(-x @ [0.2, 1, -1, 0]))).astype(float)
    weight = rng.integers(1, 4, 500).astype(float)
    outside = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    outside.fit(x, y, sample_weight=weight)
    beta, _ = regress(x, y, weight, ridge=1.0)
    assert beta == pytest.approx(outside.coef_[0], abs=1e-4)
    unweighted = regress(x, y, np.ones(500), ridge=1.0)[0]
    assert np.abs(unweighted - outside.coef_[0]).max() > 1e-3
    line = LinearRegression(fit_intercept=False).fit(x, y, sample_weight=weight)
    assert regress(x, y, weight, linear=True)[0] == pytest.approx(line.coef_, abs=1e-4)


# A rare but perfect feature, and the score that misses it


def test_a_rare_perfect_feature_is_found_where_padded_top_rows_miss_it(tmp_path):
    """HypotheSAEs' separation takes the top 100 of `activation >= 0`: silent rows pad rare ones."""
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    on = (rng.random((3000, 20)) < 0.05).astype(np.float32)
    on[:, 7] = 0
    on[np.flatnonzero(y == 1)[:: 1500 // 40], 7] = 1  # 41 rows, all positive

    def separation(x, mask):
        top = np.argsort(-np.where(mask, x, -np.inf), kind="stable")[: min(100, mask.sum())]
        return y[top].mean() - y[x == 0].mean()

    assert separation(on[:, 7], on[:, 7] >= 0) < 0.3 < 0.49 < separation(on[:, 7], on[:, 7] > 0)
    assert contrast(small(tmp_path, on, y), 1, by="y").findings["feature"].tolist() == [7]


# Copies, groups, splits


def test_copies_are_no_evidence(tmp_path):
    """Fifteen copies of four texts would be significant if each counted."""
    rng = np.random.default_rng(5)
    base = (rng.random((800, 10)) < 0.15).astype(np.float32)
    base[:, 0] = rng.random(800) < 0.02
    y = rng.random(800) < 0.5
    chosen = np.flatnonzero(y)[:8]
    base[chosen, 0] = 1
    times = np.ones(800, int)
    times[chosen] = 15
    copied, source = np.repeat(base, times, axis=0), np.repeat(np.arange(800), times)
    codes = small(tmp_path, copied, np.repeat(y, times), source=source)
    naive = contrast(codes, True, by="y")
    honest = contrast(codes, True, by="y", groups="source")
    assert 0 in naive.findings["feature"].tolist()
    assert 0 not in honest.findings["feature"].tolist()
    assert honest.about["n_independent"] < naive.about["n_independent"]
    assert honest.about["n_held_out"] > honest.about["n_independent"]


def test_held_out_keeps_parts_whole():
    part = np.random.default_rng(0).integers(0, 60, 500)
    held = held_out(part, 0.5, seed=0)
    assert all(len(set(held[part == p])) == 1 for p in range(60))
    assert 200 <= held.sum() <= 250
    assert not (held == held_out(part, 0.5, seed=1)).all()
    with pytest.raises(ValueError, match="1 duplicate groups"):
        held_out(np.zeros(10, int), 0.5, 0)


# Ways to say a group, and what comes out


def test_groups_by_mask_rows_feature_and_text_are_the_same(codes, planted):
    j = max(planted.group_odds, key=lambda f: codes.counts[f])
    rows = codes.feature(j)[0]
    mask = np.zeros(codes.n_rows, bool)
    mask[rows] = True
    by_mask, by_rows, by_feature = (contrast(codes, a) for a in (mask, rows, j))
    pd.testing.assert_frame_equal(
        by_mask.table.drop(columns="target"), by_rows.table.drop(columns="target")
    )
    assert j in by_mask.findings["feature"].tolist()
    assert j not in by_feature.table["feature"].tolist()
    word = contrast(codes, planted.words[j][0])
    assert word.findings["feature"].iloc[0] == j
    assert "texts with" in word.sentences(1)[0]


def test_classes_each_against_the_rest(codes, planted):
    result = explain(codes, "topics")
    best = result.findings.drop_duplicates("target").set_index("target")["feature"]
    assert [planted.names.index(name) for name in best.index] == best.tolist()
    assert len(best) > 40
    two = contrast(codes, by="group")
    assert two.table["target"].unique().tolist() == ["B"]


def test_rare_classes_are_left_out_and_named(codes, planted):
    y = planted.columns["group"].copy()
    y[:4] = "tiny"
    result = explain(codes, y)
    assert "tiny" in " ".join(result.about["notes"])
    assert "tiny" not in set(result.table["target"])


def test_whole_numbers_name_groups_also_where_some_are_missing(planted, tmp_path):
    year = pd.array(planted.columns["group"] == "B", dtype="Int64") + 2019
    year[[3, 5]] = pd.NA
    codes = write_codes(tmp_path, planted.activations, metadata={"year": year})
    assert codes.column("year").dtype == np.float64
    for a, b in (("2020", "2019"), (2020, None), (["2020.0"], 2019)):
        assert contrast(codes, a, b, by="year").about["n_rows"] == codes.n_rows - 2
    with pytest.raises(ValueError, match="2021 has 0 rows"):
        contrast(codes, 2021, by="year")
    with pytest.raises(ValueError, match="year holds numbers, and 'May' is none"):
        contrast(codes, "May", by="year")


def test_missing_values_are_no_group(codes, planted):
    y = planted.columns["group"].copy()
    y[::3] = ""
    y[1::3] = None
    result = explain(codes, y, kind="classes")
    assert result.about["n_rows"] == (2000 - len(y[::3]) - len(y[1::3]))
    assert result.about["b"] == "A"


def test_dates_are_read_as_years(codes, planted, tmp_path):
    dates = pd.to_datetime(
        [f"{y}-{1 + i % 12:02d}-15" for i, y in enumerate(planted.columns["year"])]
    )
    metadata = {"date": dates, "text_date": dates.strftime("%Y-%m-%d").to_numpy(object)}
    other = write_codes(tmp_path / "codes", planted.activations, metadata=pd.DataFrame(metadata))
    results = [over_time(other, c) for c in ("date", "text_date")]
    assert results[0].table["effect"].tolist() == results[1].table["effect"].tolist()
    assert set(planted.year_slopes) <= set(results[0].findings["feature"])
    assert results[0].shares["period"].drop_duplicates().size == 10
    assert "per year" in results[0].sentences(1)[0]


def test_many_different_numbers_become_periods(codes, planted, tmp_path):
    time = planted.columns["year"] + np.random.default_rng(0).random(2000)
    other = write_codes(tmp_path / "codes", planted.activations, metadata={"t": time})
    result = over_time(other, "t")
    assert set(planted.year_slopes) <= set(result.findings["feature"])
    assert result.shares["period"].drop_duplicates().size == 36


def test_results_are_json_sentences_and_html(codes, planted):
    name = "a <b> & “c”"
    result = contrast(codes, "B", "A", by="group", labels=dict.fromkeys(range(48), name))
    sentence = result.sentences(1)[0]
    assert name in sentence
    for word in ("odds ratio", "95 % CI", "risk difference", "Cliff's δ", "q = ", "of B", "of A"):
        assert word in sentence
    assert f"{result.about['n_independent']:,} independent" in sentence
    assert len(result.sentences()) == len(result.findings)
    html = result._repr_html_()
    assert "a &lt;b&gt; &amp;" in html
    assert name not in html
    read = json.loads(json.dumps(result.to_dict()))
    assert {r["feature"] for r in read["findings"]} == set(planted.group_odds)
    assert read["about"]["seed"] == 0
    numeric = explain(codes, "score").sentences(1)[0]
    assert "in score" in numeric


def test_names_of_columns_may_hold_braces(planted, tmp_path):
    columns = {"group": planted.columns["group"], "{odd}": np.arange(2000) % 3}
    codes = write_codes(tmp_path, planted.activations, metadata=columns)
    found = contrast(codes, "B", "A", by="group", covariates=["{odd}"])
    assert "at equal {odd})." in found.sentences(1)[0]


def test_the_same_seed_gives_the_same_result(codes):
    first, second = (contrast(codes, "B", "A", by="group", seed=7) for _ in range(2))
    pd.testing.assert_frame_equal(first.table, second.table)
    pd.testing.assert_frame_equal(first.model, second.model)
    other = contrast(codes, "B", "A", by="group", seed=8)
    assert first.table["effect"].tolist() != other.table["effect"].tolist()


def test_without_texts_it_works_and_says_so(planted, tmp_path):
    codes = write_codes(tmp_path / "codes", planted.activations, metadata=planted.columns)
    result = contrast(codes, "B", "A", by="group")
    assert set(planted.group_odds) <= set(result.findings["feature"])
    assert "no texts" in result.about["notes"][0]


def test_two_equal_features_and_a_silent_one_do_no_harm(tmp_path):
    rng = np.random.default_rng(0)
    on = rng.random((600, 4)) < 0.3
    on[:, 1] = on[:, 0]
    on[:, 3] = False
    y = np.where(on[:, 0], rng.random(600) < 0.8, rng.random(600) < 0.3)
    result = contrast(small(tmp_path, on, y), True, by="y")
    assert set(result.findings["feature"]) == {0, 1}
    assert len(result.model) >= 1
    assert np.isfinite(result.model["coefficient"].to_numpy()).all()


def test_labels_come_from_the_run(planted, tmp_path):
    codes = write_codes(tmp_path / "codes" / "x", planted.activations, metadata=planted.columns)
    table = pd.DataFrame({"feature": range(48), "label": planted.names})
    table.to_parquet(tmp_path / "features.parquet")
    result = contrast(codes, "B", "A", by="group")
    assert result.findings["label"].tolist() == [
        planted.names[j] for j in result.findings["feature"]
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: contrast(c, "B", "B", by="group"), "must be apart"),
        (lambda c: contrast(c, "none such", by="group"), "none such has 0 rows"),
        (lambda c: contrast(c, np.ones(3, bool)), "3 rows, the corpus 2000"),
        (lambda c: contrast(c, b="B", by="group"), "a is missing, b=B, by=group"),
        (lambda c: contrast(c), "a is missing"),
        (lambda c: explain(c, [1, 2]), "2 values, the corpus has 2000"),
        (lambda c: explain(c, ["a"] * 2000), "1 different values"),
        (lambda c: explain(c, "group", kind="numeric"), "needs numbers"),
        (lambda c: over_time(c, "group"), "neither numbers nor dates"),
        (lambda c: contrast(c, "B", by="grp"), "has no column 'grp'"),
    ],
)
def test_errors_say_what_was_given(codes, call, message):
    with pytest.raises(ValueError, match=message):
        call(codes)


def test_label_cells_hold_several_labels():
    names, matrix = label_matrix(np.array(["b|a", None, "a", "", "a|a"], dtype=object))
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [1, 0], [0, 0], [1, 0]]
