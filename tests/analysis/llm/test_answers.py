"""Answers of language models: read without trusting their form."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from nanosae.analysis.llm.answers import (
    MAX_CHARACTERS,
    agreement,
    answer_fault,
    parse_label,
    parse_matches,
    parse_prediction,
    token_count,
)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (
            "FINAL: one two three four five six seven eight nine",
            "one two three four five six seven eight",
        ),
        ("<think>FINAL: no</think>\nFinal: **yes**", "yes"),
        ("FINAL: \x1b[31mred\x07 \u202etext", "[31mred text"),
        ("FINAL: نیم\u200cفاصله", "نیم\u200cفاصله"),  # a joiner is part of the word
        ("thinking FINAL: no</think>\nFINAL: yes", "yes"),
        ("<think>never ends FINAL: no", ""),
        ("FINAL:", ""),
        (None, ""),
    ],
)
def test_names_are_what_follows_the_last_mark(answer, name):
    assert parse_label(answer) == name


def test_agreement_by_hand():
    truth, guess = np.array([1, 1, 0, 0.0]), np.array([0.5, -0.5, 0.5, -0.5])
    found = agreement(guess, truth)
    assert (found["llm_f1"], found["llm_pearson"]) == (0.5, 0.0)
    assert agreement(np.array([np.nan, 1, -1, -1]), truth)["llm_unparsed"] == 1
    assert np.isnan(agreement(guess[:2], truth[:2])["llm_f1"])  # all active: not a test


@pytest.mark.parametrize(
    ("predicted", "doubtful"),
    [
        ([1, 1, -1, -1], False),  # F1 1
        ([1, 1, 1, -1], False),  # 4 / 5
        ([1, 1, 1, 1], True),  # 2 / 3, that of "all of them"
        ([1, -1, -1, -1], True),  # 2 / 3, too
        ([np.nan] * 4, True),
    ],
)
def test_a_name_no_better_than_saying_yes_is_doubtful(predicted, doubtful):
    found = agreement(np.array(predicted, float), np.array([1, 1, 0, 0.0]))
    assert found["llm_doubtful"] is doubtful


def test_a_name_that_nobody_judged_is_doubtful():
    assert agreement(np.zeros(0), np.zeros(0))["llm_doubtful"] is True


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("FINAL: trees", ""),
        ("", "empty answer"),
        (None, "empty answer"),
        (["FINAL: trees"], "answer of type list"),
        (7, "answer of type int"),
        ("x" * (MAX_CHARACTERS + 1), f"answer of {MAX_CHARACTERS + 1} characters"),
        ("x" * MAX_CHARACTERS, ""),
        ("FINAL: \ud800", "answer that is not Unicode text"),
    ],
)
def test_only_texts_of_sane_length_are_kept(answer, fault):
    assert answer_fault(answer) == fault


@pytest.mark.parametrize("given", [None, "7", 7.5, True, -1, 0, 10**30])
def test_what_cannot_be_a_count_of_tokens_is_not_booked(given):
    assert token_count(given, 100) == 100
    assert token_count(7, 100) == 7


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("PREDICTION: 0.9", 0.9),
        ("PREDICTION: −0.8", -0.8),
        ("PREDICTION: 9" + "9" * 400, 1),
        ("PREDICTION: -17", -1),
        ("PREDICTION: .5\nNo, PREDICTION: -.25", -0.25),
        ("PREDICTION: \u20110.9", -0.9),  # a hyphen that does not break
        ("PREDICTION: \u20130.9", -0.9),  # an en dash
        ("PREDICTION: - 0.9", -0.9),
        ("PREDICTION: 0,7", 0.7),
        ("PREDICTION: -,7", -0.7),
        ("PREDICTION: 1e-3", 0.001),
        ("PREDICTION: 1, as it fits", 1),
        ("**PREDICTION:**\n\n**-0.4**", -0.4),
        ("PREDICTION: high \u2014 0.9", 0.9),
        ("PREDICTION: active - 0.8", 0.8),
        ("PREDICTION: active\u20130.8", 0.8),
        ("PREDICTION: (inactive) \u22120.8", -0.8),
        ("PREDICTION:\n0.3\n0.9 would be too much", 0.3),
        ("0.9", None),
        (None, None),
    ],
)
def test_predictions_lie_between_minus_one_and_one(answer, value):
    found = parse_prediction(answer)
    assert np.isnan(found) if value is None else found == value


def test_numbers_without_end_are_no_matches():
    assert parse_matches("MATCHES: " + "9" * 5000 + ", 2", 3).tolist() == [0, 1, 0]
    assert np.isnan(parse_matches("MATCHES: all of them", 2)).all()
    assert parse_matches("MATCHES: 1, 2, 3", 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("MATCHES: none of the texts 1 to 5", []),
        ("MATCHES: None.", []),
        ("MATCHES: 2-4", [2, 3, 4]),
        ("MATCHES: 1, 3 \u2013 9", [1, 3, 4, 5]),
        ("MATCHES: 4-2", []),
        ("MATCHES: 0, 6", []),
        ("MATCHES: 1 - the first, 3 - the third", [1, 3]),
        ("MATCHES: 1-999999999, 2", [1, 2, 3, 4, 5]),
        ("MATCHES: 5, 2 (none of the others)", [2, 5]),
        ("MATCHES:\n1, 2", [1, 2]),
        ("MATCHES:\n1\n3\n", [1, 3]),
        ("**MATCHES:**\r\n\r\n- 1\r\n- 3-4\r\n\r\nNot 2.", [1, 3, 4]),
        ("MATCHES:\n1. boats\n4. tides\nand none of 2 and 3", [1, 4]),
        ("MATCHES: 1, 3\n2 is not one", [1, 3]),
    ],
)
def test_matches_may_be_ranges_or_none_of_them(answer, named):
    assert (np.flatnonzero(parse_matches(answer, 5)) + 1).tolist() == named


def test_a_label_may_stand_below_its_tag():
    assert parse_label("**FINAL:**\n\n**text editors**\nThat is all.") == "text editors"
    assert parse_label("FINAL:") == ""


def test_a_label_has_at_most_eight_words_of_sane_length():
    assert parse_label("FINAL: " + "長" * 121) == ""
    assert parse_label("FINAL: " + "長" * 120) == "長" * 120


def test_agreement_is_that_of_sklearn():
    rng = np.random.default_rng(0)
    truth = (rng.random(60) < 0.4).astype(float)
    predicted = np.clip(truth - 0.5 + rng.normal(size=60), -1, 1).round(1)
    found = agreement(predicted, truth)
    assert found["llm_f1"] == pytest.approx(f1_score(truth, predicted > 0))
    assert found["llm_f1"] != pytest.approx(f1_score(truth, predicted >= 0))
    assert found["llm_pearson"] == pytest.approx(pearsonr(predicted, truth).statistic)
    assert found["llm_n"] == 60
