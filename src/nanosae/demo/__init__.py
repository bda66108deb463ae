"""The demo: `run` on 6,000 definitions of WordNet 3.0, which come with their MiniLM embeddings."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from nanosae.pipeline.result import Analysis

CONFIG: dict = {"hidden_size": 1024, "k": 16, "embedder": "all-MiniLM-L6-v2"}


def load() -> tuple[np.ndarray, list[str], list[str]]:
    """Return the embeddings (6000, 384) float16, the definitions, and their lexicographer files."""
    folder = files("nanosae.demo")
    with as_file(folder / "wordnet.minilm.f16.npy") as path:
        rows = np.load(path)
    with as_file(folder / "wordnet.parquet") as path:
        table = pq.read_table(path)
    texts = table["text"].to_pylist()
    lexnames = table["lexname"].to_pylist()
    return rows, texts, lexnames


def run_demo(
    output: Path | None = None, say: Callable[[str], None] = print
) -> Analysis:
    """Run everything on the corpus; it takes half a minute.

    Args:
        output: The run folder; None uses a temporary one, which is deleted with the result.
        say: Function that prints a line.
    """
    from nanosae.config import TrainConfig
    from nanosae.pipeline.run import run

    rows, texts, lexnames = load()
    table = {"text": texts, "lexname": lexnames}
    return run(table, output, vectors=rows, config=TrainConfig(**CONFIG), say=say)
