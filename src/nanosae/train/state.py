"""The state of a training, which a checkpoint saves: weights, optimiser moments and counters.

The weights apply to centred and scaled rows. All randomness is a function of (seed, step), so a run
resumes from these tensors and numbers alone, on any number of ranks.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nanosae.config import ResolvedConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import Ranks
from nanosae.errors import DivergedError
from nanosae.trainable.optimizer import AdamW
from nanosae.trainable.sae import TrainableSAE

INITIAL_COEFFICIENT = 1e-3

Tensors = dict[str, Tensor]
Numbers = dict[str, Any]


@dataclass
class Counters:
    """The scalars of a training, all of JSON types.

    Args:
        decay_start: Step at which the learning rate begins to fall.
        log_coefficient: Logarithm of the sparsity coefficient, integrated by the controller.
        l0: Active latents per row in the last step.
        step: Steps taken.
        rows: Rows seen.
        l0_error: log(l0 ÷ k) of the last step plus the held-out excess, clamped to ±1.
        heldout_excess: log(held-out L0 ÷ training L0), smoothed.
        window: Width of jumprelu's window around its thresholds.
        threshold: Smallest pre-activation that the last top-k selection kept; 0 if unknown.
        best_score: Lowest held-out score so far.
        best_step: Step of the best score.
        evaluations_since_best: Held-out evaluations since then.
        sums: Sums over the steps since the last line of metrics.
    """

    decay_start: float
    log_coefficient: float
    l0: float
    step: int = 0
    rows: int = 0
    l0_error: float = 0.0
    heldout_excess: float = 0.0
    window: float = 0.1
    threshold: float = 0.0
    best_score: float = math.inf
    best_step: int = 0
    evaluations_since_best: int = 0
    sums: dict[str, float] = field(default_factory=dict)


class TrainingState(TrainableSAE):
    """Everything that a step reads and writes.

    Attributes:
        best_params: The parameters with the best held-out score so far.
        thresholds: Smallest value kept by the last BatchTopK selection, by its k.
        silent_rows: Rows since each latent was last active, (n_latents,).
        defers_reading: Whether metrics and dead latents are read from the device only every
            `log_every` steps, so that no step waits for the GPU.
        unread: Sums on the device that have not been read yet.
        dead: The dead latents, as last read.
    """

    def __init__(
        self, config: ResolvedConfig, data: Dataset, ranks: Ranks | None = None
    ) -> None:
        if ranks is None:
            ranks = Ranks()
        super().__init__(config, data, ranks)
        self.heldout = torch.from_numpy(data.heldout)
        self.best_params: Tensors = {}
        self.thresholds: dict[int, float] = {}
        self.optimizer = AdamW(
            self.params,
            lr=config.lr,
            weight_decay=config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        coefficient = config.l1_coefficient
        if coefficient is None:
            coefficient = INITIAL_COEFFICIENT
        self.counters = Counters(
            decay_start=config.steps * (1 - config.decay),
            log_coefficient=math.log(coefficient),
            l0=float(config.expected_l0),
        )
        self.silent_rows = torch.zeros(
            self.n_latents, dtype=torch.int64, device=self.device
        )
        self.sum_dtype = torch.float32 if self.device.type == "mps" else torch.float64
        is_lone_gpu = self.device.type == "cuda" and self.ranks.size == 1
        self.defers_reading = is_lone_gpu and config.keeps_exactly_k
        self.unread: Tensors = {}
        self.dead = self.silent_rows[:0]

    def find_dead(self) -> Tensor:
        """Return the latents that were active on none of the last `dead_after` rows."""
        return (self.silent_rows > self.config.dead_after).nonzero().flatten()

    def record(self, measured: Numbers) -> None:
        """Add the metrics of the steps since the last call to the counters.

        Args:
            measured: Parts of the loss, `l0`, `squares` and `kept`, summed over `steps`.
        """
        self.counters.l0 = measured["l0"] / measured["steps"]
        logged = dict(measured)
        logged.pop("kept", None)
        add_to(self.counters.sums, logged)

    def raise_if_diverged(self, measured: Numbers) -> None:
        """Raise DivergedError if any metric is infinite or NaN."""
        if not math.isfinite(sum(measured.values())):
            lr = self.config.lr
            raise DivergedError(
                f"the loss is not finite at step {self.counters.step}. The likely cause is a "
                f"learning rate that is too high (lr={lr:g}); try lr={lr / 4:g}."
            )

    def read_deferred(self) -> None:
        """Wait for the device and read the deferred metrics and dead latents.

        Raises:
            DivergedError: If the loss of a step was not finite; that step changed no weights.
        """
        if not self.defers_reading:
            return
        self.dead = self.find_dead()
        if self.unread:
            values = torch.stack(list(self.unread.values())).tolist()
            measured = dict(zip(self.unread, values, strict=True))
            self.unread = {}
            self.raise_if_diverged(measured)
            self.record(measured)

    def keep_as_best(self) -> None:
        """Keep a copy of the parameters as the best so far."""
        for name, param in self.params.items():
            self.best_params[name] = param.detach().clone()

    def best_weights(self) -> Tensors:
        """Return the best parameters of the latents of all ranks, on the CPU."""
        best = self.best_params if self.best_params else self.params
        weights = {}
        for name, tensor in best.items():
            weights[name] = self.of_all_ranks(name, tensor).cpu()
        return weights

    def checkpoint(self) -> tuple[Tensors, Numbers]:
        """Return the tensors (of the latents of all ranks) and numbers that `restore` takes."""
        self.read_deferred()
        own = {"silent_rows": self.silent_rows}
        for name, param in self.best_params.items():
            own[f"best.{name}"] = param
        for name, param in self.params.items():
            own[f"param.{name}"] = param
            for moment, value in self.optimizer.moments[name].items():
                own[f"adam.{moment}.{name}"] = value
        tensors = {}
        for name, tensor in own.items():
            tensors[name] = self.of_all_ranks(name, tensor)
        return tensors, dataclasses.asdict(self.counters)

    @torch.no_grad()
    def restore(self, tensors: Tensors, numbers: Numbers) -> None:
        """Continue from a checkpoint."""
        own = {}
        for name, tensor in tensors.items():
            own[name] = self.of_this_rank(name, tensor)
        self.counters = Counters(**numbers)
        self.silent_rows = own["silent_rows"]
        for name, param in self.params.items():
            param.copy_(own[f"param.{name}"])
            if f"best.{name}" in own:
                self.best_params[name] = own[f"best.{name}"]
            for moment, value in self.optimizer.moments[name].items():
                value.copy_(own[f"adam.{moment}.{name}"])
        if self.defers_reading:
            self.dead = self.find_dead()


def add_to(sums: Numbers, values: Numbers) -> None:
    """Add each value to the sum of the same name."""
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value
