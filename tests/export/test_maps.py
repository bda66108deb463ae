"""Points for programs that draw maps, and features for Neuronpedia."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from nanosae import Codes, SAETrainer, describe
from nanosae.cli import main
from nanosae.export.map_table import write_map
from nanosae.export.neuronpedia import write_neuronpedia
from nanosae.runs.tables import save_features
from small_corpora import corpus


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 6)).astype(np.float32)
    folder = tmp_path / "run"
    model = SAETrainer(hidden_size=12, k=3, steps=20, run=folder).train(
        rows, progress=False
    )
    table = {"text": [f"text {i}" for i in range(120)], "year": list(range(120))}
    codes = model.encode_corpus(rows, folder / "codes" / "default", metadata=table)
    save_features(folder, describe(codes)[["feature"]].assign(label="some words"))
    return folder


def test_every_row_is_a_point_with_its_leading_feature(run, tmp_path, capsys):
    out = tmp_path / "map.parquet"
    assert main(["export", str(run), "-o", str(out), "--to", "atlas"]) == 0
    assert "120 rows as atlas" in capsys.readouterr().out
    table, codes = pq.read_table(out).to_pandas(), Codes.open(run)
    assert list(table["row"]) == list(range(120))
    assert list(table["text"]) == list(codes.texts())
    assert list(table["year"]) == list(codes.column("year"))
    assert table[["x", "y"]].notna().all().all()
    assert (table[["x", "y"]].std() > 0).all()
    dense = codes.rows(0, 120).toarray()
    common = codes.density > 0.2
    for row in range(120):
        listed = list(table["features"][row])
        active = np.flatnonzero(dense[row])
        strongest = active[np.argsort(-dense[row, active], kind="stable")]
        assert [entry["index"] for entry in listed] == strongest.tolist()
        assert {entry["feature"] for entry in listed} <= {"some words"}
    wanted = np.where(common, 0, dense)
    for row in range(120):
        if wanted[row].max() > 0:
            assert table["feature"][row] == wanted[row].argmax()
            assert table["label"][row] == "some words"
        else:
            assert np.isnan(table["feature"][row])


def test_a_column_that_is_called_like_one_of_the_map_is_kept(tmp_path):
    model = SAETrainer(hidden_size=4, k=2, steps=5).train(np.eye(60), progress=False)
    metadata = {"label": ["a", "b"] * 30, "label_": ["c"] * 60, "x": list(range(60))}
    codes = model.encode_corpus(np.eye(60), tmp_path / "codes", metadata=metadata)
    write_map(codes, tmp_path / "map.parquet")
    table = pq.read_table(tmp_path / "map.parquet").to_pydict()
    assert table["label_"] == metadata["label"]
    assert table["label__"] == metadata["label_"]
    assert table["x_"] == metadata["x"]


def test_neuronpedia_gets_features_with_their_strongest_texts(run, tmp_path, capsys):
    out = tmp_path / "batch-0.json"
    words = ["export", str(run), "-o", str(out), "--to", "neuronpedia"]
    assert main([*words, "--collection", "mine"]) == 0
    batch, codes = json.loads(out.read_text()), Codes.open(run)
    assert batch["sae_set"] == "mine"
    dense = codes.rows(0, 120).toarray()
    decoder = codes.weights().W_dec
    indices = [found["feature_index"] for found in batch["features"]]
    assert indices == np.flatnonzero(dense.any(axis=0)).tolist()
    for found in batch["features"]:
        column = dense[:, found["feature_index"]]
        assert found["frac_nonzero"] == pytest.approx((column > 0).mean())
        heights = found["freq_hist_data_bar_heights"]
        assert sum(heights) == (column > 0).sum()
        assert len(heights) == len(found["freq_hist_data_bar_values"])
        strongest = np.argsort(-column, kind="stable")[: len(found["activations"])]
        for row, example in zip(strongest, found["activations"], strict=True):
            assert example["tokens"] == [f"text {row}"]
            assert example["values"] == pytest.approx([column[row]])
        np.testing.assert_allclose(found["vector"], decoder[found["feature_index"]])
    beside = (tmp_path / "batch-0.json.explanations.jsonl").read_text()
    explained = [json.loads(line) for line in beside.splitlines()]
    assert [int(line["index"]) for line in explained] == indices
    assert {line["description"] for line in explained} == {"some words"}
    assert {line["layer"] for line in explained} == {"0-mine"}


# The fields of a feature in SAEDashboard 0.8.0; its reader refuses all others.
FIELDS = {
    *("feature_index", "neuron_alignment_indices", "neuron_alignment_values"),
    *("neuron_alignment_l1", "correlated_neurons_indices", "correlated_neurons_l1"),
    *("correlated_neurons_pearson", "correlated_features_indices"),
    *("correlated_features_l1", "correlated_features_pearson", "neg_str"),
    *("neg_values", "pos_str", "pos_values", "frac_nonzero"),
    *("freq_hist_data_bar_values", "freq_hist_data_bar_heights"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values"),
    *("n_prompts_total", "n_tokens_in_prompt", "dataset", "activations"),
    *("decoder_weights_dist", "vector"),
}


def test_neuronpedia_gets_no_field_that_saedashboard_does_not_know(run, tmp_path):
    out = tmp_path / "batch-0.json"
    assert main(["export", str(run), "-o", str(out), "--to", "neuronpedia"]) == 0
    batch = json.loads(out.read_text())
    assert set(batch) == {"model_id", "layer", "sae_set", "sae_id_suffix", "features"}
    for found in batch["features"]:
        assert set(found) <= FIELDS
        for example in found["activations"]:
            known = ("bin_min", "bin_max", "bin_contains", "tokens", "values")
            assert set(example) == {*known, "qualifying_token_index"}


def test_a_text_with_an_icon_of_a_font_is_whole(tmp_path):
    text = "\ue000 Save\ue001 the file"  # the characters that mark tokens
    codes = corpus(tmp_path / "c", np.ones((1, 1)), [text])
    write_neuronpedia(codes, tmp_path / "batch.json", "set")
    batch = json.loads((tmp_path / "batch.json").read_text(encoding="utf-8"))
    (example,) = batch["features"][0]["activations"]
    assert (example["tokens"], example["values"]) == ([text], [1.0])


def test_a_token_stands_between_what_is_around_it(tmp_path):
    from nanosae import write_codes
    from nanosae.export.neuronpedia import write_neuronpedia

    dense = np.array([[0, 2.0], [1.0, 0]], np.float32)
    table = {"text": ["the old tree", "the old tree"], "start": [4, 8], "end": [7, 12]}
    table["text_index"] = [0, 0]
    write_codes(tmp_path / "codes" / "default", dense, metadata=table)
    write_neuronpedia(Codes.open(tmp_path), tmp_path / "x.json", "mine")
    first, second = json.loads((tmp_path / "x.json").read_text())["features"]
    assert first["activations"][0]["tokens"] == ["the old ", "tree", ""]
    assert first["activations"][0]["values"] == [0.0, 1.0, 0.0]
    assert second["activations"][0]["tokens"] == ["the ", "old", " tree"]
    assert "vector" not in first
