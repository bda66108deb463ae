"""Comparisons of groups against planted truth and counts by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom, norm

from nanosae.analysis.comparisons import effects, hypotheses
from nanosae.analysis.comparisons.contrast import _members, contrast
from nanosae.analysis.comparisons.explain import explain, question_about
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.comparisons.summary import findings, lines
from nanosae.codes import write_codes
from nanosae.errors import DataError
from small_corpora import active_with_target


def test_contrast_finds_all_planted_differences_and_their_sizes(
    compared_codes, compared
):
    result = contrast(compared_codes, "B", "A", by="group")
    found = result.findings.set_index("feature")
    assert set(found.index) == set(compared.group_odds)
    for j, odds in compared.group_odds.items():
        row = found.loc[j]
        assert np.sign(row["effect"]) == np.sign(np.log(odds))
        assert abs(row["effect"] - np.log(odds)) < 2 * (row["high"] - row["low"]) / 2
        assert row["odds_ratio"] == pytest.approx(np.exp(row["effect"]))
        assert row["risk_difference"] == pytest.approx(row["share"] - row["share_rest"])


@pytest.mark.parametrize("share", [0, 1])
def test_shares_of_none_and_of_all_are_exact_though_duplicates_count_as_fractions(
    share, tmp_path, monkeypatch
):
    rng = np.random.default_rng(0)
    n_copies = rng.integers(1, 9, 60)
    texts = np.repeat([f"text {'x' * i}" for i in range(60)], n_copies)
    group = np.repeat(np.arange(60) < 30, n_copies)
    active = rng.random((len(texts), 40)) < 0.5
    active &= group[:, None]
    if share == 1:
        active = ~active
    order = rng.permutation(len(texts))
    codes = write_codes(
        tmp_path / "codes",
        active[order].astype(np.float32),
        texts=texts[order],
        metadata={"group": np.where(group, "here", "there")[order]},
    )

    def shares():
        return contrast(codes, "here", by="group").table["share_rest"]

    assert (shares() == share).all()
    monkeypatch.setattr(effects, "ROUNDING", -1)
    assert (shares() != share).any()  # fractions do not add up exactly


def test_text_length_is_held_equal_unless_told_otherwise(compared_codes, compared):
    """Channel depends on text length alone: raw differences are many, adjusted ones none."""
    raw = contrast(compared_codes, "long", "short", by="channel", covariates=())
    assert len(raw.findings) >= 5
    assert len(contrast(compared_codes, "long", "short", by="channel").findings) == 0


@pytest.mark.parametrize("make", [list, tuple, set, np.array, pd.Series])
def test_several_values_may_be_given_in_any_container(compared_codes, make):
    years = np.unique(compared_codes.column("year"))[:2].tolist()
    both = contrast(compared_codes, years, by="year", covariates=())
    given = contrast(compared_codes, make(years), by="year", covariates=())
    assert given.table["p"].tolist() == both.table["p"].tolist()


def test_two_groups_of_rows_have_different_names(compared_codes):
    is_a = compared_codes.column("group") == "A"
    by_value = contrast(compared_codes, "A", "B", by="group")
    by_mask = contrast(compared_codes, is_a, ~is_a)
    assert by_mask.table["p"].tolist() == by_value.table["p"].tolist()
    sentences = [line for line in repr(by_mask).splitlines() if " make up " in line]
    assert sentences
    for line in sentences:
        first, second = line.split(" and ")
        assert first.endswith("chosen rows")
        assert ("other" in first) != ("other" in second)


def test_the_name_of_a_column_is_not_silently_a_word(tmp_path):
    texts = [f"a text of the {'group' if i % 2 else 'other'} {i}" for i in range(200)]
    active = np.random.default_rng(0).random((200, 9)) < 0.4
    codes = write_codes(
        tmp_path / "codes",
        active.astype(np.float32),
        texts=texts,
        metadata={"group": ["x", "y"] * 100, "country": ["z"] * 200},
    )
    result = contrast(codes, "group")
    assert "compared by by='group'" in repr(result)
    assert "by by=" not in repr(contrast(codes, "other"))
    with pytest.raises(
        DataError, match=r"No text contains 'countri'.* near is country"
    ):
        contrast(codes, "countri")
    with pytest.raises(DataError, match="Give one column at a time"):
        contrast(codes, by=["group", "country"])


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_many_dates_are_not_compared_with_each_other(compared_codes, unit):
    days = pd.Series(pd.date_range("2024-01-01", periods=compared_codes.n_rows))
    days = days.astype(f"datetime64[{unit}]")
    with pytest.raises(DataError, match="over_time"):
        explain(compared_codes, days)
    few = days.dt.to_period("Y").dt.start_time
    assert len(few.unique()) > 1
    assert explain(compared_codes, few).about["n_tested"] > 0


def test_all_that_is_found_is_shown_or_counted(compared_codes):
    result = contrast(compared_codes, "long", "short", by="channel", covariates=())
    shown = repr(result)
    assert "finding" in shown.splitlines()[0]
    one = replace(result, table=result.findings.head(1))
    assert repr(one).startswith("1 finding among")
    reversed_effect = one.table.assign(effect=-one.table["effect"])
    adjusted_only = replace(result, table=reversed_effect)
    assert "only at equal covariates" in repr(adjusted_only)
    many = pd.concat([one.table] * 30, ignore_index=True)
    many = many.assign(feature=range(30), label=[f"label {i}" for i in range(30)])
    assert "… and 10 more" in repr(replace(result, table=many))


def test_a_model_that_predicts_nothing_is_not_praised(compared_codes):
    noise = np.random.default_rng(1).normal(size=compared_codes.n_rows)
    result = explain(compared_codes, pd.Series(noise, name="the noise"))
    (score,) = result.scores.to_dict("records")
    assert score["features"] < score["covariates"]
    (sentence,) = result.model_sentences()
    assert sentence.startswith("Features do not help to predict the noise")


def test_shuffled_labels_find_nothing(compared_codes, compared):
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(3):
        group = rng.permutation(compared.columns["group"])
        result = explain(compared_codes, group, seed=seed)
        hits += len(result.findings) > 0
        for auc in result.scores["features"] if len(result.scores) else []:
            assert auc < 0.56
        hits += (
            len(
                explain(
                    compared_codes, rng.permutation(compared.columns["score"])
                ).findings
            )
            > 0
        )
    assert hits <= 1  # each finds something with at most 5 %


def test_selection_and_report_on_the_same_rows_would_be_caught(compared_codes):
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


def test_pairs_are_fitted_in_blocks_with_the_same_result(compared_codes, monkeypatch):
    whole = contrast(compared_codes, by="group").table
    n_fits = 0
    fit = effects.fit_log_odds

    def counted(*counts):
        nonlocal n_fits
        n_fits += 1
        return fit(*counts)

    monkeypatch.setattr(effects, "fit_log_odds", counted)
    monkeypatch.setattr(effects, "BLOCK_CELLS", 1)
    blocks = contrast(compared_codes, by="group").table
    assert n_fits > 1
    pd.testing.assert_frame_equal(blocks, whole, rtol=1e-9)


def test_group_columns_agree_with_counts_by_hand(tmp_path):
    rng = np.random.default_rng(4)
    on = rng.random((1200, 5)) < [0.3, 0.1, 0.1, 0.1, 0.1]
    y = np.where(rng.random(1200) < np.where(on[:, 0], 0.8, 0.3), "yes", "no")
    strengths = on * rng.integers(1, 4, on.shape)  # ties
    codes = active_with_target(tmp_path, strengths, y)
    row = contrast(codes, "yes", by="y").table.set_index("feature").loc[0]
    yes, x, s = y == "yes", on[:, 0], strengths[:, 0]
    assert row["n_active"] == x.sum()
    assert row["share"] == pytest.approx(x[yes].mean())
    assert row["share_rest"] == pytest.approx(x[~yes].mean())
    assert row["r"] == pytest.approx(np.corrcoef(x, yes)[0, 1])
    pairs = np.sign(s[yes][:, None] - s[~yes][None, :])
    assert row["cliffs_delta"] == pytest.approx(pairs.mean())


@pytest.mark.parametrize("n_copies", [1, 5, 7, 19])
def test_as_many_texts_as_needed_are_tested_however_often_one_is_copied(
    tmp_path, n_copies
):
    source = np.r_[np.arange(60), np.full(n_copies - 1, 9)]
    on = (np.arange(60) < 10)[source, None]
    y = np.where(np.arange(60) % 2, "yes", "no")[source]
    codes = active_with_target(tmp_path, on, y, source=source.astype(str))
    for min_active, n_tested in ((10, 1), (11, 0)):
        found = contrast(codes, "yes", by="y", groups="source", min_active=min_active)
        assert found.about["n_tested"] == n_tested


def test_copies_count_once_in_cliffs_delta(tmp_path):
    rng = np.random.default_rng(4)
    y = np.where(rng.random(600) < 0.5, "yes", "no")
    on = rng.random((600, 3)) < 0.2
    on[:, 0] |= (y == "yes") & (rng.random(600) < 0.2)
    strengths = on * rng.integers(1, 4, on.shape)
    source = np.arange(600)
    first = np.flatnonzero(on[:, 0] & (y == "no"))[0]
    copies = np.append(np.arange(600), np.full(400, first))
    codes = active_with_target(
        tmp_path, strengths[copies], y[copies], source=source[copies].astype(str)
    )
    table = contrast(codes, "yes", by="y", groups="source").table
    row = table.set_index("feature").loc[0]
    pairs = np.sign(strengths[y == "yes", 0][:, None] - strengths[y == "no", 0])
    assert row["cliffs_delta"] == pytest.approx(pairs.mean())
    assert row["cliffs_delta"] > 0.05


def test_a_rare_perfect_feature_is_found_where_padded_top_rows_miss_it(tmp_path):
    """HypotheSAEs' separation takes the top 100 of `activation >= 0`: silent rows pad rare ones."""
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    on = (rng.random((3000, 20)) < 0.05).astype(np.float32)
    on[:, 7] = 0
    on[np.flatnonzero(y == 1)[:: 1500 // 40], 7] = 1  # 41 rows, all positive

    def separation(x, mask):
        top = np.argsort(-np.where(mask, x, -np.inf), kind="stable")[
            : min(100, mask.sum())
        ]
        return y[top].mean() - y[x == 0].mean()

    assert (
        separation(on[:, 7], on[:, 7] >= 0)
        < 0.3
        < 0.49
        < separation(on[:, 7], on[:, 7] > 0)
    )
    assert contrast(active_with_target(tmp_path, on, y), 1, by="y").findings[
        "feature"
    ].tolist() == [7]


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
    codes = active_with_target(tmp_path, copied, np.repeat(y, times), source=source)
    naive = contrast(codes, True, by="y")
    honest = contrast(codes, True, by="y", groups="source")
    assert 0 in naive.findings["feature"].tolist()
    assert 0 not in honest.findings["feature"].tolist()
    assert honest.about["n_independent"] < naive.about["n_independent"]
    assert honest.about["n_rows"] > honest.about["n_independent"]


def test_groups_by_mask_rows_feature_and_text_are_the_same(compared_codes, compared):
    j = max(compared.group_odds, key=lambda f: compared_codes.counts[f])
    rows = compared_codes.feature(j)[0]
    mask = np.zeros(compared_codes.n_rows, bool)
    mask[rows] = True
    by_mask, by_rows, by_feature = (
        contrast(compared_codes, a) for a in (mask, rows, j)
    )
    pd.testing.assert_frame_equal(
        by_mask.table.drop(columns="target"), by_rows.table.drop(columns="target")
    )
    assert j in by_mask.findings["feature"].tolist()
    assert j not in by_feature.table["feature"].tolist()
    word = contrast(compared_codes, compared.words[j][0])
    assert word.findings["feature"].iloc[0] == j
    assert "texts with" in word.sentences(1)[0]


@pytest.mark.parametrize("block", [1, 7, 2**14])
def test_a_word_in_any_case_is_found_in_every_block_of_texts(
    tmp_path, monkeypatch, block
):
    monkeypatch.setattr("nanosae.analysis.reading.TEXTS", block)
    texts = ["Tea", "a TEAPOT", "coffee", "", "t e a", "steam", "green tea", "x"]
    codes = write_codes(tmp_path / "c", np.ones((8, 1), np.float32), texts=texts)
    rows, name = _members(codes, "tea", None)
    assert np.flatnonzero(rows).tolist() == [0, 1, 5, 6]
    assert name == "texts with “tea”"


def test_whole_numbers_name_groups_also_where_some_are_missing(compared, tmp_path):
    year = pd.array(compared.columns["group"] == "B", dtype="Int64") + 2019
    year[[3, 5]] = pd.NA
    codes = write_codes(tmp_path, compared.activations, metadata={"year": year})
    assert codes.column("year").dtype == np.float64
    for a, b in (("2020", "2019"), (2020, None), (["2020.0"], 2019)):
        assert contrast(codes, a, b, by="year").about["n_rows"] == codes.n_rows - 2
    with pytest.raises(ValueError, match="2021 has 0 rows"):
        contrast(codes, 2021, by="year")
    with pytest.raises(ValueError, match="year holds numbers, but 'May' is not one"):
        contrast(codes, "May", by="year")


@pytest.mark.parametrize("dtype", ["Int64", "Float64", float, object])
def test_given_numbers_name_groups_as_those_of_a_column_do(
    compared_codes, compared, dtype
):
    year = pd.Series(compared.columns["group"] == "B").astype(int) + 2019
    given = year.astype(dtype)
    given[[3, 5]] = None
    n_b = int((compared.columns["group"] == "B").sum())
    n_missing_b = int((year[[3, 5]] == 2020).sum())
    for a in (2020, "2020", 2020.0, ["2020.0"]):
        result = contrast(compared_codes, a, by=given, covariates=())
        assert result.about["n_rows"] == compared_codes.n_rows - 2
        members, _ = _members(compared_codes, a, given)
        assert members.sum() == n_b - n_missing_b
    with pytest.raises(DataError, match="holds numbers, but 'May' is not one"):
        contrast(compared_codes, "May", by=given)


def test_a_mask_of_objects_with_gaps_is_a_mask(compared_codes, compared):
    in_b = pd.Series(compared.columns["group"] == "B")
    with_gaps = in_b.astype(object)
    with_gaps[[3, 5]] = None
    result = contrast(compared_codes, with_gaps, covariates=())
    whole = contrast(compared_codes, in_b & ~in_b.index.isin([3, 5]), covariates=())
    assert result.to_dict() == whole.to_dict()


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_dates_name_groups_by_day_month_or_year(compared, tmp_path, unit):
    day = np.arange(len(compared.texts)) % 366
    dates = (np.datetime64("2024-01-01") + day).astype(f"M8[{unit}]")
    codes = write_codes(tmp_path, compared.activations, metadata={"date": dates})
    n_january = int((day < 31).sum())
    for a, b, n_rows in (
        ("2024-01", "2024-02", int((day < 60).sum())),
        ("2024-01", "2024-03-01", n_january + int((day == 60).sum())),
        (pd.Timestamp("2024-01-31"), None, codes.n_rows),
        (["2024-01-01", "2024-01-02"], "2024-12", int(((day < 2) | (day > 334)).sum())),
    ):
        assert contrast(codes, a, b, by="date").about["n_rows"] == n_rows
    with pytest.raises(DataError, match=r"2023 has 0 rows.*2024-01-01 00:00:00"):
        contrast(codes, "2023", by="date")
    with pytest.raises(DataError, match="date holds dates, but 'May' is not one"):
        contrast(codes, "May", by="date")


def test_the_same_seed_gives_the_same_result(compared_codes):
    first, second = (
        contrast(compared_codes, "B", "A", by="group", seed=7) for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.table, second.table)
    pd.testing.assert_frame_equal(first.model, second.model)
    other = contrast(compared_codes, "B", "A", by="group", seed=8)
    assert first.scores["features"].tolist() != other.scores["features"].tolist()
    pd.testing.assert_frame_equal(first.table, other.table)  # rests on all rows


def test_two_equal_features_and_a_silent_one_do_no_harm(tmp_path):
    rng = np.random.default_rng(0)
    on = rng.random((600, 4)) < 0.3
    on[:, 1] = on[:, 0]
    on[:, 3] = False
    y = np.where(on[:, 0], rng.random(600) < 0.8, rng.random(600) < 0.3)
    result = contrast(active_with_target(tmp_path, on, y), True, by="y")
    assert set(result.findings["feature"]) == {0, 1}
    assert len(result.model) >= 1
    assert np.isfinite(result.model["coefficient"].to_numpy()).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: contrast(c, "B", "B", by="group"), "not be empty or overlap"),
        (lambda c: contrast(c, "none such", by="group"), "none such has 0 rows"),
        (
            lambda c: contrast(c, "shirt", by="channel"),
            "near is short\\. Give one",
        ),
        (
            lambda c: contrast(c, "C", by="group"),
            "in column 'group'; there are [AB], [AB]",
        ),
        (lambda c: contrast(c, np.ones(3, bool)), "has length 3; needed: 2000"),
        (lambda c: contrast(c, [0, -1]), "row -1 is out of range"),
        (lambda c: contrast(c, b="B", by="group"), "no first group to compare with b"),
        (lambda c: contrast(c), "no first group to compare"),
        (lambda c: explain(c, [1, 2]), "got 2 values for the 2000 rows"),
        (lambda c: explain(c, ["a"] * 2000), "1 different value;"),
        (lambda c: explain(c, "group", kind="numeric"), "needs numbers"),
        (lambda c: explain(c, "group", kind="class"), "kind='class' must be one of"),
        (lambda c: over_time(c, "group"), "neither numbers nor dates"),
        (lambda c: contrast(c, "B", by="grp"), "has no column 'grp'"),
        (
            lambda c: contrast(c, "B", by="group", groups=pd.Series(["a"])),
            "given by its name, not by Series",
        ),
        (
            lambda c: contrast(c, "B", by="group", covariates=[np.ones(3)]),
            "given by its name, not by ndarray",
        ),
    ],
)
def test_errors_say_what_was_given(compared_codes, call, message):
    with pytest.raises(ValueError, match=message):
        call(compared_codes)


@pytest.mark.parametrize(("n_active", "tested"), [(9, False), (10, True)])
def test_a_feature_must_be_active_on_ten_texts(tmp_path, n_active, tested):
    y = np.arange(1000) % 2
    active = np.zeros((1000, 1))
    active[np.flatnonzero(y == 1)[:n_active], 0] = 1
    result = contrast(active_with_target(tmp_path, active, y), 1, by="y")
    assert result.about["n_tested"] == tested
    assert len(result.table) == tested


def test_candidates_are_those_of_a_score_test_and_all_tests_count(tmp_path):
    rng = np.random.default_rng(1)
    y = rng.random(800) < 0.4
    active = rng.random((800, 60)) < rng.uniform(0.1, 0.5, 60)
    active[:, 0] = np.where(rng.random(800) < 0.4, y, active[:, 0])
    result = contrast(active_with_target(tmp_path, active, y), True, by="y")
    p = np.array([hypergeom_score_p(active[:, j], y) for j in range(60)])
    assert set(result.table["feature"]) == set(np.flatnonzero(p <= 0.05))
    assert result.about["n_tested"] == 60
    strongest_first = result.table.sort_values("p")
    step_up = 60 / np.arange(1, len(p[p <= 0.05]) + 1) * strongest_first["p"]
    expected = np.minimum.accumulate(step_up[::-1])[::-1]
    np.testing.assert_allclose(strongest_first["q"], expected.clip(upper=1))


def test_findings_come_by_falling_difference_of_shares_and_each_side_by_itself(
    compared_codes, compared
):
    result = contrast(compared_codes, "B", "A", by="group")
    size = result.findings["risk_difference"].abs().tolist()
    assert size == sorted(size, reverse=True)
    assert set(result.sides) == {"A", "B"}
    for side, table in result.sides.items():
        is_more = (table["share"] > table["share_rest"]).tolist()
        assert is_more == [side == "B"] * 3
    told = lines(result, 20)
    assert told.index("More in the texts where group is B:") == 0
    assert told.index("More in the texts where group is A:") == 4
    first = result.sides["B"].iloc[0]
    assert f"“{first['label']}” make up 37 % of the texts where group is B" in told[1]
    assert "odds ratio" in lines(result, 20, statistics=True)[1]


def test_a_group_called_not_a_is_told_from_all_but_a(tmp_path):
    kinds = np.array(["spam", "not spam", "unsure"], object)
    kind = kinds[np.arange(300) % 3]
    active = np.stack([kind == "not spam", kind != "spam"], axis=1)
    active &= np.random.default_rng(0).random((300, 2)) < 0.8
    codes = write_codes(tmp_path, active.astype(np.float32), metadata={"kind": kind})
    result = contrast(codes, by="kind")
    sides = {side: set(table["target"]) for side, table in result.sides.items()}
    assert sides == {
        "not spam": {"not spam"},
        "not “spam”": {"spam"},
        "unsure": {"unsure"},
        "not unsure": {"unsure"},
    }
    of_side = {}
    for line in lines(result, 20):
        if line.endswith(":"):
            heading = line
            of_side[heading] = []
        elif line.startswith("  "):
            of_side[heading].append(line)
    assert set(of_side) == {
        "More in not spam:",
        "Less in spam:",
        "More in unsure:",
        "Less in unsure:",
    }
    assert all("rarer in spam" in line for line in of_side["Less in spam:"])
    assert all("of not spam and" in line for line in of_side["More in not spam:"])
    table = findings([result])
    assert set(table["side"]) <= set(sides)
    is_rest = table["side"] == "not “spam”"
    assert table["sentence"][is_rest].str.contains("rarer in spam").all()


def hypergeom_score_p(active, y):
    """Two-sided p of the number of active rows in the group, normal with hypergeometric moments."""
    null = hypergeom(len(y), y.sum(), active.sum())
    return 2 * norm.sf(abs((active & y).sum() - null.mean()) / null.std())


def test_ids_of_nineteen_digits_are_told_apart(tmp_path):
    ids = 2**60 + np.arange(600)
    codes = active_with_target(tmp_path, np.ones((600, 1)), ids)
    members, _ = _members(codes, str(ids[300]), "y")
    assert np.flatnonzero(members).tolist() == [300]
    as_floats = ids.astype(float) == float(ids[300])
    assert as_floats.sum() > 1  # what a comparison of floats would take


def test_a_group_may_be_a_tag(tmp_path):
    tags = [["yes", "all"], ["no"], ["yes"]] * 20
    codes = active_with_target(tmp_path, np.ones((60, 1)), np.arange(60), tags=tags)
    assert _members(codes, "yes", "tags")[0].tolist() == [True, False, True] * 20


def test_a_group_is_the_same_in_lists_and_in_cells_with_bars(tmp_path):
    rng = np.random.default_rng(0)
    has_tag = rng.random((600, 3)) < 0.5
    rate = np.where(has_tag[:, [0]], 0.6, 0.4)
    active = rng.random((600, 4)) < rate
    lists = [np.array(["x", "y", "z"])[row].tolist() for row in has_tag]
    bars = ["|".join(names) for names in lists]
    trailing = [f"{cell}|" if cell else "" for cell in bars]
    columns = {"lists": lists, "bars": bars, "trailing": trailing}
    codes = active_with_target(
        tmp_path, active.astype(float), np.arange(600), **columns
    )
    assert _members(codes, "x", "bars")[0].tolist() == has_tag[:, 0].tolist()
    is_whole_cell = np.array(bars) == "y|z"
    assert _members(codes, "y|z", "bars")[0].tolist() == is_whole_cell.tolist()
    for groups in ({}, {"a": "x"}):
        tables = [
            contrast(codes, **groups, by=name, covariates=()).table for name in columns
        ]
        assert len(tables[0])
        for table in tables[1:]:
            pd.testing.assert_frame_equal(table, tables[0])
    with pytest.raises(DataError, match=r"there are [xyz], [xyz], [xyz]\."):
        contrast(codes, "w", by="bars")


def test_rows_that_are_alone_in_their_stratum_are_told(compared, tmp_path):
    n = len(compared.texts)
    metadata = {"group": compared.columns["group"], "id": [f"n{i}" for i in range(n)]}
    codes = write_codes(tmp_path, compared.activations, metadata=metadata)
    result = contrast(codes, "B", by="group", covariates=["id"])
    assert result.findings.empty
    note = f"{n:,} of {n:,} rows contribute nothing: no other row has the same id."
    assert any(told.startswith(note) for told in result.about["notes"])
    plain = contrast(codes, "B", by="group", covariates=["group"])
    assert not any("contribute nothing" in told for told in plain.about["notes"])


def test_of_many_small_groups_a_note_names_ten(compared, tmp_path):
    n = len(compared.texts)
    name = np.where(np.arange(n) < n - 15, "large", np.arange(n).astype(str))
    codes = write_codes(tmp_path, compared.activations, metadata={"name": name})
    notes = contrast(codes, by="name").about["notes"]
    (note,) = [note for note in notes if note.startswith("In too few rows")]
    assert note.count(",") == 9
    assert note.endswith(" and 5 more.")


def test_a_tag_of_all_rows_is_not_said_to_be_in_too_few(compared, tmp_path):
    tags = ["all|some" if i % 2 else "all" for i in range(len(compared.texts))]
    tags[5] = "all|rare"
    codes = write_codes(tmp_path, compared.activations, metadata={"tags": tags})
    notes = contrast(codes, by="tags", covariates=()).about["notes"]
    assert notes == [
        "In too few rows to be tested: rare.",
        "In so many rows that too few others are left: all.",
    ]


def test_classes_are_exclusive_only_if_each_row_has_one(tmp_path):
    """A row of two classes and one of none are as many classes as rows, too."""
    kinds = np.array(["a", "b"], object)[np.arange(100) % 2]
    codes = write_codes(
        tmp_path / "one", np.ones((100, 1), np.float32), metadata={"kind": kinds}
    )
    assert question_about(codes, "kind").names == ["b"]
    kinds[:2] = "a|b", "|"
    codes = write_codes(
        tmp_path / "two", np.ones((100, 1), np.float32), metadata={"kind": kinds}
    )
    question = question_about(codes, "kind")
    assert question.names == ["a", "b"]
    assert question.target.sum(0).tolist() == [50, 50]


def test_the_largest_of_very_many_groups_are_compared(compared, tmp_path, monkeypatch):
    n = len(compared.texts)
    # a sixth of the rows, a third and half of them
    name = np.array(["small", "mid", "mid", "large", "large", "large"] * n)[:n]
    codes = write_codes(tmp_path, compared.activations, metadata={"name": name})
    every = contrast(codes, by="name")
    assert set(every.table["target"]) == {"small", "mid", "large"}
    monkeypatch.setattr(hypotheses, "MAX_GROUPS", 2)
    two = contrast(codes, by="name")
    assert "Only the 2 largest of 3 groups are compared." in two.about["notes"]
    key = ["target", "feature"]
    p_of_two = two.table.set_index(key)["p"]
    assert set(two.table["target"]) == {"mid", "large"}
    p_of_every = every.table.set_index(key)["p"]
    np.testing.assert_allclose(p_of_two, p_of_every[p_of_two.index])
