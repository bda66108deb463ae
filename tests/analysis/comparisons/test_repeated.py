"""Texts that occur many times: their shares against pandas, their tests against SciPy."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from nanosae.analysis.comparisons import repeated
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.repeated import (
    compare_repeated,
    form_of,
    repeated_texts,
)
from nanosae.analysis.comparisons.summary import findings
from nanosae.codes import write_codes

N = 1200
LETTERS = (
    "Your payment of {} EUR was received.",
    "We have not received your payment of {} EUR!",
    "Your order {} was shipped; it arrives in {} days.",
    "Password changed for user {}",
    "ok",
)


@pytest.fixture
def frame():
    """Letters that differ in numbers alone; the second is sent to the North, later, and waits."""
    rng = np.random.default_rng(0)
    letter = rng.integers(0, len(LETTERS), N)
    texts = [LETTERS[i].format(rng.integers(9**9), rng.integers(99)) for i in letter]
    is_second = letter == 1
    north = rng.random(N) < np.where(is_second, 0.8, 0.45)
    day = np.where(is_second, 365 * rng.beta(3, 1, N), 365 * rng.random(N))
    return pd.DataFrame(
        {
            "text": texts,
            "letter": letter,
            "region": np.where(north, "North", "South"),
            "when": pd.Timestamp("2023-01-01") + pd.to_timedelta(day.astype(int), "D"),
            "wait": rng.normal(10, 3, N) + 6 * is_second,
        }
    )


def written(path, frame):
    one_feature = sp.csr_array(np.ones((len(frame), 1), np.float32))
    return write_codes(path, one_feature, metadata=frame)


def test_forms_do_not_depend_on_numbers_and_case():
    assert form_of("Disk /dev/sda1 is 97 % full") == form_of(
        "disk /dev/sda7 is 3 % FULL."
    )
    assert form_of("cache hit for 7f3a9") == form_of("cache hit for 91bc2")
    assert form_of("cache miss 7f3a9") != form_of("cache hit 7f3a9")
    assert form_of("-") != form_of("?")
    assert form_of("n/a") == form_of("N.A")
    assert form_of("दिन 1") == form_of("दिन 23!") != form_of("दीन 1")


@given(st.text(st.sampled_from("ab1_- \t٣²é"), max_size=12))
def test_a_form_has_a_zero_for_each_word_with_a_digit(text):
    with_zeros = re.sub(r"\w*\d\w*", "0", text.lower())
    assert form_of(text) == (" ".join(re.findall(r"\w+", with_zeros)) or text.strip())


def test_repeated_texts_are_the_frequent_forms(frame, tmp_path):
    codes = written(tmp_path, frame)
    texts = repeated_texts(codes)
    largest_first = frame["letter"].value_counts()
    assert np.bincount(texts.row_topic).tolist() == largest_first.tolist()
    for number, letter in enumerate(largest_first.index):
        assert (frame["letter"][texts.row_topic == number] == letter).all()
    rare = written(tmp_path / "rare", frame.drop_duplicates("letter"))
    assert repeated_texts(rare) is None
    assert compare_repeated(rare, groups=["region"]) == []


def test_rows_without_a_text_repeat_none(frame, tmp_path):
    frame.loc[:99, "text"] = ["", " \n", None, "\t"] * 25
    texts = repeated_texts(written(tmp_path, frame))
    assert all(name.strip() for name in texts.names)
    assert (texts.row_topic[:100] == -1).all()
    assert (texts.row_topic[100:] >= 0).all()


def test_groups_are_compared_by_all_their_rows(frame, tmp_path):
    codes = written(tmp_path, frame)
    [result] = compare_repeated(codes, groups=["region"])
    table = findings([result])
    assert table["feature"].isna().all()
    assert table["topic"].isna().all()
    first = table.iloc[0]
    assert first["sentence"].startswith(
        "Texts that read like “We have not received your"
    )
    crossed = pd.crosstab(frame["letter"] == 1, frame["region"], normalize="columns")
    shares = crossed.loc[True]
    assert {first["share"], first["other_share"]} == set(shares)
    of_second = result.findings.iloc[0]
    counts = pd.crosstab(frame["letter"] == 1, frame["region"])
    _, p, *_ = chi2_contingency(counts, correction=False, lambda_="log-likelihood")
    assert of_second["q"] == pytest.approx(p * len(LETTERS), rel=0.02)
    counted_once = contrast(codes, by="region")
    assert counted_once.about["n_independent"] < 20  # copies are one text there
    assert result.about["n_independent"] == N


def test_times_and_numbers_are_told_in_words(frame, tmp_path):
    codes = written(tmp_path, frame)
    found = compare_repeated(codes, times=["when"], numbers=["wait"])
    sentences = findings(found)["sentence"].tolist()
    rise = next(sentence for sentence in sentences if " rise " in sentence)
    assert rise.startswith("Texts that read like “We have not received your payment of")
    wait = next(sentence for sentence in sentences if "wait is" in sentence)
    is_second = frame["letter"] == 1
    waits = frame["wait"].clip(*frame["wait"].quantile([0.01, 0.99]))  # winsorised
    difference = waits[is_second].mean() - waits[~is_second].mean()
    n = is_second.sum()
    assert f"wait is on average {difference:.2g} higher" in wait
    assert wait.endswith(f"than in other texts ({n} texts).")


@pytest.mark.slow
def test_shuffled_columns_yield_nothing(frame, tmp_path):
    rng = np.random.default_rng(3)
    names = [f"column{i}" for i in range(60)]
    for i, name in enumerate(names):
        column = ("region", "wait")[i % 2]
        frame[name] = rng.permutation(frame[column].to_numpy())
    codes = written(tmp_path, frame)
    found = compare_repeated(codes, groups=names[::2], numbers=names[1::2])
    assert sum(len(result.findings) > 0 for result in found) <= 6


def test_columns_that_cannot_be_compared_are_passed_over(frame, tmp_path):
    codes = written(tmp_path, frame.assign(same="x"))
    assert len(compare_repeated(codes, groups=["same", "region"])) == 1


def test_only_the_most_frequent_are_compared(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(repeated, "MAX_TEXTS", 2)
    texts = repeated_texts(written(tmp_path, frame))
    assert len(texts.names) == 2
    assert (texts.row_topic >= 0).sum() == frame["letter"].value_counts()[:2].sum()
