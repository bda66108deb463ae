"""Parameters may be NumPy's, pandas' or Arrow's: results are those of plain ones, also as JSON."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from nanosae import plot
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.describe import describe
from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.analysis.groups.families import families
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.names.labels import label
from nanosae.analysis.search.search import search
from nanosae.codes import write_codes
from nanosae.errors import ConfigError, DataError, DataTypeError
from nanosae.runs.export import tag
from nanosae.runs.tables import labels_by_feature
from planted import planted_corpus
from small_corpora import active_with_target, save_model

ALIKE = {
    list: [
        tuple,
        np.array,
        pd.Index,
        pa.array,
        lambda values: pd.Series(values, index=range(7, 7 + len(values))),
    ],
    bool: [np.bool_],
    int: [np.int64, np.uint8],
    float: [np.float64, np.float32],
}
CALLS = [
    (families, {"prefixes": [16, 32, 48], "features": [*range(40)], "min_active": 4}),
    (families, {"passes": 2, "min_children": 3, "min_weight": 0.125, "seed": 1}),
    (contrast, {"by": "group", "a": ["A"], "covariates": ["channel"], "seed": 3}),
    (contrast, {"a": [*range(200)], "min_active": 12}),
    (explain, {"target": "score", "covariates": ["channel", "year"], "seed": 3}),
    (over_time, {"time": "year", "covariates": ["channel"], "min_active": 12}),
    (
        evaluate,
        {"classes": "group", "ks": [1, 2], "min_rows": 5, "heldout_share": 0.25}
        | {"baselines": False, "seed": 2},
    ),
    (search, {"feature": [3, 1], "n": 5}),
    (search, {"row": 3, "n": 5, "steps": 2, "edit": {1: 0.5}}),
    (topics, {"n": 5, "max_density": 0.25}),
    (describe, {"texts": False, "features": [3, 1, 2], "n": 4, "pool": 100, "seed": 1}),
    (tag, {"features": [3, 1], "names": ["a", "b"], "rows": [5, 2]}),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    planted = planted_corpus(600)
    run = tmp_path_factory.mktemp("run")
    save_model(run, planted.directions)
    return write_codes(
        run / "codes" / "default",
        planted.activations,
        texts=planted.texts,
        metadata=planted.columns,
        vectors=planted.embeddings,
    )


def as_text(result):
    """Return everything that a result says; `to_dict` must hold JSON types alone."""
    if isinstance(result, pd.DataFrame):
        return result.to_json(default_handler=str)
    if hasattr(result, "to_dict"):
        return json.dumps(result.to_dict())
    return result.table.to_json() if hasattr(result, "table") else repr(result)


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "given"), CALLS)
def test_parameters_of_other_libraries_are_as_plain_ones(corpus, verb, given):
    expected = as_text(verb(corpus, **given))
    for name, value in given.items():
        for alike in ALIKE.get(type(value), []):
            assert as_text(verb(corpus, **given | {name: alike(value)})) == expected


def test_one_covariate_needs_no_list(corpus):
    expected = contrast(corpus, "A", by="group", covariates=["channel"])
    found = contrast(corpus, "A", by="group", covariates="channel")
    assert as_text(found) == as_text(expected)


@pytest.mark.parametrize(
    ("verb", "given", "message"),
    [
        (describe, {"n": -1}, "n=-1 must be at least 0"),
        (describe, {"pool": 1.5}, "pool=1.5 must be a whole number"),
        (families, {"seed": -1}, "seed=-1 must be at least 0"),
        (families, {"min_children": None}, "min_children=None must be a whole number"),
        (label, {"seed": 1.5}, "seed=1.5 must be a whole number"),
        (
            contrast,
            {"by": "group", "min_active": "x"},
            "min_active='x' must be a whole",
        ),
        (contrast, {"by": "group", "covariates": [1]}, "no column 1"),
        (contrast, {"by": "group", "groups": 5}, "no column 5"),
        (contrast, {"by": "group", "a": [False] * 600}, "False has 0 rows"),
        (
            contrast,
            {"a": [1, 2], "b": [2, 3]},
            r"or overlap: .* \(2 rows\), .* \(2 rows\), 1 rows in both",
        ),
        (evaluate, {"max_rows": None}, "max_rows=None must be a whole number"),
        (evaluate, {"classes": "group", "ks": [1, 0]}, "k=0 must be at least 1"),
        (
            evaluate,
            {"classes": "group", "heldout_share": 0},
            "A share of 0 of the rows",
        ),
        (label, {"heldout_share": 1.5}, "A share of 1.5 of the rows cannot be held"),
        (explain, {"target": np.zeros((600, 2))}, r"shape \(600, 2\) is not one value"),
        (explain, {"target": 5}, r"int of shape \(\) is not one value per row"),
        (over_time, {"time": iter("ab")}, "is not one value per row"),
        (search, {"row": []}, "One row is given by its number"),
        (search, {"row": 1, "edit": {0: "a"}}, "the activation 'a' is no number"),
        (search, {"row": 1, "edit": [0]}, r"edit=\[0\] must map features"),
        (search, {"row": 1, "steps": 1.5}, "steps=1.5 must be a whole number"),
        (search, {"feature": {(1, 2): 1}}, r"by its number or label, not \(1, 2\)"),
        (search, {"row": 1, "n": 0}, "n=0 must be at least 1"),
        (families, {"max_density": None}, "max_density=None must be a number"),
        (families, {"min_weight": "x"}, "min_weight='x' must be a number"),
        (
            families,
            {"prefixes": [16, 48], "directions": np.eye(3)},
            "3 directions for 48 features",
        ),
        (topics, {"max_density": float("nan")}, "max_density=nan must be a number"),
        (topics, {"directions": np.eye(3)}, "3 directions for 48 features"),
    ],
)
def test_mistakes_are_named(corpus, verb, given, message):
    with pytest.raises((ConfigError, DataError, DataTypeError), match=message):
        verb(corpus, **given)


def test_cells_of_given_columns_may_be_lists_records_and_times_with_a_zone(corpus):
    """Lists of one length would become a matrix in NumPy, and those of several none at all."""
    group = corpus.column("group")
    expected = explain(corpus, group).table
    for cells in (
        [[name, name] for name in group],
        [[name] * (1 + row % 2) for row, name in enumerate(group)],
        pd.DataFrame({"group": group}),
    ):
        assert explain(corpus, cells).table["p"].tolist() == expected["p"].tolist()
    records = explain(corpus, [{"is": name} for name in group])
    assert records.table["p"].tolist() == expected["p"].tolist()
    days = pd.date_range("2020-01-01", periods=600, tz="Europe/Berlin")
    found = over_time(corpus, days)
    assert found.about["unit"] == "quarter"
    assert (
        found.table["p"].tolist()
        == over_time(corpus, pd.Series(days)).table["p"].tolist()
    )


def test_lists_are_held_equal_as_a_covariate(tmp_path):
    active = np.random.default_rng(0).random((90, 3)) < 0.4
    tags = {"tags": [["a", "b"], ["b"], []] * 30, "name": ["ab", "b", "none"] * 30}
    codes = active_with_target(tmp_path, active, np.arange(90) % 2, **tags)
    found, expected = (
        contrast(codes, by="y", covariates=[name]).about for name in ("tags", "name")
    )
    assert found["n_independent"] == expected["n_independent"]


def test_labels_may_look_like_numbers(corpus):
    for labels in ({3: 12, 4: None}, pd.DataFrame({"feature": [3], "label": [12]})):
        found = contrast(corpus, "A", by="group", labels=labels, min_active=1)
        assert set(found.table["label"]) <= {"12", *(f"feature {j}" for j in range(48))}
        assert families(corpus, labels).to_dict()["families"] is not None
        assert labels_by_feature(labels) == {3: "12"}


def test_where_nothing_is_active_it_is_said(tmp_path):
    save_model(tmp_path, np.eye(4, 6, dtype=np.float32))
    codes = write_codes(
        tmp_path / "codes" / "c", sp.csr_array((9, 4), dtype=np.float32)
    )
    with pytest.raises(ConfigError, match="no row has a direction"):
        topics(codes, 2)
    with pytest.raises(DataError, match="all features are dead"):
        plot.dictionary(codes)
    with pytest.raises(DataError, match="all features are inactive on all 9 rows"):
        plot.activations(codes)
