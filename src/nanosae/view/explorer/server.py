"""The explorer: a local server for a run folder, and its page.

The content security policy allows the page to load and run only the files named here, and changes
are accepted only from this page; see `view.web` for access control. File paths are never built from
requests.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nanosae.analysis.search.label_search import rank_labels
from nanosae.codes import Corpus, run_folder
from nanosae.view import web
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.prepare import Jobs
from nanosae.view.explorer.routes import make_routes
from nanosae.view.pages import static

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
    "explore-text.js",
)
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}
PATIENCE = 10.0  # seconds for which jobs wait until the map has been sent
THREADS = 4  # that answer at once: each has its own working memory


def explore(
    run: Corpus,
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the explorer of a run until it is interrupted.

    Args:
        run: The run folder.
        name: Name of the corpus.
        host: Address to listen on; a token is required unless it is a loopback address.
        port: Port; 0 chooses a free one.
        open_browser: Whether to open a browser.
        say: Called with the URL of the page.

    Raises:
        MissingError: If the run has no codes.
        BusyError: If the port is in use.
        ConfigError: If there is no such host or port.
    """
    # never download the run's embedder
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    corpus = OpenCorpus(run_folder(run), name)
    token = None if web.is_local(host) else secrets.token_urlsafe(24)
    with web.listen(host, port) as listener:
        url = _address(host, listener.getsockname()[1], token)
        say(f"{url}  (Ctrl+C stops it)")
        if open_browser:
            threading.Timer(0.5, webbrowser.open, [url]).start()
        web.make_server(make_app(corpus, host, token)).run([listener])


def _address(host: str, port: int, token: str | None) -> str:
    """Return the URL of the page."""
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    query = f"?token={token}" if token else ""
    return f"http://{host}:{port}/{query}"


def make_app(
    corpus: OpenCorpus, host: str = "127.0.0.1", token: str | None = None
) -> Any:
    """Return the ASGI application of the explorer.

    Args:
        corpus: The corpus.
        host: The address to listen on.
        token: The token that every request must present; None: no token is required.
    """
    jobs = Jobs()

    @contextlib.asynccontextmanager
    async def prepare_meanwhile(_: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        jobs.plan(corpus.codes)
        threading.Thread(target=_prepare, args=(corpus, jobs), daemon=True).start()
        yield
        jobs.stop()
        corpus.map_is_asked.set()  # releases a waiting `_prepare`

    async def send_file(request: Request) -> Response:  # waits for no thread
        return _send_file(request, token)

    files = [Route("/", send_file), Route("/static/{name}", send_file)]
    routes = files + make_routes(corpus, jobs)
    app = Starlette(
        routes=routes,
        lifespan=prepare_meanwhile,
        exception_handlers={Exception: web.answer_defect},
    )
    return web.Guard(app, host, token, POLICY)


def _prepare(corpus: OpenCorpus, jobs: Jobs) -> None:
    """Prepare what the first page needs, and only then start the jobs."""
    _ = corpus.map
    corpus.map_is_asked.wait(PATIENCE)
    if jobs.is_stopped:
        return
    with contextlib.suppress(Exception):  # the first search will report the error
        rank_labels(corpus.labels, "")  # prepares the labels
    jobs.start()


def _send_file(request: Request, token: str | None) -> Response:
    """Return one of the page's files; the page itself sets the token as a cookie."""
    name = request.path_params.get("name", PAGE)
    if name not in FILES:
        return web.refusal("There is no such file.", 404)
    response = Response(static(name), media_type=MEDIA_TYPES[Path(name).suffix])
    if token and name == PAGE:
        cookie = web.cookie_name(request)
        response.set_cookie(cookie, token, httponly=True, samesite="strict")
    return response
