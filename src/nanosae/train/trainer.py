"""SAETrainer: train a sparse autoencoder on anything that holds rows.

The loop itself is in `loop`, one optimiser step in `step`.
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


class SAETrainer(FeatureTransformer, auto_wrap_output_keys=None):
    """Train a sparse autoencoder; also a scikit-learn estimator.

    Args:
        config: What to train; if None, every setting has its default.
        run: Run folder for metrics, snapshots, checkpoints and the model; if None, nothing is
            written to disk.
        **settings: Fields of TrainConfig that override those of `config`, as in
            `SAETrainer(k=16)`. Among scikit-learn parameters they are called `config__k` and so on;
            `set_params` and grids take `k` as well.

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
        """Train on the rows of `data` and return the model; also set `metrics_` and `notes_`.

        Args:
            data: A pandas or polars DataFrame, array, memmap, tensor, list or Hugging Face
                dataset; a path, folder or glob of .csv .tsv .parquet .feather .arrow .npy .npz
                .safetensors .pt files; or a stream: an iterator over (n, width) batches, over
                (inputs, targets) or over the output of `activations`, or a function that returns
                such an iterator (see `Stream`).
            targets: Vectors in any of these forms, one per row of `data`. With targets, a
                transcoder is trained, which predicts them from the rows (Dunefsky et al. 2024).
            init: An SAE to continue training, or what `SAEModel.load` takes. Size, activation and
                sparsity come from it unless the config sets them. Keep its `data_seed`: another
                one would hold out rows that the SAE was trained on.
            resume: Continue from the newest checkpoint in the run folder, if there is one.
            force: Replace the run in the folder.
            progress: Show a progress bar, or a function to call with the share of steps done.

        Raises:
            DataError: If the rows cannot be trained on; the message names row, column and remedy.
            ConfigError: If settings do not fit the rows, or differ from those of the run to resume.
            ExistsError: If the folder holds a run and neither `resume` nor `force` is given.
            DivergedError: If the loss becomes infinite or NaN.
            Stopped: After SIGINT or SIGTERM, once a checkpoint is written; a KeyboardInterrupt.
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
        """Set parameters; settings are called `config__k` or, as for the constructor, `k`."""
        for name in TrainConfig.field_names():
            if name in params:
                params[f"config__{name}"] = params.pop(name)
        if self.config is None and any(name.startswith("config__") for name in params):
            self.config = TrainConfig()
        return super().set_params(**params)

    def fit(self, X: Any, y: Any = None) -> SAETrainer:
        """Train on X, (n_rows, input_size), and return self with `model_` set; y is ignored."""
        self.model_ = self.train(X, progress=False)
        self.n_features_in_ = self.model_.cfg["d_in"]
        return self
