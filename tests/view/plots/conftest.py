"""A small run with every file that figures read."""

import sys

import numpy as np
import pytest

from nanosae import SAETrainer, TrainConfig
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.groups.families import families
from nanosae.analysis.names.labels import label
from nanosae.codes import Codes
from nanosae.demo import load
from nanosae.runs.results import save_result
from nanosae.runs.tables import save_features

KINDS = {"noun.plant", "noun.animal", "noun.food"}  # each is a model of its own


@pytest.fixture(scope="package")
def run(tmp_path_factory):
    """A small run on a part of the demo corpus, with every file that figures read."""
    path = tmp_path_factory.mktemp("runs") / "small"
    rows, texts, lexnames = (part[::4] for part in load())
    config = TrainConfig(
        hidden_size=96, k=6, steps=40, log_every=10, eval_every=10, batch_size=256
    )
    model = SAETrainer(config, run=path).train(rows, progress=False)
    year = [
        2010 + i % 5 + 3 * (name == "noun.plant") for i, name in enumerate(lexnames)
    ]
    kind = [name if name in KINDS else "other" for name in lexnames]
    beside = {"text": texts, "kind": kind, "year": year}
    codes = model.encode_corpus(rows, path / "codes" / "default", metadata=beside)
    labels = save_features(path, label(codes).assign(family=-1))
    found = families(codes, labels)
    save_result(codes, "families.json", found.to_dict(), found.parameters)
    rng = np.random.default_rng(0)
    table = [
        {"representation": kind, "measure": f"probe_{name}@{k}", "value": value, "n": 9}
        | {"low": value - 0.05, "high": value + 0.1}
        for kind in ("codes", "dense", "pca", "k-means", "random")
        for name in ("f1", "auc")
        for k, value in zip((1, 2, 5, "all"), rng.uniform(0.1, 0.9, 4), strict=True)
    ]
    save_result(
        codes, "evaluation.json", {"table": table, "classes": [], "about": {}}, {}
    )
    return path


@pytest.fixture(scope="package")
def codes(run):
    return Codes.open(run)


@pytest.fixture(scope="package")
def trend(codes):
    return over_time(codes, "year")


@pytest.fixture
def pca(monkeypatch):
    """No UMAP: it compiles for seconds."""
    monkeypatch.setitem(sys.modules, "umap", None)
