"""Live: a local page that follows a training run while it is written, or replays it afterwards.

The server is a process of its own that only reads the run folder, so that it can neither slow nor
break the training. The page asks once a second for what is new.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from nanosae.errors import ConfigError, NanoSAEError
from nanosae.view import pages
from nanosae.view.history import training_state

PORT = 8321
LAST_SECONDS = 1.5  # after the training, in which the page may fetch its last state


def watch(run: str | Path, port: int = PORT) -> None:
    """Serve the training page of a run on this machine alone, until interrupted.

    Args:
        run: The run folder; it may still be empty.
        port: Port on 127.0.0.1; another one if it is taken.

    Raises:
        ConfigError: If there is no such port.
    """
    server = serve(run, port)
    print(f"{run}: http://127.0.0.1:{server.server_port} (Ctrl-C ends it)", flush=True)  # noqa: T201
    with contextlib.suppress(KeyboardInterrupt), server:
        server.serve_forever()


@contextlib.contextmanager
def watching(
    run: str | Path, say: Callable[[str], Any], port: int = PORT
) -> Iterator[None]:
    """Serve the training page from a process of its own, as long as the block and we live.

    Args:
        run: The run folder.
        say: Takes the page's address.
        port: As in `watch`.
    """
    spawn = multiprocessing.get_context("spawn")
    our_end, their_end = spawn.Pipe()
    process = spawn.Process(
        target=_serve_until, args=(Path(run), port, their_end), daemon=True
    )
    process.start()
    their_end.close()
    say(f"watch the training: {our_end.recv()}")
    try:
        yield
    finally:
        our_end.close()
        process.join(timeout=5)


def _serve_until(run: Path, port: int, parent: Any) -> None:
    """Serve until the other end of the pipe is closed, or its process is gone."""
    # Ctrl-C is the trainer's, which tells us its end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with serve(run, port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        parent.send(f"http://127.0.0.1:{server.server_port}")
        with contextlib.suppress(EOFError, OSError):
            parent.recv()
        time.sleep(LAST_SECONDS)
        server.shutdown()


def serve(run: str | Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of the page, bound to 127.0.0.1 and not yet running.

    Args:
        run: The run folder.
        port: The port; another one if it is taken, 0 for any.

    Raises:
        ConfigError: If there is no such port.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port} does not exist: choose one from 0 to 65535.")
    handler = _make_handler(Path(run))
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)


def _make_handler(run: Path) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests for the page and for the state of a run."""
    page = _page(run).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in ("127.0.0.1", "localhost"):  # a foreign name that leads here
                self.send_error(403, "this page is for this machine alone")
            elif url.path == "/":
                self._send(page, "text/html; charset=utf-8")
            elif url.path == "/state":
                self._send_state(url)
            else:
                self.send_error(404)

        def _send_state(self, url: SplitResult) -> None:
            asked = parse_qs(url.query)
            offset = _whole_number(asked, "offset")
            after = _whole_number(asked, "after")
            if offset is None or after is None:
                self.send_error(400, "offset and after are whole numbers")
                return
            try:
                state = training_state(run, offset, after)
            except NanoSAEError as error:
                self.send_error(500, "a file of the run is damaged", str(error))
                return
            self._send(pages.to_json(state).encode(), "application/json")

        def _send(self, content: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            with contextlib.suppress(ConnectionError):  # the page was closed meanwhile
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _page(run: Path) -> str:
    return pages.page(
        f"{run.absolute().name} – nanoSAE training",
        pages.static("live.html"),
        data={"run": {"name": str(run)}},
        scripts=("points.js", "map.js", "training.js", "live.js"),
        plotly=True,
        connect="'self'",
    )


def _whole_number(asked: dict[str, list[str]], name: str) -> int | None:
    """Return a parameter of a request, 0 without one, None if it is no number in 18 digits."""
    text = asked.get(name, ["0"])[0]
    if not text.isdecimal() or len(text) > 18:
        return None
    return int(text)
