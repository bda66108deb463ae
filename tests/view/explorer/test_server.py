"""Who is let in, which files are served, and what a reduced or damaged run says."""

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from explored import get, make_run, points, post
from nanosae.cli import main
from nanosae.runs import annotations
from nanosae.view import web
from nanosae.view.explorer import server
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.overview import overview
from nanosae.view.explorer.prepare import Jobs

PATHS = [
    "/static/../answers.py",
    "/static/..%2fanswers.py",
    "/static/%2e%2e/answers.py",
    "/static/",
    "/static/explore.html/../../../../../../etc/passwd",
    "/static/....//answers.py",
    "/etc/passwd",
    "//etc/passwd",
    "/static/%00",
    "/static/explore.py",
    "/api/card/../../x",
    "/codes",
    "/user.sqlite",
    "/static/C:%5Cwindows",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_other_files(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert len(answer.text) < 100


@pytest.mark.parametrize("name", server.FILES)
def test_the_page_and_its_files_are_served(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(
        server.MEDIA_TYPES[Path(name).suffix]
    )


def test_the_page_runs_and_loads_nothing_from_elsewhere(client):
    text = client.get("/").text
    assert "<script>" not in text
    assert " style=" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_all_answers_carry_the_policy(client, corpus, monkeypatch):
    monkeypatch.setattr(type(corpus), "labels", property(lambda corpus: 1 / 0))
    with TestClient(
        server.make_app(corpus),
        base_url="http://127.0.0.1",
        raise_server_exceptions=False,
    ) as broken:
        error = broken.get("/api/card/1")
    assert error.status_code == 500
    assert "Traceback" not in error.text
    assert "ZeroDivision" not in error.text
    answers = [
        client.get(path) for path in ("/", "/api/state", "/nosuch", "/static/base.css")
    ]
    answers.append(client.get("/", headers={"host": "evil.example"}))
    answers.append(post(client, "/api/rename", {}))
    for answer in [*answers, error]:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:8765", 200),
        ("LOCALHOST", 200),
        ("[::1]:9", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:8765", 403),
        ("", 403),
        ("localhost.evil.example", 403),
        ("192.168.0.7:8765", 403),
    ],
)
def test_other_hosts_are_refused(client, host, status):
    assert client.get("/api/state", headers={"host": host}).status_code == status


def test_elsewhere_a_token_is_needed(corpus):
    token = "s3cret"
    app = server.make_app(corpus, "0.0.0.0", token)
    with TestClient(app, base_url="http://box.example:8765") as client:
        for path in (
            "/",
            "/api/state",
            "/static/explore.js",
            "/?token=wrong",
            "/?token=",
        ):
            assert client.get(path).status_code == 401
        assert (
            post(client, "/api/bookmark", {"feature": 1, "on": True}).status_code == 401
        )
        page = client.get("/", params={"token": token})
        assert page.status_code == 200
        assert {"HttpOnly", "SameSite=strict"} <= set(
            page.headers["set-cookie"].split("; ")
        )
        assert client.get("/api/state").status_code == 200  # the cookie is enough
        client.cookies.clear()
        for wrong in (b"=wrong", "=wröng".encode(), b""):
            headers = {"cookie": b"nanosae-8765" + wrong}
            assert client.get("/api/state", headers=headers).status_code == 401
    assert annotations.bookmarks(corpus.run) == []


def test_two_explorers_of_a_host_keep_their_tokens_apart(corpus):
    """Browsers send a cookie to every port of a host."""
    cookies = None
    for path in ("/?token=secret of {}", "/api/state"):
        for port in (8765, 8766):
            app = server.make_app(corpus, "0.0.0.0", token=f"secret of {port}")
            url = f"http://box.example:{port}"
            with TestClient(app, base_url=url, cookies=cookies) as client:
                assert client.get(path.format(port)).status_code == 200
                cookies = client.cookies


@pytest.mark.parametrize("host", ["box.example", "[::1]", "box.example:x", "box:99999"])
def test_a_host_with_any_port_is_answered(corpus, host):
    app = server.make_app(corpus, "0.0.0.0", token="secret")
    with TestClient(app, base_url="http://box.example") as client:
        for path, status in (("/?token=secret", 200), ("/", 401)):
            client.cookies.clear()
            assert client.get(path, headers={"host": host}).status_code == status


def test_a_run_without_codes_says_what_to_do(tmp_path, capsys):
    assert main(["explore", str(tmp_path), "--no-browser"]) == 2
    assert "no codes" in capsys.readouterr().err


def test_a_reduced_run_has_a_reduced_page_that_says_what_adds_the_rest(
    tmp_path, planted
):
    run = make_run(
        tmp_path / "r", planted, model=False, texts=False, vectors=False, labels=False
    )
    corpus = OpenCorpus(run)
    with TestClient(server.make_app(corpus), base_url="http://localhost") as client:
        state = get(client, "/api/state")
        assert (state["texts"], state["steer"], state["colors"]) == (False, False, [])
        assert state["adds"] == {
            "texts": f"nanosae encode {run} DATA --texts FILE",
            "steering": f"nanosae train DATA -o {run}",
            "families": f"nanosae families {run}",
        }
        assert state["jobs"] == {}  # no index without texts
        assert get(client, "/api/texts", where={"words": "x"})["total"] == 0
        assert get(client, "/api/texts")["lines"][0]["text"] == ""
        assert get(client, "/api/card/3")["near"] == []
        assert len(points(client, "features")["ids"]) == 48
        row = int(np.diff(planted.activations.indptr).argmax())
        assert get(client, "/api/steer", row=row)["hits"]
        edit = client.get("/api/steer", params={"row": row, "edit": '{"1": 1}'})
        assert "model" in edit.json()["error"]
    labelled = make_run(tmp_path / "s", planted, labels=False)
    assert set(overview(OpenCorpus(labelled), Jobs())["adds"]) == {
        "labels",
        "families",
        "near misses",
    }


def test_damage_is_named(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    (run / "user.sqlite").write_bytes(b"not a database at all, whatever it says" * 50)
    with pytest.raises(ValueError, match=r"user\.sqlite is damaged"):
        OpenCorpus(run)
    (run / "user.sqlite").unlink()
    corpus = OpenCorpus(run)
    with TestClient(server.make_app(corpus), base_url="http://localhost") as client:
        (run / "user.sqlite").write_bytes(
            b"not a database at all, whatever it says" * 50
        )
        answer = client.get("/api/features")
        assert answer.status_code == 400
        assert "user.sqlite is damaged" in answer.json()["error"]
    (run / "user.sqlite").unlink()
    (run / "codes" / "default" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        OpenCorpus(run)


def test_busy_and_impossible_ports_are_named():
    with web.listen("127.0.0.1", 0) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port}: .*choose another port"):
            web.listen("127.0.0.1", port)
    with pytest.raises(ValueError, match="port 70000 does not exist"):
        web.listen("127.0.0.1", 70_000)
    with pytest.raises(ValueError, match=r"cannot listen on 203\.0\.113\.1"):
        web.listen("203.0.113.1", 0)
