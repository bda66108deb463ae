"""Live: a local page that follows a training run while it is written, or replays it afterwards.

The server is a process of its own that only reads the run folder, so that it can neither slow nor
break the training. The page asks once a second for what is new. Lines that are half written are
left for the next time.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from nanosae.errors import NanoSAEError
from nanosae.runs.folder import current, verify_training
from nanosae.view import pages
from nanosae.view.files import read_arrays

PORT = 8321
MAX_LINES = 2000  # of metrics in a page; of more, every second, third … is shown
MAX_SNAPSHOTS = 60
SERIES = (
    "encoder_norm",
    "decoder_norm",
    "encoder_decoder_cosine",
    "decoder_max_cosine",
    "log10_density",
    "activation",
)


def watch(run: str | Path, port: int = PORT) -> None:
    """Serve the training page of a run on this machine alone, until interrupted.

    Args:
        run: The run folder; it may still be empty.
        port: Port on 127.0.0.1; another one if it is taken.
    """
    server = serve(run, port)
    print(f"{run}: http://127.0.0.1:{server.server_port} (Ctrl-C ends it)", flush=True)  # noqa: T201
    with contextlib.suppress(KeyboardInterrupt), server:
        server.serve_forever()


@contextlib.contextmanager
def watching(run: str | Path, say: Callable[[str], Any], port: int = PORT) -> Iterator[None]:
    """Serve the training page from a process of its own, as long as the block and we live.

    Args:
        run: The run folder.
        say: Takes the page's address.
        port: As in `watch`.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve_until, args=(Path(run), port, there), daemon=True)
    process.start()
    there.close()
    say(f"watch the training: {here.recv()}")
    try:
        yield
    finally:
        here.close()
        process.join(timeout=5)


def _serve_until(run: Path, port: int, parent: Any) -> None:
    """Serve until the other end of the pipe is closed, or its process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's, which tells us its end
    with serve(run, port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        parent.send(f"http://127.0.0.1:{server.server_port}")
        with contextlib.suppress(EOFError, OSError):
            parent.recv()
        time.sleep(1.5)  # the page may fetch the last state
        server.shutdown()


def serve(run: str | Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of the page, bound to 127.0.0.1 and not yet running; port 0 takes any."""
    run = Path(run)
    scripts = ("map.js", "training.js", "live.js")
    page = pages.page(
        f"{run.absolute().name} – nanoSAE training",
        pages.static("live.html"),
        data={"run": {"name": str(run)}},
        scripts=scripts,
        plotly=True,
        connect="'self'",
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url, host = urlsplit(self.path), self.headers.get("Host", "").rpartition(":")[0]
            if host not in ("127.0.0.1", "localhost"):  # a foreign name that leads here
                self.send_error(403, "this page is for this machine alone")
            elif url.path == "/":
                self._send(page, "text/html; charset=utf-8")
            elif url.path == "/state":
                asked = parse_qs(url.query)
                offset, after = (int(asked.get(k, ["0"])[0]) for k in ("offset", "after"))
                try:
                    state = training_state(run, offset, after)
                except NanoSAEError as error:
                    self.send_error(500, "a file of the run is damaged", str(error))
                    return
                self._send(pages.to_json(state).encode(), "application/json")
            else:
                self.send_error(404)

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            with contextlib.suppress(ConnectionError):  # the page was closed meanwhile
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError:
        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def training_state(run: str | Path, offset: int = 0, after: int = 0) -> dict[str, Any]:
    """Read what a run folder says of its training, or what is new in it.

    Args:
        run: The run folder, in any state.
        offset: Bytes of metrics.jsonl that are known.
        after: Last step whose snapshot is known.

    Returns:
        `lines` (of metrics.jsonl, thinned to MAX_LINES), `offset`, `reset` (whether what was known
        is void: the file was replaced), `quiet` (seconds since it was written), `snapshots` (see
        `read_snapshots`) and `config`, if there is one.
    """
    run = current(run)
    verify_training(run)
    lines, end, reset = read_metrics(run / "metrics.jsonl", offset)
    state: dict[str, Any] = {"lines": lines, "offset": end, "reset": reset}
    with contextlib.suppress(OSError):
        state["quiet"] = time.time() - (run / "metrics.jsonl").stat().st_mtime
    with contextlib.suppress(OSError, ValueError):
        state["config"] = json.loads((run / "config.json").read_text("utf-8"))["config"]
    return state | {"snapshots": read_snapshots(run, 0 if reset else after)}


def read_metrics(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int, bool]:
    """Return the complete lines after a position, the position after them, and whether it was void.

    Of more than MAX_LINES lines an even choice is returned, the last one included.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, offset - 1))
            if reset := offset > 0 and stream.read(1) != b"\n":  # shorter, or other lines
                stream.seek(offset := 0)
            text = stream.read()
    except FileNotFoundError:
        return [], 0, offset > 0
    text = text[: text.rfind(b"\n") + 1]
    lines = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return _some(lines, MAX_LINES), offset + len(text), reset


def read_snapshots(run: Path, after: int = 0) -> list[dict[str, Any]]:
    """Return the snapshots of later steps, at most MAX_SNAPSHOTS, evenly chosen.

    Returns:
        For each `step`, of each of SERIES its counts and range, `[counts, low, high]`, and
        `positions`, thousandths of x and y of the sampled `latents`. Unreadable files are left out.
    """
    paths = {int(p.stem): p for p in (run / "snapshots").glob("*.npz") if p.stem.isdecimal()}
    found = []
    for step in _some(sorted(step for step in paths if step > after), MAX_SNAPSHOTS):
        if (z := read_arrays(paths[step])) is None:
            continue
        shot = {name: [z[name], *z[f"{name}_edges"][[0, -1]]] for name in SERIES}
        places = (z["positions"].astype(np.float32) * 1000).round().astype(int)
        found.append(shot | {"step": step, "positions": places.T, "latents": z["latents"]})
    return found


def _some(items: list, most: int) -> list:
    """Return at most so many items, evenly chosen, the last one included."""
    stride = -(-len(items) // most) if items else 1
    return items[::-1][::stride][::-1]
