"""TrainConfig holds the settings asked for, ResolvedConfig those in effect.

`TrainConfig.resolved` derives from the data all fields left at None; the measurements behind the
defaults are in docs/log.md.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nanosae import defaults
from nanosae.errors import ConfigError, MissingError
from nanosae.fields import (
    CheckedFields,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Seed,
    Share,
)

Activation = Literal["relu", "topk", "batchtopk", "jumprelu", "gated"]
Parallel = Literal["rows", "latents"]
Penalty = Literal["l0", "tanh"]
Backend = Literal["auto", "cpu", "cuda", "reference"]
Precision = Literal["float32", "tf32", "bfloat16"]

KEEPS_EXACTLY_K = ("topk", "batchtopk")
DEFAULT_K = 32
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


@dataclass
class TrainConfig(CheckedFields):
    """What to train and how.

    Args:
        input_size: Width of a row; by default that of the data.
        hidden_size: Number of features to learn; by default the largest power of two that is at
            most 8 × input_size and leaves each feature an average of 30 active rows.
        k: Mean number of active features per row; 32 unless `l1_coefficient` is given.
        l1_coefficient: Constant sparsity coefficient instead of k; implies `relu` unless an
            activation is given. The loss is the mean squared error per element, of rows scaled to
            mean square 1, plus l1_coefficient × 12 × the mean over rows of Σ f‖W_dec‖ (jumprelu:
            of the L0, or of Σ tanh 4f).
        activation: relu (Anthropic, April 2024), topk (Gao et al. 2024), batchtopk (Bussmann et al.
            2024; the default), jumprelu (see `jumprelu_penalty`) or gated (Rajamanoharan et al.
            2024).
        matryoshka: Growing prefix sizes ending in hidden_size; each prefix also reconstructs alone
            (topk and batchtopk only).
        nested: Order the features from general to special: each step also reconstructs from a
            random prefix of them, and keeps k ÷ 4 to 2 k entries per row (topk and batchtopk only).
            By default true, unless activation, matryoshka or l1_coefficient is given.
        steps: Optimiser steps. Without steps and epochs, training continues until the held-out FVU
            stops improving.
        epochs: Passes over the training rows, instead of steps.
        batch_size: Rows per optimiser step; by default a power of two near √(8 × rows), 128 to
            4,096.
        lr: Peak learning rate of Adam; by default 6e-3 × √(batch_size ÷ 512), at most 8e-3.
        noise: Standard deviation of the noise added to training rows, relative to that of their
            elements; by default 0.5 below 15,000 rows, on which an SAE overfits, else 0.
        weight_decay: Decoupled weight decay of the encoder (AdamW).
        skip: Give a transcoder a linear skip connection from inputs to targets.
        seed: Seed of the noise on initial weights and rows, and of prefix lengths.
        data_seed: Seed of the held-out rows and of the order of the others.
        parallel: What the processes of `torchrun` divide: the rows of a batch, or the latents.
        warmup: Share of the steps in which lr (and the sparsity coefficient) rise.
        decay: Share of the steps, at the end, in which lr falls to zero.
        clip: Maximal global gradient norm.
        accumulate: Number of micro-batches into which a batch is divided.
        auxk_coefficient: Weight of the AuxK loss that revives dead features; 0 turns it off.
        k_aux: Dead features that AuxK uses per row; by default 2 k.
        dead_after: Rows without activity after which a feature is dead; by default 100 times the
            rows in which an average feature is active once.
        jumprelu_penalty: l0 (straight-through; Rajamanoharan et al. 2024b) or tanh, with the
            pre-activation loss (Anthropic, January 2025).
        patience: Evaluations without a better held-out FVU after which lr decays and training ends.
        heldout_share: Share of the rows held out for metrics, at most 10,000 rows.
        buffer_bytes: Memory for training rows. Data that takes more as float32 is streamed through
            two buffers of a quarter of it each.
        columns: Names of the vector columns, if they cannot be detected.
        embedder: Name of the model that made the embeddings; stored with the SAE for text queries.
        prompt: Prefix of the embedded texts, such as "passage: "; stored likewise.
        query_prompt: Prefix of text queries for the embedder, such as "query: "; stored likewise.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of metrics.
        eval_every: Steps between held-out evaluations; by default a fortieth of the steps.
        device: auto, cpu, cuda, cuda:0, mps …
        backend: Kernels: auto, cpu, cuda (extra `triton`) or reference.
        precision: Precision of the factors in the encoder's matrix product on a GPU; sums and
            everything else are float32.
        wandb: Project to log to, or project/name of the run (extra `wandb`).
        tensorboard: Log to the run folder for TensorBoard (extra `tensorboard`).

    Raises:
        ConfigError: If a field has another type, is out of range or contradicts another one.

    Example:
        >>> TrainConfig(l1_coefficient=0.001).chosen_activation
        'relu'
    """

    input_size: PositiveInt | None = None
    hidden_size: PositiveInt | None = None
    k: PositiveInt | None = None
    l1_coefficient: PositiveFloat | None = None
    activation: Activation | None = None
    matryoshka: tuple[PositiveInt, ...] | None = None
    nested: bool | None = None
    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    batch_size: PositiveInt | None = None
    lr: PositiveFloat | None = None
    noise: NonNegativeFloat | None = None
    weight_decay: NonNegativeFloat = 0.0
    skip: bool = False
    seed: Seed = 0
    data_seed: Seed = 0
    parallel: Parallel = "rows"
    warmup: Share = 0.05
    decay: Share = 0.2
    clip: PositiveFloat = 1.0
    accumulate: PositiveInt = 1
    auxk_coefficient: NonNegativeFloat = 1 / 32
    k_aux: PositiveInt | None = None
    dead_after: PositiveInt | None = None
    jumprelu_penalty: Penalty = "l0"
    patience: PositiveInt = 4
    heldout_share: Share = 0.05
    buffer_bytes: PositiveInt = 2**30
    columns: tuple[str, ...] | None = None
    embedder: str | None = None
    prompt: str = ""
    query_prompt: str = ""
    checkpoint_every: PositiveInt = 500
    log_every: PositiveInt = 50
    eval_every: PositiveInt | None = None
    device: str = "auto"
    backend: Backend = "auto"
    precision: Precision = "tf32"
    wandb: str | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.l1_coefficient is not None:
            self._check_constant_coefficient()
        if self.steps is not None and self.epochs is not None:
            raise ConfigError(
                f"give steps={self.steps} or epochs={self.epochs}, not both."
            )
        if self.hidden_size is not None:
            _check_sizes(self.hidden_size, self.k, self.matryoshka)
        if self.matryoshka is not None:
            _check_prefixes(self.matryoshka, self.chosen_activation)
        if self.nested:
            _check_nested(self.matryoshka, self.chosen_activation)
        _check_device(self.device)

    def _check_constant_coefficient(self) -> None:
        if self.k is not None:
            raise ConfigError(
                f"l1_coefficient={self.l1_coefficient} and k={self.k} both set the sparsity; "
                "give one of them."
            )
        if self.activation in KEEPS_EXACTLY_K:
            raise ConfigError(
                f"l1_coefficient={self.l1_coefficient} has no effect with "
                f"activation='{self.activation}', which keeps exactly k: give k instead, or "
                "choose relu, jumprelu or gated."
            )

    @property
    def chosen_activation(self) -> Activation:
        """The activation, derived if it is not given."""
        if self.activation is not None:
            return self.activation
        return "batchtopk" if self.l1_coefficient is None else "relu"

    @property
    def chosen_nested(self) -> bool:
        """Whether features are nested, derived if it is not given."""
        if self.nested is not None:
            return self.nested
        given = (self.activation, self.matryoshka, self.l1_coefficient)
        return given == (None, None, None)

    def resolved(self, n_rows: int, width: int) -> ResolvedConfig:
        """Return the settings in effect for some data, with every field filled in.

        Args:
            n_rows: Number of training rows.
            width: Width of a row.

        Raises:
            ConfigError: If `width` is not `input_size`, or k exceeds the derived hidden size.
        """
        if self.input_size not in (None, width):
            raise ConfigError(
                f"the rows have width {width}, but input_size={self.input_size}. "
                "Leave input_size out, or choose the vector columns with columns=."
            )
        has_target = self.l1_coefficient is None
        k = _given_or(self.k, DEFAULT_K) if has_target else None
        expected_l0 = _given_or(k, DEFAULT_K)
        hidden_size = self.hidden_size
        if hidden_size is None and self.matryoshka is not None:
            hidden_size = self.matryoshka[-1]
        if hidden_size is None:
            hidden_size = defaults.hidden_size(n_rows, width, expected_l0)
        wanted_size = _given_or(self.batch_size, defaults.batch_size(n_rows))
        batch_size = min(n_rows, wanted_size)
        steps = self.steps
        if steps is None:
            epochs = _given_or(self.epochs, defaults.max_epochs(n_rows))
            steps = max(1, math.ceil(n_rows * epochs / batch_size))
        fields = self.get_params()
        del fields["epochs"]  # replaced by steps
        derived = {
            "input_size": width,
            "hidden_size": hidden_size,
            "activation": self.chosen_activation,
            "nested": self.chosen_nested,
            "k": k,
            "steps": steps,
            "stops_early": self.steps is None and self.epochs is None,
            "batch_size": batch_size,
            "lr": _given_or(self.lr, defaults.lr(batch_size)),
            "noise": _given_or(self.noise, defaults.noise(n_rows)),
            "k_aux": _given_or(self.k_aux, 2 * expected_l0),
            "dead_after": _given_or(
                self.dead_after, max(1000, 100 * hidden_size // expected_l0)
            ),
            "eval_every": _given_or(self.eval_every, max(1, steps // 40)),
        }
        return ResolvedConfig(**fields | derived)

    @classmethod
    def load(cls, path: str | Path) -> TrainConfig:
        """Read a JSON file of settings, or the settings asked for in a run's `config.json`.

        Raises:
            MissingError: If there is no such file.
            ConfigError: If it does not hold settings.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingError(f"{path} does not exist or is a folder.", file=path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls.from_dict(content.get("requested", content))
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} does not hold settings: {error}", file=path
            ) from error


@dataclass(frozen=True, kw_only=True)
class ResolvedConfig(CheckedFields):
    """The settings in effect: those of a `TrainConfig`, and all that follow from the data.

    Fields are those of TrainConfig, except for these.

    Args:
        k: Target for the mean number of active features per row; None if there is no target,
            because `l1_coefficient` is constant.
        l1_coefficient: Constant sparsity coefficient; None if it is steered to meet k, or the
            activation needs none.
        steps: Optimiser steps; the maximum, if training stops early.
        stops_early: Whether training ends when the held-out FVU stops improving.
    """

    input_size: PositiveInt
    hidden_size: PositiveInt
    k: PositiveInt | None
    l1_coefficient: PositiveFloat | None
    activation: Activation
    matryoshka: tuple[PositiveInt, ...] | None
    nested: bool
    steps: PositiveInt
    stops_early: bool
    batch_size: PositiveInt
    lr: PositiveFloat
    noise: NonNegativeFloat
    weight_decay: NonNegativeFloat
    skip: bool
    seed: Seed
    data_seed: Seed
    parallel: Parallel
    warmup: Share
    decay: Share
    clip: PositiveFloat
    accumulate: PositiveInt
    auxk_coefficient: NonNegativeFloat
    k_aux: PositiveInt
    dead_after: PositiveInt
    jumprelu_penalty: Penalty
    patience: PositiveInt
    heldout_share: Share
    buffer_bytes: PositiveInt
    columns: tuple[str, ...] | None
    embedder: str | None
    prompt: str
    query_prompt: str
    checkpoint_every: PositiveInt
    log_every: PositiveInt
    eval_every: PositiveInt
    device: str
    backend: Backend
    precision: Precision
    wandb: str | None
    tensorboard: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_sizes(self.hidden_size, self.k, self.matryoshka)

    @property
    def expected_l0(self) -> int:
        """Expected number of active features per row: k, or a usual number without a target."""
        return _given_or(self.k, DEFAULT_K)

    @property
    def keeps_exactly_k(self) -> bool:
        """Whether the activation meets k by construction."""
        return self.activation in KEEPS_EXACTLY_K


def _given_or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _check_sizes(
    hidden_size: int, k: int | None, matryoshka: tuple[int, ...] | None
) -> None:
    if k is not None and k > hidden_size:
        raise ConfigError(f"k={k} must be at most hidden_size={hidden_size}.")
    if matryoshka is not None and matryoshka[-1:] != (hidden_size,):
        raise ConfigError(
            f"matryoshka={matryoshka} must end in hidden_size={hidden_size}."
        )


def _check_prefixes(sizes: tuple[int, ...], activation: Activation) -> None:
    if activation not in KEEPS_EXACTLY_K:
        raise ConfigError(
            f"matryoshka works on topk and batchtopk, not on {activation}."
        )
    if not sizes or list(sizes) != sorted(set(sizes)):
        raise ConfigError(f"matryoshka={sizes} must be a list of increasing sizes.")


def _check_nested(sizes: tuple[int, ...] | None, activation: Activation) -> None:
    if activation not in KEEPS_EXACTLY_K or sizes is not None:
        what = f"on {activation}" if sizes is None else f"with matryoshka={sizes}"
        raise ConfigError(f"nested works on topk and batchtopk, not {what}.")


def _check_device(device: str) -> None:
    kind, colon, number = device.partition(":")
    if kind not in DEVICES or (colon and not number.isdigit()):
        known = ", ".join(DEVICES)
        raise ConfigError(
            f"device={device!r} must be one of {known}, or one such as cuda:0."
        )
