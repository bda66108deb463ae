"""Evaluation against brute force, sklearn, a bootstrap, and a planted truth."""

import json
import warnings
import weakref

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from safetensors.numpy import save_file
from sklearn.exceptions import ConvergenceWarning

from nanosae.analysis.classification import single_feature_scores
from nanosae.analysis.evaluation.baselines import representations
from nanosae.analysis.evaluation.evaluate import _as_table, evaluate
from nanosae.analysis.splits import held_out
from nanosae.analysis.statistics import mean_estimate
from nanosae.codes import Codes, write_codes
from nanosae.errors import ConfigError, DataError
from nanosae.model.weights import Weights
from planted import planted_corpus


def save_model(folder, directions, bias):
    folder.mkdir(parents=True)
    n, d = directions.shape
    tensors = {
        "W_enc": np.ascontiguousarray(directions.T),
        "W_dec": directions,
        "b_dec": bias,
    }
    tensors |= {
        "b_enc": np.zeros(n, np.float32),
        "threshold": np.full(n, 0.3, np.float32),
    }
    save_file(tensors, folder / "sae_weights.safetensors")
    cfg = {
        "architecture": "jumprelu",
        "d_in": d,
        "d_sae": n,
        "apply_b_dec_to_input": True,
    }
    (folder / "cfg.json").write_text(json.dumps(cfg))


@pytest.fixture(scope="module")
def planted():
    return planted_corpus(n_rows=1200, seed=3)


@pytest.fixture(scope="module")
def codes(planted, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    save_model(run / "model", planted.directions, np.zeros(64, np.float32))
    return write_codes(
        run / "codes" / "default",
        planted.activations,
        texts=planted.texts,
        metadata=planted.columns,
        vectors=planted.embeddings,
    )


@pytest.fixture(scope="module")
def result(codes):
    return evaluate(codes, "topics", ks=(1, 5), truth=codes, others=[codes.weights()])


def test_without_a_model_what_needs_none_is_measured(planted, tmp_path):
    save = {"vectors": planted.embeddings, "metadata": planted.columns}
    codes = write_codes(tmp_path / "codes" / "default", planted.activations, **save)
    found = evaluate(codes, "topics", ks=(1,), baselines=False).wide()["codes"]
    assert found["best_feature_f1"] > 0.5
    assert "fvu" not in found.index


@pytest.fixture
def transcoded(tmp_path):
    """A corpus of a transcoder with a skip connection, and its targets."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    tensors = {
        "W_enc": rng.normal(size=(6, 8)),
        "W_dec": rng.normal(size=(8, 4)),
        "b_dec": rng.normal(size=4),
        "b_enc": rng.normal(size=8),
        "threshold": np.full(8, 0.3),
        "W_skip": rng.normal(size=(4, 6)),
    }
    tensors = {name: array.astype(np.float32) for name, array in tensors.items()}
    sizes = {"d_in": 6, "d_sae": 8, "d_out": 4, "apply_b_dec_to_input": False}
    cfg = {"architecture": "jumprelu_skip_transcoder"} | sizes
    model = Weights(cfg=cfg, **tensors)
    model.save(tmp_path / "model")
    acts = model.encode(x)
    codes = write_codes(tmp_path / "codes" / "default", acts, vectors=x)
    noise = rng.normal(size=(300, 4))
    made = acts.toarray() @ tensors["W_dec"] + x @ tensors["W_skip"].T
    return codes, made + tensors["b_dec"] + noise, noise


def test_a_transcoder_is_compared_with_its_targets(transcoded):
    codes, targets, noise = transcoded
    found = evaluate(codes, targets=targets)
    spread = ((targets - targets.mean(0)) ** 2).sum()
    fvu = (noise**2).sum() / spread
    assert value(found, "fvu") == pytest.approx(fvu, abs=2e-3)  # codes are float16
    shuffled = evaluate(codes, targets=targets[::-1])
    assert value(shuffled, "fvu") > 2 * fvu  # so that the check can fail


def test_a_transcoder_without_targets_has_no_reconstruction(transcoded):
    codes, targets, _ = transcoded
    found = evaluate(codes)
    assert np.isnan(found.wide().loc["fvu", "codes"])
    assert found.wide().loc["fvu", "pca"] > 0
    for given in (targets[:-1], targets[:, :-1], targets[:, 0]):
        with pytest.raises(DataError, match=r"\(300, 4\) is needed"):
            evaluate(codes, targets=given)


def test_targets_of_what_is_no_transcoder_are_refused(codes):
    with pytest.raises(DataError, match="not a transcoder"):
        evaluate(codes, targets=codes.vectors())


def test_classes_must_be_one_per_row(codes):
    with pytest.raises(ValueError, match="got 10 values for the 1200 rows"):
        evaluate(codes, ["a"] * 10)


def value(result, measure, representation="codes", what="value"):
    table = result.table.set_index(["representation", "measure"])
    return table.loc[(representation, measure), what]


@pytest.mark.slow
def test_the_true_dictionary_scores_perfectly(result, planted):
    for measure in ("best_feature_auc", "covered"):
        assert value(result, measure) == pytest.approx(1)
    # a weaker held-out row may be missed
    for measure in (
        "best_feature_f1",
        "one_to_one_f1",
    ):
        assert 0.96 < value(result, measure) < 1
    assert value(result, "probe_f1@1") > 0.99
    for measure in ("recovery", "stability"):
        assert value(result, measure) == pytest.approx(1, abs=1e-5)
    chosen = result.classes[result.classes["representation"] == "codes"]
    assert [planted.names[j] for j in chosen["feature"]] == chosen["class"].tolist()


def test_baselines_stand_beside_it_and_are_worse(result):
    wide = result.wide()
    assert wide.columns.tolist() == ["codes", "dense", "pca", "k-means", "random"]
    for name in ("dense", "pca", "k-means", "random"):
        assert wide.loc["best_feature_f1", name] < 0.8
        assert wide.loc["intruder_words", name] < wide.loc["intruder_words", "codes"]
    assert wide.loc["probe_f1@all", "dense"] > wide.loc["probe_f1@5", "dense"]
    assert wide.loc["fvu", "codes"] < wide.loc["fvu", "random"]
    assert wide.loc["l0", "random"] == pytest.approx(wide.loc["l0", "codes"], rel=0.25)
    assert wide.loc["recall@10", "codes"] > wide.loc["recall@10", "random"]


def test_a_dictionary_with_wrong_features_is_told_apart(codes, planted, tmp_path):
    """The twin: shuffle every feature's rows, and all held-out scores fall."""
    rng = np.random.default_rng(0)
    dense = planted.activations.toarray()
    wrong = np.column_stack([rng.permutation(column) for column in dense.T])
    bad = write_codes(tmp_path / "codes", sp.csr_array(wrong), metadata=planted.columns)
    found = evaluate(bad, "topics", ks=(1,), truth=codes)
    assert value(found, "best_feature_f1") < 0.3
    assert abs(value(found, "best_feature_auc") - 0.5) < 0.1
    assert value(found, "recovery") < 0.2


def test_noise_scores_no_better_than_chance_which_choosing_on_test_rows_would_not(
    tmp_path,
):
    rng = np.random.default_rng(0)
    x = sp.csr_array(rng.random((600, 400)).astype(np.float32))
    y = np.where(rng.random(600) < 0.2, "yes", "no")
    codes = write_codes(tmp_path / "codes", x, metadata={"y": y})
    found = evaluate(codes, "y", ks=(1, 10))
    lines = found.classes.set_index("class")
    chance = 1 / 3  # F1 of calling every row "yes"
    assert lines.loc["yes", "f1"] < chance + 0.03
    assert abs(value(found, "best_feature_auc") - 0.5) < 0.1
    assert abs(value(found, "probe_auc@10") - 0.5) < 0.1
    scores = single_feature_scores(x.tocsc(), sp.csr_array((y == "yes")[:, None] * 1.0))
    assert scores.auc.max() > 0.57
    assert scores.f1.max() > chance + 0.03


def test_groups_stay_in_one_half(tmp_path):
    """Every source is a class of its own feature: nothing can be learnt across sources."""
    source = np.repeat(np.arange(40), 10)
    y = np.where(np.random.default_rng(0).random(40) < 0.5, "a", "b")[source]
    x = sp.csr_array(np.eye(40, dtype=np.float32)[source])
    codes = write_codes(
        tmp_path / "codes", x, metadata={"y": y, "source": source.astype(str)}
    )
    loose = evaluate(codes, "y", ks=(20,))
    strict = evaluate(codes, "y", ks=(20,), groups="source")
    assert value(loose, "probe_auc@20") > 0.65
    assert value(strict, "probe_auc@20") == pytest.approx(0.5)
    assert strict.about["notes"] == []


def test_a_split_that_is_not_what_was_asked_for_is_noted(tmp_path):
    """Two of three rows are one group: half of the others, a sixth of all, are held out."""
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b"], 300)
    source = np.where(np.arange(300) < 200, "big", np.arange(300).astype(str))
    x = sp.csr_array(rng.random((300, 4)).astype(np.float32))
    codes = write_codes(tmp_path / "codes", x, metadata={"y": y, "source": source})
    found = evaluate(codes, "y", ks=(1,), groups="source")
    (note,) = found.about["notes"]
    assert note.startswith("17 % of the rows are held out instead of 50 %")


@pytest.mark.slow
def test_without_classes_only_what_needs_none(codes):
    found = evaluate(codes)
    measures = set(found.table["measure"])
    assert {"fvu", "intruder_vectors", "gini", "redundancy"} <= measures
    assert not any(m.startswith(("probe", "best")) for m in measures)
    assert len(found.classes) == 0


def test_without_vectors_or_texts_it_does_what_it_can(planted, tmp_path):
    codes = write_codes(
        tmp_path / "codes", planted.activations, metadata=planted.columns
    )
    found = evaluate(codes, "group", ks=(1,))
    assert set(found.table["representation"]) == {"codes"}
    assert not any("intruder" in m for m in found.table["measure"])
    assert set(found.classes["class"]) == {"A", "B"}


def test_rows_without_class_and_rare_classes_are_left_out(codes, planted):
    y = planted.columns["group"].copy()
    y[:500] = ""
    y[500:504] = "tiny"
    found = evaluate(codes, y, ks=(1,), baselines=False)
    assert found.about["rows"] == 700
    assert found.about["notes"] == []  # all rows with a class
    assert set(found.classes["class"]) == {"A", "B"}
    with pytest.raises(ValueError, match=r"none of 1200 classes has 10 rows"):
        evaluate(codes, [f"own {i}" for i in range(1200)])


def test_max_rows_draws_rows_and_the_seed_decides(codes):
    first, second = (
        evaluate(codes, "group", ks=(1,), max_rows=600, baselines=False, seed=s)
        for s in (1, 1)
    )
    assert first.about["rows"] == 600
    assert first.about["notes"][0] == "Measured on a sample of 600 of 1,200 rows."
    assert first.table.equals(second.table)
    other = evaluate(codes, "group", ks=(1,), max_rows=600, baselines=False, seed=2)
    assert not first.table.equals(other.table)


def test_results_are_json_and_html(result, codes):
    read = json.loads(json.dumps(result.to_dict()))
    assert {r["measure"] for r in read["table"]} == set(result.table["measure"])
    assert read["about"]["classes"] == "topics"
    assert "best_feature_f1" in result._repr_html_()
    assert isinstance(codes, Codes)


def test_a_label_needs_rows_with_and_without_it_in_both_parts(tmp_path):
    """All but 20 rows are common; of the 20 rare ones five are held out."""
    held = held_out(np.arange(400), 0.5, 0)
    rare = np.concatenate([np.flatnonzero(~held)[:15], np.flatnonzero(held)[:5]])
    cells = [f"common|{'usual' if i % 2 else 'other'}" for i in range(400)]
    for i in rare:
        cells[i] = cells[i].replace("common", "rare")
    rng = np.random.default_rng(0)
    activations = sp.csr_array((rng.random((400, 6)) < 0.4).astype(np.float32))
    codes = write_codes(tmp_path, activations, metadata={"y": cells})
    assert set(evaluate(codes, "y", ks=(1,)).classes["class"]) == {"usual", "other"}
    every = evaluate(codes, "y", ks=(1,), min_rows=5).classes["class"]
    assert set(every) == {"usual", "other", "common", "rare"}


def test_features_are_dead_if_no_row_of_the_corpus_activates_them(tmp_path):
    activations = np.zeros((300, 5), np.float32)
    activations[:, 0] = 1
    activations[np.arange(4), np.arange(4)] = 1  # 1, 2 and 3 are on one row each
    codes = write_codes(tmp_path, sp.csr_array(activations))
    found = evaluate(codes, max_rows=50)
    assert value(found, "dead") == 1 / 5


def test_dead_features_count_neither_for_recovery_nor_for_stability(
    codes, planted, tmp_path
):
    activations = planted.activations.toarray()
    activations[:, [3, 9, 20]] = 0
    save_model(tmp_path / "model", planted.directions, np.zeros(64, np.float32))
    some = write_codes(tmp_path / "codes" / "default", sp.csr_array(activations))
    other = planted.directions.copy()
    other[[3, 9, 20]] = 0  # what is dead is not found again
    found = evaluate(some, truth=some.path, others=[other], baselines=False)
    for measure in ("recovery", "stability"):
        assert value(found, measure) == pytest.approx(1, abs=1e-5)
        assert value(found, measure, what="n") == 45


def test_too_few_rows_are_refused_and_two_are_enough(planted, tmp_path):
    kept = {"texts": planted.texts[:2], "vectors": planted.embeddings[:2]}
    codes = write_codes(tmp_path / "codes" / "c", planted.activations[:2], **kept)
    assert "fvu" in evaluate(codes).wide().index
    for classes, n_rows in ((["", ""], 0), (["a", None], 1)):
        with pytest.raises(DataError, match=f"{n_rows} of 2 rows can be measured"):
            evaluate(codes, classes)
    with pytest.raises(ConfigError, match="min_rows=0 must be at least 1"):
        evaluate(codes, ["a", "b"], min_rows=0)


def test_rows_that_are_all_equal_are_measured(planted, tmp_path):
    same = [0] * 30
    save_model(tmp_path / "model", planted.directions, np.zeros(64, np.float32))
    codes = write_codes(
        tmp_path / "codes" / "default",
        planted.activations[same],
        texts=planted.texts[same],
        vectors=planted.embeddings[same],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # k-means finds one cluster
        measured = evaluate(codes).wide()
    assert np.isnan(measured.loc["redundancy", "random"])


def test_representations_are_measured_one_at_a_time(codes, monkeypatch):
    alive = weakref.WeakSet()
    alive_when_made = []

    def watched(*given):
        for name, representation in representations(*given):
            alive.add(representation)
            alive_when_made.append(len(alive))
            yield name, representation
            del representation

    monkeypatch.setattr("nanosae.analysis.evaluation.evaluate.representations", watched)
    evaluate(codes, "group", ks=(1,), max_rows=400)
    assert alive_when_made == [1, 1, 1, 1, 1]
    # held together they would all be there
    assert len(dict(watched(codes, np.arange(50), True, np.random.default_rng(0)))) == 5
    assert alive_when_made[5:] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_the_measures_of_codes_do_not_depend_on_baselines(codes):
    alone, beside = (
        evaluate(codes, "group", ks=(1,), max_rows=400, baselines=wanted).table
        for wanted in (False, True)
    )
    of_codes = beside[beside["representation"] == "codes"]
    pd.testing.assert_frame_equal(alone, of_codes)


def test_another_sae_may_be_given_without_a_list(codes):
    directions = codes.weights().W_dec
    for other in (directions, codes.weights(), str(codes.run)):
        found = [
            evaluate(codes, others=others, baselines=False).wide().loc["stability"]
            for others in (other, [other])
        ]
        assert found[0].tolist() == found[1].tolist()
        assert found[0]["codes"] == pytest.approx(1, abs=1e-5)


def test_intervals_of_few_classes_end_where_the_measure_does():
    measures = {"covered": mean_estimate([1, 1, 0]), "fvu": mean_estimate([0.5, 3])}
    measures |= {"cosine": mean_estimate([-0.9, 0.9]), "dead": mean_estimate([0.5])}
    table = _as_table({"codes": measures}).set_index("measure")[["low", "high"]]
    assert table.loc["covered"].tolist() == [0, 1]
    assert table.loc["cosine"].tolist() == [-1, 1]
    assert (
        table.loc["fvu", "low"] == 0 < measures["fvu"].high == table.loc["fvu", "high"]
    )
    assert table.loc["dead"].isna().all()
