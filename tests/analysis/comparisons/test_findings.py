"""What a comparison tells: sentences, JSON, HTML, names."""

import json

import numpy as np
import pandas as pd
import pytest

from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.summary import lines
from nanosae.codes import write_codes
from nanosae.errors import DataTypeError
from nanosae.runs.tables import save_features


def test_labels_are_a_mapping_or_a_table(compared_codes):
    table = pd.DataFrame({"feature": range(48), "label": [f"F{i}" for i in range(48)]})
    mapping = dict(zip(table["feature"], table["label"], strict=True))
    by_table = contrast(compared_codes, "B", "A", by="group", labels=table)
    by_mapping = contrast(compared_codes, "B", "A", by="group", labels=mapping)
    assert by_table.findings["label"].str.fullmatch(r"F\d+").all()
    assert by_table.to_dict() == by_mapping.to_dict()
    with pytest.raises(DataTypeError, match="labels must be a mapping"):
        contrast(compared_codes, "B", "A", by="group", labels=["F0"])  # pyright: ignore


def test_what_cannot_be_scored_is_said_to_be_unknown(tmp_path):
    """All texts of a group are copies of one, which is in either part of the split."""
    rng = np.random.default_rng(0)
    active = (rng.random((300, 60)) < 0.05).astype(np.float32)
    active[:30, :5] = 1
    letters = [chr(97 + i % 26) + chr(97 + i // 26) for i in range(300)]
    texts = ["all the same"] * 30 + letters[30:]
    kind = ["copies"] * 30 + ["others"] * 270
    codes = write_codes(tmp_path, active, texts=texts, metadata={"kind": kind})
    for seed in range(4):  # in either part
        result = contrast(codes, "copies", by="kind", covariates=(), seed=seed)
        assert result.scores[["covariates", "features"]].isna().all(axis=None)
        (sentence,) = result.model_sentences()
        assert sentence.startswith("How well features predict copies is unknown")
        (line,) = result.to_dict()["scores"]
        assert line["features"] is None


def test_results_are_json_sentences_and_html(compared_codes, compared):
    name = "a <b> & “c”"
    result = contrast(
        compared_codes, "B", "A", by="group", labels=dict.fromkeys(range(48), name)
    )
    sentence = result.sentences(1)[0]
    assert name in sentence
    for word in (
        "odds ratio",
        "95 % CI",
        "risk difference",
        "Cliff's δ",
        "q = ",
        "of B",
        "of A",
    ):
        assert word in sentence
    assert f"{result.about['n_independent']:,} independent" in sentence
    assert len(result.sentences()) == len(result.findings)
    html = result._repr_html_()
    assert "a &lt;b&gt; &amp;" in html
    assert name not in html
    read = json.loads(json.dumps(result.to_dict()))
    assert {r["feature"] for r in read["findings"]} == set(compared.group_odds)
    assert read["about"]["seed"] == 0
    assert read["sentences"][0] == sentence
    numeric = explain(compared_codes, "score")
    assert "in score" in numeric.sentences(1)[0]


def test_an_explanation_begins_with_its_joint_model_and_its_score(compared_codes):
    result = explain(compared_codes, "score")
    first, second, *_ = lines(result, 20, model=True)
    score = result.scores.iloc[0]
    assert f"R² {score['features']:.2f} on held-out texts" in first
    assert all(f"“{label}”" in first for label in result.model["label"])
    assert second == "Higher score:"
    assert lines(result, 20)[0] == "Higher score:"


def test_names_of_columns_may_hold_braces(compared, tmp_path):
    columns = {"group": compared.columns["group"], "{odd}": np.arange(2000) % 3}
    codes = write_codes(tmp_path, compared.activations, metadata=columns)
    found = contrast(codes, "B", "A", by="group", covariates=["{odd}"])
    assert "at equal {odd})." in found.sentences(1)[0]


def test_without_texts_it_works_and_says_so(compared, tmp_path):
    codes = write_codes(
        tmp_path / "codes", compared.activations, metadata=compared.columns
    )
    result = contrast(codes, "B", "A", by="group")
    assert set(compared.group_odds) <= set(result.findings["feature"])
    assert "no texts" in result.about["notes"][0]


def test_labels_come_from_the_run(compared, tmp_path):
    codes = write_codes(
        tmp_path / "codes" / "x", compared.activations, metadata=compared.columns
    )
    table = pd.DataFrame({"feature": range(48), "label": compared.names})
    save_features(tmp_path, table)
    result = contrast(codes, "B", "A", by="group")
    assert result.findings["label"].tolist() == [
        compared.names[j] for j in result.findings["feature"]
    ]
