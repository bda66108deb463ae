"""Ranks: N processes do what one does, stop together, and go on in another number."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nanosae import Codes, SAETrainer, TrainConfig
from nanosae.cli import main
from nanosae.model.weights import Weights
from nanosae.runs import checkpoints as runs
from nanosae.runs.folder import last_line

SIZES = {
    "k": 6,
    "steps": 24,
    "batch_size": 61,
    "noise": 0.1,
    "dead_after": 200,
    "device": "cpu",
}
CASES = {
    "topk": {"activation": "topk", "hidden_size": 91},
    "batchtopk": {"activation": "batchtopk", "hidden_size": 91, "accumulate": 2},
    "relu": {"activation": "relu", "hidden_size": 91},
    "gated": {"activation": "gated", "hidden_size": 91},
    "jumprelu": {"activation": "jumprelu", "hidden_size": 91},
    "matryoshka": {"matryoshka": (20, 91)},
    "nested": {"hidden_size": 91},
    "transcoder": {"activation": "batchtopk", "hidden_size": 91, "skip": True},
}
SHARES = ("rows", "latents")
WORLDS = [(2, name) for name in CASES] + [(4, "batchtopk"), (4, "topk")]
# trains every case in this very process, then writes the weights
WORKER = """
import json, os, sys
import numpy as np
from nanosae import Codes, SAETrainer, TrainConfig
x = np.load(sys.argv[1] + "/rows.npy")
for name, fields in json.loads(sys.argv[2]).items():
    targets = x[:, :10] ** 2 if "skip" in fields else None
    trainer = SAETrainer(TrainConfig(**fields), run=sys.argv[1] + "/" + name)
    trainer.train(x, targets, progress=False, resume=True)
"""


def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 6)) @ rng.normal(size=(6, 20)) + 0.1 * rng.normal(
        size=(1500, 20)
    )
    return x.astype(np.float32)


def launch(n, folder, configs, worker=WORKER):
    (folder / "worker.py").write_text(worker)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(n),
    ]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command += [str(folder / "worker.py"), str(folder), json.dumps(configs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def train_alone(name, folder, **fields):
    targets = rows()[:, :10] ** 2 if name == "transcoder" else None
    trainer = SAETrainer(TrainConfig(**SIZES | CASES[name] | fields), run=folder)
    return trainer.train(rows(), targets, progress=False, resume=True), trainer.metrics_


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return {name: train_alone(name, folder / name) for name in CASES}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Train on n ranks; return the folder with the runs."""

    @functools.cache
    def run(n):
        folder = tmp_path_factory.mktemp(f"ranks{n}")
        np.save(folder / "rows.npy", rows())
        names = [name for size, name in WORLDS if size == n]
        shares = {
            f"{name}-{share}": (name, share) for name in names for share in SHARES
        }
        configs = {
            k: SIZES | CASES[name] | {"parallel": s} for k, (name, s) in shares.items()
        }
        process = launch(n, folder, configs)
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err[-3000:]
        return folder

    return run


def difference(model, path):
    found = Weights.load(path).tensors()
    return max(
        float(abs(found[n] - t.numpy()).max()) for n, t in model.tensors().items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("n", "name"), WORLDS)
def test_ranks_do_what_one_process_does(n, name, share, alone, together):
    model, metrics = alone[name]
    assert difference(model, together(n) / f"{name}-{share}") < 2e-5
    found = last_line(together(n) / f"{name}-{share}")
    for key in ("fvu", "l0", "dead", "train_fvu"):
        assert found[key] == pytest.approx(metrics[key], rel=1e-3), key


@pytest.mark.slow
def test_the_comparison_can_fail(alone, together):
    assert difference(alone["topk"][0], together(2) / "batchtopk-rows") > 1e-3


LONG = {"steps": 4000, "checkpoint_every": 10, "eval_every": 1000}


def wait_for_checkpoint(process, run):
    while runs.last_checkpoint(run) is None:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
def test_a_killed_rank_stops_the_others_and_leaves_a_checkpoint_for_one_process(
    share, tmp_path
):
    np.save(tmp_path / "rows.npy", rows())
    fields = SIZES | CASES["batchtopk"] | LONG | {"parallel": share}
    process = launch(2, tmp_path, {"run": fields})
    wait_for_checkpoint(process, tmp_path / "run")
    children = (
        Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    )
    os.kill(int(children[-1]), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "lost the others" in err
    assert "--resume" in err
    tensors, counters = runs.read_checkpoint(runs.checkpoints(tmp_path / "run")[-1])
    assert counters["step"] % 10 == 0
    assert tensors["param.W_enc"].shape == (91, 20)
    fields |= {"steps": counters["step"] + 20}
    trainer = SAETrainer(TrainConfig(**fields), run=tmp_path / "run")
    model = trainer.train(rows(), progress=False, force=True)
    assert trainer.metrics_["step"] == counters["step"] + 20
    assert model.W_enc.shape == (20, 91)


# trains on what differs between the ranks in one respect at a time
DIFFERENT = """
import json, os, sys
import numpy as np
from nanosae import SAETrainer, TrainConfig
from nanosae.errors import ConfigError
x = np.load(sys.argv[1] + "/rows.npy")
fields = json.loads(sys.argv[2])
rank = int(os.environ["RANK"])
for rows, seed, run in (
    (x, 0, "run" if rank == 0 else None),
    (x[rank:], 0, "run"),
    (x, rank, "run"),
    (x, 0, f"run-{rank}"),
):
    folder = run and f"{sys.argv[1]}/{run}"
    try:
        trainer = SAETrainer(TrainConfig(**fields, seed=seed), run=folder)
        trainer.train(rows, progress=False, force=True)
    except ConfigError as error:
        print(error, flush=True)
"""


@pytest.mark.slow
def test_ranks_that_differ_are_refused_instead_of_mixed(tmp_path):
    np.save(tmp_path / "rows.npy", rows())
    fields = SIZES | CASES["topk"]
    # only the second process has a checkpoint to continue from
    (tmp_path / "run-0").mkdir()
    trainer = SAETrainer(TrainConfig(**fields), run=tmp_path / "run-1")
    trainer.train(rows(), progress=False)
    process = launch(2, tmp_path, fields, DIFFERENT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-3000:]
    found = re.findall(r"the 2 processes differ in their (\w+)\.", out)
    assert sorted(found) == sorted(2 * ["folders", "rows", "settings", "checkpoint"])


@pytest.mark.slow
def test_a_signal_stops_all_ranks_at_one_step(tmp_path):
    np.save(tmp_path / "rows.npy", rows())
    process = launch(2, tmp_path, {"run": SIZES | CASES["topk"] | LONG})
    wait_for_checkpoint(process, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    stops = set(re.findall(r"stopped by signal 15 after step (\d+);", err))
    assert len(stops) == 1, err[-3000:]
    assert runs.last_checkpoint(tmp_path / "run") == f"step-{int(stops.pop()):08d}"


@pytest.mark.slow
def test_two_processes_encode_the_corpus_that_one_does(tmp_path):
    np.save(tmp_path / "rows.npy", rows())
    train_alone("topk", tmp_path / "run")
    encode = ["encode", str(tmp_path / "run"), str(tmp_path / "rows.npy"), "--name"]
    assert main([*encode, "one"]) == 0
    ranks = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    ranks += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command = [sys.executable, *ranks, "-m", "nanosae", *encode, "two"]
    subprocess.run(command, check=True)
    one, two = (Codes.open(tmp_path / "run", name) for name in ("one", "two"))
    two.verify()
    assert (one.take(range(1500)) != two.take(range(1500))).nnz == 0
    assert np.array_equal(one.vectors(), two.vectors())
    assert {p.name for p in (tmp_path / "run" / "codes").iterdir()} == {"one", "two"}
