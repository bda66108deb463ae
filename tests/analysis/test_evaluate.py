"""Evaluation against brute force, sklearn, a bootstrap, and a planted truth."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score, roc_auc_score

from nanosae.analysis.baselines import Representation
from nanosae.analysis.classification import auc_scores, f1_scores, single_feature_scores
from nanosae.analysis.evaluate import evaluate
from nanosae.analysis.measures import intruder_detection, reconstruction_measures, usage
from nanosae.analysis.probes import fit_sparse_probe
from nanosae.analysis.statistics import mean_estimate
from nanosae.codes import Codes, write_codes
from planted import planted_corpus


def save_model(folder, directions, bias):
    folder.mkdir(parents=True)
    n, d = directions.shape
    tensors = {"W_enc": np.ascontiguousarray(directions.T), "W_dec": directions, "b_dec": bias}
    tensors |= {"b_enc": np.zeros(n, np.float32), "threshold": np.full(n, 0.3, np.float32)}
    save_file(tensors, folder / "sae_weights.safetensors")
    cfg = {"architecture": "jumprelu", "d_in": d, "d_sae": n, "apply_b_dec_to_input": True}
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


def test_labels_must_be_one_per_row(codes):
    with pytest.raises(ValueError, match="10 values, the corpus has 1200 rows"):
        evaluate(codes, ["a"] * 10)


def value(result, measure, representation="codes", what="value"):
    table = result.table.set_index(["representation", "measure"])
    return table.loc[(representation, measure), what]


# The planted truth


def test_the_true_dictionary_scores_perfectly(result, planted):
    for measure in ("best_feature_auc", "covered"):
        assert value(result, measure) == pytest.approx(1)
    for measure in ("best_feature_f1", "one_to_one_f1"):  # a weaker held-out row may be missed
        assert 0.96 < value(result, measure) < 1
    assert value(result, "probe_f1@1") > 0.99
    for measure in ("recovery", "stability"):
        assert value(result, measure) == pytest.approx(1, abs=1e-5)
    chosen = result.labels[result.labels["representation"] == "codes"]
    assert [planted.names[j] for j in chosen["feature"]] == chosen["label"].tolist()


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


# Chosen on one half, reported on the other


def test_noise_scores_no_better_than_chance_which_choosing_on_test_rows_would_not(tmp_path):
    rng = np.random.default_rng(0)
    x = sp.csr_array(rng.random((600, 400)).astype(np.float32))
    y = np.where(rng.random(600) < 0.2, "yes", "no")
    codes = write_codes(tmp_path / "codes", x, metadata={"y": y})
    found = evaluate(codes, "y", ks=(1, 10))
    lines = found.labels.set_index("label")
    chance = 1 / 3  # F1 of calling every row "yes"
    assert lines.loc["yes", "f1"] < chance + 0.03
    assert abs(value(found, "best_feature_auc") - 0.5) < 0.1
    assert abs(value(found, "probe_auc@10") - 0.5) < 0.1
    scores = single_feature_scores(x.tocsc(), sp.csr_array((y == "yes")[:, None] * 1.0))
    assert scores.auc.max() > 0.57
    assert scores.f1.max() > chance + 0.03


def test_groups_stay_in_one_half(tmp_path):
    """Every source is a label of its own feature: nothing can be learnt across sources."""
    source = np.repeat(np.arange(40), 10)
    y = np.where(np.random.default_rng(0).random(40) < 0.5, "a", "b")[source]
    x = sp.csr_array(np.eye(40, dtype=np.float32)[source])
    codes = write_codes(tmp_path / "codes", x, metadata={"y": y, "source": source.astype(str)})
    loose = evaluate(codes, "y", ks=(20,))
    strict = evaluate(codes, "y", ks=(20,), groups="source")
    assert value(loose, "probe_auc@20") > 0.65
    assert value(strict, "probe_auc@20") == pytest.approx(0.5)


# Numbers against outside oracles


def test_single_feature_scores_agree_with_sklearn_ties_included():
    rng = np.random.default_rng(0)
    x = np.round(4 * rng.random((80, 6))) * (rng.random((80, 6)) < 0.4)
    x[:, 5] = 0  # never on
    y = (rng.random((80, 3)) < 0.3).astype(float)
    scores = single_feature_scores(sp.csc_array(np.float32(x)), sp.csr_array(y))
    auc, f1, threshold = scores.auc, scores.f1, scores.threshold
    for j in range(6):
        levels = [v for v in np.unique(x[:, j]) if v > 0]
        for k in range(3):
            assert auc[j, k] == pytest.approx(roc_auc_score(y[:, k], x[:, j]))
            each = [f1_score(y[:, k], x[:, j] >= v) for v in levels]
            assert f1[j, k] == pytest.approx(max(each, default=0))
            if f1[j, k] > 0:
                assert f1_score(y[:, k], x[:, j] >= threshold[j, k]) == pytest.approx(f1[j, k])
    on = x[:, 0] > 0  # the twin: ranks among active rows alone are another number
    assert abs(auc[0, 0] - roc_auc_score(y[on, 0], x[on, 0])) > 0.02
    assert np.isinf(threshold[5]).all()


def test_auc_and_f1_with_their_intervals():
    """Values are sklearn's, intervals those of a bootstrap over parts, not over rows."""
    rng = np.random.default_rng(1)
    part = np.repeat(np.arange(150), 4)
    truth = (rng.random((150, 3)) < 0.4)[part]
    score = np.round(truth + rng.normal(size=(150, 3))[part] * 1.2, 1)
    auc, of_auc = auc_scores(score, truth, part)
    f1, of_f1 = f1_scores(score > 0.5, truth, part)
    assert auc == pytest.approx([roc_auc_score(truth[:, k], score[:, k]) for k in range(3)])
    assert f1 == pytest.approx([f1_score(truth[:, k], score[:, k] > 0.5) for k in range(3)])
    halves = auc_scores(score > 0.5, truth, part)[0]  # of on and off: the balanced accuracy
    want = [balanced_accuracy_score(truth[:, k], score[:, k] > 0.5) for k in range(3)]
    assert halves == pytest.approx(want)
    draws = []
    for _ in range(250):
        rows = np.concatenate([np.flatnonzero(part == p) for p in rng.integers(0, 150, 150)])
        draws.append(
            (
                auc_scores(score[rows], truth[rows], rows)[0].mean(),
                f1_scores(score[rows] > 0.5, truth[rows], rows)[0].mean(),
            )
        )
    for summary, bootstrap in zip((of_auc, of_f1), np.array(draws).T, strict=True):
        assert summary.n == 3
        assert (summary.high - summary.low) / 3.92 == pytest.approx(bootstrap.std(), rel=0.2)
    naive = auc_scores(score, truth, np.arange(600))[1]
    assert naive.high - naive.low < 0.65 * (of_auc.high - of_auc.low)


def test_mean_has_the_usual_interval():
    values = np.random.default_rng(0).normal(size=200)
    summary = mean_estimate(values)
    assert summary.high - summary.value == pytest.approx(1.96 * values.std() / 200**0.5, rel=1e-3)
    assert np.isnan(mean_estimate([]).value)


def test_a_sparse_probe_is_sklearns_logistic_regression():
    rng = np.random.default_rng(0)
    x = rng.random((900, 3)) * (rng.random((900, 3)) < 0.2)
    y = rng.random(900) < np.where(x[:, 0] > 0, 0.8, 0.1)
    train = np.arange(900) < 600
    scaled = np.column_stack([np.ones(900), x / x[train].std(0)])
    outside, other = (
        LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10).fit(scaled[rows], y[rows])
        for rows in (train, ~train)
    )
    got = fit_sparse_probe(x, y, train)
    assert got == pytest.approx(outside.decision_function(scaled), abs=1e-3)
    assert np.abs(got - other.decision_function(scaled)).max() > 0.1


def test_reconstruction_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)) + 2
    back = x + 0.3 * rng.normal(size=x.shape)
    found = reconstruction_measures(x, back, rng)
    assert found["fvu"].value == pytest.approx(
        1 - r2_score(x, back, multioutput="variance_weighted")
    )
    cosine = [a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(x, back, strict=True)]
    assert found["cosine"].value == pytest.approx(np.mean(cosine))
    shared = []
    for i in range(120):
        near = []
        for m in (x, back):
            alike = [m[i] @ b / np.linalg.norm(b) if j != i else -9e9 for j, b in enumerate(m)]
            near.append(set(np.argsort(alike)[-10:]))
        shared.append(len(near[0] & near[1]) / 10)
    assert found["recall@10"].value == pytest.approx(np.mean(shared))
    perfect = reconstruction_measures(x, x.copy(), rng)
    assert perfect["fvu"].value == 0
    assert perfect["recall@10"].value == 1
    assert reconstruction_measures(x, x.mean(0) + 0 * x, rng)["fvu"].value == pytest.approx(1)


def test_use_and_redundancy_agree_with_brute_force():
    rng = np.random.default_rng(0)
    x = rng.random((50, 8)) < np.array([0.9, 0.5, 0.3, 0.2, 0.1, 0.1, 0.05, 0])
    directions = rng.normal(size=(8, 5))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = usage(Representation(sp.csc_array(x.astype(np.float32)), directions=directions))
    density = x.mean(0)
    gini = np.abs(density[:, None] - density).sum() / (2 * 64 * density.mean())
    assert found["gini"].value == pytest.approx(gini)
    assert found["l0"].value == pytest.approx(x.sum(1).mean())
    assert found["dead"].value == (density == 0).mean()
    assert found["dense"].value == (density > 0.2).mean()
    live = directions[density > 0]
    alike = live @ live.T - 2 * np.eye(len(live))
    assert found["redundancy"].value == pytest.approx(alike.max(1).mean())
    even = usage(Representation(sp.csc_array(np.eye(8, dtype=np.float32))))
    assert even["gini"].value == pytest.approx(0)


def test_intruders_are_found_by_clusters_and_not_by_noise():
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 20, 800)
    points = np.eye(20)[cluster] + 0.02 * rng.normal(size=(800, 20))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    good = sp.csc_array(np.eye(20, dtype=np.float32)[cluster])
    noise = sp.csc_array(np.eye(20, dtype=np.float32)[rng.permutation(cluster)])
    assert intruder_detection(good, points, rng).value == 1
    assert abs(intruder_detection(noise, points, rng).value - 0.2) < 0.12
    assert intruder_detection(good, points, rng).n == 20


# What there is not, and what comes out


def test_without_labels_only_what_needs_none(codes):
    found = evaluate(codes)
    measures = set(found.table["measure"])
    assert {"fvu", "intruder_vectors", "gini", "redundancy"} <= measures
    assert not any(m.startswith(("probe", "best")) for m in measures)
    assert len(found.labels) == 0


def test_without_vectors_or_texts_it_does_what_it_can(planted, tmp_path):
    codes = write_codes(tmp_path / "codes", planted.activations, metadata=planted.columns)
    found = evaluate(codes, "group", ks=(1,))
    assert set(found.table["representation"]) == {"codes"}
    assert not any("intruder" in m for m in found.table["measure"])
    assert set(found.labels["label"]) == {"A", "B"}


def test_rows_without_label_and_rare_labels_are_left_out(codes, planted):
    y = planted.columns["group"].copy()
    y[:500] = ""
    y[500:504] = "tiny"
    found = evaluate(codes, y, ks=(1,), baselines=False)
    assert found.about["rows"] == 700
    assert set(found.labels["label"]) == {"A", "B"}
    with pytest.raises(ValueError, match=r"none of 1200 labels has 10 rows"):
        evaluate(codes, [f"own {i}" for i in range(1200)])


def test_max_rows_draws_rows_and_the_seed_decides(codes):
    first, second = (
        evaluate(codes, "group", ks=(1,), max_rows=600, baselines=False, seed=s) for s in (1, 1)
    )
    assert first.about["rows"] == 600
    assert first.table.equals(second.table)
    other = evaluate(codes, "group", ks=(1,), max_rows=600, baselines=False, seed=2)
    assert not first.table.equals(other.table)


def test_results_are_json_and_html(result, codes):
    read = json.loads(json.dumps(result.to_dict()))
    assert {r["measure"] for r in read["table"]} == set(result.table["measure"])
    assert read["about"]["labels"] == "topics"
    assert "best_feature_f1" in result._repr_html_()
    assert isinstance(codes, Codes)
