"""TrainConfig: every choice of a training run, validated, to and from JSON.

Fields left at None are derived from the data by `resolved`, in one place; the numbers behind the
defaults are in docs/log.md.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Activation = Literal["relu", "topk", "batchtopk", "jumprelu", "gated"]


@dataclass
class TrainConfig:
    """What to train and how.

    Args:
        input_size: Width of a row; None takes the data's.
        hidden_size: Number of features to learn; None takes a power of two up to 8 × input_size
            such that each can expect 30 active rows.
        k: Mean number of active features per row; 32 unless `l1_coefficient` is given.
        l1_coefficient: Constant sparsity coefficient instead of k. Alone it means `relu`. The loss
            is the mean squared error per element, rows scaled to mean square 1, plus
            l1_coefficient × 12 × the mean over rows of Σ f‖W_dec‖ (jumprelu: of the L0, or of
            Σ tanh 4f).
        activation: relu (Anthropic, April 2024), topk (Gao et al. 2024), batchtopk (Bussmann et al.
            2024; the default), jumprelu (see `jumprelu_penalty`) or gated (Rajamanoharan et al.
            2024).
        matryoshka: Growing prefix sizes ending in hidden_size; each prefix reconstructs by itself
            (topk and batchtopk only).
        steps: Optimiser steps. Without steps and epochs, training goes on until the held-out FVU
            stops improving.
        epochs: Passes over the training rows, instead of steps.
        batch_size: Rows per optimiser step; None takes a power of two near √(8 × rows), 128 to
            4,096.
        lr: Peak learning rate of Adam; None takes the measured default of the activation.
        noise: Standard deviation of noise added to the training rows, in units of their elements'
            own; None takes 0.5 under 15,000 rows, which an SAE soon knows by heart, else 0.
        weight_decay: Decoupled weight decay of the encoder (AdamW).
        skip: Give a transcoder a linear path from inputs to targets besides its features.
        seed: Seed of the start and the noise.
        data_seed: Seed of the held-out rows and of the order of the others.
        parallel: What the processes of `torchrun` share out: the rows of a batch, or the latents.
        warmup: Share of the steps in which lr (and the sparsity coefficient) rise.
        decay: Share of the steps, at the end, in which lr falls to zero.
        clip: Largest global gradient norm.
        accumulate: Micro-batches per step; batch_size is cut into as many.
        auxk_coefficient: Weight of the AuxK loss that revives dead features; 0 turns it off.
        k_aux: Dead features used per row by AuxK; None takes 2 k.
        dead_after: A feature is dead once it is silent for so many rows; None takes 100 times the
            rows after which an average feature fires.
        jumprelu_penalty: l0 (straight-through; Rajamanoharan et al. 2024b) or tanh, with the
            pre-activation loss (Anthropic, January 2025).
        patience: Evaluations without a better held-out FVU after which lr decays and training ends.
        heldout_share: Share of the rows kept out for metrics, at most 10,000 rows.
        buffer_rows: Largest number of rows in memory at once.
        columns: Names of the vector columns, where the data does not show them.
        encoder: Name of the model that made the embeddings; kept with the SAE for text queries.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of metrics.
        eval_every: Steps between held-out evaluations; None takes a fortieth of the run.
        device: auto, cpu, cuda, mps …
        backend: Kernels: auto, cpu, cuda (extra `triton`) or reference.
        precision: Of the factors of the encoder's product on a GPU; sums and all else are float32.
        wandb: Project to log to (extra `wandb`).
        tensorboard: Log to the run folder for TensorBoard (extra `tensorboard`).

    Raises:
        ValueError: If fields contradict each other or are out of range.

    Example:
        >>> TrainConfig(l1_coefficient=0.001).chosen_activation
        'relu'
    """

    input_size: int | None = None
    hidden_size: int | None = None
    k: int | None = None
    l1_coefficient: float | None = None
    activation: Activation | None = None
    matryoshka: tuple[int, ...] | None = None
    steps: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    lr: float | None = None
    noise: float | None = None
    weight_decay: float = 0.0
    skip: bool = False
    seed: int = 0
    data_seed: int = 0
    parallel: Literal["rows", "latents"] = "rows"
    warmup: float = 0.05
    decay: float = 0.2
    clip: float = 1.0
    accumulate: int = 1
    auxk_coefficient: float = 1 / 32
    k_aux: int | None = None
    dead_after: int | None = None
    jumprelu_penalty: Literal["l0", "tanh"] = "l0"
    patience: int = 4
    heldout_share: float = 0.05
    buffer_rows: int = 2**20
    columns: tuple[str, ...] | None = None
    encoder: str | None = None
    checkpoint_every: int = 500
    log_every: int = 50
    eval_every: int | None = None
    device: str = "auto"
    backend: str = "auto"
    precision: Literal["float32", "tf32", "bfloat16"] = "tf32"
    wandb: str | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("matryoshka", "columns"):  # JSON knows only lists
            if isinstance(value := getattr(self, name), list):
                setattr(self, name, tuple(value))
        known = ("relu", "topk", "batchtopk", "jumprelu", "gated")
        if self.activation not in (None, *known):
            raise ValueError(
                f"activation is {self.activation!r}; choose one of {', '.join(known)}."
            )
        if self.l1_coefficient is not None:
            if self.k is not None:
                raise ValueError(
                    f"l1_coefficient={self.l1_coefficient} and k={self.k} both set the sparsity; "
                    "give one of them."
                )
            if self.activation in ("topk", "batchtopk"):
                raise ValueError(
                    f"l1_coefficient={self.l1_coefficient} has no effect with "
                    f"activation='{self.activation}', which keeps exactly k: give k instead, or "
                    "choose relu, jumprelu or gated."
                )
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"give steps={self.steps} or epochs={self.epochs}, not both.")
        self._check_ranges()
        self._check_sizes()

    def _check_ranges(self) -> None:
        positive = (
            "input_size hidden_size k l1_coefficient steps epochs batch_size lr clip accumulate "
            "k_aux dead_after patience buffer_rows checkpoint_every log_every eval_every"
        )
        for name in positive.split():
            value = getattr(self, name)
            number = isinstance(value, int | float) and math.isfinite(value)
            if value is not None and not (number and value > 0):
                raise ValueError(f"{name}={value!r} must be a positive number.")
        for name in ("noise", "weight_decay", "auxk_coefficient"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value} must be zero or a positive number.")
        for name in ("warmup", "decay", "heldout_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0 and below 1.")

    def _check_sizes(self) -> None:
        if self.hidden_size is not None and self.k is not None and self.k > self.hidden_size:
            raise ValueError(f"k={self.k} must be at most hidden_size={self.hidden_size}.")
        if self.matryoshka is None:
            return
        if self.chosen_activation not in ("topk", "batchtopk"):
            raise ValueError(
                f"matryoshka works on topk and batchtopk, not on {self.chosen_activation}."
            )
        sizes = self.matryoshka
        if list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
            raise ValueError(f"matryoshka={sizes} must grow from one prefix to the next.")
        if self.hidden_size is not None and sizes[-1] != self.hidden_size:
            raise ValueError(
                f"the last matryoshka prefix is {sizes[-1]}, not hidden_size={self.hidden_size}."
            )

    @property
    def chosen_activation(self) -> Activation:
        """The activation, derived where it is not given."""
        if self.activation is not None:
            return self.activation
        return "batchtopk" if self.l1_coefficient is None else "relu"

    def resolved(self, n_rows: int, width: int) -> TrainConfig:
        """Return a copy with every derived field filled in.

        Args:
            n_rows: Training rows.
            width: Their width.

        Raises:
            ValueError: If `width` is not `input_size`, or k exceeds the derived hidden size.
        """
        if self.input_size not in (None, width):
            raise ValueError(
                f"the data's rows are {width} wide, but input_size={self.input_size}. "
                "Leave input_size out, or choose the vector columns with columns=."
            )
        activation = self.chosen_activation
        k = self.k or (32 if self.l1_coefficient is None else None)
        per_row = k or 32
        hidden = self.hidden_size or (self.matryoshka or (None,))[-1]
        if hidden is None:
            fits = max(2 * per_row, min(8 * width, n_rows * per_row // 30))
            hidden = 2 ** int(math.log2(fits))
        usual = 2 ** round(math.log2(max(128, min(4096, math.sqrt(8 * n_rows)))))
        batch = min(self.batch_size or usual, n_rows)
        derived = {
            "input_size": width,
            "hidden_size": hidden,
            "activation": activation,
            "k": k,
            "batch_size": batch,
            "noise": (0.5 if n_rows < 15_000 else 0.0) if self.noise is None else self.noise,
            "lr": self.lr or min(8e-3, 6e-3 * math.sqrt(batch / 512)),
            "k_aux": self.k_aux or 2 * per_row,
            "dead_after": self.dead_after or max(100 * hidden // per_row, 1000),
        }
        return dataclasses.replace(self, **derived)

    def max_steps(self, n_rows: int) -> int:
        """Return the number of optimiser steps of a resolved config, or their cap without steps."""
        assert self.batch_size is not None
        epochs = self.epochs or max_epochs(n_rows)
        return self.steps or max(1, math.ceil(n_rows * epochs / self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> TrainConfig:
        """Make a config from `to_dict`'s output; unknown names raise ValueError."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        return cls(**fields)

    @classmethod
    def load(cls, path: str | Path) -> TrainConfig:
        """Read a JSON file of fields, or the `config.json` of a run."""
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls.from_dict(fields.get("config", fields))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the fields, for scikit-learn's `config__k=…` parameter names."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def set_params(self, **params: Any) -> TrainConfig:
        """Set fields and validate them again."""
        for name, value in self.from_dict({**self.get_params(), **params}).get_params().items():
            setattr(self, name, value)
        return self


def max_epochs(n_rows: int) -> float:
    """Return the cap on passes over the data when neither steps nor epochs are given."""
    return max(1.0, min(40.0, 2**24 / n_rows))
