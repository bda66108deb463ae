"""The explorer: a local server over a run folder, and the page that it serves.

It listens on 127.0.0.1 unless told otherwise; elsewhere a random token is asked for. Pages of other
sites cannot reach it: the Host must be this machine's (no DNS rebinding), changes must come from
its own page, and the content-security policy lets the page load and run nothing but the files named
here. No path of a file is ever made from a request.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanosae.codes import Corpus, run_folder
from nanosae.errors import BusyError, ConfigError
from nanosae.extras import extra
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.prepare import Jobs
from nanosae.view.explorer.routes import make_routes, refusal
from nanosae.view.pages import static

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = "explore.html"
FILES = (
    PAGE,
    "base.css",
    "explore.css",
    "nano.js",
    "points.js",
    "map.js",
    "explore.js",
    "explore-ask.js",
    "explore-details.js",
    "explore-lists.js",
    "explore-map.js",
    "explore-page.js",
    "explore-parts.js",
    "explore-steer.js",
)
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
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
THREADS = 4  # that answer at once: each has its own working memory
SHUTDOWN_SECONDS = 2  # for requests that are being answered


def explore(
    run: Corpus,
    name: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the explorer of a run until it is interrupted.

    Args:
        run: The run folder, or codes or an `Analysis` of it.
        name: Which corpus of the run.
        host: Address to listen on; a token is asked for if it is not this machine's own.
        port: Port; 0 takes a free one.
        open_browser: Whether to open a browser.
        say: Takes the address to open.

    Raises:
        ExtraError: If the `explore` extra is not installed.
        MissingError: If the run has no codes.
        BusyError: If the port is in use.
        ConfigError: If there is no such host or port.
    """
    uvicorn = extra("explore", "uvicorn", "explore")
    # the encoder of a run is used, never downloaded
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    corpus = OpenCorpus(run_folder(run), name)
    token = None if _is_local(host) else secrets.token_urlsafe(24)
    with _listen(host, port) as listener:
        url = _address(host, listener.getsockname()[1], token)
        say(f"{url}  (Ctrl+C stops it)")
        if open_browser:
            threading.Timer(0.5, webbrowser.open, [url]).start()
        config = uvicorn.Config(
            make_app(corpus, host, token),
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        uvicorn.Server(config).run([listener])


def _address(host: str, port: int, token: str | None) -> str:
    """Return the URL that a person opens."""
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    query = f"?token={token}" if token else ""
    return f"http://{host}:{port}/{query}"


def make_app(
    corpus: OpenCorpus, host: str = "127.0.0.1", token: str | None = None
) -> Any:
    """Return the ASGI application: what `explore` serves.

    Args:
        corpus: What it answers about.
        host: The address it will listen on.
        token: What every request must know; None asks for nothing.
    """
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import Route

    jobs = Jobs()

    @contextlib.asynccontextmanager
    async def prepare_meanwhile(_: Starlette) -> AsyncIterator[None]:
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        jobs.start(corpus.codes)
        yield
        jobs.stop()

    def send_file(request: Request) -> Response:
        return _send_file(request.path_params.get("name", PAGE), token)

    files = [Route("/", send_file), Route("/static/{name}", send_file)]
    routes = files + make_routes(corpus, jobs)
    app = Starlette(routes=routes, lifespan=prepare_meanwhile)
    return BaseHTTPMiddleware(app, _guard(host, token))


def _send_file(name: str, token: str | None) -> Response:
    """Return one of the page's files; the page itself hands the token to the browser."""
    from starlette.responses import Response

    if name not in FILES:
        return refusal("There is no such file.", 404)
    response = Response(static(name), media_type=MEDIA_TYPES[Path(name).suffix])
    if token and name == PAGE:
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
    return response


def _guard(host: str, token: str | None) -> Callable[..., Any]:
    """Let only this machine's own pages and holders of the token in; add headers to all answers."""
    own_hosts = {"127.0.0.1", "localhost", "::1", host} if _is_local(host) else None

    def refuse(request: Request) -> Response | None:
        if own_hosts and _hostname(request.headers.get("host", "")) not in own_hosts:
            return refusal("This explorer answers to its own machine only.", 403)
        if token and not _knows_token(request, token):
            return refusal("Open the address that `nanosae explore` printed.", 401)
        return None

    async def respond(request: Request, answer: Callable[..., Any]) -> Response:
        response = refuse(request) or await answer(request)
        response.headers.update(HEADERS)
        return response

    return respond


def _knows_token(request: Request, token: str) -> bool:
    given = request.query_params.get("token") or request.cookies.get(COOKIE, "")
    return secrets.compare_digest(given.encode(), token.encode())


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    if not 0 <= port <= 65535:
        raise ConfigError(
            f"port {port} does not exist: choose a --port from 0 to 65535."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        message = f"cannot listen on {host}, port {port}: {error.strerror or error};"
        if error.errno == errno.EADDRINUSE:
            raise BusyError(message, remedy="choose another --port.") from error
        raise ConfigError(message, remedy="choose another --host or --port.") from error


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _hostname(header: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    name, _, port = header.rpartition(":")
    if not port.isdecimal():
        name = header
    return name.strip("[]").lower()
