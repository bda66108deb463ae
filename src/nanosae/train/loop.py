"""The loop: batches of one data set to the SAEs that train on it, until each has ended.

Several SAEs may train on one pass over the data. A resumed training equals an uninterrupted one.
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
from nanosae.data.open import check_targets, open_dataset
from nanosae.distributed import Ranks, join
from nanosae.errors import DivergedError
from nanosae.kernels import selection_path
from nanosae.model.sae import SAEModel
from nanosae.runs.folder import last_line
from nanosae.runs.signals import Stopped, stop_signals
from nanosae.runs.training import TrainingRun
from nanosae.train import schedule
from nanosae.train.metrics import evaluate, metrics_line, take_snapshot
from nanosae.train.state import TrainingState
from nanosae.train.step import take_step
from nanosae.trainable.export import export, measure_model, notes_on

Line = dict[str, Any]


@dataclass
class Trained:
    """What comes of a training.

    Args:
        model: The SAE on raw rows.
        metrics: The last line of metrics.
        notes: Sentences on the data, or that the run had been finished before.
    """

    model: SAEModel
    metrics: Line
    notes: list[str]


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
    """Train SAEs on one pass over the data.

    Args:
        configs: Equal in what decides the rows and their order: columns, input_size, batch_size,
            heldout_share, buffer_bytes, data_seed, parallel and device.
        folders: The run folder of each, or None.
        data: See `SAETrainer.train`, as the rest.
        targets: Of a transcoder.
        start: An SAE on raw rows that the trainings start from.
        resume: Continue from the checkpoints.
        force: Replace runs.
        progress: Show a progress bar of the first SAE, or tell a function its share of steps.
    """
    ranks = join(configs[0].device, latents=configs[0].parallel == "latents")
    leads = ranks.rank == 0
    trained: dict[int, Trained] = {}
    with contextlib.ExitStack() as stack:
        runs = []
        for config, folder in zip(configs, folders, strict=True):
            run = None
            if folder is not None:
                run = TrainingRun.open(
                    folder, config, resume=resume, force=force, leads=leads
                )
                stack.callback(run.close)
            runs.append(run)
        unfinished = []
        for number, run in enumerate(runs):
            if run is not None and ranks.any(leads and run.finished):
                trained[number] = _finished_before(run.folder)
            else:
                unfinished.append(number)
        if unfinished:
            dataset = open_dataset(data, targets, configs[0])
            for number in unfinished:
                check_targets(configs[number], dataset)
            trainings = []
            for number in unfinished:
                shown = False if trainings else progress
                training = Training(
                    configs[number], runs[number], dataset, ranks, shown, start
                )
                stack.callback(training.close)
                trainings.append(training)
            _loop(trainings, dataset, ranks)
            for number, training in zip(unfinished, trainings, strict=True):
                trained[number] = training.finish()
    return [trained[number] for number in range(len(configs))]


class Training:
    """One SAE in training.

    Attributes:
        state: Weights, optimiser and counters, from the newest checkpoint if there is one.
        run: The files in its folder, or None.
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
        self.leads = ranks.rank == 0
        self.state = TrainingState(self.config, data, ranks)
        self.state.start_from(start, data)
        self.state.compile_kernels(len(data.heldout))
        if run is not None:
            if self.leads:
                selection = selection_path(self.state.kernels)
                init = None if start is None else start.checksum
                run.begin(self.config, data.fingerprint, data.source, selection, init)
            ranks.wait()  # the others read what the first one has prepared
            checkpoint = run.load_checkpoint()
            if checkpoint is not None:
                self.state.restore(*checkpoint)
        self.sinks = self._open_sinks(progress) if self.leads else []
        self.start_time = time.perf_counter()
        self.first_row = self.state.counters.rows

    @property
    def has_ended(self) -> bool:
        """Whether all steps are taken."""
        counters = self.state.counters
        return counters.step >= schedule.last_step(self.config, counters)

    def advance(self, batch: Tensor, stopping: bool) -> None:
        """Step, evaluate, log and save, as each is due.

        Raises:
            DivergedError: If the loss is not finite; the message names the last good checkpoint.
        """
        try:
            self._advance(batch, stopping)
        except DivergedError as error:
            newest = None if self.run is None else self.run.newest_checkpoint()
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

    def _log(self, line: Line) -> None:
        seconds = time.perf_counter() - self.start_time
        n_rows = self.state.counters.rows - self.first_row
        line |= {"seconds": seconds, "rows_per_second": n_rows / seconds}
        if self.run is not None and self.leads:
            self.run.append_metrics(line)
        for sink in self.sinks:
            sink.write(line)

    def _save_snapshot(self) -> None:
        if self.run is None:
            return
        arrays = take_snapshot(self.state)
        if self.leads:
            self.run.save_snapshot(self.state.counters.step, arrays)

    def _save_checkpoint(self) -> None:
        if self.run is None:
            return
        tensors, numbers = self.state.checkpoint()
        if self.leads:
            self.run.save_checkpoint(self.state.counters.step, tensors, numbers)

    def finish(self) -> Trained:
        """Make the model, measure it, and write both."""
        counters = self.state.counters
        model = export(self.config, self.data, self.state.best_weights())
        metrics = {
            "step": counters.step,
            "rows": counters.rows,
            "final": True,
            "best_step": counters.best_step,
            "seconds": time.perf_counter() - self.start_time,
        }
        metrics |= measure_model(self.data, model, self.config.seed)
        if self.run is not None and self.leads:
            self.run.finish(model.save, metrics)
        for sink in self.sinks:
            sink.write(metrics)
        return Trained(model, metrics, self.data.notes + notes_on(metrics))

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


def _finished_before(folder: Path) -> Trained:
    notes = [f"{folder} is finished: nothing was left to do."]
    return Trained(SAEModel.load(folder), last_line(folder), notes)


def _loop(trainings: list[Training], data: Dataset, ranks: Ranks) -> None:
    """Hand every batch to each training that has not seen it, until all have ended."""
    first = trainings[0]
    batch_size, device = first.config.batch_size, first.state.device
    position = min(training.state.counters.rows for training in trainings)
    with stop_signals() as received:
        # a stream may end by itself
        for batch in device_batches(data, batch_size, position, device):
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
    number = received[0] if received else signal.SIGINT  # another rank's
    step = training.state.counters.step
    message = f"stopped by signal {int(number)} after step {step}"
    if training.run is not None:
        message += f"; --resume goes on from there in {training.run.folder}"
    return Stopped(message, number)
