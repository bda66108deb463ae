"""Corpora on which features are labelled, described, searched, compared and named by a model."""

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis import reading
from nanosae.codes import write_codes
from planted import planted_corpus
from small_corpora import DEAD, DENSE, LONE, TWIN, D, M, N, save_model


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
