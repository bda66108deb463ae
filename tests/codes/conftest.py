"""Fixtures of the tests of codes."""

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.codes import shard_files, write_codes, writer
from written_codes import M, N


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(writer, "SHARD_ROWS", 64)
    monkeypatch.setattr(shard_files, "ROW_GROUP", 10)


@pytest.fixture
def dense():
    """Activations that are exact in float16, with empty rows and features that never fire."""
    rng = np.random.default_rng(0)
    acts = rng.integers(1, 1000, (N, M)) * (rng.random((N, M)) < 0.15) / 64
    acts[:, [3, M - 1]] = 0
    acts[[50, 100, N - 2]] = 0
    acts[:, 7] = 2.5  # a feature that fires everywhere, all ties
    acts[100] = 0
    return acts.astype(np.float32)


@pytest.fixture
def corpus(tmp_path, dense):
    texts = [None if i % 50 == 0 else f"text {i} — žluťoučký 猫" for i in range(N)]
    table = {"group": [f"g{i % 3}" for i in range(N)], "year": np.arange(N) + 1900}
    vectors = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    path = tmp_path / "run" / "codes" / "news"
    codes = write_codes(
        path, sp.csr_array(dense), texts=texts, metadata=table, vectors=vectors
    )
    return codes, texts, vectors
