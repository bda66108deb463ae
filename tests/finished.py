"""A small run folder with everything in it, made in a second: what pages are tested on."""

import json

import numpy as np

from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.describe import describe
from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.analysis.groups.families import families
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.names.labels import label
from nanosae.codes import Codes, write_codes
from nanosae.config import TrainConfig
from nanosae.model.weights import Weights
from nanosae.runs import annotations as edits
from nanosae.runs.results import contrast_name, save_result
from nanosae.runs.tables import save_features
from nanosae.view.history import HISTOGRAMS
from planted import planted_corpus

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "</script><img src=x onerror=\"document.title = 'owned'\">",
    "<!-- <script> \" ' & &amp; `${1}` \\u003c %s {0}",
    "שלום עולם ‮ abc",
    "👩‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿 \u2028 \u2029 end",
    "https://example.com/x.png?<b>",
]


def line(step, **more):
    """Return a line of metrics.jsonl."""
    facts = {
        "step": step,
        "rows": 100 * step,
        "seconds": step / 10,
        "loss": 1 / step,
        "fvu": 0.5,
    }
    facts |= {
        "parts": {"mse": 1 / step},
        "l0": 16.0,
        "dead": 0.0,
        "lr": 0.001,
        "coefficient": 0.0,
    }
    facts |= {"steps_planned": 100, "rows_per_second": 1000.0}
    return json.dumps(facts | more) + "\n"


def snapshot(path, shift=0.0):
    """Write a snapshot of two decoder rows."""
    arrays = {"positions": np.array([[0.5 + shift, -0.25], [0, 1]], np.float16)}
    arrays["latents"] = np.array([3, 7], np.int32)
    for name in HISTOGRAMS:
        arrays[name], arrays[f"{name}_edges"] = (
            np.array([1, 4]),
            np.array([-3.0, -2.0, -1.0]),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def training_files(run, config):
    """Write what a finished training of a hundred steps leaves, but for the model."""
    run.mkdir(parents=True)
    facts = {
        "format": 2,
        "requested": config.to_dict(),
        "config": config.to_dict(),
        "threads": 2,
    }
    facts |= {"data": "rows of it.npy", "data_fingerprint": "0123abcd"}
    facts |= {"versions": {"nanosae": "1"}, "init": None, "selection": "reference"}
    (run / "config.json").write_text(json.dumps(facts))
    lines = [
        line(step, heldout_fvu=0.5 + 1 / step, heldout_l0=16)
        for step in range(10, 101, 10)
    ]
    end = {
        "step": 100,
        "rows": 10_000,
        "seconds": 12.5,
        "final": True,
        "fvu": 0.25,
        "l0": 7.5,
        "dead": 0.125,
    }
    (run / "metrics.jsonl").write_text("".join(lines) + json.dumps(end) + "\n")
    for step in range(10, 101, 10):
        snapshot(run / "snapshots" / f"{step:06d}.npz", shift=step / 100)


def finished_run(run):
    """Make the run; the strongest rows of feature 0 begin with HOSTILE, its name is hostile."""
    made = planted_corpus(n_rows=800, n_features=48, width=32)
    config = TrainConfig(
        input_size=32, hidden_size=48, k=3, activation="topk", embedder="an embedder"
    )
    training_files(run, config)
    cfg = {"architecture": "topk", "d_in": 32, "d_sae": 48, "k": 3}
    width = np.zeros(32, np.float32)
    weights = (
        made.directions.T.copy(),
        made.directions,
        width,
        cfg,
        np.zeros(48, np.float32),
    )
    Weights(*weights).save(run / "model")
    texts = made.texts.copy()
    strongest = np.argsort(-made.activations[:, [0]].toarray().ravel(), kind="stable")
    for i, text in zip(strongest, HOSTILE, strict=False):
        texts[i] = f"{text} {texts[i]}"
    columns = {name: made.columns[name] for name in ("group", "year", "topics")}
    options = {"texts": texts, "metadata": columns, "vectors": made.embeddings}
    write_codes(run / "codes" / "default", made.activations, **options)
    codes = Codes.open(run)
    save_features(run, describe(codes, texts=False, n=8), codes)
    named = save_features(run, label(codes), codes).dropna(subset=["label"])
    found = families(codes, named, min_children=3)
    save_result(codes, "families.json", found.to_dict(), found.parameters)
    pairs = found.feature_family.items()
    import pandas as pd

    save_features(run, pd.DataFrame(pairs, columns=["feature", "family"]), codes)
    merged = topics(codes, 5, named)
    save_result(codes, "topics.parquet", merged.table, {"n": 5})
    save_features(
        run, pd.DataFrame({"feature": range(48), "topic": merged.feature_topic}), codes
    )
    apart = contrast(codes, "A", "B", by="group").to_dict()
    asked = {"verb": "contrast", "by": "group", "a": "A", "b": "B"}
    save_result(codes, contrast_name(asked), apart, asked)
    measured = evaluate(codes, "topics", ks=(1, 5)).to_dict()
    save_result(codes, "evaluation.json", measured, {"classes": "topics"})
    edits.rename(run, 0, HOSTILE[1])
    return run
