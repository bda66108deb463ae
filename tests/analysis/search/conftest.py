"""A corpus that is searched, by every file of this folder."""

import numpy as np
import pandas as pd
import pytest

from nanosae.analysis.search import text_index as text_index_module
from nanosae.codes import write_codes
from nanosae.runs.tables import save_features
from planted import planted_corpus
from small_corpora import sae


@pytest.fixture(scope="session")
def planted():
    return planted_corpus(700)


@pytest.fixture
def codes(tmp_path, planted, monkeypatch):
    """A run whose model has the planted directions and whose codes are what that model encodes."""
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 300)
    monkeypatch.setattr(text_index_module, "BLOCK", 128)
    centre = planted.embeddings.mean(axis=0)
    model = sae(planted.directions, centre)
    model.save(tmp_path / "model")
    names = pd.DataFrame({"feature": np.arange(48), "label": planted.names})
    save_features(tmp_path, names)
    acts = model.encode(planted.embeddings)
    path = tmp_path / "codes" / "default"
    return write_codes(path, acts, texts=planted.texts, vectors=planted.embeddings)
