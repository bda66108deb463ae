"""Results know what they were made from: fresh, stale or damaged, and never mixed."""

import shutil
import subprocess
import sys
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from complete_run import kept_for_other_models
from nanosae.agents.answers import show_feature
from nanosae.analysis.describe import describe
from nanosae.analysis.groups.families import family_names
from nanosae.codes import CodesWriter, write_codes
from nanosae.errors import DamagedFileError, MissingError, StaleError
from nanosae.model.weights import Weights
from nanosae.pipeline.result import Analysis
from nanosae.runs import annotations
from nanosae.runs.results import (
    contrast_name,
    contrast_title,
    fresh_value,
    load_contrasts,
    load_result,
    needed_value,
    save_result,
)
from nanosae.runs.tables import (
    for_all_features,
    known_labels,
    load_features,
    save_features,
)

N, M, WIDTH = 30, 6, 4


def save_model(run, seed=0):
    rng = np.random.default_rng(seed)
    encoder = rng.normal(size=(WIDTH, M)).astype(np.float32)
    cfg = {"architecture": "topk", "d_in": WIDTH, "d_sae": M, "k": 2}
    zeros = np.zeros(WIDTH, np.float32)
    model = Weights(encoder, encoder.T.copy(), zeros, cfg, np.zeros(M, np.float32))
    model.save(run / "model")
    return model


def encode(run, model, name="default", seed=0, **more):
    x = np.random.default_rng(seed).normal(size=(N, WIDTH)).astype(np.float32)
    from nanosae.model.files import checksum

    info = {"model": checksum(model.W_dec)}
    path = run / "codes" / name
    texts = [f"text {i}" for i in range(N)]
    return write_codes(path, model.encode(x), texts=texts, info=info, **more)


@pytest.fixture
def run(tmp_path):
    encode(tmp_path, save_model(tmp_path))
    (tmp_path / "training.json").write_text("{}")
    return tmp_path


def opened(run, name="default"):
    from nanosae.codes import Codes

    return Codes.open(run, name)


FAMILIES = {"format": 1, "families": [], "edges": [], "stats": {}, "parameters": {}}
EVALUATION = {"table": [], "classes": [], "about": {}}


def labels(prefix):
    return pd.DataFrame(
        {"feature": range(M), "label": [f"{prefix} {j}" for j in range(M)]}
    )


def test_a_result_is_fresh_until_its_codes_or_their_model_change(run):
    codes = opened(run)
    measured = EVALUATION | {"table": [1, float("nan")]}
    save_result(codes, "evaluation.json", measured, {"classes": "g"})
    save_result(codes, "topics.parquet", pd.DataFrame({"Topic": [0, 1]}), {"n": 2})
    for name in ("evaluation.json", "topics.parquet"):
        result = load_result(run, name)
        assert result.fresh
        assert result.corpus == "default"
    assert load_result(run, "evaluation.json").value["table"] == [1, None]
    assert load_result(run, "topics.parquet").parameters == {"n": 2}
    assert load_result(run, "families.json") is None
    with CodesWriter(
        codes.path, n_features=M, info=codes.manifest["info"], append=True
    ) as writer:
        writer.append(sp.csr_array(np.eye(2, M)), table=["a", "b"])
    assert "has changed since" in load_result(run, "evaluation.json").stale
    save_result(opened(run), "evaluation.json", EVALUATION, {})
    assert load_result(run, "evaluation.json").fresh
    save_model(run, seed=1)
    assert "made from model" in load_result(run, "evaluation.json").stale
    # with the old model's codes
    assert load_result(run, "evaluation.json", opened(run)).fresh
    save_model(run, seed=0)
    assert load_result(run, "evaluation.json").fresh  # they come back with their model


def test_a_result_of_another_corpus_is_stale_for_this_one(run):
    other = encode(run, Weights.load(run), "other", seed=5)
    save_result(other, "evaluation.json", EVALUATION, {})
    save_result(other, "contrasts/a.json", {"kind": "groups"}, {})
    codes = opened(run)
    assert load_result(run, "evaluation.json").fresh
    assert load_result(run, "evaluation.json", other).fresh
    stale = load_result(run, "evaluation.json", codes).stale
    assert stale == "it was made from the corpus 'other'"
    assert fresh_value(run, "evaluation.json", codes) is None
    with pytest.raises(StaleError, match=r"from the corpus 'other'.* nanosae evaluate"):
        needed_value(run, "evaluation.json", codes)
    assert [len(load_contrasts(run, of)) for of in (None, other, codes)] == [1, 1, 0]
    (other.path / "manifest.json").unlink()
    assert "is gone" in load_result(run, "evaluation.json", codes).stale


def test_what_to_do_names_the_corpus(run):
    other = encode(run, Weights.load(run), "other", seed=5)
    with pytest.raises(MissingError, match=r"families \S+ --name other\."):
        needed_value(run, "families.json", other)
    save_result(opened(run), "families.json", FAMILIES, {})
    with pytest.raises(StaleError, match=r"families \S+ --name other\."):
        needed_value(run, "families.json", other)
    save_result(other, "families.json", FAMILIES, {})
    with pytest.raises(StaleError, match=r"families \S+\.$"):
        needed_value(run, "families.json", opened(run))


def test_columns_of_another_corpus_are_stale_but_for_what_features_mean(run):
    codes = opened(run)
    other = encode(run, Weights.load(run), "other", seed=5)
    columns = labels("of other").assign(
        label_auc=0.9, llm_label="x", keywords="y", density=0.1, topic=1
    )
    save_features(run, columns, other)
    assert load_features(run, other).attrs["stale"] == {}
    assert load_features(run).attrs["stale"] == {}
    assert set(load_features(run, codes).attrs["stale"]) == {"density", "topic"}
    assert known_labels(codes)[0] == "x"
    # some lines of this corpus do not make the others fresh
    save_features(run, columns[:2], codes)
    assert set(load_features(run, codes).attrs["stale"]) == {"density", "topic"}
    save_features(run, columns, codes)
    assert load_features(run, codes).attrs["stale"] == {}


def test_a_card_does_not_show_the_rows_of_another_corpus(run):
    codes = opened(run)
    other = encode(run, Weights.load(run), "other", seed=5)
    feature = int(codes.counts.argmax())
    rows, activations = codes.feature(feature)
    strongest_first = rows[np.argsort(-activations, kind="stable")].tolist()
    others = set(other.feature(feature)[0].tolist())
    assert not others <= set(strongest_first)
    save_features(run, describe(other, False), other)
    answer = show_feature(Analysis(run), feature)
    shown = [example["row"] for example in answer["examples"]["top_rows"]]
    assert shown == strongest_first[: len(shown)]


@pytest.mark.parametrize("name", ["families.json", "topics.parquet"])
def test_a_result_that_does_not_say_what_it_was_made_from_is_refused(run, name):
    (run / "families.json").write_text('{"families": []}')
    labels("foreign").to_parquet(run / "topics.parquet")
    reason = r"does not say" if name.endswith("parquet") else "has format None"
    with pytest.raises(DamagedFileError, match=rf"{reason}.* Make it again: nano"):
        load_result(run, name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, r"has format 2; this version of nanoSAE reads format 1"),
        ({"format": None}, r"has format None"),
        ({"families": {"0": [1, 2]}}, r"its 'families' is not a list"),
        ({"families": None}, r"its 'families' is not a list"),
        ({"stats": []}, r"its 'stats' is not an object"),
    ],
)
def test_families_of_another_format_are_refused_by_all_readers(run, change, reason):
    codes = opened(run)
    save_result(codes, "families.json", FAMILIES, {})
    assert Analysis(run).families.table.empty
    save_result(codes, "families.json", FAMILIES | change, {})
    readers = (
        lambda: Analysis(run).families,
        lambda: family_names(codes),
        lambda: fresh_value(run, "families.json"),
    )
    for read in readers:
        with pytest.raises(DamagedFileError, match=f"{reason}.*nanosae families"):
            read()


def test_codes_outside_a_run_keep_no_results(tmp_path):
    codes = write_codes(tmp_path / "c", sp.csr_array(np.eye(3)))
    with pytest.raises(MissingError, match="is not in a run folder"):
        save_result(codes, "evaluation.json", {}, {})


@pytest.mark.parametrize("name", ["evaluation.json", "topics.parquet"])
def test_a_damaged_result_names_its_file_and_its_command(run, name):
    value = pd.DataFrame({"Topic": [0]}) if name.endswith("parquet") else {"a": 1}
    path = save_result(opened(run), name, value, {})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 2
    path.write_bytes(data)
    verb = {"evaluation.json": "evaluate", "topics.parquet": "topics"}[name]
    with pytest.raises(DamagedFileError, match=f"{name} is damaged.*nanosae {verb} "):
        load_result(run, name)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("families.json", "nanosae families RUN"),
        ("findings.parquet", "nanosae run DATA -o RUN"),
        ("contrasts/x.json", "nanosae contrast RUN --by COLUMN"),
    ],
)
def test_a_needed_result_that_is_missing_names_its_command(run, name, command):
    with pytest.raises(MissingError) as caught:
        needed_value(run, name)
    message = f"{run} has no {name} yet. Make it: {command}."
    assert str(caught.value) == message.replace("RUN", str(run))


def test_a_needed_result_that_is_stale_names_its_command(run):
    codes = opened(run)
    save_result(codes, "families.json", FAMILIES, {})
    assert needed_value(run, "families.json", codes) == FAMILIES
    save_model(run, seed=1)
    assert needed_value(run, "families.json", codes) == FAMILIES
    with pytest.raises(StaleError, match=r"json is stale: it .*again: nanosae fam"):
        needed_value(run, "families.json")


# ── contrasts ──


def test_contrasts_have_a_file_for_all_that_defines_them(run):
    codes = opened(run)
    asked = [
        {"verb": "contrast", "by": by, "a": a, "b": b, "groups": g, "corpus": c}
        for by in ("a/b", "../x", "g" * 300, "größe", "a b", "a-b")
        for a, b in (("A", None), ("A", "B"), (None, None))
        for g in (None, "source")
        for c in ("default", "other")
    ]
    for i, parameters in enumerate(asked):
        path = save_result(codes, contrast_name(parameters), {"number": i}, parameters)
        assert path.parent == run / "contrasts"
        assert len(path.name) < 100
        assert path.name.isascii()
    found = load_contrasts(run)
    assert len(found) == len(asked)
    for result in found:
        assert result.parameters == asked[result.value["number"]]
    titles = {contrast_title(result) for result in found}
    assert "Differences by a/b: A against B, groups by source" in titles


# ── the feature table ──


def test_labels_of_another_model_are_kept_apart_and_come_back(run):
    save_features(run, labels("old"), opened(run))
    annotations.rename(run, 0, "my name", opened(run).model)
    annotations.bookmark(run, 1, model=opened(run).model)
    new = save_model(run, seed=1)
    assert known_labels(run) == {}
    assert load_features(run).empty
    assert load_features(run).attrs["other_models"]
    assert annotations.names(run) == {}
    assert kept_for_other_models(run, None) == 2
    codes = encode(run, new, "new")
    assert known_labels(codes) == {}
    assert known_labels(opened(run))[0] == "my name"  # of the old model's codes
    save_features(run, labels("new")[:3], codes)
    assert known_labels(codes) == {0: "new 0", 1: "new 1", 2: "new 2"}
    save_model(run, seed=0)
    assert known_labels(run) == {0: "my name", **{j: f"old {j}" for j in range(1, M)}}
    save_features(run, pd.DataFrame({"feature": range(M), "x": 1.0}), opened(run))
    assert known_labels(run)[1] == "old 1"
    save_model(run, seed=1)
    assert known_labels(run) == {0: "new 0", 1: "new 1", 2: "new 2"}


def test_labels_made_without_a_model_are_kept_apart_and_come_back(tmp_path):
    codes = write_codes(tmp_path / "codes" / "default", sp.csr_array(np.eye(6)))
    own = pd.DataFrame({"feature": [0, 1], "label": ["zero", "one"]})
    save_features(tmp_path, own, codes)
    save_model(tmp_path)
    assert codes.model != ""
    assert known_labels(codes) == {}
    assert load_features(tmp_path, codes).attrs["other_models"] == ["unknown"]
    save_features(tmp_path, own.assign(label="other"), codes)
    assert load_features(tmp_path, codes).attrs["other_models"] == ["unknown"]
    shutil.rmtree(tmp_path / "model")
    assert codes.model == ""
    assert known_labels(codes) == {0: "zero", 1: "one"}
    save_features(tmp_path, own.assign(label=1.0).rename(columns={"label": "health"}))
    found = load_features(tmp_path)
    assert found["label"].tolist() == ["zero", "one"]
    assert len(found.attrs["other_models"]) == 1


def append_rows(run):
    codes = opened(run)
    info = codes.manifest["info"]
    with CodesWriter(codes.path, n_features=M, info=info, append=True) as writer:
        writer.append(sp.csr_array(np.eye(2, M)), table=["a", "b"])


def test_columns_say_when_their_codes_have_changed(run):
    codes = opened(run)
    save_features(run, labels("x"), codes)
    save_features(run, pd.DataFrame({"feature": range(M), "density": 0.5}), codes)
    assert load_features(run, codes).attrs["stale"] == {}
    append_rows(run)
    stale = load_features(run, opened(run)).attrs["stale"]
    assert stale.keys() == {"label", "density"}
    save_features(run, pd.DataFrame({"feature": range(M), "density": 0.4}), opened(run))
    assert load_features(run, opened(run)).attrs["stale"].keys() == {"label"}
    save_features(run, labels("y")[:2], opened(run))  # the others are still old
    assert load_features(run, opened(run)).attrs["stale"].keys() == {"label"}
    save_features(run, for_all_features(labels("z")[:2], M), opened(run))
    found = load_features(run, opened(run))
    assert found.attrs["stale"] == {}
    assert found["label"].dropna().tolist() == labels("z")["label"][:2].tolist()


def test_columns_of_some_features_are_fresh_if_others_never_had_values(run):
    table = pd.DataFrame({"feature": range(M), "density": 0.5})
    save_features(run, table, opened(run))
    save_features(run, labels("x")[:2], opened(run))
    append_rows(run)
    assert load_features(run, opened(run)).attrs["stale"].keys() == {"label", "density"}
    save_features(run, labels("y")[:2], opened(run))
    assert load_features(run, opened(run)).attrs["stale"].keys() == {"density"}


SAVE = """
import sys, pandas as pd
from nanosae.codes import Codes
from nanosae.runs.tables import save_features
run, name = sys.argv[1:]
for i in range(10):
    save_features(run, pd.DataFrame({"feature": range(6), f"{name}{i}": i}), Codes.open(run))
"""


@pytest.mark.slow
def test_two_verbs_at_once_lose_no_column(run):
    commands = [[sys.executable, "-c", SAVE, str(run), name] for name in "ab"]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0, 0]
    expected = {f"{name}{i}" for name in "ab" for i in range(10)}
    assert expected < set(load_features(run).columns)


# ── annotations ──


def test_tags_belong_to_the_data_of_a_corpus(run):
    annotations.tag(run, "default", "mine", [1, 2], data="first")
    assert annotations.tags(run, "default", "first") == {"mine": 2}
    assert annotations.tags(run, "default", "second") == {}
    assert annotations.tagged(run, "default", "mine", "second").tolist() == []
    assert annotations.tags_of(run, "default", 1, "first") == ["mine"]


def test_a_changed_letter_in_a_name_is_noticed(run):
    annotations.rename(run, 0, "a name that is long enough to be found")
    path = run / "user.sqlite"
    data = path.read_bytes()
    assert data.count(b"long enough") == 1
    path.write_bytes(data.replace(b"long enough", b"lung enough"))
    with pytest.raises(DamagedFileError, match=r"user\.sqlite is damaged.*checksum"):
        annotations.names(run)


def test_annotations_of_another_version_are_refused(tmp_path):
    import sqlite3

    with closing(sqlite3.connect(tmp_path / "user.sqlite")) as db:
        db.execute("CREATE TABLE names (feature INTEGER PRIMARY KEY, name TEXT)")
    for call in (annotations.names, annotations.bookmarks):
        with pytest.raises(
            DamagedFileError, match=r"version 0 is unknown.*Move it away"
        ):
            call(tmp_path)
    with pytest.raises(DamagedFileError, match="version 0"):
        annotations.bookmark(tmp_path, 9)
