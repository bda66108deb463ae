"""The demo: 6,000 glosses of WordNet 3.0, their MiniLM embeddings, and what an SAE finds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import nanosae
from nanosae.codes import Codes
from nanosae.runs.results import contrast_name, save_result
from nanosae.runs.tables import save_features

CONFIG: dict = {"hidden_size": 1024, "k": 16, "encoder": "all-MiniLM-L6-v2"}


def load() -> tuple[np.ndarray, list[str], list[str]]:
    """Return the embeddings (6000, 384) float16, the glosses, and their lexicographer files."""
    folder = files("nanosae.demo")
    with as_file(folder / "wordnet.minilm.f16.npy") as path:
        rows = np.load(path)
    with as_file(folder / "wordnet.parquet") as path:
        table = pq.read_table(path)
    return rows, table["text"].to_pylist(), table["lexname"].to_pylist()


def run_demo(output: Path | None, say: Callable[[str], None]) -> None:
    """Train on the corpus, name the features, and say what ten of them and two groups are about.

    Args:
        output: Run folder to keep, with a report; None takes a temporary one.
        say: Takes each line.
    """
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            _analyse(Path(folder), say)
        return
    _analyse(output, say)
    codes = Codes.open(output)
    save_features(output, nanosae.describe(codes), codes)
    say(f"\n{nanosae.report(output)}: all of it on one page, open it in a browser")


def _analyse(output: Path, say: Callable[[str], None]) -> None:
    rows, texts, lexnames = load()
    trainer = nanosae.SAETrainer(nanosae.TrainConfig(**CONFIG), run=output)
    model = trainer.train(rows)
    found = trainer.metrics_
    say(f"{len(rows):,} glosses, {CONFIG['hidden_size']:,} features, k={CONFIG['k']}")
    say(f"held-out FVU {found['fvu']:.3f}, L0 {found['l0']:.1f}, dead {found['dead']:.1%}")
    metadata = {"text": texts, "lexname": lexnames}
    codes = model.encode_corpus(rows, output / "codes" / "default", metadata=metadata)
    labels = save_features(output, nanosae.label(codes), codes)
    for line in clear_features(codes, labels)[:10]:
        say(line)
    grouped = nanosae.families(codes)
    save_result(codes, "families.json", grouped.to_dict(), grouped.parameters)
    family = pd.DataFrame(grouped.feature_family.items(), columns=["feature", "family"])
    save_features(output, family, codes)
    say(f"\n{len(grouped.table)} families of features, among them:")
    for name in grouped.table["label"].head(5):
        say(f"    {name}")
    say("\nanimals against plants:")
    apart = nanosae.contrast(codes, "noun.animal", "noun.plant", by="lexname")
    asked = {"verb": "contrast", "by": "lexname", "a": "noun.animal", "b": "noun.plant"}
    save_result(codes, contrast_name(asked), apart.to_dict(), asked)
    for sentence in apart.sentences(4):
        say(f"    {sentence}")


def clear_features(codes: Codes, labels: pd.DataFrame) -> list[str]:
    """Return a paragraph for each feature, those first whose words find unseen glosses best."""
    lines, seen = [], set()
    for entry in labels.sort_values(["label_auc", "label_n"], ascending=False).to_dict("records"):
        words = set(str(entry["label"]).lower().split())
        if not entry["label_n"] >= 20 or words & seen:
            continue
        seen |= words
        top, _ = codes.top(entry["feature"], 3)
        head = f"\nfeature {entry['feature']}: {entry['label']}"
        score = f"its words find unseen glosses with AUC {entry['label_auc']:.2f}"
        lines.append("\n    ".join([f"{head} ({score})", *(t[:88] for t in codes.texts(top))]))
    return lines
