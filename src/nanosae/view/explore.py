"""The explorer: a local server over a run folder, and the page that it serves.

It listens on 127.0.0.1 unless told otherwise; elsewhere a random token is asked for. Pages of other
sites cannot reach it: the Host must be this machine's (no DNS rebinding), changes must come from
its own page, and the content-security policy lets the page load and run nothing but the files named
here. No path of a file is ever made from a request.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from nanosae.view.answers import Explorer, plain

FILES = {
    "explore.html": "text/html",
    "base.css": "text/css",
    "explore.css": "text/css",
    "nano.js": "text/javascript",
    "map.js": "text/javascript",
    "explore.js": "text/javascript",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
COOKIE = "nanosae"
BODY = 2**20  # bytes of a change
THREADS = 8


def explore(
    run: str | Path,
    name: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the explorer of a run until it is interrupted.

    Args:
        run: The run folder.
        name: Which corpus of the run.
        host: Address to listen on; a token is asked for if it is not this machine's own.
        port: Port; 0 takes a free one.
        open_browser: Whether to open a browser.
        say: Takes the address to open.

    Raises:
        ImportError: If the `explore` extra is not installed.
        OSError: If the port is in use.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError('explore needs pip install "nanosae[explore]"') from error
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the encoder of a run is used, never downloaded
    explorer = Explorer(run, name)
    token = None if _is_local(host) else secrets.token_urlsafe(24)
    with _listen(host, port) as listener:
        shown = socket.gethostname() if host in ("", "0.0.0.0", "::") else host
        shown = f"[{shown}]" if ":" in shown else shown
        url = f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
        say(f"{url}  (Ctrl+C stops it)")
        if open_browser:
            threading.Timer(0.5, webbrowser.open, [url]).start()
        app = make_app(explorer, host, token)
        uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", server_header=False, timeout_graceful_shutdown=2
            )
        ).run([listener])


def make_app(explorer: Explorer, host: str = "127.0.0.1", token: str | None = None) -> Any:
    """Return the ASGI application: what `explore` serves.

    Args:
        explorer: Who answers.
        host: The address it will listen on.
        token: What every request must know; None asks for nothing.
    """
    from starlette.applications import Starlette
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    jobs = Jobs(explorer)

    @contextlib.asynccontextmanager
    async def life(_: Any) -> AsyncIterator[None]:
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        jobs.start()
        yield
        jobs.stop()

    def page(request: Any) -> Any:
        name = request.path_params.get("name", "explore.html")
        if name not in FILES:
            return _json({"error": "There is no such file."}, 404)
        text = (files("nanosae.view") / "static" / name).read_bytes()
        response = Response(text, media_type=FILES[name])
        if token and name == "explore.html":
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response

    def points(request: Any) -> Any:
        ask = request.query_params
        box = [float(x) for x in ask["box"].split(",")] if ask.get("box") else None
        kind, color = _one_of(request.path_params["kind"], "rows", "features"), ask.get("color", "")
        found = explorer.points(kind, color, _selection(ask), box)
        return Response(found, media_type="application/octet-stream")

    def export(request: Any) -> Any:
        lines = explorer.export(_selection(request.query_params))
        shown = {"Content-Disposition": f'attachment; filename="{explorer.codes.name}.csv"'}
        return StreamingResponse(lines, media_type="text/csv", headers=shown)

    routes = [
        Route("/", page),
        Route("/static/{name}", page),
        Route("/api/map/{kind}", _answering(points)),
        Route("/api/export.csv", _answering(export)),
    ]
    for path, answer in _questions(explorer, jobs).items():
        routes.append(Route(path, _answering(answer)))
    for path, change in _changes(explorer).items():
        routes.append(Route(path, _changing(change), methods=["POST"]))
    return Guard(Starlette(routes=routes, lifespan=life), host, token)


def _questions(explorer: Explorer, jobs: Jobs) -> dict[str, Callable[[Any], Any]]:
    """Return what can be asked, by path."""

    def features(request: Any) -> Any:
        ask = request.query_params
        sort = _one_of(ask.get("sort", "score"), "score", "rows", "name")
        marked = ask.get("marked") == "1"
        return explorer.features(ask.get("words", ""), sort, marked, _at(ask))

    def steer(request: Any) -> Any:
        ask = request.query_params
        start = {"row": int(ask["row"])} if "row" in ask else {"query": ask.get("query", "")}
        return explorer.steer(start, json.loads(ask.get("edit", "{}")))

    def regions(request: Any) -> Any:
        return explorer.regions(_one_of(request.path_params["kind"], "rows", "features"))

    return {
        "/api/state": lambda _: explorer.state() | {"jobs": jobs.states()},
        "/api/features": features,
        "/api/feature/{id:int}": lambda r: explorer.card(r.path_params["id"]),
        "/api/rows": lambda r: explorer.list_rows(_selection(r.query_params), _at(r.query_params)),
        "/api/row/{id:int}": lambda r: explorer.row(r.path_params["id"]),
        "/api/steer": steer,
        "/api/contrast": lambda r: explorer.contrast(_selection(r.query_params)),
        "/api/regions/{kind}": regions,
    }


def _changes(explorer: Explorer) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Return what can be changed, by path."""
    return {
        "/api/name": lambda b: explorer.rename(int(b["feature"]), str(b["name"])),
        "/api/bookmark": lambda b: explorer.bookmark(int(b["feature"]), bool(b["on"])),
        "/api/tag": lambda b: explorer.tag(
            str(b["tag"]), b.get("where", {}), b.get("rows", []), bool(b.get("on", True))
        ),
    }


def _answering(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let a function answer a request: its value as JSON, a mistake as status 400."""

    @functools.wraps(answer)
    def respond(request: Any) -> Any:
        try:
            found = answer(request)
        except (ValueError, KeyError, TypeError, OverflowError, FileNotFoundError) as error:
            return _json({"error": _message(error)}, 400)
        except OSError as error:
            return _json({"error": str(error)}, 503)
        return found if hasattr(found, "status_code") else _json(found)

    return respond


def _changing(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    """Let a function take a change: a JSON object from the explorer's own page."""
    from starlette.concurrency import run_in_threadpool

    async def respond(request: Any) -> Any:
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            return _json({"error": "Changes must come from the explorer's own page."}, 403)
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return _json({"error": "Changes must be JSON."}, 415)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > BODY:
                return _json({"error": f"A change may have {BODY:,} bytes."}, 413)

        def answer(_: Any) -> Any:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise ValueError("A change must be a JSON object.")
            return change(asked)

        return await run_in_threadpool(_answering(answer), request)

    return respond


class Guard:
    """Let only this machine's own pages and holders of the token in; add headers to all answers."""

    def __init__(self, app: Any, host: str, token: str | None) -> None:
        self.app, self.token = app, token
        self.hosts = {"127.0.0.1", "localhost", "::1", host} if _is_local(host) else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Check a request, or pass on what is none."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        from starlette.requests import Request

        async def add(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            await send(message)

        request = Request(scope)
        if self.hosts is not None and _hostname(request.headers.get("host", "")) not in self.hosts:
            refusal = _json({"error": "This explorer answers to its own machine only."}, 403)
            return await refusal(scope, receive, add)
        given = request.query_params.get("token") or request.cookies.get(COOKIE, "")
        if self.token and not secrets.compare_digest(given.encode(), self.token.encode()):
            refusal = _json({"error": "Open the address that `nanosae explore` printed."}, 401)
            return await refusal(scope, receive, add)
        return await self.app(scope, receive, add)


class Jobs:
    """Prepare what is missing, in processes of their own: the map, the text index."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.running: dict[str, Any] = {}

    def start(self) -> None:
        """Start what is needed."""
        state = self.explorer.state()
        for what in ("map", "index"):
            if state[what] or (what == "index" and not state["texts"]):
                continue
            code = "import sys; from nanosae.view.answers import prepare; prepare(*sys.argv[1:])"
            command = [sys.executable, "-c", code, str(self.explorer.path), what]
            said: Any = tempfile.TemporaryFile()  # noqa: SIM115
            quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self.running[what] = subprocess.Popen(command, **quiet, stderr=said), said

    def states(self) -> dict[str, str]:
        """Return what is being made ("working") and what failed, and why."""
        found = {}
        for what, (process, said) in self.running.items():
            if process.poll() is None:
                found[what] = "working"
            elif process.returncode:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                found[what] = lines[-1] if lines else f"it ended with code {process.returncode}"
        return found

    def stop(self) -> None:
        """End what is still running; nothing half-made stays under its final name."""
        for process, said in self.running.values():
            process.terminate()
            process.wait()
            said.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        what = f"cannot listen on {host}, port {port}: {error.strerror or error}"
        raise OSError(error.errno, f"{what}; choose another --port") from error
    listener.listen(128)
    return listener


def _is_local(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _hostname(header: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    name = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
    return name.strip("[]").lower()


def _selection(ask: Mapping[str, str]) -> dict[str, Any]:
    where = json.loads(ask.get("where") or "{}")
    if not isinstance(where, dict):
        raise ValueError("where must be a JSON object.")
    return where


def _at(ask: Mapping[str, str]) -> int:
    return max(0, int(ask.get("at") or 0))


def _one_of(value: str, *choices: str) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}.")
    return value


def _message(error: Exception) -> str:
    return f"{error} is missing." if isinstance(error, KeyError) else str(error)


def _json(value: Any, status: int = 200) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(plain(value), status)
