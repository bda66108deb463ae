"""Ranks: processes that train one SAE together, by torch.distributed (gloo on CPUs, nccl on GPUs).

They divide either the rows of a batch (each holds all weights; gradients, counts and parts of the
loss are summed) or the latents (each sees all rows; reconstructions are summed). Selections are
made over all ranks in both cases, so that N ranks compute what one process does, up to float
rounding. Rank r takes rows r, r + N, … of a batch, or the r-th slice of the latents.

A single process is a `Ranks` of size 1, which does not communicate.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import ModuleType

import torch
import torch.distributed as dist
from torch import Tensor

from nanosae.errors import ConfigError, LostRankError
from nanosae.kernels import Pairs, filter_pairs, no_pairs, segment_ids, without_padding
from nanosae.kernels.batchtopk import (
    estimate_threshold,
    initial_threshold,
    select_largest,
)

# ranks wait while the first one writes a checkpoint, and for the slowest one to encode its part;
# by default, PyTorch gives up after 10 minutes on GPUs and 30 on CPUs
LONGEST_WAIT = timedelta(hours=6)
RENDEZVOUS = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # variables that `torchrun` sets


class Ranks:
    """This process as one of `size` ranks; returned by `join`.

    Args:
        rank: Number of this process.
        size: Number of processes.
        latents: Whether they divide the latents instead of the rows.
    """

    def __init__(self, rank: int = 0, size: int = 1, latents: bool = False) -> None:
        self.rank = rank
        self.size = size
        self.divides_latents = latents and size > 1
        self.divides_rows = not latents and size > 1

    def own_rows(self, batch: Tensor) -> Tensor:
        """Return this rank's rows of a batch."""
        if not self.divides_rows:
            return batch
        return batch[self.rank :: self.size].contiguous()

    def first_rows(self, rows: Tensor, divisor: int) -> tuple[int, float]:
        """Return how many of this rank's rows are among the first of all ranks, one in `divisor`.

        Also return how many rows there are for each of these first ones.
        """
        n_all = len(rows)
        if self.divides_rows:
            n_all = int(self.sum(torch.tensor(n_all, device=rows.device)))
        n_first = math.ceil(n_all / divisor)
        n_own = len(self.own_rows(torch.arange(n_first)))
        return n_own, n_all / n_first

    def own_latents(self, hidden_size: int) -> slice:
        """Return this rank's latents."""
        if not self.divides_latents:
            return slice(0, hidden_size)
        first = hidden_size * self.rank // self.size
        end = hidden_size * (self.rank + 1) // self.size
        return slice(first, end)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all ranks, in place.

        Raises:
            LostRankError: If another rank was lost.
        """
        if self.size > 1:
            self._communicate(dist.all_reduce, tensor)
        return tensor

    def sum_over_rows(self, tensor: Tensor) -> Tensor:
        """Sum in place what each rank computed on its rows, if the ranks divide the rows."""
        return self.sum(tensor) if self.divides_rows else tensor

    def sum_over_latents(self, tensor: Tensor) -> Tensor:
        """Sum in place what each rank computed on its latents, if the ranks divide the latents."""
        return self.sum(tensor) if self.divides_latents else tensor

    def sum_reconstructions(self, recon: Tensor) -> Tensor:
        """Sum the reconstructions by each rank's latents; every rank gets the full gradient."""
        return _SumOverRanks.apply(recon, self) if self.divides_latents else recon

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set on any rank."""
        if self.size == 1:
            return flag
        n_set = self.sum(torch.tensor(int(flag), device=_device()))
        return bool(n_set)

    def check_agreement(self, **facts: object) -> None:
        """Compare what each rank knows by itself, such as the settings.

        Raises:
            ConfigError: If a fact differs between ranks.
        """
        if self.size == 1:
            return
        checksums = [zlib.crc32(repr(fact).encode()) for fact in facts.values()]
        by_rank = torch.stack(self.gather(torch.tensor(checksums, device=_device())))
        for name, of_fact in zip(facts, by_rank.T.tolist(), strict=True):
            if len(set(of_fact)) > 1:
                raise ConfigError(
                    f"the {self.size} processes differ in their {name}.",
                    remedy="Give all of them the same data, settings and run folder, on a file "
                    "system that they share.",
                )

    def wait(self) -> None:
        """Wait until all ranks have reached this call."""
        self.any(False)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, which may differ in their first dimension."""
        if self.size == 1:
            return [tensor]
        own_size = torch.tensor([len(tensor)], device=tensor.device)
        sizes = [torch.zeros_like(own_size) for _ in range(self.size)]
        self._communicate(dist.all_gather, sizes, own_size)
        longest = max(int(size) for size in sizes)
        padded = tensor.new_zeros(longest, *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        self._communicate(dist.all_gather, parts, padded)
        return [part[: int(size)] for part, size in zip(parts, sizes, strict=True)]

    def select_topk(
        self, kernels: ModuleType, x: Tensor, weight: Tensor, bias: Tensor, k: int
    ) -> Pairs:
        """Keep each row's k largest positive entries among the latents of all ranks."""
        n_latents = len(weight)
        if n_latents:
            pairs = kernels.select_topk(x, weight, bias, min(k, n_latents))
        else:  # AuxK on a rank without dead latents
            pairs = no_pairs(x)
        if not self.divides_latents:
            return pairs
        pairs = without_padding(pairs)
        rows = segment_ids(pairs.row_ptr)
        place_in_row = torch.arange(len(rows), device=x.device) - pairs.row_ptr[rows]
        # transposed: ranks are gathered along the first axis
        own_values = x.new_zeros(k, len(x))
        own_values[place_in_row, rows] = pairs.values
        values = torch.cat(self.gather(own_values))
        largest = values.sort(dim=0, descending=True, stable=True).indices[:k]
        is_kept = torch.zeros_like(values, dtype=torch.bool).scatter_(0, largest, True)
        own_places = self.rank * k + place_in_row
        return filter_pairs(pairs, is_kept[own_places, rows])

    def select_batchtopk(
        self,
        kernels: ModuleType,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
        thresholds: Mapping[int, float],
    ) -> tuple[Pairs, float]:
        """Keep the k · rows largest positive entries of all ranks.

        Args:
            kernels: The backend.
            x: Rows of this rank, (B, input_size).
            weight: Encoder of this rank's latents, latent-major.
            bias: Encoder bias of this rank's latents.
            k: Mean number of entries to keep per row.
            thresholds: Those of earlier batches, as for `initial_threshold`; if none helps, the
                search starts from an estimate.

        Returns:
            The pairs of this rank, and the smallest value kept on any rank.
        """
        if self.size == 1:
            first = initial_threshold(thresholds, k, len(x))
            pairs = kernels.select_batchtopk(x, weight, bias, k * len(x), first)
            values = without_padding(pairs).values
            return pairs, float(values.min()) if len(values) else 0.0
        n_rows = int(self.sum_over_rows(torch.tensor(len(x), device=x.device)))
        total = k * n_rows
        # from the rows of all ranks: a rank with another threshold might search again alone
        first = initial_threshold(thresholds, k, n_rows)
        if first is None:
            own_estimate = estimate_threshold(x, weight, bias, total // self.size)
            estimates = self.gather(x.new_tensor([own_estimate]))
            first = float(torch.cat(estimates).min())

        def above(threshold: float) -> Pairs:
            return kernels.select_above(
                x, weight, bias, torch.full_like(bias, threshold)
            )

        return select_largest(above, total, first, self.gather, self.rank)

    def _communicate(self, collective: Callable, *args: object) -> None:
        try:
            collective(*args)
        except RuntimeError as error:
            lost = LostRankError(
                f"rank {self.rank} of {self.size} lost the others ({error}).",
                remedy="The last checkpoint is valid: restart all ranks with resume=True "
                "(--resume).",
            )
            # the launcher may kill this process before it prints an exception
            sys.stderr.write(f"nanosae: {lost}\n")
            raise lost from error


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, recon, ranks):
        return ranks.sum(recon.clone())

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def _device() -> str:
    """Return the device of tensors that ranks can exchange."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def is_main_process() -> bool:
    """Return whether this is the process that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def join(device: str = "auto", latents: bool = False) -> Ranks:
    """Join the processes started by `torchrun`; without it, there is one rank.

    Args:
        device: The device, as in `TrainConfig`, which decides the communication backend.
        latents: Whether the ranks divide the latents instead of the rows.

    Raises:
        ConfigError: If there are several processes that cannot find each other, or do not have a
            GPU each.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Ranks()
    uses_gpu = _is_gpu(device)
    own_gpu = int(os.environ.get("LOCAL_RANK", "0"))
    if uses_gpu:
        _check_own_gpu(device, own_gpu)
    if not dist.is_initialized():
        missing = [name for name in RENDEZVOUS if name not in os.environ]
        if missing:
            raise ConfigError(
                f"WORLD_SIZE={size} means {size} processes, which need {', '.join(missing)}.",
                remedy="Start them with torchrun, or unset WORLD_SIZE for a single one.",
            )
        dist.init_process_group("nccl" if uses_gpu else "gloo", timeout=LONGEST_WAIT)
        # threads left running would abort the process
        atexit.register(dist.destroy_process_group)
    if uses_gpu:
        torch.cuda.set_device(own_gpu)
    return Ranks(dist.get_rank(), size, latents)


def _is_gpu(device: str) -> bool:
    """Return whether a device is a CUDA GPU; `auto` is, if there is one."""
    kind, _, _ = device.partition(":")
    return kind in ("auto", "cuda") and torch.cuda.is_available()


def _check_own_gpu(device: str, own_gpu: int) -> None:
    """Refuse processes that would share a GPU, which nccl does not support."""
    n_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    n_gpus = torch.cuda.device_count()
    if own_gpu >= n_gpus:
        raise ConfigError(
            f"{n_processes} processes on this machine need a GPU each, but torch finds {n_gpus}.",
            remedy=f"Start {n_gpus} (--nproc-per-node {n_gpus}), or use device='cpu'.",
        )
    _, _, number = device.partition(":")
    if n_processes > 1 and number not in ("", str(own_gpu)):
        raise ConfigError(
            f"device={device!r} is a single GPU, but each of the {n_processes} processes on this "
            "machine needs its own.",
            remedy="Choose device='cuda': process r takes GPU r.",
        )
