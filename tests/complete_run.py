"""A small run folder with every kind of file in it, and everything that reads it."""

import contextlib
import io
import json
import shutil
import warnings
from pathlib import Path

import numpy as np

from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.describe import describe
from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.analysis.groups.families import families
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.names.labels import label
from nanosae.analysis.search.text_index import find_texts, text_index
from nanosae.cli import main
from nanosae.codes import Codes
from nanosae.config import TrainConfig
from nanosae.model.sae import SAEModel
from nanosae.model.weights import Weights
from nanosae.runs import annotations
from nanosae.runs.results import contrast_name, load_contrasts, load_result, save_result
from nanosae.runs.tables import known_labels, load_features, save_features
from nanosae.runs.training import TrainingRun
from nanosae.train.trainer import SAETrainer
from nanosae.view.explorer.prepare import load_map, make_map
from nanosae.view.live import training_state
from planted import planted_corpus

STALE = "stale"
TIMES = {"seconds", "rows_per_second", "quiet"}


def config(seed=0, **more):
    sizes = {"hidden_size": 24, "k": 3, "steps": 6, "batch_size": 64, "log_every": 1}
    return TrainConfig(**sizes, eval_every=2, checkpoint_every=2, seed=seed, **more)


def make_run(run: Path, seed: int = 0, n_rows: int = 400) -> None:
    """Train, encode and analyse; another seed gives other rows and another model."""
    corpus = planted_corpus(n_rows=n_rows, n_features=36, width=16, seed=seed)
    SAETrainer(config(seed), run=run).train(corpus.embeddings, progress=False)
    columns = {"text": list(corpus.texts), "group": list(corpus.columns["group"])}
    columns["year"] = list(corpus.columns["year"])
    model = SAEModel.load(run)
    codes = model.encode_corpus(
        corpus.embeddings, run / "codes" / "default", metadata=columns
    )
    save_features(run, describe(codes, texts=False, n=5), codes)
    save_features(run, label(codes), codes)
    save_features(
        run, label(codes)[["feature"]].assign(label=lambda t: t["feature"].map(str))
    )
    found = families(codes, min_children=2)
    save_result(codes, "families.json", found.to_dict(), found.parameters)
    save_result(codes, "topics.parquet", topics(codes, 4).table, {"n": 4})
    measured = evaluate(codes, "group", ks=(1,)).to_dict()
    save_result(codes, "evaluation.json", measured, {"classes": "group"})
    asked = {"verb": "contrast", "by": "group", "a": "A", "b": None}
    save_result(
        codes, contrast_name(asked), contrast(codes, "A", by="group").to_dict(), asked
    )
    annotations.rename(run, 3, f"a name of seed {seed}")
    annotations.bookmark(run, 5)
    annotations.tag(run, "default", f"tag {seed}", range(20), data=codes.data)
    text_index(codes)
    make_map(codes)


def plain(value):
    """What a reader returned, as text that can be compared."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict("list"))
    if hasattr(value, "toarray"):
        return plain(value.toarray())
    if isinstance(value, np.ndarray):
        return [value.dtype.kind, value.shape, value.tolist()]
    return value


def _info(run):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["info", str(run), "--json"])
    if code:
        return {"exit": code, "error": err.getvalue()}
    return json.loads(out.getvalue())


def _checkpoint(run):
    training = TrainingRun(run, config(), None, None)
    return training.load_checkpoint()


def _whole_codes(run):
    codes = Codes.open(run)
    parts = [block for _, block in codes.shards()] + [
        codes.features(range(codes.n_features))
    ]
    columns = [codes.column(name) for name in codes.columns]
    return [parts, codes.texts(), columns, codes.vectors(), codes.manifest["info"]]


def _some_codes(run):
    codes = Codes.open(run)
    found = [
        codes.row(7),
        codes.row(300),
        codes.top(3, 4),
        codes.feature(5),
        codes.counts,
    ]
    found += [
        codes.take([250, 3, 17]),
        codes.texts([9, 200]),
        codes.column("group", [1, 300]),
    ]
    return [*found, codes.vectors([11, 4])]


def _features(run):
    table = load_features(run, Codes.open(run))
    if table.empty or table.attrs["stale"]:
        return STALE
    return table


def _labels(run):
    codes = Codes.open(run)
    others = load_features(run, codes).attrs["other_models"]
    kept = kept_for_other_models(run, codes.model)
    return STALE if others or kept else known_labels(codes)


def _result(name):
    def read(run):
        result = load_result(run, name, Codes.open(run))
        return (
            STALE
            if result is None or result.stale
            else [result.value, result.parameters]
        )

    return read


def _contrasts(run):
    found = load_contrasts(run, Codes.open(run))
    return (
        STALE
        if any(r.stale for r in found)
        else [[r.value, r.parameters] for r in found]
    )


def kept_for_other_models(run, model):
    """Return how many names and bookmarks are of features of other models."""
    total = 0
    for table in ("names", "bookmarks"):
        query = f"SELECT count(*) FROM {table} WHERE model != ?"
        total += annotations._read(run, query, (annotations._model(run, model),))[0][0]
    return total


def _annotations(run):
    codes = Codes.open(run)
    if kept_for_other_models(run, codes.model):
        return STALE
    data = codes.data
    return [
        annotations.names(run, codes.model),
        annotations.bookmarks(run, codes.model),
        annotations.tags(run, codes.name, data),
        annotations.tagged(run, codes.name, "tag 0", data),
        annotations.tags_of(run, codes.name, 3, data),
    ]


def _map(run):
    found = load_map(Codes.open(run))
    return STALE if found is None else found


READERS = {
    "info": _info,
    "weights": lambda run: Weights.load(run).tensors(),
    "config of the model": lambda run: Weights.load(run).cfg,
    "torch model": lambda run: {
        n: t.numpy() for n, t in SAEModel.load(run).tensors().items()
    },
    "checkpoint": _checkpoint,
    "training": training_state,
    "whole codes": _whole_codes,
    "some codes": _some_codes,
    "model of the codes": lambda run: Codes.open(run).weights().tensors(),
    "features": _features,
    "labels": _labels,
    "families": _result("families.json"),
    "topics": _result("topics.parquet"),
    "evaluation": _result("evaluation.json"),
    "contrasts": _contrasts,
    "annotations": _annotations,
    "search": lambda run: find_texts(Codes.open(run), "w1 w2", 5),
    "map": _map,
}


def read(reader, run):
    """Return ("value", …), ("error", class, message) and the warnings that were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = ["value", plain(READERS[reader](run))]
        except Exception as error:
            kind = [base.__name__ for base in type(error).__mro__]
            found = ["error", kind, str(error)]
    return found, [str(w.message) for w in caught]


def files_of(run):
    return sorted(
        path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()
    )


def damages(path, other):
    """Yield (name, content) of what may happen to a file."""
    data = path.read_bytes()
    yield "truncated", data[: len(data) // 2]
    yield "cut at its end", data[:-1]
    yield "empty", b""
    yield "junk", bytes(np.random.default_rng(0).integers(0, 256, len(data), np.uint8))
    for share in (0.02, 0.3, 0.55, 0.8, 0.97):
        flipped = bytearray(data)
        flipped[int(share * (len(data) - 1))] ^= 0x15
        yield f"flipped at {share}", bytes(flipped)
    if other.exists():
        yield "of another run", other.read_bytes()


def copy(run, folder):
    shutil.copytree(run, folder)
    return folder
