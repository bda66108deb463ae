"""Fixtures of the corpus's tests: a planted run, opened, and a client of its server."""

import sys

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from explored import HOSTILE, make_run
from explorer_page import ATTACK, Page
from nanosae.runs.results import save_result
from nanosae.view import web
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


@pytest.fixture(scope="package")
def explorer(tmp_path_factory):
    planted = planted_corpus(900)
    planted.names[:] = [
        f"{name} {HOSTILE}" if j == 47 else name for j, name in enumerate(planted.names)
    ]
    planted.texts[1:4] = [
        ATTACK,
        "‮ שלום עולם مرحبا",
        "emoji 👩‍👩‍👧 🏴 \u2028 ' \" ` \\ </script>",
    ]
    planted.texts[6] += ". And here is a second sentence."
    planted.columns["group"][:30] = ATTACK
    found = OpenCorpus(make_run(tmp_path_factory.mktemp("runs") / "planted", planted))
    add_topics(found.codes)
    return found


def add_topics(codes):
    """Put every third row into one of two topics, the others into the other one."""
    row_topic = (np.arange(codes.n_rows) % 3 > 0).astype(np.int32)
    topics = pd.DataFrame(
        {
            "Topic": [0, 1],
            "Count": [300, 600],
            "Representation": [["third", "rows"], ["other", "rows"]],
            "Representative_Rows": [[0, 3, 6], [1, 2, 4]],
            "Features": [[0, 5], [1]],
        }
    )
    save_result(codes, "topics.parquet", topics, {})
    save_result(codes, "topic_rows.parquet", pd.DataFrame({"topic": row_topic}), {})


@pytest.fixture(scope="package")
def url(explorer):
    app = server.make_app(explorer)
    with web.listen("127.0.0.1", 0) as listener, web.serving(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture
def page(browser, url, explorer):
    """The page of a run that nobody has edited."""
    (explorer.run / "user.sqlite").unlink(missing_ok=True)
    return Page(browser, url)
