"""What the server refuses, and what it keeps."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from explored import get, post, rows_of
from nanosae.runs import annotations
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.features import card


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"features": [48]}, "there are 0 … 47"),
        ({"features": ["x"]}, "'features' must be a whole number"),
        ({"value": ["nosuch", "B"]}, "no column 'nosuch'"),
        ({"lasso": [[0, 0], [1]]}, r"a list of \[x, y\] pairs"),
        ({"lasso": "x"}, r"a list of \[x, y\] pairs"),
        ({"nonsense": 1}, "no condition 'nonsense'"),
        ([1], "an object of conditions"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(client, where, said):
    answer = client.get("/api/texts", params={"where": json.dumps(where)})
    assert answer.status_code == 400
    assert re.search(said, answer.json()["error"])


def test_names_bookmarks_and_tags_are_kept(client, corpus, finished):
    name = "  “mine”\n<b>&amp;  "
    assert (
        post(client, "/api/rename", {"feature": 3, "name": name}).json()["name"]
        == "“mine” <b>&amp;"
    )
    assert post(client, "/api/bookmark", {"feature": 3, "on": True}).status_code == 200
    found = post(client, "/api/tag", {"tag": "odd", "where": {"features": [3]}}).json()
    assert found["tags"] == {"odd": int(corpus.codes.counts[3])}
    again = OpenCorpus(finished)
    assert card(again, 3)["name"] == "“mine” <b>&amp;"
    assert card(again, 3)["named"]
    marked = get(client, "/api/features", marked=True)["lines"]
    assert [line["feature"] for line in marked] == [3]
    row = rows_of(client, features=[3])[0]
    assert get(client, f"/api/row/{row}")["tags"] == ["odd"]
    post(client, "/api/tag", {"tag": "odd", "rows": [row], "on": False})
    assert get(client, f"/api/row/{row}")["tags"] == []
    post(client, "/api/rename", {"feature": 3, "name": ""})
    assert not card(again, 3)["named"]
    for body in ({"feature": 48, "name": "x"}, {"name": "x"}, {"feature": "y", "name": "x"}):
        assert post(client, "/api/rename", body).status_code == 400


def test_changes_of_other_sites_are_refused(client, corpus):
    body = {"feature": 1, "on": True}
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        assert post(client, "/api/bookmark", body, origin=origin).status_code == 403
    plain_form = {"content-type": "text/plain"}
    assert (
        client.post("/api/bookmark", content=json.dumps(body), headers=plain_form).status_code
        == 415
    )
    assert client.get("/api/bookmark").status_code == 405
    assert post(client, "/api/tag", {"tag": "x" * 2**20, "rows": [1]}).status_code == 413
    assert (
        client.post(
            "/api/tag", content=b"[1", headers={"content-type": "application/json"}
        ).status_code
        == 400
    )
    assert post(client, "/api/tag", [1]).status_code == 400
    assert annotations.bookmarks(corpus.run) == []
    own = post(client, "/api/bookmark", body, origin="http://127.0.0.1:8765")
    assert own.status_code == 200
    assert annotations.bookmarks(corpus.run) == [1]


def test_many_threads_get_the_same_answers(client, corpus):
    js = np.argsort(-corpus.codes.counts)[:12].tolist()
    paths = [f"/api/card/{j}" for j in js] + [f"/api/row/{i}" for i in range(12)]
    paths += ["/api/points/rows?color=%22column:group%22", "/api/features?words=%22a%22"]
    alone = [client.get(path).content for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: client.get(path).content, paths * 4))
    assert together == alone * 4
