"""The training loop: feed the batches of one data set to every SAE that trains on it.

Several SAEs may share one pass over the data. A resumed training equals an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nanosae import sinks
from nanosae.config import TrainConfig
from nanosae.data.batches import device_batches
from nanosae.data.dataset import Dataset
from nanosae.data.open import check_targets, fingerprint, open_dataset
from nanosae.distributed import Ranks, join
from nanosae.errors import DivergedError
from nanosae.kernels import selection_path, training_state
from nanosae.model.sae import SAEModel
from nanosae.runs.checkpoints import last_checkpoint, save_checkpoint
from nanosae.runs.folder import last_line
from nanosae.runs.signals import Stopped, stop_signals
from nanosae.runs.training import TrainingRun, open_runs
from nanosae.train import schedule
from nanosae.train.metrics import evaluate, metrics_line, take_snapshot
from nanosae.train.state import TrainingState
from nanosae.train.step import take_step
from nanosae.trainable.export import export, measure_model, notes_on
from nanosae.trainable.sizes import check_sizes


@dataclass
class Trained:
    """The result of a training.

    Args:
        model: The SAE, on raw rows.
        metrics: The last line of metrics.
        notes: Remarks on the data and the model, or that the run was already finished.
    """

    model: SAEModel
    metrics: sinks.Line
    notes: list[str]


@training_state()
def train_together(
    configs: Sequence[TrainConfig],
    folders: Sequence[Path | None],
    data: Any,
    targets: Any = None,
    start: SAEModel | None = None,
    *,
    resume: bool,
    force: bool,
    progress: sinks.Progress,
) -> list[Trained]:
    """Train several SAEs in one pass over the data.

    Args:
        configs: One per SAE, equal in everything that decides the rows and their order: columns,
            input_size, batch_size, heldout_share, buffer_bytes, data_seed, parallel and device.
        folders: The run folder of each SAE, or None.
        data: As for `SAETrainer.train`.
        targets: Targets of a transcoder.
        start: An SAE on raw rows to start from.
        resume: Continue from the newest checkpoints.
        force: Replace existing runs.
        progress: Show the progress of the first SAE; as for `SAETrainer.train`.
    """
    ranks = join(configs[0].device, latents=configs[0].parallel == "latents")
    ranks.check_agreement(folders=[folder is not None for folder in folders])
    is_main = ranks.rank == 0
    init = None if start is None else start.checksum
    trained: dict[int, Trained] = {}
    with contextlib.ExitStack() as stack:
        runs = open_runs(
            configs, folders, init, stack, resume=resume, force=force, is_main=is_main
        )
        unfinished = []
        for number, run in enumerate(runs):
            if run is not None and ranks.any(is_main and run.finished):
                run.check_rows(fingerprint(data, targets, configs[number]))
                trained[number] = _load_finished(run.folder)
            else:
                unfinished.append(number)
        if unfinished:
            dataset = open_dataset(data, targets, configs[0])
            for number in unfinished:
                check_targets(configs[number], dataset)
            check_sizes([configs[number] for number in unfinished], dataset, ranks)
            trainings = []
            for number in unfinished:
                own_progress = False if trainings else progress
                training = Training(
                    configs[number], runs[number], dataset, ranks, own_progress, start
                )
                stack.callback(training.close)
                trainings.append(training)
            _train_on_batches(trainings, dataset, ranks)
            for number, training in zip(unfinished, trainings, strict=True):
                trained[number] = training.finish()
    return [trained[number] for number in range(len(configs))]


class Training:
    """One SAE in training.

    Attributes:
        state: Weights, optimiser and counters, restored from the newest checkpoint if there is one.
        run: The files of its run folder, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: TrainingRun | None,
        data: Dataset,
        ranks: Ranks,
        progress: sinks.Progress,
        start: SAEModel | None = None,
    ) -> None:
        self.config = config.resolved(data.n_train, data.width)
        self.data = data
        self.run = run
        self.is_main = ranks.rank == 0
        self.state = TrainingState(self.config, data, ranks)
        self.state.start_from(start, data)
        self.state.compile_kernels(len(data.heldout))
        if run is not None:
            if self.is_main:
                selection = selection_path(self.state.kernels)
                run.begin(self.config, data.fingerprint, data.source, selection)
            ranks.wait()  # until the main process has written what the others read
            checkpoint = run.load_checkpoint()
            if checkpoint is not None:
                self.state.restore(*checkpoint)
        self.state.check_agreement(data, self.state.counters.step)
        self.sinks = self._open_sinks(progress) if self.is_main else []
        self.start_time = time.perf_counter()
        self.first_row = self.state.counters.rows

    @property
    def has_ended(self) -> bool:
        """Whether all steps have been taken."""
        counters = self.state.counters
        return counters.step >= schedule.last_step(self.config, counters)

    def advance(self, batch: Tensor, stopping: bool) -> None:
        """Take one step; evaluate, log and save when due.

        Raises:
            DivergedError: If the loss is not finite; the message names the last good checkpoint.
        """
        try:
            self._advance(batch, stopping)
        except DivergedError as error:
            newest = None if self.run is None else last_checkpoint(self.run.files)
            if newest is None:
                raise
            remedy = f"The last good checkpoint is {newest}."
            raise DivergedError(str(error), remedy=remedy) from None

    def _advance(self, batch: Tensor, stopping: bool) -> None:
        config, state = self.config, self.state
        take_step(state, batch)
        step, has_ended = state.counters.step, self.has_ended
        line = {}
        is_evaluated = has_ended or step % config.eval_every == 0
        if is_evaluated:
            line = evaluate(state)
            self._save_snapshot()
        if is_evaluated or step % config.log_every == 0:
            self._log(line | metrics_line(state))
        if stopping or has_ended or step % config.checkpoint_every == 0:
            self._save_checkpoint()

    def _log(self, line: sinks.Line) -> None:
        seconds = time.perf_counter() - self.start_time
        n_rows = self.state.counters.rows - self.first_row
        line |= {"seconds": seconds, "rows_per_second": n_rows / seconds}
        if self.run is not None and self.is_main:
            self.run.append_metrics(line)
        for sink in self.sinks:
            sink.write(line)

    def _save_snapshot(self) -> None:
        if self.run is None:
            return
        arrays = take_snapshot(self.state)
        if self.is_main:
            self.run.save_snapshot(self.state.counters.step, arrays)

    def _save_checkpoint(self) -> None:
        if self.run is None:
            return
        tensors, numbers = self.state.checkpoint()
        if self.is_main:
            save_checkpoint(self.run.files, self.state.counters.step, tensors, numbers)

    def finish(self) -> Trained:
        """Export the model and measure it; write both to the run folder."""
        counters = self.state.counters
        model = export(self.config, self.data, self.state.best_weights())
        metrics = {
            "step": counters.step,
            "rows": counters.rows,
            "final": True,
            # if no weights were sparse enough, the last ones are exported
            "best_step": counters.best_step or counters.step,
            "seconds": time.perf_counter() - self.start_time,
        }
        metrics |= measure_model(self.data, model, self.config.seed)
        if self.run is not None and self.is_main:
            self.run.finish(model.save, metrics)
        for sink in self.sinks:
            sink.write(metrics)
        return Trained(model, metrics, self.data.notes + notes_on(metrics, self.config))

    def close(self) -> None:
        """Close the sinks."""
        for sink in self.sinks:
            sink.close()

    def _open_sinks(self, progress: sinks.Progress) -> list[sinks.Sink]:
        config, counters = self.config, self.state.counters
        opened = []
        folder = None if self.run is None else self.run.folder
        if config.tensorboard:
            opened.append(sinks.tensorboard(folder, counters.step))
        if config.wandb is not None:
            opened.append(sinks.wandb(config.wandb, config.to_dict(), folder))
        if progress:
            n_steps = schedule.last_step(config, counters)
            opened.append(sinks.progress_sink(progress, n_steps, counters.step))
        return opened


def _load_finished(folder: Path) -> Trained:
    notes = [f"{folder} is finished; there was nothing left to train."]
    return Trained(SAEModel.load(folder), last_line(folder), notes)


def _train_on_batches(trainings: list[Training], data: Dataset, ranks: Ranks) -> None:
    """Feed every batch to the trainings that have not seen it, until all have ended."""
    first = trainings[0]
    batch_size, device = first.config.batch_size, first.state.device
    position = min(training.state.counters.rows for training in trainings)
    reserved = sum(training.state.bytes_of_copies for training in trainings)
    with stop_signals() as received:
        # the batches of a stream may run out first
        for batch in device_batches(data, batch_size, position, device, reserved):
            stopping = ranks.any(bool(received))
            for training in trainings:
                if training.state.counters.rows == position and not training.has_ended:
                    training.advance(batch, stopping)
            position += batch_size
            if all(training.has_ended for training in trainings):
                return
            if stopping:
                raise _stopped(first, received)


def _stopped(training: Training, received: list[int]) -> Stopped:
    signal_number = received[0] if received else signal.SIGINT  # another rank got it
    step = training.state.counters.step
    message = f"stopped by signal {int(signal_number)} after step {step}"
    if training.run is not None:
        message += f"; continue in {training.run.folder} with resume=True (--resume)"
    return Stopped(message, signal_number)
