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
MIN_TEXTS = 20  # texts on which a label's score must rest to be shown


def load() -> tuple[np.ndarray, list[str], list[str]]:
    """Return the embeddings (6000, 384) float16, the glosses, and their lexicographer files."""
    folder = files("nanosae.demo")
    with as_file(folder / "wordnet.minilm.f16.npy") as path:
        rows = np.load(path)
    with as_file(folder / "wordnet.parquet") as path:
        table = pq.read_table(path)
    texts = table["text"].to_pylist()
    lexnames = table["lexname"].to_pylist()
    return rows, texts, lexnames


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
    """Train, name and group the features, and compare two groups of glosses, in a run folder."""
    rows, texts, lexnames = load()
    trainer = nanosae.SAETrainer(nanosae.TrainConfig(**CONFIG), run=output)
    model = trainer.train(rows)
    metrics = trainer.metrics_
    n_features, k = CONFIG["hidden_size"], CONFIG["k"]
    say(f"{len(rows):,} glosses, {n_features:,} features, k={k}")
    fvu, l0, dead = (metrics[name] for name in ("fvu", "l0", "dead"))
    say(f"held-out FVU {fvu:.3f}, L0 {l0:.1f}, dead {dead:.1%}")
    metadata = {"text": texts, "lexname": lexnames}
    codes = model.encode_corpus(rows, output / "codes" / "default", metadata=metadata)
    labels = save_features(output, nanosae.label(codes), codes)
    for paragraph in clear_features(codes, labels, n=10):
        say(paragraph)
    _group(codes, output, say)
    _compare(codes, say)


def _group(codes: Codes, output: Path, say: Callable[[str], None]) -> None:
    families = nanosae.families(codes)
    save_result(codes, "families.json", families.to_dict(), families.parameters)
    members = pd.DataFrame(
        families.feature_family.items(), columns=["feature", "family"]
    )
    save_features(output, members, codes)
    say(f"\n{len(families.table)} families of features, among them:")
    for name in families.table["label"].head(5):
        say(f"    {name}")


def _compare(codes: Codes, say: Callable[[str], None]) -> None:
    a, b, by = "noun.animal", "noun.plant", "lexname"
    contrast = nanosae.contrast(codes, a, b, by=by)
    asked = {
        "verb": "contrast",
        "by": by,
        "a": a,
        "b": b,
        "groups": None,
        "corpus": codes.name,
    }
    save_result(codes, contrast_name(asked), contrast.to_dict(), asked)
    say("\nanimals against plants:")
    for sentence in contrast.sentences(4):
        say(f"    {sentence}")


def clear_features(codes: Codes, labels: pd.DataFrame, n: int) -> list[str]:
    """Return a paragraph for each of n features, those first whose labels find unseen texts best.

    Args:
        codes: The corpus, with texts.
        labels: What `label` returned for it.
        n: Largest number of features; none shares a word with one before it.
    """
    paragraphs = []
    words_so_far: set[str] = set()
    best_first = labels.sort_values(["label_auc", "label_n"], ascending=False)
    for line in best_first.to_dict("records"):
        words = set(str(line["label"]).lower().split())
        is_scored = line["label_n"] >= MIN_TEXTS  # not so if the number is missing
        if is_scored and not words & words_so_far:
            words_so_far |= words
            paragraphs.append(_paragraph(codes, line))
        if len(paragraphs) == n:
            break
    return paragraphs


def _paragraph(codes: Codes, line: dict) -> str:
    """Return a feature's label, score and three strongest texts."""
    feature, name, auc = line["feature"], line["label"], line["label_auc"]
    score = f"its label finds unseen glosses with AUC {auc:.2f}"
    rows, _ = codes.top(feature, 3)
    texts = [text[:88] for text in codes.texts(rows)]
    return "\n    ".join([f"\nfeature {feature}: {name} ({score})", *texts])
