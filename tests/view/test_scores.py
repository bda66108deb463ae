"""Scores of the labels that pages show."""

import numpy as np
import pandas as pd

from nanosae.view.scores import label_scores

TABLE = pd.DataFrame(
    {
        "feature": [0, 1, 2, 3, 4],
        "label": ["a", "b", "c", None, ""],
        "llm_label": [None, "B", "C", None, ""],
        "label_auc": [0.9, 0.8, 0.7, np.nan, 0.6],
        "llm_f1": [np.nan, 0.2, np.nan, np.nan, np.nan],
    }
)


def scores(table, named=()):
    return [None if np.isnan(score) else score for score in label_scores(table, named)]


def test_the_score_of_the_label_that_counts_is_shown():
    assert scores(TABLE) == [0.9, 0.2, None, None, None]
    assert scores(TABLE.drop(columns=["llm_label", "llm_f1"])) == [
        0.9,
        0.8,
        0.7,
        None,
        None,
    ]
    assert scores(TABLE[["feature"]]) == [None] * 5


def test_a_name_by_a_person_has_no_score():
    assert scores(TABLE, named={0, 1}) == [None] * 5


def test_stale_scores_are_left_out():
    table = TABLE.copy()
    table.attrs["stale"] = {"label_auc": "of other codes"}
    assert scores(table) == [None, 0.2, None, None, None]
