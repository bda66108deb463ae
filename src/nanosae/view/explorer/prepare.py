"""Make a corpus' map and text index: batch jobs, once, in processes of their own.

python -m nanosae.view.explorer.prepare CODES map
python -m nanosae.view.explorer.prepare CODES index
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from nanosae.analysis.clustering import leaders
from nanosae.analysis.reading import run_model
from nanosae.analysis.text_index import has_index, text_index
from nanosae.atomic import sweep_drafts, write_file
from nanosae.codes import Codes
from nanosae.view import maps
from nanosae.view.files import read_arrays

BLOCK = 2**14  # rows placed together
COMMON = 0.2  # density above which a feature leads no row
MIXED_WIDTH = 64  # of random projections of codes without a model
LABEL_AREA = (900, 600)  # pixels in which names of regions find room


class Jobs:
    """The processes that make what a corpus lacks.

    What goes wrong there is said on the terminal.
    """

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen] = {}

    def start(self, codes: Codes) -> None:
        """Start making the map and the text index, if they are missing."""
        if load_map(codes) is None:
            self._start(codes, "map")
        if codes.has_texts and not has_index(codes):
            self._start(codes, "index")

    def _start(self, codes: Codes, what: str) -> None:
        module = "nanosae.view.explorer.prepare"
        command = [sys.executable, "-m", module, str(codes.path), what]
        self._processes[what] = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def states(self) -> dict[str, str]:
        """Return which are "working" and which have "failed"; finished ones are left out."""
        states = {}
        for what, process in self._processes.items():
            code = process.poll()
            if code is None:
                states[what] = "working"
            elif code != 0:
                states[what] = "failed"
        return states

    def stop(self) -> None:
        """End what is still running; nothing half-made stays under its final name."""
        for process in self._processes.values():
            process.terminate()
            process.wait()


def prepare(path: str | Path, what: str) -> None:
    """Make the "map" or the text "index" of a corpus, if it is missing."""
    codes = Codes(path)
    sweep_drafts(codes.path)
    if what == "index":
        text_index(codes)
    elif load_map(codes) is None:
        make_map(codes)


def make_map(codes: Codes) -> Path:
    """Place rows and features in the plane and find each row's strongest feature.

    Rows lie by their embeddings, or without those by what the codes decode to; features by their
    directions, or without a model at the middle of their rows.

    Returns:
        The path of `map.npz` beside the codes: `rows` (n_rows, 2) and `features` (n_features, 2)
        float32, `led` (n_rows,) int32 (−1: nothing is active), `regions` of rows (JSON), `method`.
    """
    model, n = run_model(codes), codes.n_rows
    read_vectors = _vector_reader(codes, None if model is None else model.W_dec)
    shuffled = np.random.default_rng(0).permutation(n)
    sample = np.sort(shuffled[: maps.SAMPLE])
    _, place, method = maps.fit(read_vectors(sample))
    positions = np.zeros((n, 2), np.float32)
    leader = np.full(n, -1, np.int32)
    position_sums = np.zeros((codes.n_features, 2))
    activation_sums = np.zeros(codes.n_features)
    is_common = codes.density > COMMON
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        positions[rows] = place(read_vectors(rows))
        block = codes.take(rows)
        position_sums = position_sums + block.T @ positions[rows]
        activation_sums = activation_sums + block.sum(axis=0)
        block.data[is_common[block.indices]] = 0
        block.eliminate_zeros()
        led_rows, leading = leaders(block)
        leader[start + led_rows] = leading
    if model is None:
        features = position_sums / np.maximum(activation_sums, 1e-12)[:, None]
    else:
        features, _ = maps.project(model.W_dec)
    texts = codes.texts(sample).tolist() if codes.has_texts else []
    regions = name_regions(positions[sample], dict(enumerate(texts)))
    arrays: dict[str, Any] = {
        "rows": positions,
        "features": features.astype(np.float32),
        "led": leader,
        "method": method,
        "regions": json.dumps(regions),
        "made_from": made_from(codes),
    }

    def write(stream: IO[bytes]) -> None:
        np.savez(stream, **arrays)

    path = codes.path / "map.npz"
    write_file(path, write)
    return path


def _vector_reader(
    codes: Codes, decoder: np.ndarray | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what reads rows' vectors: embeddings, else decoded codes, else random projections."""
    if codes.has_vectors:
        return codes.vectors
    if decoder is None:
        rng = np.random.default_rng(0)
        decoder = rng.standard_normal((codes.n_features, MIXED_WIDTH)).astype(
            np.float32
        )

    def decode(rows: np.ndarray) -> np.ndarray:
        return codes.take(rows) @ decoder

    return decode


def load_map(codes: Codes) -> dict[str, np.ndarray] | None:
    """Return what `make_map` wrote, or None if it is missing, damaged or made from other codes."""
    arrays = read_arrays(codes.path / "map.npz")
    if arrays is None:
        return None
    if "made_from" not in arrays or arrays.pop("made_from").item() != made_from(codes):
        return None
    return arrays


def made_from(codes: Codes) -> str:
    """Return the checksums of the codes and of the model that a map is made from."""
    return f"{codes.checksum} {codes.model}"


def name_regions(points: np.ndarray, names: dict[int, str]) -> list[dict[str, Any]]:
    """Return words for the dense places among points, and where to write them."""
    placed = maps.labels(points, maps.clusters(points), names, *LABEL_AREA)
    return [{"text": text, "x": x, "y": y} for text, (x, y) in placed]


if __name__ == "__main__":
    prepare(*sys.argv[1:])
