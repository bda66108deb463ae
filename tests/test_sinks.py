"""What trackers are told: stand-ins for Weights & Biases, TensorBoard's own reader."""

import sys
import types

import numpy as np
import pytest

from nanosae import SAETrainer, TrainConfig

QUICK = {"hidden_size": 16, "k": 3, "batch_size": 32, "log_every": 2, "eval_every": 2}
QUICK |= {"checkpoint_every": 2}


def rows():
    return np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)


class Recorder(types.ModuleType):
    """Takes the place of the package wandb."""

    def __init__(self):
        super().__init__("wandb")
        self.runs = []

    def init(self, **options):
        made = types.SimpleNamespace(options=options, lines=[], finished=False)
        made.log = lambda line, step: made.lines.append((step, line))
        made.finish = lambda: setattr(made, "finished", True)
        self.runs.append(made)
        return made


@pytest.fixture
def wandb(monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", recorder)
    return recorder


def train(run, resume=False, force=False, **config):
    trainer = SAETrainer(TrainConfig(**QUICK | config), run=run)
    trainer.train(rows(), resume=resume, force=force, progress=False)


def test_a_run_has_its_name_its_settings_and_every_part_of_the_loss(wandb, tmp_path):
    train(tmp_path / "run", steps=4, wandb="atlas/first")
    (run,) = wandb.runs
    assert (run.options["project"], run.options["name"]) == ("atlas", "first")
    assert run.options["config"]["hidden_size"] == 16
    assert [step for step, _ in run.lines] == [2, 4, 4]
    first = run.lines[0][1]
    parts = [value for name, value in first.items() if name.startswith("parts/")]
    assert first["loss"] == pytest.approx(sum(parts))
    assert run.finished


def test_a_resumed_training_goes_on_in_its_run_and_a_new_one_has_its_own(
    wandb, tmp_path, monkeypatch
):
    from nanosae.train import loop

    def stop(training):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(loop.Training, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", steps=4, wandb="atlas")
    train(tmp_path / "run", steps=4, wandb="atlas", resume=True)
    train(tmp_path / "run", steps=4, wandb="atlas", force=True)
    ids = [run.options["id"] for run in wandb.runs]
    assert ids[0] == ids[1] != ids[2]
    train(None, steps=4, wandb="atlas")
    assert "id" not in wandb.runs[-1].options


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its protocol buffers
def test_tensorboard_shows_scalars_at_their_steps_and_a_histogram(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs the extra 'tensorboard'",
    )
    train(tmp_path, steps=4, tensorboard=True)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss", "parts/mse", "fvu", "l0"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [2, 4]
    assert tags["histograms"] == ["log10_density"]
    (histogram,) = events.Histograms("log10_density")
    assert 0 < histogram.histogram_value.num <= 16
