"""The web server of the local pages: slow, greedy and unlucky clients, over real sockets."""

import asyncio
import contextlib
import http.client
import json
import logging
import socket
import time

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from nanosae.view import web

QUICK = 0.3  # seconds of patience in these tests


def blocks():
    yield "a,b\n"
    raise RuntimeError("the disk is gone")


def send_blocks(request):
    return StreamingResponse(blocks(), media_type="text/csv")


def fail(request):
    raise RuntimeError("nobody expected this")


async def measure(request):
    try:
        body = await web.read_body(request, 100)
    except TimeoutError:
        return web.refusal("late", 408)
    if body is None:
        return web.refusal("long", 413)
    return web.json_response({"length": len(body)})


async def wait(request):
    await asyncio.sleep(60)


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(web, "REQUEST_SECONDS", QUICK)
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(web, "MAX_HEAD", 1000)
    routes = [
        Route("/blocks", send_blocks),
        Route("/fail", fail),
        Route("/measure", measure, methods=["POST"]),
    ]
    handlers = {Exception: web.answer_defect}
    app = web.Guard(Starlette(routes=routes, exception_handlers=handlers))
    with web.listen("127.0.0.1", 0) as listener, web.serving(app, listener):
        yield listener.getsockname()[1]


def ask(port, method, path, body=None):
    """Return status, headers and body of an answer."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port)
    ) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def await_line(caplog, seconds=20):
    """Wait for the first line of the log, which may come after the answer."""
    end = time.monotonic() + seconds
    while not caplog.records and time.monotonic() < end:
        time.sleep(0.01)


def is_closed(connection, seconds=20):
    connection.settimeout(seconds)
    return connection.recv(100) == b""


def test_a_download_that_fails_in_the_middle_is_no_short_file(port, caplog):
    with pytest.raises(http.client.IncompleteRead):
        ask(port, "GET", "/blocks")
    assert "defect at /blocks: RuntimeError: the disk is gone" in caplog.text


def test_a_defect_is_one_sentence_for_the_page_and_one_line_for_the_log(port, caplog):
    status, headers, body = ask(port, "GET", "/fail")
    assert status == 500
    assert json.loads(body) == {"error": web.DEFECT}
    assert headers["x-content-type-options"] == "nosniff"
    await_line(caplog)
    lines = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].exc_info is None


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
def test_a_client_that_never_finishes_its_request_is_let_go(port, head):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
        assert is_closed(connection)


def test_a_client_that_trickles_is_let_go_too(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        connection.settimeout(QUICK / 5)
        n_lines = 0
        while n_lines < 50:
            n_lines += 1
            connection.sendall(b"X: y\r\n")
            with contextlib.suppress(TimeoutError):
                assert connection.recv(100) == b""
                break
    assert n_lines < 50


def test_a_body_that_does_not_come_is_answered(port):
    head = b"POST /measure HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n12"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
        connection.settimeout(20)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_body_that_is_too_long_is_refused_however_it_comes(port):
    status, _, body = ask(port, "POST", "/measure", b"x" * 100)
    assert (status, json.loads(body)) == (200, {"length": 100})
    assert ask(port, "POST", "/measure", b"x" * 101)[0] == 413
    assert ask(port, "POST", "/measure", iter([b"x" * 60] * 2))[0] == 413


def test_too_long_a_head_is_refused(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /nosuch HTTP/1.1\r\nX: " + b"x" * 2 * web.MAX_HEAD)
        connection.settimeout(20)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_more_connections_than_allowed_are_told_so_and_others_go_on(port):
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(4)
        ]
        time.sleep(QUICK / 5)
        assert ask(port, "GET", "/nosuch")[0] == 503
        assert all(is_closed(connection) for connection in held)
    assert ask(port, "GET", "/nosuch")[0] == 404


def test_a_busy_client_keeps_its_connection(port):
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port)
    ) as connection:
        connection.connect()
        ours = connection.sock
        for _ in range(6):
            connection.request("GET", "/nosuch")
            answer = connection.getresponse()
            assert answer.read() == b"Not Found"
            assert connection.sock is ours
            time.sleep(QUICK / 3)


def test_a_server_that_is_stopped_answers_who_waits_and_shows_no_traceback(
    monkeypatch, capfd
):
    monkeypatch.setattr(web, "SHUTDOWN_SECONDS", 0.1)
    app = web.Guard(Starlette(routes=[Route("/wait", wait)]))
    with web.listen("127.0.0.1", 0) as listener, contextlib.ExitStack() as server:
        server.enter_context(web.serving(app, listener))
        client = http.client.HTTPConnection(*listener.getsockname(), timeout=10)
        with contextlib.closing(client):
            client.request("GET", "/wait")
            time.sleep(QUICK)  # until it is being answered
            server.close()
            answer = client.getresponse()
            assert answer.status == 503
            assert json.loads(answer.read()) == {"error": web.STOPPED}
    assert "Traceback" not in capfd.readouterr().err
