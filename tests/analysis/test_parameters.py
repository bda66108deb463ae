"""Parameters may be NumPy's, pandas' or Arrow's: results are those of plain ones, also as JSON."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.describe import describe
from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.analysis.groups.families import families
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.search.search import search
from nanosae.codes import write_codes
from nanosae.runs.export import tag
from planted import planted_corpus
from small_corpora import save_model

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
