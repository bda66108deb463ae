"""SAETrainer: what it recovers, bitwise resume, faults, the quick start, scikit-learn's
contract."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch

from nanosae import SAEModel, SAETrainer, TrainConfig
from nanosae.checked import write_sealed_json
from nanosae.data.dataset import Dataset
from nanosae.errors import ConfigError, DataError
from nanosae.runs import checkpoints as runs
from nanosae.runs.folder import FILES, MANIFEST
from nanosae.sources import open_rows
from nanosae.train import loop, metrics
from nanosae.train.metrics import metrics_line
from nanosae.train.state import TrainingState
from nanosae.train.step import take_step
from nanosae.trainable.export import notes_on
from nanosae.trainable.sae import _check_backend as check_backend

QUICK: dict[str, Any] = {
    "hidden_size": 32,
    "k": 4,
    "steps": 12,
    "batch_size": 32,
    "log_every": 3,
}


def planted(n=3000, width=24, features=32, active=3, seed=0):
    """Rows that are sparse sums of known directions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(features, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = np.zeros((n, features))
    for row in strength:
        row[rng.choice(features, active, replace=False)] = rng.uniform(1, 2, active)
    return (strength @ directions).astype(np.float32), directions


def rows(n=400, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["topk", "batchtopk"])
def test_planted_directions_are_found(activation):
    x, directions = planted()
    config = TrainConfig(
        activation=activation,
        hidden_size=48,
        k=3,
        steps=450,
        batch_size=256,
        lr=4e-3,
        noise=0.0,
    )
    trainer = SAETrainer(config)
    model = trainer.train(x, progress=False)
    cosine = directions @ model.W_dec.detach().numpy().T
    assert np.mean(cosine.max(1) > 0.95) > 0.9, np.sort(cosine.max(1))
    assert trainer.metrics_["fvu"] < 0.1
    assert abs(trainer.metrics_["l0"] - 3) < 0.3


def test_the_planted_check_can_fail():
    x, directions = planted()
    model = SAETrainer(TrainConfig(hidden_size=48, k=3, steps=2)).train(
        x, progress=False
    )
    cosine = directions @ model.W_dec.detach().numpy().T
    assert np.mean(cosine.max(1) > 0.95) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "within"), [("relu", 0.1), ("gated", 0.1), ("jumprelu", 0.05)]
)
def test_the_controller_meets_k_on_held_out_rows(activation, within):
    x, _ = planted(n=8000, width=32, features=64, active=6)
    config = TrainConfig(
        activation=activation, hidden_size=96, k=8, steps=1500, batch_size=256
    )
    trainer = SAETrainer(config)
    trainer.train(x, progress=False)
    assert abs(trainer.metrics_["l0"] / 8 - 1) < within, trainer.metrics_


@pytest.mark.parametrize("activation", ["topk", "batchtopk"])
def test_a_learning_rate_that_is_far_too_high_is_named(activation):
    x, _ = planted()
    trainer = SAETrainer(
        TrainConfig(activation=activation, hidden_size=64, k=4, steps=30, lr=50.0)
    )
    model = trainer.train(x, progress=False)
    error = x - model.reconstruct(model.features(x))
    assert (error**2).sum() > ((x - x.mean(0)) ** 2).sum()  # worse than the mean
    assert trainer.notes_[-1].endswith("A smaller lr helps (lr=50).")
    assert not any("overfits" in note for note in trainer.notes_)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ((0.2, 4.2, 4.1), None),
        ((0.2, 4.1, 4.6), None),  # fewer on held-out rows: by chance
        ((0.2, 6.1, 4.1), "overfits"),
        ((0.2, 6.8, 6.9), "6.9 features are active on a training row, not k=4"),
        ((1.2, 0.0, 0.1), "The FVU of training rows is 1.2"),
        ((math.nan, 4.2, 4.1), None),  # equal rows
    ],
)
def test_notes_on_a_training(measured, expected):
    config = TrainConfig(k=4, hidden_size=8).resolved(n_rows=100, width=8)
    found = notes_on(
        dict(zip(("train_fvu", "l0", "train_l0"), measured, strict=True)), config
    )
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert expected in found[0]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_turned_off_by_the_caller_change_nothing(mode):
    trainer = SAETrainer(TrainConfig(hidden_size=16, k=4, steps=5))
    expected = trainer.train(rows(), progress=False)
    with mode():
        found = trainer.train(rows(), progress=False)
        assert not torch.is_grad_enabled()
    assert same(found, expected)
    assert found.encode(torch.ones(2, 8)).requires_grad
    with mode():
        targets = trainer.train(torch.from_numpy(rows()), rows(), progress=False)
    assert torch.isfinite(targets.W_dec).all()


def test_a_stream_that_turns_gradients_off_changes_nothing():
    x, modes = rows(2000), []

    def plain():
        for start in range(0, len(x), 100):
            modes.append(torch.is_grad_enabled())
            yield x[start : start + 100]

    def turns_gradients_off():
        with (
            torch.no_grad()
        ):  # holds until the next batch, outside of the generator, too
            yield from plain()

    settings = {"hidden_size": 16, "k": 4, "batch_size": 50}
    buffer_bytes = 4 * 4 * 8 * 500  # the stream is longer than a buffer of 500 rows
    config = TrainConfig(steps=30, buffer_bytes=buffer_bytes, **settings)
    expected = SAETrainer(config).train(plain, progress=False)
    assert torch.is_grad_enabled()
    assert not any(modes)  # models in streams keep nothing for gradients
    found = SAETrainer(config).train(turns_gradients_off, progress=False)
    assert torch.is_grad_enabled()
    assert same(found, expected)


def same(one, two):
    return all(torch.equal(one.tensors()[n], two.tensors()[n]) for n in one.tensors())


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    config = TrainConfig(**QUICK)
    one, two = (SAETrainer(config).train(rows(), progress=False) for _ in range(2))
    assert same(one, two)
    for seeds in ({"seed": 1}, {"data_seed": 1}):
        other = SAETrainer(TrainConfig(**QUICK, **seeds)).train(rows(), progress=False)
        assert not same(one, other), seeds


def metrics_of(run):
    timing = {"seconds", "rows_per_second"}
    lines = [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    return [{k: v for k, v in line.items() if k not in timing} for line in lines]


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    "activation", [None, "topk", "batchtopk", "relu", "gated", "jumprelu"]
)
@pytest.mark.parametrize("at", [5, 9])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    activation, at, tmp_path, monkeypatch
):
    config = TrainConfig(
        **QUICK, activation=activation, checkpoint_every=2, eval_every=4, noise=0.1
    )
    whole = SAETrainer(config, run=tmp_path / "whole").train(rows(), progress=False)

    def stops(state, batch):
        if state.counters.step == at:
            raise Stop
        take_step(state, batch)

    monkeypatch.setattr(loop, "take_step", stops)
    with pytest.raises(Stop):
        SAETrainer(config, run=tmp_path / "cut").train(rows(), progress=False)
    monkeypatch.undo()
    resumed = SAETrainer(config, run=tmp_path / "cut").train(
        rows(), resume=True, progress=False
    )
    assert same(whole, resumed)
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "cut")
    for shot in sorted((tmp_path / "whole" / "snapshots").iterdir()):
        other = np.load(tmp_path / "cut" / "snapshots" / shot.name)
        for name, values in np.load(shot).items():
            assert np.array_equal(values, other[name])


@pytest.mark.parametrize(
    "forgotten", ["silent_rows", "adam.exp_avg.W_enc", "param.b_dec"]
)
def test_the_resume_check_can_fail(forgotten, tmp_path, monkeypatch):
    many_dead = QUICK | {"hidden_size": 64, "k": 3, "dead_after": 20}
    config = TrainConfig(**many_dead, lr=1e-3, checkpoint_every=6)
    whole = SAETrainer(config, run=tmp_path / "whole").train(rows(), progress=False)
    metrics = metrics_of(tmp_path / "whole")
    kept = sorted((tmp_path / "whole" / "checkpoints").iterdir())[0]
    load = runs.load_file

    def forgets(path):
        tensors = load(path)
        return tensors | {forgotten: torch.zeros_like(tensors[forgotten])}

    monkeypatch.setattr(runs, "load_file", forgets)
    for name in ("model/cfg.json", "metrics.jsonl"):
        (tmp_path / "whole" / name).unlink()
    newest = sorted((tmp_path / "whole" / "checkpoints").iterdir())[-1]
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    assert kept.exists()
    resumed = SAETrainer(config, run=tmp_path / "whole").train(
        rows(), resume=True, progress=False
    )
    # the weights may be those of an evaluation before the checkpoint, the steps are not
    has_same_metrics = metrics_of(tmp_path / "whole") == metrics
    assert not (same(whole, resumed) and has_same_metrics)


CODE = """
import sys, numpy as np
from nanosae import SAETrainer, TrainConfig
x = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
sizes = {"hidden_size": 64, "k": 4, "steps": 400, "batch_size": 128}
config = TrainConfig(**sizes, checkpoint_every=7, log_every=5)
SAETrainer(config, run=sys.argv[1]).train(x, resume=True, progress=False)
"""


def start(run, stderr=subprocess.DEVNULL):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(run)], stderr=stderr, text=True
    )


def steps_done(run):
    try:
        return len((run / "metrics.jsonl").read_text().splitlines())
    except OSError:
        return 0


@pytest.mark.slow
def test_killing_the_process_at_random_moments_changes_nothing(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait() == 0
    rng, kills = np.random.default_rng(), 0
    while not (cut / "model" / "cfg.json").exists():
        process, goal = start(cut), steps_done(cut) + rng.integers(1, 25)
        while process.poll() is None and (kills >= 3 or steps_done(cut) < goal):
            time.sleep(0.005)
        if process.poll() is None:
            time.sleep(rng.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2
    assert same(SAEModel.load(whole), SAEModel.load(cut))
    assert metrics_of(whole) == metrics_of(cut)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_of_that_step(number, tmp_path):
    process = start(tmp_path, stderr=subprocess.PIPE)
    while steps_done(tmp_path) < 3:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode != 0
    assert f"stopped by signal {number.value} after step" in err
    step = int(err.rsplit("after step ", 1)[1].split(";")[0])
    assert runs.last_checkpoint(tmp_path) == f"step-{step:08d}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_with_its_number_after_a_checkpoint(
    number, tmp_path, monkeypatch
):
    def interrupted(state, batch):
        take_step(state, batch)
        if state.counters.step == 5:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(loop, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"after step 6; .*--resume") as stopped:
        SAETrainer(TrainConfig(**QUICK), run=tmp_path).train(rows(), progress=False)
    assert stopped.value.signal == number
    assert runs.last_checkpoint(tmp_path) == "step-00000006"


def test_a_full_disk_stops_with_a_message_and_keeps_the_checkpoint_before(
    tmp_path, monkeypatch
):
    config = TrainConfig(**QUICK, checkpoint_every=4)
    save = runs.save_file

    def full(tensors, path):
        if any((tmp_path / "checkpoints").glob("step-*")):
            raise OSError(28, "No space left on device")
        save(tensors, path)

    monkeypatch.setattr(runs, "save_file", full)
    with pytest.raises(
        OSError,
        match=r"step 8 could not be written.*No space.*step-00000004 is still valid",
    ):
        SAETrainer(config, run=tmp_path).train(rows(), progress=False)
    monkeypatch.undo()
    assert runs.last_checkpoint(tmp_path) == "step-00000004"
    resumed = SAETrainer(config, run=tmp_path).train(
        rows(), resume=True, progress=False
    )
    assert same(resumed, SAETrainer(config).train(rows(), progress=False))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        SAETrainer(TrainConfig(**QUICK), run=tmp_path / "file" / "run").train(
            rows(), progress=False
        )


def test_an_existing_run_is_neither_overwritten_nor_mixed_up(tmp_path):
    config = TrainConfig(**QUICK)
    first = SAETrainer(config, run=tmp_path).train(rows(), progress=False)
    with pytest.raises(FileExistsError, match=r"config\.json.*--resume.*--force"):
        SAETrainer(config, run=tmp_path).train(rows(), progress=False)
    again = SAETrainer(config, run=tmp_path)
    assert same(first, again.train(rows(), resume=True, progress=False))
    assert "is finished" in again.notes_[0]
    with pytest.raises(ValueError, match=r"other settings: k=5 \(was 4\)"):
        SAETrainer(TrainConfig(**QUICK | {"k": 5}), run=tmp_path).train(
            rows(), resume=True
        )
    forced = SAETrainer(TrainConfig(**QUICK, seed=3), run=tmp_path)
    assert not same(first, forced.train(rows(), force=True, progress=False))


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


DEFAULTS = {
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "another device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("defaults", DEFAULTS.values(), ids=DEFAULTS.keys())
@pytest.mark.parametrize("activation", ["batchtopk", "jumprelu", "gated"])
def test_defaults_that_a_program_sets_change_nothing(defaults, activation):
    config = TrainConfig(**QUICK | {"activation": activation}, device="cpu")

    def results():
        trainer = SAETrainer(config)
        model = trainer.train(rows(), progress=False)
        further = trainer.train(rows(), init=model, progress=False)
        trainer.model_ = further
        return model, further, model.features(rows()), trainer.score(rows())

    first, further, features, score = results()
    with defaults():
        wanted = torch.get_default_dtype(), torch.get_default_device()
        found = results()
        assert (torch.get_default_dtype(), torch.get_default_device()) == wanted
    assert same(found[0], first)
    assert same(found[1], further)
    assert (found[2] != features).nnz == 0
    assert found[3] == score


def test_a_finished_run_is_not_resumed_on_other_rows_targets_or_init(tmp_path):
    config = TrainConfig(**QUICK)
    first = SAETrainer(config, run=tmp_path).train(rows(), progress=False)
    before = (tmp_path / "config.json").read_bytes()

    def resume(*data, **more):
        trainer = SAETrainer(config, run=tmp_path)
        return trainer.train(*data, resume=True, progress=False, **more)

    changed = rows()
    changed[60, 1] += 0.01
    for other in ((changed,), (rows()[:-1],), (rows(), rows()[:, :3])):
        with pytest.raises(DataError, match="was trained on other rows"):
            resume(*other)
    with pytest.raises(ConfigError, match=r"other settings|from another SAE"):
        resume(rows(), init=first)
    assert (tmp_path / "config.json").read_bytes() == before
    assert same(first, resume(rows().tolist()))  # the container does not matter


def test_resuming_on_other_rows_or_other_threads_is_noticed(tmp_path):
    config = TrainConfig(**QUICK)
    SAETrainer(config, run=tmp_path).train(rows(), progress=False)
    (tmp_path / "model" / "cfg.json").unlink()
    with pytest.raises(ValueError, match="other rows"):
        SAETrainer(config, run=tmp_path).train(
            rows(seed=5), resume=True, progress=False
        )
    facts = json.loads((tmp_path / "config.json").read_text())
    for name, other in (("threads", 99), ("selection", "another")):
        (tmp_path / "model" / "cfg.json").unlink(missing_ok=True)
        write_sealed_json(tmp_path / "config.json", facts | {name: other})
        with pytest.warns(UserWarning, match=f"{name} {other}"):
            SAETrainer(config, run=tmp_path).train(rows(), resume=True, progress=False)


def test_a_loss_that_explodes_names_step_cause_and_checkpoint(tmp_path, monkeypatch):
    config = TrainConfig(**QUICK, checkpoint_every=4)

    def explodes(state, batch):
        factor = 1e30 if state.counters.step == 6 else 1
        take_step(state, batch * factor)

    monkeypatch.setattr(loop, "take_step", explodes)
    with pytest.raises(
        FloatingPointError, match=r"step 6.*learning rate.*step-00000004"
    ):
        SAETrainer(config, run=tmp_path).train(rows(), progress=False)


def twenty_steps(deferred, **options):
    """A training on a CPU that waits for numbers, or not, as on a GPU; 20 steps done."""
    options = {
        "steps": 100,
        "hidden_size": 128,
        "log_every": 1,
        "dead_after": 1,
    } | options
    config = TrainConfig(**QUICK | options, noise=0.1)
    data = Dataset(open_rows(rows()), seed=0)
    training = TrainingState(config.resolved(data.n_train, data.width), data)
    training.defers_reading = deferred
    for i in range(20):
        take_step(training, torch.from_numpy(data.sample(32, seed=i)) * 9)  # clipped
    return training


@pytest.mark.parametrize("activation", ["topk", "batchtopk"])
def test_not_waiting_for_the_device_changes_nothing_but_when_numbers_come(activation):
    one, two = (
        twenty_steps(deferred, activation=activation) for deferred in (False, True)
    )
    for name in one.params:
        torch.testing.assert_close(
            one.params[name], two.params[name], rtol=1e-3, atol=1e-4
        )
    assert "auxk" in one.counters.sums
    lines = metrics_line(one), metrics_line(two)
    for name in ("loss", "fvu", "l0", "dead"):
        assert lines[0][name] == pytest.approx(lines[1][name], rel=1e-4), name


def test_numbers_that_lag_are_those_of_all_steps():
    every, seldom = (
        twenty_steps(True, log_every=n, auxk_coefficient=0.0) for n in (1, 7)
    )
    assert seldom.counters.sums["steps"] == 14
    lines = metrics_line(every), metrics_line(seldom)
    assert lines[0].pop("parts") == pytest.approx(lines[1].pop("parts"))
    assert lines[0] == pytest.approx(lines[1])


def test_a_loss_that_explodes_unseen_changes_no_weights():
    training = twenty_steps(True, log_every=4)
    before = {name: param.detach().clone() for name, param in training.params.items()}
    take_step(training, torch.full((32, 8), math.inf))
    with pytest.raises(FloatingPointError, match="not finite"):
        training.checkpoint()
    for name, param in training.params.items():
        torch.testing.assert_close(param, before[name], msg=name)
    take_step(training, torch.ones(32, 8))
    assert not torch.equal(training.params["b_dec"], before["b_dec"])


def test_the_check_of_unseen_explosions_can_fail(monkeypatch):
    training = twenty_steps(True)
    monkeypatch.setattr(metrics, "_defer", lambda state, sums: None)
    take_step(training, torch.full((32, 8), math.inf))
    assert not torch.isfinite(training.params["b_dec"]).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(
    "activation", ["topk", "batchtopk", "relu", "gated", "jumprelu"]
)
def test_training_on_a_gpu_is_as_good_and_resumes(activation, tmp_path):
    x, _ = planted()
    sizes = {
        "hidden_size": 48,
        "k": 3,
        "steps": 300,
        "batch_size": 256,
        "checkpoint_every": 100,
    }
    fvu = {}
    for device in ("cpu", "cuda"):
        config = TrainConfig(**sizes, activation=activation, device=device)
        trainer = SAETrainer(config, run=tmp_path / device)
        trainer.train(x, progress=False)
        fvu[device] = trainer.metrics_["fvu"]
    assert fvu["cuda"] == pytest.approx(fvu["cpu"], rel=0.1)
    (tmp_path / "cuda" / "model" / "cfg.json").unlink()
    shutil.rmtree(tmp_path / "cuda" / "checkpoints" / "step-00000300")
    again = SAETrainer(config, run=tmp_path / "cuda")
    again.train(x, resume=True, progress=False)
    assert again.metrics_["fvu"] == pytest.approx(fvu["cuda"], rel=0.1)


def test_without_a_run_folder_nothing_is_left_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SAETrainer(TrainConfig(**QUICK)).train(rows(), progress=False)
    assert not list(tmp_path.iterdir())


def test_the_run_folder_holds_what_it_should(tmp_path):
    config = TrainConfig(**QUICK, eval_every=4, tensorboard=False)
    trainer = SAETrainer(config, run=tmp_path)
    model = trainer.train(rows(), progress=False)
    assert same(model, SAEModel.load(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == {*FILES, MANIFEST}
    *lines, last = [
        json.loads(line)
        for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert {
        "step",
        "rows",
        "seconds",
        "loss",
        "parts",
        "fvu",
        "l0",
        "dead",
        "lr",
    } <= set(lines[0])
    assert {
        "fvu",
        "l0",
        "dead",
        "l0_quantiles",
        "density_histogram",
        "train_fvu",
        "train_l0",
    } <= set(last)
    assert last == trainer.metrics_
    for shot in (tmp_path / "snapshots").iterdir():
        assert shot.stat().st_size < 200_000


def test_the_last_metrics_are_those_of_the_exported_model_on_raw_rows(tmp_path):
    x = 5 * rows(n=8000) + 3  # in other units than those of training
    trainer = SAETrainer(
        TrainConfig(**QUICK | {"steps": 60, "heldout_share": 0.2}), run=tmp_path
    )
    model = trainer.train(x, progress=False)
    # all rows: near the mean of the training and the held-out figure, computed without the package
    acts = model.features(x)
    recon = acts @ model.W_dec.detach().numpy() + model.b_dec.detach().numpy()
    fvu = ((x - recon) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert trainer.metrics_["train_fvu"] == pytest.approx(fvu, rel=0.05)
    assert trainer.metrics_["l0"] == pytest.approx(acts.nnz / len(x), rel=0.1)


def test_training_stops_by_itself_and_the_best_weights_are_the_result():
    x, _ = planted(n=500)
    trainer = SAETrainer(
        TrainConfig(hidden_size=64, k=3, patience=2, batch_size=100, noise=0.0)
    )
    trainer.train(x, progress=False)
    config = TrainConfig(hidden_size=64, k=3, batch_size=100).resolved(475, x.shape[1])
    assert trainer.metrics_["step"] <= config.steps
    assert trainer.metrics_["best_step"] <= trainer.metrics_["step"]


def test_where_no_weights_are_sparse_enough_the_last_ones_are_the_best():
    x, _ = planted(n=300)
    trainer = SAETrainer(hidden_size=32, k=2, activation="relu", steps=8)
    trainer.train(x, progress=False)
    assert trainer.metrics_["train_l0"] > 4  # far from k
    assert trainer.metrics_["best_step"] == 8


def test_few_rows_one_row_and_dead_features_work():
    for n in (1, 2, 5):
        for noise in (0.0, 0.5):
            config = TrainConfig(hidden_size=8, k=2, steps=3, noise=noise)
            model = SAETrainer(config).train(rows(n), progress=False)
            assert model.features(rows(n)).shape == (n, 8)
    config = TrainConfig(hidden_size=512, k=2, steps=20, batch_size=16, dead_after=16)
    trainer = SAETrainer(config)
    trainer.train(rows(), progress=False)
    assert math.isfinite(trainer.metrics_["fvu"])


def test_large_data_in_a_small_buffer_trains_and_resumes(tmp_path):
    np.save(tmp_path / "rows.npy", rows(5000))
    config = TrainConfig(**QUICK, buffer_bytes=1000 * 4 * 8, checkpoint_every=5)
    whole = SAETrainer(config, run=tmp_path / "run").train(
        tmp_path / "rows.npy", progress=False
    )
    other = SAETrainer(config).train(tmp_path / "rows.npy", progress=False)
    assert same(whole, other)


@pytest.mark.parametrize("sink", ["tensorboard"])
def test_optional_sinks_write(sink, tmp_path):
    pytest.importorskip("tensorboard")
    config = TrainConfig(**QUICK, tensorboard=True)
    SAETrainer(config, run=tmp_path).train(rows(), progress=False)
    assert list((tmp_path / "tensorboard").glob("events*"))
    with pytest.raises(ValueError, match="tensorboard=True needs a run folder"):
        SAETrainer(config).train(rows(), progress=False)


def test_a_missing_extra_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r'pip install "nanosae\[wandb\]"'):
        SAETrainer(TrainConfig(**QUICK, wandb="x")).train(rows(), progress=False)


def test_the_bar_shows_loss_fvu_l0_dead_and_speed(capsys):
    SAETrainer(TrainConfig(**QUICK)).train(rows())
    shown = capsys.readouterr().err
    for word in ("loss=", "fvu=", "l0=", "dead=", "rows/s="):
        assert word in shown


def test_os_environment_is_untouched():
    before = dict(os.environ)
    SAETrainer(TrainConfig(**QUICK)).train(rows(), progress=False)
    assert dict(os.environ) == before


def test_the_last_measure_takes_each_row_once():
    trainer = SAETrainer(TrainConfig(hidden_size=32, k=4, steps=3, batch_size=64))
    trainer.train(np.random.default_rng(0).normal(size=(300, 8)), progress=False)
    calibrating = trainer.metrics_["rows_measured"] + 1
    assert 300 - calibrating <= trainer.metrics_["dead_rows_checked"] <= 300


def test_a_device_that_is_not_there_is_an_error_with_a_remedy():
    missing = [d for d in ("mps", "xpu") if not getattr(torch, d).is_available()]
    for device in missing:
        trainer = SAETrainer(TrainConfig(**QUICK, device=device))
        with pytest.raises(
            ConfigError, match=f"device='{device}' cannot be used here.*Choose another"
        ):
            trainer.train(rows(), progress=False)


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_backend_of_another_device_is_refused(backend):
    device = {"cpu": "meta", "cuda": "cpu"}[backend]
    with pytest.raises(ConfigError, match=f"backend='{backend}' works on device="):
        check_backend(backend, device)
    check_backend(backend, backend)
    check_backend("reference", device)
