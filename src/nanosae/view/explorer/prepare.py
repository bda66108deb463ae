"""Build the map and the text index of a corpus, in separate processes.

python -m nanosae.view.explorer.prepare CODES map
python -m nanosae.view.explorer.prepare CODES index

A job prints its progress line by line. It exits when its standard input is closed: the explorer
holds the other end, so no job outlives a server that was killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from nanosae.analysis.groups.clustering import leaders
from nanosae.analysis.reading import drawn_rows, run_model
from nanosae.analysis.search.text_index import has_index, text_index
from nanosae.atomic import sweep_drafts, write_file
from nanosae.codes import Codes
from nanosae.lengths import unit
from nanosae.view import maps
from nanosae.view.files import read_arrays

NICENESS = 10  # of jobs, so that the server answers first
BLOCK = 2**14  # rows placed together
FIRST_SAMPLE = 4096  # rows on which the plane of the first map is fitted
COMMON = 0.2  # density above which a feature leads no row
MIXED_WIDTH = 64  # of random projections of codes without a model
LABEL_AREA = (900, 600)  # pixels in which names of regions are placed


Say = Callable[[str], Any]  # takes a line on the progress of a job


class Job(NamedTuple):
    """A process, and the file to which it writes its progress."""

    process: subprocess.Popen
    lines: IO[bytes]


class Jobs:
    """The processes that build what a corpus lacks; they report errors on the terminal."""

    def __init__(self) -> None:
        self._commands: dict[str, list[str]] = {}  # not yet started
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self.is_stopped = False

    def plan(self, codes: Codes) -> None:
        """Plan the jobs for the map and the text index, if they are missing."""
        missing = []
        if load_map(codes) is None:
            missing.append("map")
        if codes.has_texts and not has_index(codes):
            missing.append("index")
        module = "nanosae.view.explorer.prepare"
        for what in missing:
            command = [sys.executable, "-m", module, str(codes.path), what]
            self._commands[what] = command

    def start(self) -> None:
        """Start the planned jobs."""
        with self._lock:
            for what, command in self._commands.items():
                lines = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=lines)
                self._jobs[what] = Job(process, lines)
            self._commands = {}

    def states(self) -> dict[str, str]:
        """Return which jobs are "working" and which have "failed"; finished ones are left out.

        Planned jobs count as working.
        """
        states = dict.fromkeys(self._commands, "working")
        for what, job in list(self._jobs.items()):
            code = job.process.poll()
            if code is None:
                states[what] = "working"
            elif code != 0:
                states[what] = "failed"
        return states

    def progress(self) -> dict[str, str]:
        """Return the last progress line of each job that is working and has written one."""
        if not hasattr(os, "pread"):
            return {}  # Windows cannot read without moving where the job writes
        last_lines = {}
        working = [what for what, state in self.states().items() if state == "working"]
        for what in working:
            if what not in self._jobs:
                continue
            lines = self._jobs[what].lines
            size = os.fstat(lines.fileno()).st_size
            written = os.pread(lines.fileno(), size, 0).decode(errors="replace")
            if written:
                last_lines[what] = written.splitlines()[-1]
        return last_lines

    def stop(self) -> None:
        """Stop all jobs; no incomplete file is left under its final name."""
        with self._lock:
            self.is_stopped = True
            self._commands = {}
            for job in self._jobs.values():
                job.process.terminate()
                job.process.communicate()  # closes its standard input
                job.lines.close()


def prepare(path: str | Path, what: str, say: Say = lambda line: None) -> None:
    """Build the "map" or the text "index" of a corpus, if it is missing."""
    codes = Codes(path)
    sweep_drafts(codes.path)
    if what == "index":
        text_index(codes)
    elif load_map(codes) is None:
        make_map(codes, say)


def make_map(codes: Codes, say: Say = lambda line: None) -> Path:
    """Place rows and features in the plane, and find the leading feature of each row.

    Rows are placed by their embeddings or, without embeddings, by the decoded codes; features by
    their directions or, without a model, at the mean position of their rows.

    Args:
        codes: The corpus.
        say: Takes lines on the progress.

    Returns:
        The path of `map.npz` beside the codes: `rows` (n_rows, 2) and `features` (n_features, 2)
        float32, `led` (n_rows,) int32 (−1: nothing is active), `regions` of rows (JSON), `method`.
    """
    model, n = run_model(codes), codes.n_rows
    read_vectors = _vector_reader(codes, None if model is None else model.W_dec)
    sample = drawn_rows(codes, maps.SAMPLE)
    say(f"laying out {len(sample):,} of {n:,}")
    _, place, method = maps.fit(read_vectors(sample))
    positions = np.zeros((n, 2), np.float32)
    for start in range(0, n, BLOCK):
        say(f"placing the others: {start / n:.0%}")
        rows = np.arange(start, min(start + BLOCK, n))
        positions[rows] = place(read_vectors(rows))
    leader, middles = _leaders_and_middles(codes, positions)
    say("laying out the features")
    features = middles
    if model is not None:
        features, _ = maps.project(model.W_dec)
    say("naming dense places")
    texts = codes.texts(sample).tolist() if codes.has_texts else []
    regions = name_regions(positions[sample], dict(enumerate(texts)), method)
    arrays: dict[str, Any] = {
        "rows": positions,
        "features": features.astype(np.float32),
        "led": leader,
        "method": method,
        "regions": json.dumps(regions),
        "made_from": made_from(codes),
    }

    path = codes.path / "map.npz"
    write_file(path, lambda stream: np.savez(stream, **arrays))
    return path


def _leaders_and_middles(
    codes: Codes, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading feature of each row, and the mean position of the rows of each feature.

    Args:
        codes: The corpus.
        positions: Positions of its rows in the plane, (n_rows, 2).
    """
    leader = np.zeros(codes.n_rows, np.int32)
    position_sums = np.zeros((codes.n_features, 2))
    activation_sums = np.zeros(codes.n_features)
    for start in range(0, codes.n_rows, BLOCK):
        rows = slice(start, start + BLOCK)
        block = codes.rows(start, start + BLOCK)
        position_sums = position_sums + block.T @ positions[rows]
        activation_sums = activation_sums + block.sum(axis=0)
        leader[rows] = leading_features(block, codes.density)
    return leader, position_sums / np.maximum(activation_sums, 1e-12)[:, None]


def leading_features(block: Any, density: np.ndarray) -> np.ndarray:
    """Return the strongest feature of each row that is not very common; −1 if there is none."""
    block.data[(density > COMMON)[block.indices]] = 0
    block.eliminate_zeros()
    leader = np.full(block.shape[0], -1, np.int32)
    led_rows, leading = leaders(block)
    leader[led_rows] = leading
    return leader


def first_map(codes: Codes) -> dict[str, np.ndarray]:
    """Return a map that is available at once, until `make_map` has made a better one.

    Rows are placed by their decoded codes and features by their directions, each in the plane of
    the first two principal components. Embeddings are not read: decoding into a plane is a product
    with two columns.

    Returns:
        `rows`, `features`, `led` and `method` as in `make_map`, and empty `regions`.
    """
    model, n = run_model(codes), codes.n_rows
    decoder = _mixing(codes) if model is None else model.W_dec
    sample = drawn_rows(codes, FIRST_SAMPLE)
    axes = _principal_axes(codes.take(sample) @ decoder)
    plane = (decoder @ axes).astype(np.float32)
    positions = np.zeros((n, 2), np.float32)
    leader = np.zeros(n, np.int32)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = codes.rows(start, stop)
        positions[start:stop] = block @ plane
        leader[start:stop] = leading_features(block, codes.density)
    directions = unit(decoder)
    features = directions @ _principal_axes(directions[codes.counts > 0])
    return {
        "rows": positions,
        "features": features.astype(np.float32),
        "led": leader,
        "method": np.array("PCA"),
        "regions": np.array("[]"),
    }


def _principal_axes(x: np.ndarray) -> np.ndarray:
    """Return the first two principal components of rows, (width, 2); zeros without rows."""
    if not len(x):
        return np.zeros((x.shape[1], 2))
    centred = x - x.mean(axis=0)
    _, ascending_axes = np.linalg.eigh(centred.T @ centred)
    axes = ascending_axes[:, ::-1][:, :2]
    n_missing = 2 - axes.shape[1]
    return np.pad(axes, ((0, 0), (0, n_missing)))


def _vector_reader(
    codes: Codes, decoder: np.ndarray | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that reads rows as embeddings, decoded codes, or random projections."""
    if codes.has_vectors:
        return codes.vectors
    if decoder is None:
        decoder = _mixing(codes)

    def decode(rows: np.ndarray) -> np.ndarray:
        return codes.take(rows) @ decoder

    return decode


def _mixing(codes: Codes) -> np.ndarray:
    """Return random directions that replace the decoder of codes without a model."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((codes.n_features, MIXED_WIDTH))
    return mixing.astype(np.float32)


def load_map(codes: Codes) -> dict[str, np.ndarray] | None:
    """Return the map of `make_map`, or None if it is missing, damaged or of other codes."""
    arrays = read_arrays(codes.path / "map.npz")
    if arrays is None:
        return None
    if "made_from" not in arrays or arrays.pop("made_from").item() != made_from(codes):
        return None
    return arrays


def made_from(codes: Codes) -> str:
    """Return the checksums of the codes and the model from which a map is made."""
    return f"{codes.checksum} {codes.model}"


def name_regions(
    points: np.ndarray, names: dict[int, str], method: str
) -> list[dict[str, Any]]:
    """Return names of the regions of a map, and their positions.

    Args:
        points: Positions, (n, 2).
        names: Point → text.
        method: The method of the layout; see `maps.clusters`.
    """
    cluster = maps.clusters(points, method)
    placed = maps.labels(points, cluster, names, *LABEL_AREA)
    return [{"text": text, "x": x, "y": y} for text, (x, y) in placed]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _end_with_the_server() -> None:
    """Exit at the end of standard input, which means that the server has died or called `stop`."""
    os.read(sys.stdin.fileno(), 1)  # no lock is held, as `sys.stdin.read` would on exit
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    prepare(*sys.argv[1:], say=_say)
