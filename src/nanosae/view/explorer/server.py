"""The explorer: a local server over a run folder, and the page that it serves.

It listens on 127.0.0.1 unless told otherwise; elsewhere a random token is asked for. Pages of other
sites cannot reach it: the Host must be this machine's (no DNS rebinding), changes must come from
its own page, and the content-security policy lets the page load and run nothing but the files named
here. No path of a file is ever made from a request.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from nanosae.extras import extra
from nanosae.view.explorer.queries import Explorer
from nanosae.view.pages import static, to_json

FILES = ("explore.html", "base.css", "explore.css", "nano.js", "map.js", "explore.js")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
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
ANSWERS = (  # methods of Explorer: each argument is a part of the path or a parameter, as JSON
    *("state", "features", "card/{j:int}", "texts", "row/{i:int}", "steer", "contrast"),
    *("points/{kind}", "regions/{kind}", "export"),
)
CHANGES = ("rename", "bookmark", "tag")  # the same with one JSON object
WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, OSError)
COOKIE = "nanosae"
BODY = 2**20  # bytes of a change
THREADS = 4  # that answer at once: each has its own working memory


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
    uvicorn = extra("explore", "uvicorn", "explore")
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
        quiet: Any = {"log_level": "warning", "server_header": False}
        config = uvicorn.Config(make_app(explorer, host, token), **quiet)
        config.timeout_graceful_shutdown = 2
        uvicorn.Server(config).run([listener])


def make_app(explorer: Explorer, host: str = "127.0.0.1", token: str | None = None) -> Any:
    """Return the ASGI application: what `explore` serves.

    Args:
        explorer: Who answers.
        host: The address it will listen on.
        token: What every request must know; None asks for nothing.
    """
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import Response
    from starlette.routing import Route

    @contextlib.asynccontextmanager
    async def life(_: Any) -> AsyncIterator[None]:
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        explorer.start()
        yield
        explorer.stop()

    def page(request: Any) -> Any:
        name = request.path_params.get("name", "explore.html")
        if name not in FILES:
            return _json({"error": "There is no such file."}, 404)
        response = Response(static(name), media_type=KINDS[Path(name).suffix])
        if token and name == "explore.html":
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response

    routes = [Route("/", page), Route("/static/{name}", page)]
    for path in ANSWERS:
        method = getattr(explorer, path.partition("/")[0])
        routes.append(Route(f"/api/{path}", _asking(method)))
    for path in CHANGES:
        change = _changing(getattr(explorer, path))
        routes.append(Route(f"/api/{path}", change, methods=["POST"]))
    app = Starlette(routes=routes, lifespan=life)
    return BaseHTTPMiddleware(app, _guard(host, token))


def _asking(answer: Callable[..., Any]) -> Callable[[Any], Any]:
    """Let a method answer a request whose parameters are its arguments, each as JSON."""

    def respond(request: Any) -> Any:
        try:
            asked = {key: json.loads(text) for key, text in request.query_params.items()}
        except ValueError:
            return _json({"error": "What is asked must be JSON."}, 400)
        return _answer(answer, asked | request.path_params)

    return respond


def _changing(change: Callable[..., Any]) -> Callable[[Any], Any]:
    """Let a method take a change: a JSON object of its arguments, from the explorer's own page."""
    from starlette.concurrency import run_in_threadpool

    async def respond(request: Any) -> Any:
        origin, kind = (request.headers.get(name, "") for name in ("origin", "content-type"))
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            return _json({"error": "Changes must come from the explorer's own page."}, 403)
        if kind.partition(";")[0] != "application/json":
            return _json({"error": "Changes must be JSON."}, 415)
        if int(request.headers.get("content-length", BODY + 1)) > BODY:
            return _json({"error": f"A change may have {BODY:,} bytes."}, 413)
        try:
            asked = dict(await request.json())
        except (ValueError, TypeError):
            return _json({"error": "A change must be a JSON object."}, 400)
        return await run_in_threadpool(_answer, change, asked)

    return respond


def _answer(method: Callable[..., Any], asked: dict[str, Any]) -> Any:
    from starlette.responses import Response, StreamingResponse

    try:
        found = method(**asked)
    except WRONG as error:
        return _json({"error": str(error)}, 400)
    if isinstance(found, bytes):
        return Response(found, media_type="application/octet-stream")
    if isinstance(found, dict | list):
        return _json(found)
    shown = {"Content-Disposition": 'attachment; filename="texts.csv"'}
    return StreamingResponse(found, media_type="text/csv", headers=shown)


def _guard(host: str, token: str | None) -> Callable[..., Any]:
    """Let only this machine's own pages and holders of the token in; add headers to all answers."""
    hosts = {"127.0.0.1", "localhost", "::1", host} if _is_local(host) else None

    async def answer(request: Any, ask: Callable[..., Any]) -> Any:
        given = request.query_params.get("token") or request.cookies.get(COOKIE, "")
        if hosts and _hostname(request.headers.get("host", "")) not in hosts:
            found = _json({"error": "This explorer answers to its own machine only."}, 403)
        elif token and not secrets.compare_digest(given.encode(), token.encode()):
            found = _json({"error": "Open the address that `nanosae explore` printed."}, 401)
        else:
            found = await ask(request)
        found.headers.update(HEADERS)
        return found

    return answer


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        what = f"cannot listen on {host}, port {port}: {error.strerror or error}"
        raise OSError(error.errno, f"{what}; choose another --port") from error


def _is_local(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _hostname(header: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    name = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
    return name.strip("[]").lower()


def _json(value: Any, status: int = 200) -> Any:
    from starlette.responses import Response

    return Response(to_json(value), status, media_type="application/json")
