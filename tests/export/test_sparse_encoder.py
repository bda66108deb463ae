"""Texts to sparse vectors by sentence-transformers, saved and loaded by that library."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

import foreign_files as written
import sae_formulas as formulas
from nanosae import SAEModel
from nanosae.runs.tables import save_features
from needs import needs
from sae_formulas import D

pytestmark = [
    needs("sentence_transformers", extra="embed"),
    pytest.mark.filterwarnings("default"),
]
TEXTS = ["dog cat", "tree", "river tree dog", "cat river"]


def dense_embedder():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as modules

    words = {"[UNK]": 0, "dog": 1, "cat": 2, "tree": 3, "river": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(3).normal(size=(5, D)).astype(np.float32)
    static = modules.StaticEmbedding(tokenizer, embedding_weights=vectors)
    return SentenceTransformer(modules=[static], device="cpu")


def test_texts_are_read_with_the_prompts_of_the_run(tmp_path):
    from sentence_transformers import SparseEncoder

    from nanosae.export.sparse_encoder import sparse_encoder

    p, dense = formulas.parameters(), dense_embedder()
    cfg = {"architecture": "jumprelu"}
    written.sae_lens(tmp_path / "sae", cfg, written.sae_lens_tensors(p, "jumprelu"))
    sae = SAEModel.load(tmp_path / "sae")
    dense.prompts = {"query": "cat "}
    own = sparse_encoder(tmp_path / "sae", dense)
    assert own.prompts["query"] == "cat "  # the embedder's, where the run has none
    sae.cfg["metadata"] = {"prompt": "dog ", "query_prompt": "tree "}
    sae.save(tmp_path / "prompted")
    sparse_encoder(tmp_path / "prompted", dense).save(str(tmp_path / "out"))
    found = SparseEncoder(str(tmp_path / "out"), device="cpu", trust_remote_code=True)
    for encode, prompt in ((found.encode, "dog "), (found.encode_query, "tree ")):
        rows = dense.encode([prompt + text for text in TEXTS], prompt="")
        wanted = formulas.jumprelu(p, rows)
        np.testing.assert_allclose(
            encode(TEXTS).to_dense().numpy(), wanted, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("kind", ["jumprelu", "topk"])
def test_the_library_saves_and_loads_features_and_their_names(kind, tmp_path):
    from sentence_transformers import SparseEncoder

    from nanosae.export.sparse_encoder import FeatureEncoder, SAEFeatures

    p, dense = formulas.parameters(), dense_embedder()
    cfg = {"architecture": kind, "k": 3}
    written.sae_lens(tmp_path / "sae", cfg, written.sae_lens_tensors(p, kind))
    names = {3: "animals", 5: "water"}
    features = SAEFeatures(SAEModel.load(tmp_path / "sae"), names)
    FeatureEncoder(modules=[*dense, features], device="cpu").save(str(tmp_path / "out"))
    calculate = formulas.jumprelu if kind == "jumprelu" else formulas.topk
    wanted = calculate(p, dense.encode(TEXTS))
    plain = SparseEncoder(str(tmp_path / "out"), device="cpu", trust_remote_code=True)
    found = plain.encode(TEXTS).to_dense().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    loaded = FeatureEncoder(str(tmp_path / "out"), device="cpu", trust_remote_code=True)
    decoded = loaded.decode(loaded.encode(TEXTS), top_k=2)
    listed = loaded.encode(TEXTS, convert_to_tensor=False)
    assert loaded.decode(listed, top_k=2) == decoded
    for row, pairs in zip(wanted, decoded, strict=True):
        order = [j for j in np.argsort(-row, kind="stable")[:2] if row[j] > 0]
        assert [name for name, _ in pairs] == [
            names.get(int(j), f"feature {j}") for j in order
        ]
        np.testing.assert_allclose([value for _, value in pairs], row[order], rtol=1e-5)
    modules = json.loads((tmp_path / "out" / "modules.json").read_text())
    assert modules[-1]["type"] == "nanosae.export.sparse_encoder.SAEFeatures"
    assert plain.get_embedding_dimension() == wanted.shape[1]
    assert torch.is_tensor(plain.encode(["dog"]))


def test_features_have_no_names_of_an_earlier_model(tmp_path):
    from nanosae.export.sparse_encoder import sparse_encoder

    p, dense = formulas.parameters(), dense_embedder()
    cfg = {"architecture": "jumprelu"}
    run = tmp_path / "run"
    written.sae_lens(run / "model", cfg, written.sae_lens_tensors(p, "jumprelu"))
    sae = SAEModel.load(run)
    sae.save(run / "model")
    rows = np.random.default_rng(0).normal(size=(9, D)).astype(np.float32)
    codes = sae.encode_corpus(rows, run / "codes" / "default")
    sae.encode_corpus(rows, run / "codes" / "other")  # no corpus is needed to name them
    save_features(run, pd.DataFrame({"feature": [3], "label": ["animals"]}), codes)
    assert sparse_encoder(run, dense)[-1].names == {3: "animals"}
    p["decoder"] = p["decoder"][::-1]
    written.sae_lens(tmp_path / "new", cfg, written.sae_lens_tensors(p, "jumprelu"))
    SAEModel.load(tmp_path / "new").save(run / "model")
    assert sparse_encoder(run, dense)[-1].names == {}


def test_an_embedder_of_another_width_is_refused_at_once(tmp_path):
    from sentence_transformers import SentenceTransformer

    from nanosae.export.sparse_encoder import sparse_encoder

    p, dense = formulas.parameters(), dense_embedder()
    cfg = {"architecture": "jumprelu"}
    written.sae_lens(tmp_path / "sae", cfg, written.sae_lens_tensors(p, "jumprelu"))
    sparse_encoder(tmp_path / "sae", dense)
    module = dense[0]
    vectors = np.ones((5, D + 1), np.float32)
    wider = type(module)(module.tokenizer, embedding_weights=vectors)
    other = SentenceTransformer(modules=[wider], device="cpu")
    with pytest.raises(ValueError, match=rf"width {D + 1}; the SAE .* on width {D}"):
        sparse_encoder(tmp_path / "sae", other)
