"""A process that runs verbs in forks of itself, which may die at their n-th file-system event.

It imports everything once, what a verb imports later after its first fork, and runs nothing itself,
so that a fork is cheap and holds no locks. Input: lines of JSON [verb, folder, n], n = 0 for no
death. Output: [exit code, events].
"""

import io
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import numba
import numpy as np

from nanosae.analysis.describe import describe
from nanosae.cli import main
from nanosae.codes import writer
from nanosae.config import TrainConfig
from nanosae.model import corpus as model_corpus
from nanosae.model.sae import SAEModel
from nanosae.pipeline.run import run as run_pipeline
from nanosae.train.trainer import SAETrainer
from nanosae.view.report import render
from planted import planted_corpus
from verb_server import import_all

KILLED = 77
SIZES = {"hidden_size": 24, "k": 3, "steps": 3, "batch_size": 64, "log_every": 1}
# a process that dies needs no fsync
CALLS = (
    "rename",
    "replace",
    "unlink",
    "rmdir",
    "mkdir",
)
events = 0
limit = 0


def event(path):
    """Count an event, but for those of the compiler's cache; die before it if it is the last."""
    global events
    if "__pycache__" in str(path):
        return
    events += 1
    if events == limit:
        os._exit(KILLED)


def watch():
    """Count what changes files from now on."""
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    real = io.open

    def opened(file, mode="r", *args, **more):
        if any(letter in mode for letter in "wax+"):
            event(file)
        return real(file, mode, *args, **more)

    io.open = opened
    import builtins

    builtins.open = opened


def counted(call):
    def counting(path, *args, **more):
        event(path)
        return call(path, *args, **more)

    return counting


def rows(seed=0):
    return planted_corpus(n_rows=300, n_features=36, width=16, seed=seed)


def table(corpus):
    return {"text": list(corpus.texts), "group": list(corpus.columns["group"])}


def config(seed=0):
    return TrainConfig(**SIZES, eval_every=3, checkpoint_every=2, seed=seed)


def embed_stub(texts):
    return np.array([[len(text), text.count("a")] for text in texts])


def train(run):
    SAETrainer(config(), run=run).train(rows().embeddings, progress=False)


def force(run):
    SAETrainer(config(3), run=run).train(rows().embeddings, force=True, progress=False)


def encode(run):
    corpus = rows()
    model = SAEModel.load(run)
    model.encode_corpus(
        corpus.embeddings, run / "codes" / "default", metadata=table(corpus)
    )


def append(run):
    corpus = rows(seed=1)
    model = SAEModel.load(run)
    path = run / "codes" / "default"
    model.encode_corpus(corpus.embeddings, path, metadata=table(corpus), append=True)


def replace(run):
    corpus = rows(seed=2)
    model = SAEModel.load(run)
    path = run / "codes" / "default"
    model.encode_corpus(corpus.embeddings, path, metadata=table(corpus), force=True)


def command(*words):
    def run_it(run):
        code = main([word.replace("RUN", str(run)) for word in words])
        assert code == 0, f"{words} ended with {code}"

    return run_it


def embed(run):
    import nanosae.text.static

    nanosae.text.static.encode_static = embed_stub
    words = ["embed", "RUN/texts.txt", "-o", "RUN/e.npy", "--embedder", "wordllama"]
    command(*words)(run)


def pipeline(run):
    corpus = rows()
    given = {"vectors": corpus.embeddings, "config": config(), "n_topics": 4}
    run_pipeline(table(corpus), run, **given, say=lambda line: None, progress=False)


VERBS = {
    "train": train,
    "force": force,
    "encode": encode,
    "append": append,
    "replace": replace,
    "describe": command("describe", "RUN"),
    "label": command("label", "RUN"),
    "contrast": command("contrast", "RUN", "--by", "group", "--a", "A"),
    "report": command("report", "RUN"),
    "embed": embed,
    "run": pipeline,
}


def child(verb, folder, at, out):
    global limit, events
    writer.SHARD_ROWS = 192
    model_corpus.BLOCK_ROWS = 64
    limit, events = at, 0
    watch()
    try:
        VERBS[verb](Path(folder))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    answer = {"events": events, "modules": list(sys.modules)}
    os.pwrite(out, json.dumps(answer).encode(), 0)
    os._exit(0)


def serve():
    numba.njit(lambda n: n)(0)  # compiling the first function imports for a second
    standard_output = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    with tempfile.TemporaryFile() as out, os.fdopen(standard_output, "w") as answers:
        for line in sys.stdin:
            verb, folder, at = json.loads(line)
            out.truncate(0)
            pid = os.fork()
            if pid == 0:
                child(verb, folder, at, out.fileno())
            _, status = os.waitpid(pid, 0)
            out.seek(0)
            found = json.loads(out.read() or '{"events": 0, "modules": []}')
            import_all(found["modules"])
            answer = [os.waitstatus_to_exitcode(status), found["events"]]
            print(json.dumps(answer), file=answers)
            answers.flush()


if __name__ == "__main__":
    assert all(map(callable, (describe, render.report)))
    serve()
