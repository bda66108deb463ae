"""Words that set groups of features apart, by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from hypothesis import HealthCheck

from nanosae.analysis.groups import families as module
from nanosae.analysis.names.group_names import common_words, feature_names
from nanosae.codes import write_codes
from nanosae.runs import annotations
from nanosae.runs.tables import save_features

families: Any = module.families
# `make` gives every example a folder of its own
SHARED = [HealthCheck.function_scoped_fixture]


def test_common_words_by_hand():
    names = {
        0: ("bank account", 1.0),
        1: ("bank loan", 0.5),
        2: ("river bank", 1.0),
        3: ("river", 1.0),
        4: ("the river", 1.0),
        5: ("das Übel", 1.0),
        6: ("ÜBEL", 1.0),
    }
    # account, loan: in one label only
    assert common_words([[0, 1, 9]], names, 3) == [["bank"]]
    assert common_words([[5, 6]], names, 3) == [["Übel"]]
    assert common_words([[3]], names, 3) == [["river"]]
    assert common_words([[9], []], names, 3) == [[], []]
    # worth: bank 1.5 × log(2/3 ÷ 3/7), river 1 × log(1/3 ÷ 3/7) < 0
    assert common_words([[0, 1, 3, 4]], names, 3) == [["river", "bank"]]
    assert 2 * math.log(2 / 4 * 7 / 3) > 1.5 * math.log(2 / 4 * 7 / 3) > 0


def test_words_keep_their_vowel_signs():
    names = {0: ("दिन, रात", 1.0), 1: ("दिन", 1.0), 2: ("नदी", 1.0), 3: ("สวัสดี", 1.0)}
    assert common_words([[0, 1], [2], [3]], names, 3) == [["दिन"], ["नदी"], ["สวัสดี"]]


def test_a_word_of_every_label_says_nothing():
    names = {j: (f"query about w{j % 2}", 1.0) for j in range(8)}
    assert common_words([[0, 2, 4]], names, 5) == [["w0"]]


def test_phrases_stay_whole_and_inflections_are_one():
    names = {
        0: ("dark matter, halos", 1.0),
        1: ("dark matter, Halo", 1.0),
        2: ("light, matter", 1.0),
        3: ("tree, dark", 1.0),
    }
    assert common_words([[0, 1]], names, 5) == [["dark matter", "halos"]]


def test_labels_count_by_their_score_and_missing_ones_are_left_out():
    table = pd.DataFrame({"feature": [1, 2, 3, 4], "label": ["a", None, "", "d"]})
    assert feature_names(table) == {1: ("a", 1.0), 4: ("d", 1.0)}
    table["label_auc"] = [0.9, 0.8, 0.7, np.nan]
    assert feature_names(table) == {1: ("a", 0.9), 4: ("d", 0.5)}
    assert feature_names(None) == feature_names(table.drop(columns="label")) == {}
    assert feature_names({np.int64(1): "a", 2: ""}) == {1: ("a", 1.0)}


def test_a_score_counts_for_its_own_label_alone(tmp_path):
    codes = write_codes(tmp_path / "codes" / "default", sp.csr_array(np.eye(4)))
    table = pd.DataFrame({"feature": range(4), "label": list("abcd")})
    table["label_auc"] = [0.9, 0.6, 0.7, np.nan]
    table["llm_label"] = ["", "model's", None, ""]
    save_features(tmp_path, table, codes)
    annotations.rename(tmp_path, 2, "mine")
    found = feature_names(None, codes)
    assert found == {0: ("a", 0.9), 1: ("model's", 1), 2: ("mine", 1), 3: ("d", 0.5)}
