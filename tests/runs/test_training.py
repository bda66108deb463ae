"""The files of a training: locked, replaced only when complete, found again after damage."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from nanosae.config import TrainConfig
from nanosae.errors import (
    BusyError,
    ConfigError,
    DamagedFileError,
    ExistsError,
    NanoSAEError,
)
from nanosae.model.sae import SAEModel
from nanosae.model.weights import Weights
from nanosae.runs.checkpoints import checkpoints
from nanosae.runs.folder import (
    current,
    is_finished,
    last_line,
    read_config,
    verify_training,
)
from nanosae.runs.signals import stop_signals
from nanosae.runs.training import TrainingRun
from nanosae.train.trainer import SAETrainer

SIZES = {"hidden_size": 16, "k": 3, "steps": 6, "batch_size": 32, "log_every": 1}
CONFIG = TrainConfig(**SIZES, eval_every=2, checkpoint_every=2)
OTHER = TrainConfig(**SIZES, eval_every=2, checkpoint_every=2, seed=5)


def rows(seed=0):
    return np.random.default_rng(seed).normal(size=(200, 6)).astype(np.float32)


def train(run, config=CONFIG, data=None, **more):
    data = rows() if data is None else data
    return SAETrainer(config, run=run).train(data, progress=False, **more)


def same(one, other):
    return all(torch.equal(one.tensors()[n], t) for n, t in other.tensors().items())


def files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")
    }


class Stop(Exception):
    pass


def stopped_at(monkeypatch, run, step, config=CONFIG, **more):
    """Train, and die before the line of a step is written."""
    append = TrainingRun.append_metrics

    def stops(self, line):
        if line["step"] == step:
            raise Stop
        append(self, line)

    monkeypatch.setattr(TrainingRun, "append_metrics", stops)
    with pytest.raises(Stop):
        train(run, config, **more)
    monkeypatch.setattr(TrainingRun, "append_metrics", append)


def test_forced_training_on_a_bad_file_leaves_the_old_model(tmp_path):
    train(tmp_path / "run")
    before = files(tmp_path / "run")
    for bad in (tmp_path / "gone.npy", np.full((50, 6), np.nan, np.float32)):
        with pytest.raises(NanoSAEError):
            train(tmp_path / "run", OTHER, bad, force=True)
        assert files(tmp_path / "run") == before


def test_forced_training_that_is_stopped_leaves_the_old_model_until_it_ends(
    tmp_path, monkeypatch
):
    run = tmp_path / "run"
    old = train(run)
    stopped_at(monkeypatch, run, 5, OTHER, force=True)
    assert same(SAEModel.load(run), old)
    assert last_line(run)["final"]
    assert last_line(current(run))["step"] == 4  # what `watch` shows
    new = train(run, OTHER, force=True)
    assert same(new, train(tmp_path / "straight", OTHER))
    assert same(SAEModel.load(run), new)
    assert current(run) == run
    assert sorted(p.name for p in run.iterdir()) == sorted(
        p.name for p in (tmp_path / "straight").iterdir()
    )


def test_a_stopped_forced_training_is_not_continued_with_other_settings(
    tmp_path, monkeypatch
):
    run = tmp_path / "run"
    train(run)
    stopped_at(monkeypatch, run, 5, OTHER, force=True)
    third = TrainConfig(**SIZES, seed=9)
    assert same(train(run, third, force=True), train(tmp_path / "straight", third))


def test_an_interrupted_command_is_repeated_as_it_was_typed(tmp_path, monkeypatch):
    stopped_at(monkeypatch, tmp_path / "run", 5)
    assert same(train(tmp_path / "run"), train(tmp_path / "straight"))
    with pytest.raises(ExistsError, match="--resume"):
        train(tmp_path / "run")


def test_other_settings_do_not_continue_it(tmp_path, monkeypatch):
    stopped_at(monkeypatch, tmp_path / "run", 5)
    with pytest.raises(ExistsError):
        train(tmp_path / "run", OTHER)
    with pytest.raises(ConfigError, match=r"seed=5 \(was 0\)"):
        train(tmp_path / "run", OTHER, resume=True)


@pytest.mark.parametrize("how", [{"resume": True}, {"force": True}, {}])
def test_files_that_no_training_has_written_are_not_touched(tmp_path, how):
    for name in ("model/weights.bin", "checkpoints/mine", "snapshots/photo.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("precious")
    with pytest.raises(
        ExistsError, match=r"model, checkpoints, snapshots, not written"
    ):
        train(tmp_path, **how)
    assert len([*tmp_path.rglob("*")]) == 6


@pytest.mark.slow
def test_two_trainings_in_one_folder_are_one_too_many(tmp_path):
    code = f"""
import sys, time
from nanosae.config import TrainConfig
from nanosae.runs.training import TrainingRun
run = TrainingRun.open({str(tmp_path / "run")!r}, TrainConfig())
print("open", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "open\n"
    try:
        with pytest.raises(BusyError, match=f"process {process.pid} on"):
            train(tmp_path / "run")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    train(tmp_path / "run")


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, monkeypatch):
    run = tmp_path / "run"
    stopped_at(monkeypatch, run, 5)
    newest = sorted((run / "checkpoints").iterdir())[-1] / "state.safetensors"
    data = bytearray(newest.read_bytes())
    data[-9] ^= 1
    newest.write_bytes(data)
    with pytest.warns(UserWarning, match=r"step-00000004.*is damaged.*the previous"):
        model = train(run, resume=True)
    assert same(model, train(tmp_path / "straight"))


def test_copies_of_checkpoints_are_neither_read_nor_deleted(tmp_path, monkeypatch):
    run = tmp_path / "run"
    stopped_at(monkeypatch, run, 5)
    newest = sorted((run / "checkpoints").iterdir())[-1]
    copies = [newest.with_name(f"{newest.name}{end}") for end in ("-copy", ".old")]
    for copy in copies:
        shutil.copytree(newest, copy)
    assert same(train(run, resume=True), train(tmp_path / "straight"))
    assert all((copy / "state.json").exists() for copy in copies)


def test_signals_of_a_program_that_embeds_python_are_left_to_it(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    replaced = []
    monkeypatch.setattr(signal, "signal", lambda *args: replaced.append(args))
    with stop_signals() as received:
        pass
    assert (received, replaced) == ([], [])


def test_without_an_intact_checkpoint_training_begins_anew(tmp_path, monkeypatch):
    run = tmp_path / "run"
    stopped_at(monkeypatch, run, 5)
    for path in (run / "checkpoints").glob("*/state.json"):
        path.write_text("{")
    with pytest.warns(UserWarning, match="is damaged"):
        model = train(run, resume=True)
    assert same(model, train(tmp_path / "straight"))


@pytest.mark.parametrize("name", ["model/sae_weights.safetensors", "model/cfg.json"])
def test_a_damaged_model_is_an_error_and_remade_by_resume(tmp_path, name):
    whole = train(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DamagedFileError, match=name.rsplit("/", 1)[1]):
        Weights.load(tmp_path)
    with pytest.warns(UserWarning, match="is damaged or missing"):
        again = train(tmp_path, resume=True)
    assert same(again, whole)
    assert same(SAEModel.load(tmp_path), whole)


@pytest.mark.parametrize("gone", ["training.json's end", "metrics' end", "model"])
def test_a_crash_at_the_end_is_no_dead_end(tmp_path, gone):
    """Whatever was written last is missing: the training can be ended once more."""
    whole = train(tmp_path)
    facts = json.loads((tmp_path / "training.json").read_text())
    for key in ("finished", "checksums", "checksum"):
        facts.pop(key)
    (tmp_path / "training.json").write_text(json.dumps(facts))
    metrics = tmp_path / "metrics.jsonl"
    if gone != "training.json's end":
        metrics.write_text(
            metrics.read_text().rstrip().rsplit("\n", 1)[0] + '\n{"step": 6, "fi'
        )
    if gone == "model":
        (tmp_path / "model" / "cfg.json").unlink()
    assert same(train(tmp_path), whole)
    assert is_finished(tmp_path)
    assert last_line(tmp_path)["final"]
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6, 6]


def test_changed_metrics_and_snapshots_of_a_finished_training_are_noticed(tmp_path):
    train(tmp_path)
    verify_training(tmp_path)
    snapshot = next((tmp_path / "snapshots").iterdir())
    for path in (tmp_path / "metrics.jsonl", snapshot):
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1", b"2", 1))
        with pytest.raises(DamagedFileError, match=path.name):
            verify_training(tmp_path)
        path.write_bytes(data)
    snapshot.unlink()
    with pytest.raises(DamagedFileError, match="it is missing"):
        verify_training(tmp_path)


def test_opening_changes_nothing_and_an_empty_folder_is_removed(tmp_path):
    run = TrainingRun.open(tmp_path / "a" / "run", CONFIG)
    assert [p.name for p in (tmp_path / "a" / "run").iterdir()] == [".training.lock"]
    run.close()
    assert not (tmp_path / "a" / "run").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_all_files_have_the_usual_mode(tmp_path):
    train(tmp_path)
    modes = {oct(p.stat().st_mode & 0o777) for p in tmp_path.rglob("*") if p.is_file()}
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {oct(0o666 & ~umask)}


def test_a_run_of_another_format_is_refused_and_stays_as_it_is(tmp_path):
    train(tmp_path)
    (tmp_path / "training.json").unlink()
    facts = json.loads((tmp_path / "config.json").read_text())
    del facts["checksum"]
    (tmp_path / "config.json").write_text(json.dumps(facts | {"format": 1}))
    before = files(tmp_path)
    with pytest.raises(DamagedFileError, match=r"format 1; .* in another folder"):
        read_config(tmp_path)
    for how in ({"resume": True}, {"force": True}, {}):
        with pytest.raises(ExistsError, match="Choose another folder"):
            train(tmp_path, **how)
    assert files(tmp_path) == before


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path):
    for step in (99_999_999, 100_000_000, 12):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-copy").mkdir()
    found = [path.name for path in checkpoints(tmp_path)][-3:]
    assert found == ["step-00000012", "step-99999999", "step-100000000"]


def test_a_training_to_resume_is_not_replaced_by_force(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = files(tmp_path)
    with pytest.raises(ConfigError, match="resume and force cannot both be given"):
        train(tmp_path, resume=True, force=True)
    assert files(tmp_path) == before
