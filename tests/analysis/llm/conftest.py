"""A corpus whose features a model names and judges, and the server that plays the model."""

import shutil
import ssl

import pytest

from chat_server import SECRET, Server
from nanosae.codes import Codes, write_codes
from planted import planted_corpus


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch):
    """Clients read them for a tenth of a second each; the server speaks plain HTTP."""
    monkeypatch.setattr(
        ssl.SSLContext, "load_verify_locations", lambda *args, **kwargs: None
    )


@pytest.fixture(scope="session")
def planted():
    return planted_corpus(n_rows=900)


@pytest.fixture(scope="session")
def written_codes(planted, tmp_path_factory):
    return write_codes(
        tmp_path_factory.mktemp("llm") / "codes" / "default",
        planted.activations,
        texts=planted.texts.tolist(),
        metadata={"source": planted.columns["source"]},
        vectors=planted.embeddings,
    )


@pytest.fixture
def codes(written_codes, tmp_path):
    shutil.copytree(written_codes.run, tmp_path / "run")
    return Codes.open(tmp_path / "run")


@pytest.fixture
def server(planted, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    made = Server(planted)
    yield made
    made.close()
