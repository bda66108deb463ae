"""Answers of language models: read without trusting their form."""

import numpy as np
import pytest

from nanosae.analysis.answers import agreement, parse_label


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (
            "FINAL: one two three four five six seven eight nine",
            "one two three four five six seven eight",
        ),
        ("<think>FINAL: no</think>\nFinal: **yes**", "yes"),
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
