"""SAETrainer: one readable loop from rows to a trained model.

`step.py` has the step. Several SAEs may train on one pass over the data: each is a `Job`, and
`train_jobs` hands every batch to all of them. A resumed run equals an uninterrupted one. A
transcoder's batch holds inputs and targets side by side.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor

from nanosae.config import TrainConfig
from nanosae.data.batches import device_batches
from nanosae.data.dataset import Dataset
from nanosae.data.open import open_dataset
from nanosae.distributed import Ranks, join
from nanosae.model.sae import SAEModel
from nanosae.runs.folder import last_line
from nanosae.runs.signals import stop_signals
from nanosae.runs.training import TrainingRun
from nanosae.train import export as finish
from nanosae.train import sinks as logs
from nanosae.train.step import Training


class SAETrainer(TransformerMixin, BaseEstimator):
    """Train a sparse autoencoder; also a scikit-learn estimator.

    Args:
        config: What to train; None takes every default.
        run: Folder for the run (metrics, snapshots, checkpoints, model); None leaves nothing on
            disk.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(200, 8))
        >>> trainer = SAETrainer(TrainConfig(hidden_size=16, k=4, steps=5))
        >>> trainer.train(rows, progress=False).features(rows).shape
        (200, 16)
    """

    def __init__(self, config: TrainConfig | None = None, run: str | Path | None = None) -> None:
        self.config = config
        self.run = run

    def train(
        self,
        data: Any,
        targets: Any = None,
        *,
        resume: bool = False,
        force: bool = False,
        progress: bool = True,
    ) -> SAEModel:
        """Train on the rows of `data` and return the model; `metrics_` and `notes_` are set, too.

        Args:
            data: A pandas or polars frame, array, memmap, tensor, list, Hugging Face dataset, or a
                path, folder or glob of .csv .tsv .parquet .feather .arrow .npy .npz .safetensors
                .pt; or a stream: an iterator of (n, width) batches, of (inputs, targets), or of
                what `activations` yields, or a function that returns one (see `Stream`).
            targets: Vectors of the same kinds, one for each row of `data`: train a transcoder,
                which predicts them from the rows (Dunefsky et al. 2024).
            resume: Go on from the run folder's newest checkpoint, or start if there is none.
            force: Replace the run in the folder.
            progress: Show a progress bar.

        Raises:
            ValueError: If the rows cannot be trained on; the message names row, column and remedy.
            FileExistsError: If the folder holds a run and neither `resume` nor `force` is given.
            FloatingPointError: If the loss becomes infinite or NaN.
            KeyboardInterrupt: After SIGINT or SIGTERM, when the checkpoint is written.
        """
        job = Job(self.config or TrainConfig(), None if self.run is None else Path(self.run))
        options = {"resume": resume, "force": force, "progress": progress}
        train_jobs([job], data, targets, **options)
        self.notes_, self.metrics_ = job.notes, job.metrics
        assert job.model is not None
        return job.model

    def fit(self, X: Any, y: Any = None) -> SAETrainer:
        """Train on X (n_rows, input_size); y is ignored. Returns self, with `model_`."""
        self.model_ = self.train(X, progress=False)
        self.n_features_in_ = self.model_.cfg["d_in"]
        return self

    def transform(self, X: Any) -> Any:
        """Return the feature activations of X as a csr_array (n_rows, hidden_size)."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "model_")
        return self.model_.features(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # activations are float32
        return tags

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return feature0, feature1 and so on."""
        return np.array([f"feature{i}" for i in range(self.model_.cfg["d_sae"])], dtype=object)


class Job:
    """One SAE to train, and what comes of it.

    Attributes:
        config: As asked for.
        run: Its folder, or None.
        training: The state, once there is data.
        model: The result; of a finished run at once.
        metrics: The last line of metrics.
        notes: Sentences on the data, or that the run is finished.
    """

    def __init__(self, config: TrainConfig, run: Path | None = None) -> None:
        self.config, self.run = config, run
        self.files: TrainingRun | None = None
        self.training: Training | None = None
        self.model: SAEModel | None = None
        self.metrics: dict[str, Any] = {}
        self.notes: list[str] = []
        self.sinks: list[logs.Sink] = []
        self.began, self.first = time.perf_counter(), 0  # when and at which row this process began

    def claim(self, resume: bool, force: bool, leads: bool) -> bool:
        """Make sure that the folder may be written; return whether there is anything to do."""
        if self.run is None:
            return True
        self.files = TrainingRun.open(
            self.run, self.config, resume=resume, force=force, leads=leads
        )
        return not self.files.finished

    def use_finished(self) -> None:
        """Take the model and the metrics of the finished run in the folder."""
        assert self.run is not None
        self.model, self.metrics = SAEModel.load(self.run), last_line(self.run)
        self.notes = [f"{self.run} is finished: nothing was left to do."]

    def start(self, dataset: Dataset, ranks: Ranks, progress: bool) -> None:
        """Make the state, or load it from the newest checkpoint, and open the sinks."""
        config, self.notes = self.config.resolved(dataset.n_train, dataset.width), dataset.notes
        self.training = training = Training(config, dataset, ranks)
        if self.files is not None:
            if ranks.rank == 0:
                self.files.begin(config, dataset.fingerprint, dataset.source)
            ranks.any(False)  # the others read what the first one has prepared
            if checkpoint := self.files.load_checkpoint():
                training.restore(*checkpoint)
        if ranks.rank > 0:
            return
        if self.run is not None:
            self.sinks += [logs.tensorboard(self.run / "tensorboard")] if config.tensorboard else []
        self.sinks += [logs.wandb(config.wandb, config.to_dict())] if config.wandb else []
        self.sinks += [logs.bar(training.end, training.scalars["step"])] if progress else []
        self.began, self.first = time.perf_counter(), training.scalars["rows"]

    def advance(self, batch: Tensor, stopped: bool) -> None:
        """Step, evaluate, log and checkpoint."""
        training, files = self.training, self.files
        assert training is not None
        config, step = training.config, training.scalars["step"] + 1
        try:
            training.step(batch)
        except FloatingPointError as error:
            kept = files.newest_checkpoint() if files else None
            last = f" The last good checkpoint is {kept}." if kept else ""
            raise FloatingPointError(f"{error}{last}") from None
        line, ended = {}, step >= training.end
        if step % training.eval_every == 0 or ended:
            line = training.evaluate()
            shot = training.snapshot() if files else {}
            if files and training.ranks.rank == 0:
                files.save_snapshot(step, shot)
        if line or step % config.log_every == 0:
            line |= training.line()
            seconds = time.perf_counter() - self.began
            speed = (training.scalars["rows"] - self.first) / seconds
            line |= {"seconds": seconds, "rows_per_second": speed}
            if files and training.ranks.rank == 0:
                files.append_metrics(line)
            for sink in self.sinks:
                sink(line)
        if files and (step % config.checkpoint_every == 0 or stopped or ended):
            state = training.state()
            if training.ranks.rank == 0:
                files.save_checkpoint(step, *state)

    def finish(self) -> None:
        """Make the model, measure it, and write both."""
        training = self.training
        assert training is not None
        s, data = training.scalars, training.data
        self.model = finish.export(training.config, data, training.weights())
        done = {"step": s["step"], "rows": s["rows"], "final": True, "best_step": s["best_step"]}
        done["seconds"] = time.perf_counter() - self.began
        self.metrics = done | finish.measure(data, self.model, training.config.seed)
        if self.files is not None and training.ranks.rank == 0:
            self.files.finish(self.model.save, self.metrics)
        for sink in self.sinks:
            sink(self.metrics)


def train_jobs(
    jobs: Sequence[Job],
    data: Any,
    targets: Any = None,
    *,
    resume: bool,
    force: bool,
    progress: bool,
) -> None:
    """Train SAEs together on one pass over the data; results are the jobs' attributes.

    Args:
        jobs: Equal in what decides the rows and their order: columns, input_size, batch_size,
            heldout_share, buffer_rows, data_seed and parallel.
        data: See `SAETrainer.train`, as the rest.
        targets: Of a transcoder.
        resume: Go on from the checkpoints.
        force: Replace runs.
        progress: Show a progress bar of the longest run.
    """
    ranks = join(jobs[0].config.parallel == "latents")
    try:
        todo = [job for job in jobs if not _is_done(job, ranks, resume, force)]
        if todo:
            _train(todo, data, targets, ranks, progress)
    finally:
        for job in jobs:
            for sink in job.sinks:
                sink(None)
            if job.files is not None:
                job.files.close()


def _is_done(job: Job, ranks: Ranks, resume: bool, force: bool) -> bool:
    """Claim the job's folder; tell whether it holds the finished run."""
    leads = ranks.rank == 0
    to_do = leads and job.claim(resume, force, leads)
    if ranks.any(to_do):
        if not leads:
            job.claim(resume, force, leads)
        return False
    job.use_finished()
    return True


def _train(jobs: Sequence[Job], data: Any, targets: Any, ranks: Ranks, progress: bool) -> None:
    dataset = open_dataset(data, targets, jobs[0].config)
    for job in jobs:
        _check_targets(job.config, len(dataset.target_mean) > 0)
    for job in jobs:
        job.start(dataset, ranks, progress and job is jobs[0])
    with stop_signals() as stopped:
        _loop([job.training for job in jobs if job.training], list(jobs), ranks, stopped)
    for job in jobs:
        job.finish()
        job.training = None


def _check_targets(config: TrainConfig, given: bool) -> None:
    if config.skip and not given:
        raise ValueError("skip=True is for transcoders: give targets, too.")
    if given and config.activation == "gated":
        raise ValueError("a transcoder cannot be gated: choose relu, topk, batchtopk or jumprelu.")


def _loop(trainings: list[Training], jobs: list[Job], ranks: Ranks, stopped: list[int]) -> None:
    """Hand every batch to each training that has not seen it, until all have ended."""
    first = trainings[0]
    getattr(first.kernels, "compile_all", lambda: None)()
    position, size = min(t.scalars["rows"] for t in trainings), first.config.batch_size or 1
    for x in device_batches(first.data, size, position, first.device):  # a stream may end
        stop = ranks.any(bool(stopped))
        for training, job in zip(trainings, jobs, strict=True):
            if training.scalars["rows"] == position and training.scalars["step"] < training.end:
                job.advance(x, stop)
        position += size
        if not any(t.scalars["step"] < t.end for t in trainings):
            return
        if stop:
            where = f"; --resume goes on from there in {jobs[0].run}" if jobs[0].run else ""
            step, number = first.scalars["step"], (stopped or [0])[0]
            raise KeyboardInterrupt(f"stopped by signal {number} after step {step}{where}")
