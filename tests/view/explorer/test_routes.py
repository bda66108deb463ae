"""What the server refuses, and what it keeps."""

import inspect
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explored import get, post, rows_of
from nanosae.runs import annotations
from nanosae.view import web
from nanosae.view.explorer import server
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.features import card
from nanosae.view.explorer.routes import (
    CHANGES,
    CONDITIONS,
    QUESTIONS,
    SLOW_AT_ONCE,
    Endpoint,
)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"features": [48]}, "there are 0 … 47"),
        ({"features": ["x"]}, "'features' must be a whole number"),
        ({"value": ["nosuch", "B"]}, "no column 'nosuch'"),
        ({"lasso": [[0, 0], [1]]}, r"a list of \[x, y\] pairs"),
        ({"lasso": "x"}, r"a list of \[x, y\] pairs"),
        ({"nonsense": 1}, "unknown condition 'nonsense'"),
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
    for body in (
        {"feature": 48, "name": "x"},
        {"name": "x"},
        {"feature": "y", "name": "x"},
    ):
        assert post(client, "/api/rename", body).status_code == 400


def test_changes_of_other_sites_are_refused(client, corpus):
    body = {"feature": 1, "on": True}
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        assert post(client, "/api/bookmark", body, origin=origin).status_code == 403
    plain_form = {"content-type": "text/plain"}
    assert (
        client.post(
            "/api/bookmark", content=json.dumps(body), headers=plain_form
        ).status_code
        == 415
    )
    assert client.get("/api/bookmark").status_code == 405
    assert (
        post(client, "/api/tag", {"tag": "x" * 2**20, "rows": [1]}).status_code == 413
    )
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


@pytest.mark.slow
def test_many_threads_get_the_same_answers(client, corpus):
    js = np.argsort(-corpus.codes.counts)[:12].tolist()
    paths = [f"/api/card/{j}" for j in js] + [f"/api/row/{i}" for i in range(12)]
    paths += [
        "/api/points/rows?color=%22column:group%22",
        "/api/features?words=%22a%22",
    ]
    alone = [client.get(path).content for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: client.get(path).content, paths * 4))
    assert together == alone * 4


NONSENSE = [
    ("features", {"at": "-1"}, "from 0 to"),
    ("features", {"at": "1.5"}, "a whole number"),
    ("features", {"at": "1e400"}, "a whole number"),
    ("features", {"at": "NaN"}, "a whole number"),
    ("features", {"at": "99999999999999999999"}, "from 0 to"),
    ("features", {"at": "true"}, "a whole number"),
    ("features", {"at": "x"}, "must be JSON"),
    ("features", {"at": "[" * 20_000}, "must be JSON"),
    ("features", {"sort": '"size"'}, "score, rows, name"),
    ("features", {"words": "5"}, "must be a text, not 5"),
    ("features", {"marked": "1"}, "true or false"),
    ("features", {"nonsense": "1"}, "unknown parameter 'nonsense'"),
    ("card/48", {}, "there are 0 … 47"),
    ("card/99999999999999999999", {}, "from 0 to"),
    ("card/" + "9" * 5000, {}, "from 0 to"),
    ("card/x", {}, "from 0 to"),
    ("row/-1", {}, "from 0 to"),
    ("features", {"words": '"' + "9" * 5000 + '"'}, "at most 500 characters"),
    ("features", {"words": '"\\ud800"'}, "without surrogates"),
    ("features", {"words": "[" * 900 + "]" * 900}, "a text"),
    ("steer", {"row": "1", "edit": '{"%s": 1}' % ("9" * 5000)}, "from 0 to"),
    ("steer", {"query": '"\\udfff"'}, "without surrogates"),
    ("row/900", {}, "0 … 899"),
    ("steer", {}, "exactly one"),
    ("steer", {"row": "900"}, "0 … 899"),
    ("steer", {"row": "1", "edit": '{"a": 1}'}, "a whole number"),
    ("steer", {"row": "1", "edit": '{"1": "x"}'}, "a number"),
    ("steer", {"row": "1", "edit": '{"1": NaN}'}, "a number from -1,000,000,000"),
    ("steer", {"row": "1", "edit": '{"1": 1e999}'}, "a number from -1,000,000,000"),
    ("steer", {"row": "1", "edit": '{"48": 1}'}, "0 … 47"),
    ("points/rows", {"box": "[0, 0, 0, 0]"}, "x0 < x1"),
    ("points/rows", {"box": "[0, 0, 1e-320, 1e-320]"}, "x0 < x1"),
    ("points/rows", {"box": "[-1e308, -1, 1e308, 1]"}, "a number from -1,000,000,000"),
    ("points/rows", {"box": "[0, 0, NaN, 1]"}, "a number from -1,000,000,000"),
    ("points/rows", {"box": "[0, 0, 1]"}, "a box"),
    ("points/rows", {"color": '"feature:x"'}, "a feature is a number"),
    ("points/rows", {"color": '"feature:48"'}, "0 … 47"),
    ("points/features", {"color": '"feature:48"'}, "0 … 47"),
    ("points/rows", {"color": '"column:nosuch"'}, "no column 'nosuch'"),
    ("points/planets", {}, '"rows" or "features"'),
    ("regions/planets", {}, '"rows" or "features"'),
    (
        "texts",
        {"where": '{"lasso": [[0, 0], [1, Infinity], [1, 1]]}'},
        "a number from -1,000,000,000",
    ),
    ("texts", {"where": '{"value": ["group"]}'}, "a column and a value"),
    ("texts", {"where": '{"size": 1}'}, "unknown condition 'size'; known are:"),
    ("texts", {"where": '{"topic": -1}'}, "the condition 'topic' must be a whole"),
    ("contrast", {"where": '{"features": [1e99]}'}, "a whole number"),
    ("export", {"where": '{"words": 3}'}, "a text"),
]


@pytest.mark.parametrize(("path", "params", "said"), NONSENSE)
def test_what_makes_no_sense_is_answered_by_a_sentence(client, path, params, said):
    answer = client.get(f"/api/{path}", params=params)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert answer.json()["error"].count("must be") <= 1  # one sentence, not two in one
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("rename", {"feature": 1.5, "name": "x"}, "a whole number"),
        ("rename", {"feature": 1, "name": 5}, "a text"),
        ("rename", {"name": "x"}, "'feature' is missing"),
        ("bookmark", {"feature": 1, "on": "no"}, "true or false"),
        ("bookmark", {"feature": 10**30, "on": True}, "from 0 to"),
        ("tag", {"tag": "x", "rows": [-1]}, "from 0 to"),
        ("tag", {"tag": "x", "rows": [900]}, "no row 900"),
        ("tag", {"tag": "x", "rows": "all"}, "a list of whole numbers"),
        ("tag", {"tag": "x", "rows": [2**63]}, "from 0 to"),
        ("tag", {"tag": "  ", "rows": [1]}, "1 to 80 characters"),
        ("tag", {"tag": "\ud800", "rows": [1]}, "without surrogates"),
        ("tag", {"tag": "a\0b", "rows": [1]}, "without control characters"),
        ("rename", {"feature": 1, "name": "\ud800"}, "without surrogates"),
    ],
)
def test_changes_that_make_no_sense_change_nothing(client, corpus, path, body, said):
    answer = post(client, f"/api/{path}", body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert annotations.names(corpus.run) == {}
    assert annotations.bookmarks(corpus.run) == []
    assert get(client, "/api/state")["tags"] == {}


@pytest.mark.parametrize("endpoints", [QUESTIONS, CHANGES])
def test_parameters_without_a_default_are_required(endpoints):
    for path, endpoint in endpoints.items():
        without_default = [
            name
            for name, parameter in inspect.signature(endpoint.answer).parameters.items()
            if parameter.default is inspect.Parameter.empty
        ]
        in_path = re.findall("{(.*?)}", path)
        assert without_default == ["corpus", *in_path, *endpoint.required]


def test_slow_questions_wait_for_each_other_and_quick_ones_for_none(
    corpus, monkeypatch
):
    """Of those that wait, who has gone meanwhile gets no answer made."""
    running, made, go_on = [], [], threading.Event()

    def ponder(corpus):
        running.append(None)
        assert go_on.wait(60)
        made.append(None)
        return {}

    monkeypatch.setitem(QUESTIONS, "contrast", Endpoint(ponder, {}, slow=True))
    app = server.make_app(corpus)
    with web.listen("127.0.0.1", 0) as listener, web.serving(app, listener):
        port = listener.getsockname()[1]
        first = [ask_and_leave(port, "/api/contrast") for _ in range(SLOW_AT_ONCE)]
        while len(running) < SLOW_AT_ONCE:
            time.sleep(0.01)
        waiting = [ask_and_leave(port, "/api/contrast") for _ in range(5)]
        for path in ("/", "/api/state", "/static/explore.js"):
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                assert answer.status == 200
        assert len(running) == SLOW_AT_ONCE
        for connection in waiting[1:]:
            connection.close()
        time.sleep(0.2)  # the server learns of it
        go_on.set()
        for connection in [*first, waiting[0]]:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            connection.close()
    assert len(made) == SLOW_AT_ONCE + 1


def ask_and_leave(port, path):
    """Send a request; return the connection without reading the answer."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("error", [KeyError, ValueError, OSError])
def test_a_defect_is_a_server_error_and_no_mistake_of_the_page(
    client, corpus, monkeypatch, caplog, error
):
    def fail(corpus):
        raise error("a secret detail")

    monkeypatch.setattr(type(corpus), "labels", property(fail))
    answer = client.get("/api/card/1")
    assert answer.status_code == 500
    assert answer.json() == {"error": web.DEFECT}
    (line,) = [entry.getMessage() for entry in caplog.records if entry.levelno > 30]
    assert line.startswith(f"defect at /api/card/1: {error.__name__}: ")
    assert "\n" not in line
    assert "test_routes.py" in line


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
CONDITION = st.dictionaries(st.sampled_from(sorted(CONDITIONS)), JSON, max_size=2)


@pytest.mark.parametrize("path", sorted(QUESTIONS))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_is_asked_gets_an_answer_or_a_sentence(client, path, data):
    params = {}
    for name in [*QUESTIONS[path].checks, "unknown"]:
        if data.draw(st.booleans()):
            value = data.draw(CONDITION if name == "where" else JSON)
            params[name] = json.dumps(value)
    in_path = data.draw(st.sampled_from(["0", "47", "-1", "9" * 30, "x", "rows"]))
    address = re.sub(r"\{\w+\}", in_path, path)
    answer = client.get(f"/api/{address}", params=params)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]
