"""The training page: a local page that follows a training run, or replays it afterwards.

The server is a separate process that only reads the run folder, so it can neither slow down nor
break the training. The page polls it once a second.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from nanosae.errors import BusyError, NanoSAEError
from nanosae.view import pages, web
from nanosae.view.history import training_state

HOST = "127.0.0.1"
PORT = 8321
LAST_SECONDS = 1.5  # after the training, for the page to fetch the last state
MAX_DIGITS = 18  # of a number in a request


def watch(run: str | Path, port: int = PORT) -> None:
    """Serve the training page of a run on this machine until interrupted.

    Args:
        run: The run folder; it may still be empty, or missing.
        port: Port on 127.0.0.1; a free one is chosen if it is in use.

    Raises:
        ConfigError: If there is no such port.
    """
    with _listen(port) as listener:
        is_missing = " (no such folder yet)" if not Path(run).exists() else ""
        address = _address(listener)
        print(f"{run}{is_missing}: {address} (Ctrl-C ends it)", flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            web.make_server(make_app(run)).run([listener])


@contextlib.contextmanager
def watching(run: str | Path, say: Callable[[str], Any]) -> Iterator[None]:
    """Serve the training page from a separate process, until the block or this process ends.

    Args:
        run: The run folder.
        say: Called with the address of the page.
    """
    spawn = multiprocessing.get_context("spawn")
    our_end, their_end = spawn.Pipe()
    process = spawn.Process(
        target=_serve_until, args=(Path(run), their_end), daemon=True
    )
    process.start()
    their_end.close()
    say(f"watch the training: {our_end.recv()}")
    try:
        yield
    finally:
        our_end.close()
        process.join(timeout=5)


def _serve_until(run: Path, parent: Any) -> None:
    """Serve until the other end of the pipe is closed or its process has died."""
    # Ctrl-C is handled by the parent, which then closes the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with serving_page(run, PORT) as address:
        parent.send(address)
        with contextlib.suppress(EOFError, OSError):
            parent.recv()
        time.sleep(LAST_SECONDS)


@contextlib.contextmanager
def serving_page(run: str | Path, port: int = 0) -> Iterator[str]:
    """Serve the page from a thread during the block; yield its address.

    Args:
        run: The run folder.
        port: The port; a free one is chosen if it is 0 or in use.

    Raises:
        ConfigError: If there is no such port.
    """
    with _listen(port) as listener, web.serving(make_app(run), listener):
        yield _address(listener)


def make_app(run: str | Path) -> Any:
    """Return the ASGI application that serves the page of a run and its state."""
    run = Path(run)
    path = str(run.absolute())
    page = pages.page(
        f"{run.absolute().name} – nanoSAE training",
        pages.static("live.html"),
        data={"run": {"name": str(run), "path": path}},
        scripts=("points.js", "map.js", "training.js", "live.js"),
        plotly=True,
        connect="'self'",
    )

    def send_page(_: Request) -> Response:
        return HTMLResponse(page)

    def send_state(request: Request) -> Response:
        offset = _whole_number(request, "offset")
        after = _whole_number(request, "after")
        if offset is None or after is None:
            return web.refusal("offset and after must be whole numbers.", 400)
        try:
            state = training_state(run, offset, after)
            return web.json_response({"run": path, **state})
        except NanoSAEError as error:
            return web.refusal(str(error), 500)

    routes = [Route("/", send_page), Route("/state", send_state)]
    handlers = {Exception: web.answer_defect}
    return web.Guard(Starlette(routes=routes, exception_handlers=handlers), HOST)


def _listen(port: int) -> socket.socket:
    try:
        return web.listen(HOST, port)
    except BusyError:
        return web.listen(HOST, 0)


def _address(listener: socket.socket) -> str:
    return f"http://{HOST}:{listener.getsockname()[1]}"


def _whole_number(request: Request, name: str) -> int | None:
    """Return a query parameter, 0 by default; None if it is not a short whole number."""
    text = request.query_params.get(name, "0")
    if not text.isdecimal() or len(text) > MAX_DIGITS:
        return None
    return int(text)
