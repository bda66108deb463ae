"""The demo: 6,000 glosses of WordNet 3.0, their MiniLM embeddings, and what an SAE finds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

CONFIG = {"hidden_size": 1024, "k": 16, "encoder": "all-MiniLM-L6-v2"}


def load() -> tuple[np.ndarray, list[str], list[str]]:
    """Return the embeddings (6000, 384) float16, the glosses, and their lexicographer files."""
    import pyarrow.parquet as pq

    folder = files("nanosae.demo")
    with as_file(folder / "wordnet.minilm.f16.npy") as path:
        rows = np.load(path)
    with as_file(folder / "wordnet.parquet") as path:
        table = pq.read_table(path)
    return rows, table["text"].to_pylist(), table["lexname"].to_pylist()


def run_demo(output: Path | None, say: Callable[[str], None], force: bool = False) -> None:
    """Train on the corpus and say what ten clear features are about.

    Args:
        output: Run folder to keep; None takes a temporary one.
        say: Takes each line.
        force: Replace the run in the folder.
    """
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            run_demo(Path(folder), say)
        return
    from nanosae.config import TrainConfig
    from nanosae.trainer import SAETrainer

    rows, texts, _ = load()
    trainer = SAETrainer(TrainConfig(**CONFIG), run=output)
    model = trainer.train(rows, force=force)
    found = trainer.metrics_
    say(f"{len(rows):,} glosses, {CONFIG['hidden_size']:,} features, k={CONFIG['k']}")
    say(f"held-out FVU {found['fvu']:.3f}, L0 {found['l0']:.1f}, dead {found['dead']:.1%}")
    say("")
    acts = model.features(rows).tocsc()
    for feature in clear_features(acts, rows)[:10]:
        n_active = acts.indptr[feature + 1] - acts.indptr[feature]
        say(f"feature {feature}, active in {n_active} glosses")
        for row in strongest(acts, feature, 4):
            say(f"    {texts[row][:90]}")


def strongest(acts, feature: int, n: int) -> np.ndarray:
    """Return the n rows on which a feature is most active."""
    span = slice(acts.indptr[feature], acts.indptr[feature + 1])
    return acts.indices[span][np.argsort(-acts.data[span], kind="stable")[:n]]


def clear_features(acts, rows: np.ndarray) -> list[int]:
    """Return the features whose strongest rows are most alike, none too close to one before."""
    unit = rows.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scored = []
    for feature in np.flatnonzero(np.diff(acts.indptr) >= 12):
        top = unit[strongest(acts, int(feature), 8)]
        alike = (np.square(top.sum(0)).sum() - len(top)) / (len(top) * (len(top) - 1))
        scored.append((float(alike), int(feature), top.mean(0)))
    chosen, centres = [], []
    for _, feature, centre in sorted(scored, key=lambda entry: -entry[0]):
        centre /= np.linalg.norm(centre)
        if all(centre @ other < 0.5 for other in centres):
            chosen.append(feature)
            centres.append(centre)
    return chosen
