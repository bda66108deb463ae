"""Corpora on which features are labelled, described, searched, compared and named by a model."""

import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from chat_server import SECRET, Server
from nanosae.analysis import reading
from nanosae.analysis.search import text_index as text_index_module
from nanosae.codes import Codes, write_codes
from nanosae.runs.tables import save_features
from planted import planted_corpus
from small_corpora import DEAD, DENSE, LONE, TWIN, D, M, N, sae, save_model


@pytest.fixture(scope="session")
def labelled_corpus():
    return planted_corpus()


@pytest.fixture(scope="session")
def labelled_codes(labelled_corpus, tmp_path_factory):
    return write_codes(
        tmp_path_factory.mktemp("labels") / "codes",
        labelled_corpus.activations,
        texts=labelled_corpus.texts.tolist(),
        metadata=labelled_corpus.columns,
        vectors=labelled_corpus.embeddings,
    )


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_CELLS", 7 * M)  # seven features at a time
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 150)


@pytest.fixture
def dense(small_blocks):
    rng = np.random.default_rng(0)
    rate = 1 / (np.arange(M) + 3.0)
    acts = (rng.random((N, M)) < rate) * rng.integers(1, 500, (N, M)) / 64
    acts[:, DEAD] = 0
    acts[:, DENSE] = (rng.random(N) < 0.5) * 2.0
    acts[:, TWIN] = acts[:, 4] * 1.5  # always with feature 4
    acts[:, LONE] = 0
    acts[17, LONE] = 3.25
    return acts.astype(np.float32)


@pytest.fixture
def run(tmp_path, dense):
    """A run with a model, texts and embeddings."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(M, D)).astype(np.float32)
    # the same direction again
    directions[9] = directions[3] * 2 + 0.01 * rng.normal(size=D)
    save_model(tmp_path, directions, rng.normal(size=D).astype(np.float32))
    words = np.array(["alpha", "beta", "gamma", "delta", "naïve", "日本語", "мир"])
    texts = [" ".join(rng.choice(words, 4)) for _ in range(N)]
    x = rng.normal(size=(N, D)).astype(np.float32)
    return write_codes(
        tmp_path / "codes" / "c", sp.csr_array(dense), texts=texts, vectors=x
    )


@pytest.fixture(scope="session")
def searched_corpus():
    return planted_corpus(700)


@pytest.fixture
def searched_codes(tmp_path, searched_corpus, monkeypatch):
    """A run whose model has the planted directions and whose codes are what that model encodes."""
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 300)
    monkeypatch.setattr(text_index_module, "BLOCK", 128)
    centre = searched_corpus.embeddings.mean(axis=0)
    model = sae(searched_corpus.directions, centre)
    model.save(tmp_path / "model")
    names = pd.DataFrame({"feature": np.arange(48), "label": searched_corpus.names})
    save_features(tmp_path, names)
    acts = model.encode(searched_corpus.embeddings)
    path = tmp_path / "codes" / "default"
    return write_codes(
        path, acts, texts=searched_corpus.texts, vectors=searched_corpus.embeddings
    )


@pytest.fixture(scope="session")
def judged_corpus():
    return planted_corpus(n_rows=900)


@pytest.fixture(scope="session")
def judged_written(judged_corpus, tmp_path_factory):
    return write_codes(
        tmp_path_factory.mktemp("llm") / "codes" / "default",
        judged_corpus.activations,
        texts=judged_corpus.texts.tolist(),
        metadata={"source": judged_corpus.columns["source"]},
        vectors=judged_corpus.embeddings,
    )


@pytest.fixture
def judged_codes(judged_written, tmp_path):
    shutil.copytree(judged_written.run, tmp_path / "run")
    return Codes.open(tmp_path / "run")


@pytest.fixture
def server(judged_corpus, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    made = Server(judged_corpus)
    yield made
    made.close()


@pytest.fixture(scope="session")
def compared():
    return planted_corpus(seed=1)


@pytest.fixture(scope="session")
def compared_codes(compared, tmp_path_factory):
    return write_codes(
        tmp_path_factory.mktemp("compared") / "codes" / "default",
        compared.activations,
        texts=compared.texts,
        metadata=compared.columns,
        vectors=compared.embeddings,
    )
