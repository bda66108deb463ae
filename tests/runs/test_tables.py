"""The run's feature table and exports."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from nanosae.codes import write_codes
from nanosae.errors import DataError, DataTypeError
from nanosae.runs import annotations as edits
from nanosae.runs.export import tag, write
from nanosae.runs.tables import (
    doubtful_labels,
    known_labels,
    labels_by_feature,
    load_features,
    save_features,
)


def test_verbs_add_columns_and_replace_their_own(tmp_path):
    assert load_features(tmp_path).empty
    save_features(
        tmp_path, pd.DataFrame({"feature": [0, 1, 2], "density": [0.1, 0.2, 0.3]})
    )
    save_features(tmp_path, pd.DataFrame({"feature": [2, 0], "label": ["c", "a"]}))
    table = save_features(tmp_path, pd.DataFrame({"feature": [1], "label": ["b"]}))
    assert table["feature"].tolist() == [0, 1, 2]
    assert table["density"].tolist() == [0.1, 0.2, 0.3]
    # naming one feature leaves the others'
    assert table["label"].tolist() == [
        "a",
        "b",
        "c",
    ]
    table = save_features(
        tmp_path, pd.DataFrame({"feature": [1, 2], "label": ["d", None]})
    )
    assert table["label"].tolist()[:2] == ["a", "d"]
    assert pd.isna(table["label"][2])
    pd.testing.assert_frame_equal(load_features(tmp_path), table)
    assert {p.name for p in tmp_path.iterdir()} == {"features.parquet"}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.json"])
def test_tables_are_written_as_their_name_says(name, tmp_path):
    table = pd.DataFrame({"a": [1, 2], "text": ["ü, x", 'quote "q"']})
    write(table, tmp_path / name)
    readers = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}
    reader = readers.get(name[2:], lambda path: pd.read_csv(path, sep="\t"))
    pd.testing.assert_frame_equal(reader(tmp_path / name), table)
    with pytest.raises(ValueError, match=r"t\.xls has an unknown format"):
        write(table, "t.xls")


def test_people_name_features_before_models_do_and_those_before_words(tmp_path):
    codes = write_codes(
        tmp_path / "codes" / "c", sp.csr_array(np.eye(4, dtype=np.float32))
    )
    assert known_labels(codes) == {}
    columns = {"label": ["a", "b", "", None], "llm_label": [None, "model's", "", None]}
    save_features(tmp_path, pd.DataFrame({"feature": range(4), **columns}))
    assert known_labels(codes) == {0: "a", 1: "model's"}
    edits.rename(tmp_path, 1, "mine")
    assert known_labels(codes) == {0: "a", 1: "mine"}


@pytest.mark.parametrize(
    "labels",
    [
        {"sea": "a"},
        {1.5: "a"},
        {None: "a"},
        {float("inf"): "a"},
        pd.DataFrame({"feature": [1, None], "label": ["a", "b"]}),
        pd.DataFrame({"label": ["a"]}),
        pd.DataFrame({"features": [1], "label": ["a"]}),
        ["a"],
    ],
)
def test_labels_need_the_numbers_of_their_features(labels):
    with pytest.raises((DataError, DataTypeError), match="labels"):
        labels_by_feature(labels)


def test_features_of_labels_may_be_texts_of_json_or_missing_without_a_label():
    assert labels_by_feature({"3": "a", 4.0: "b", np.int64(5): "c"}) == {
        3: "a",
        4: "b",
        5: "c",
    }
    table = pd.DataFrame({"feature": [1, None], "label": ["a", ""]})
    assert labels_by_feature(table) == {1: "a"}


def test_a_doubt_is_of_the_name_that_is_shown(tmp_path):
    codes = write_codes(
        tmp_path / "codes" / "c", sp.csr_array(np.eye(6, dtype=np.float32))
    )
    assert doubtful_labels(codes) == set()
    table = {
        "label": ["a", "b", "c", "d", "e", ""],
        "label_doubtful": [True, False, True, True, False, True],
    }
    save_features(tmp_path, pd.DataFrame({"feature": range(6)} | table))
    assert doubtful_labels(codes) == {0, 2, 3}
    by_model = {"llm_label": ["fine", "not fine"], "llm_doubtful": [False, True]}
    save_features(tmp_path, pd.DataFrame({"feature": [2, 4]} | by_model))
    assert doubtful_labels(codes) == {0, 3, 4}
    edits.rename(tmp_path, 0, "mine")
    assert doubtful_labels(codes) == {3, 4}


def test_labels_of_an_older_version_have_no_doubts(tmp_path):
    codes = write_codes(
        tmp_path / "codes" / "c", sp.csr_array(np.eye(2, dtype=np.float32))
    )
    save_features(tmp_path, pd.DataFrame({"feature": [0, 1], "label": ["a", "b"]}))
    assert doubtful_labels(codes) == set()


def test_chosen_features_become_columns_beside_the_texts(tmp_path):
    dense = np.array([[0, 2.0, 0], [1.0, 0, 0], [0, 0, 0.5]])
    csr = sp.csr_array(dense)
    codes = write_codes(
        tmp_path / "c", csr, texts=["a", "b", "c"], metadata={"g": ["x", "y", "x"]}
    )
    table = tag(codes, [2, 0], names=["last", "first"])
    assert table.columns.tolist() == ["row", "text", "g", "last", "first"]
    np.testing.assert_allclose(table[["last", "first"]], dense[:, [2, 0]], rtol=1e-3)
    some = tag(codes, [0], rows=[2, 1])
    pd.testing.assert_frame_equal(
        some, tag(codes, [0]).iloc[[2, 1]].reset_index(drop=True), check_dtype=False
    )
    masked = tag(codes, [0], rows=np.array([False, True, True]))
    pd.testing.assert_frame_equal(masked, tag(codes, [0], rows=[1, 2]))
    assert tag(codes, [], rows=[1]).columns.tolist() == ["row", "text", "g"]
    with pytest.raises(ValueError, match="3"):
        tag(codes, [3])


def test_features_and_names_that_do_not_fit_are_refused(tmp_path):
    codes = write_codes(tmp_path / "c", sp.csr_array(np.eye(3, 5, dtype=np.float32)))
    for features in ([-1], [5]):
        for rows in (None, [0]):
            with pytest.raises(DataError, match="there are 0 … 4"):
                tag(codes, features, rows=rows)
    with pytest.raises(DataError, match="there are 1 names for 2 features"):
        tag(codes, [1, 2], ["one"])


def test_no_column_of_an_export_replaces_another(tmp_path):
    metadata = {"row": [7, 8], "feature_1": ["x", "y"], "g": [1, None]}
    acts = sp.csr_array(np.eye(2, dtype=np.float32))
    codes = write_codes(tmp_path / "c", acts, texts=["a", "b"], metadata=metadata)
    table = tag(codes, [1, 0, 1])
    assert table.astype(object).where(table.notna(), None).to_dict("list") == {
        "row": [0, 1],
        "text": ["a", "b"],
        "row_": [7, 8],
        "feature_1_": ["x", "y"],
        "g": [1, None],
        "feature_1": [0.0, 1.0],
        "feature_0": [1.0, 0.0],
    }
    for names in (["same", "same"], ["row", "other"], ["other", "text"]):
        with pytest.raises(DataError, match="2 columns would have the name"):
            tag(codes, [0, 1], names)
