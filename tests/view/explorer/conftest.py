"""Fixtures of the corpus's tests: a planted run, opened, and a client of its server."""

import sys

import pytest
from starlette.testclient import TestClient

from explored import make_run
from nanosae.view.explorer import server
from nanosae.view.explorer.corpus import OpenCorpus
from planted import planted_corpus


@pytest.fixture(scope="package", autouse=True)
def no_umap():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "umap", None)
        yield


@pytest.fixture(scope="package")
def planted():
    return planted_corpus(900)


@pytest.fixture(scope="package")
def finished(planted, tmp_path_factory):
    """A run with everything: model, codes, texts, columns, labels, families, topics."""
    return make_run(tmp_path_factory.mktemp("runs") / "<b>run", planted)


@pytest.fixture
def corpus(finished):
    (finished / "user.sqlite").unlink(missing_ok=True)
    return OpenCorpus(finished)


@pytest.fixture
def client(corpus):
    with TestClient(server.make_app(corpus), base_url="http://127.0.0.1:8765") as found:
        yield found


@pytest.fixture
def dense(corpus):
    return corpus.codes.rows(0, corpus.codes.n_rows).toarray()
