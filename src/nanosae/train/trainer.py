"""SAETrainer: train a sparse autoencoder on anything that holds rows.

`loop` hands batches to `step`, which takes one optimiser step.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from nanosae.config import TrainConfig
from nanosae.model.estimator import FeatureTransformer
from nanosae.model.sae import SAEModel
from nanosae.sinks import Progress
from nanosae.train.loop import train_together
from nanosae.trainable.fine_tuning import Init, starting_point


class SAETrainer(FeatureTransformer):
    """Train a sparse autoencoder; also a scikit-learn estimator.

    Args:
        config: What to train; None takes every default.
        run: Folder for the run (metrics, snapshots, checkpoints, model); None leaves nothing on
            disk.
        **settings: Settings of TrainConfig, in place of those of `config`: `SAETrainer(k=16)`. As
            scikit-learn's parameters they are `config__k` and so on.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(200, 8))
        >>> trainer = SAETrainer(TrainConfig(hidden_size=16, k=4, steps=5))
        >>> trainer.train(rows, progress=False).features(rows).shape
        (200, 16)
    """

    def __init__(
        self,
        config: TrainConfig | None = None,
        run: str | Path | None = None,
        **settings: Any,
    ) -> None:
        if settings:
            base = TrainConfig() if config is None else config
            config = dataclasses.replace(base, **settings)
        self.config = config
        self.run = run

    def train(
        self,
        data: Any,
        targets: Any = None,
        *,
        init: Init = None,
        resume: bool = False,
        force: bool = False,
        progress: Progress = True,
    ) -> SAEModel:
        """Train on the rows of `data` and return the model; `metrics_` and `notes_` are set, too.

        Args:
            data: A pandas or polars frame, array, memmap, tensor, list, Hugging Face dataset, or a
                path, folder or glob of .csv .tsv .parquet .feather .arrow .npy .npz .safetensors
                .pt; or a stream: an iterator of (n, width) batches, of (inputs, targets), or of
                what `activations` yields, or a function that returns one (see `Stream`).
            targets: Vectors of the same kinds, one for each row of `data`: train a transcoder,
                which predicts them from the rows (Dunefsky et al. 2024).
            init: An SAE to train further, or what `SAEModel.load` takes. Sizes, activation and
                sparsity are its own where the config leaves them out. Leave `data_seed` as it was:
                another one holds out rows that the SAE has been trained on.
            resume: Go on from the run folder's newest checkpoint, or start if there is none.
            force: Replace the run in the folder.
            progress: Show a progress bar; a function is told the share of the steps that are done.

        Raises:
            DataError: If the rows cannot be trained on; the message names row, column and remedy.
            ConfigError: If settings do not fit the rows, or the run to resume has other ones.
            ExistsError: If the folder holds a run and neither `resume` nor `force` is given.
            DivergedError: If the loss becomes infinite or NaN.
            Stopped: A KeyboardInterrupt, after SIGINT or SIGTERM, when the checkpoint is written.
        """
        config, start = starting_point(init, self.config)
        folder = None if self.run is None else Path(self.run)
        (trained,) = train_together(
            [config],
            [folder],
            data,
            targets,
            start,
            resume=resume,
            force=force,
            progress=progress,
        )
        self.notes_ = trained.notes
        self.metrics_ = trained.metrics
        return trained.model

    def set_params(self, **params: Any) -> SAETrainer:
        """Set parameters; `config__k` and the like change the defaults if there is no config."""
        if self.config is None and any(name.startswith("config__") for name in params):
            self.config = TrainConfig()
        return super().set_params(**params)

    def fit(self, X: Any, y: Any = None) -> SAETrainer:
        """Train on X (n_rows, input_size); y is ignored. Returns self, with `model_`."""
        self.model_ = self.train(X, progress=False)
        self.n_features_in_ = self.model_.cfg["d_in"]
        return self
