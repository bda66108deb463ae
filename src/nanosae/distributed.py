"""Ranks: processes that train one SAE together, by torch.distributed (gloo on CPUs, nccl on GPUs).

Either they share out the rows of a batch (each holds all weights; gradients, counts and loss parts
are summed) or the latents (each sees all rows; reconstructions are summed). What is kept of a batch
is decided over all ranks either way, so that N ranks do what one does, to float rounding: rank r
takes rows r, r + N, … of a batch, or the r-th piece of the latents.

A single process is a `Ranks` of size 1, which communicates nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
import torch.distributed as dist
from torch import Tensor

from nanosae.kernels import Pairs, owners, trim, unpadded


class Ranks:
    """This process among `size`; made by `join`.

    Args:
        rank: Its number.
        size: Number of processes.
        latents: Whether latents are shared out, not rows.
    """

    def __init__(self, rank: int = 0, size: int = 1, latents: bool = False) -> None:
        self.rank, self.size = rank, size
        self.by_latents, self.by_rows = latents and size > 1, not latents and size > 1

    def rows(self, batch: Tensor) -> Tensor:
        """Return this rank's rows of a batch."""
        return batch[self.rank :: self.size] if self.by_rows else batch

    def latents(self, hidden_size: int) -> slice:
        """Return this rank's latents."""
        if not self.by_latents:
            return slice(0, hidden_size)
        cuts = [hidden_size * r // self.size for r in range(self.size + 1)]
        return slice(cuts[self.rank], cuts[self.rank + 1])

    def total(self, tensor: Tensor, if_: bool = True) -> Tensor:
        """Sum over the ranks, in place; `if_` names the kind of sharing that makes it necessary.

        Raises:
            ConnectionError: If another rank is gone.
        """
        if self.size > 1 and if_:
            self._call(dist.all_reduce, tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Tell whether a flag is set on any rank."""
        if self.size == 1:
            return flag
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        return bool(self.total(torch.tensor(int(flag), device=device)))

    def summed(self, recon: Tensor) -> Tensor:
        """Sum reconstructions by each rank's latents; every rank gets the whole gradient."""
        return _Sum.apply(recon, self) if self.by_latents else recon

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return each rank's tensor; they may differ in their first size."""
        if self.size == 1:
            return [tensor]
        sizes = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(self.size)]
        self._call(dist.all_gather, sizes, torch.tensor([len(tensor)], device=tensor.device))
        longest = max(int(size) for size in sizes)
        padded = tensor.new_zeros(longest, *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        self._call(dist.all_gather, parts, padded)
        return [part[: int(size)] for part, size in zip(parts, sizes, strict=True)]

    def select_topk(self, kernels: ModuleType, x: Tensor, w: Tensor, bias: Tensor, k: int) -> Pairs:
        """Keep each row's k largest positive entries among the latents of all ranks."""
        if len(w):
            pairs = kernels.select_topk(x, w, bias, min(k, len(w)))
        else:  # AuxK on a rank without dead latents
            nothing = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
            pairs = Pairs(x.new_empty(0), nothing[:0].int(), nothing)
        if not self.by_latents:
            return pairs
        pairs = unpadded(pairs)
        rows = owners(pairs.row_ptr)
        place = torch.arange(len(rows), device=x.device) - pairs.row_ptr[rows]
        table = x.new_zeros(k, len(x))  # transposed, because ranks are gathered along the first
        table[place, rows] = pairs.values
        everyone = torch.cat(self.gather(table))
        first = everyone.sort(dim=0, descending=True, stable=True).indices[:k]
        kept = torch.zeros_like(everyone, dtype=torch.bool).scatter_(0, first, True)
        return trim(pairs, kept[self.rank * k + place, rows])

    def select_batchtopk(
        self, kernels: ModuleType, x: Tensor, w: Tensor, bias: Tensor, k: int, hint: float | None
    ) -> tuple[Pairs, float]:
        """Keep the k · rows largest positive entries of all ranks; return the least one, too."""
        if self.size == 1:
            pairs = kernels.select_batchtopk(x, w, bias, k * len(x), hint)
            values = unpadded(pairs).values
            return pairs, float(values.min()) if len(values) else 0.0
        n_rows = int(self.total(torch.tensor(len(x), device=x.device), self.by_rows))
        if hint is None:
            some = x[:: max(1, len(x) // 64)]
            few = kernels.select_batchtopk(some, w, bias, 2 * k * len(some) // self.size + 1)
            few = unpadded(few).values
            hint = min(float(v[0]) for v in self.gather(few.sort().values[:1]) if len(v))
        while True:
            pairs = kernels.select_above(x, w, bias, torch.full_like(bias, max(hint, 0.0)))
            values = self.gather(pairs.values)
            everyone = torch.cat(values)
            if len(everyone) >= k * n_rows or hint <= 0:
                break
            hint = 0.7 * hint if hint > 1e-6 else 0.0
        if len(everyone) <= k * n_rows:
            return pairs, float(everyone.min()) if len(everyone) else 0.0
        least = everyone.kthvalue(len(everyone) - k * n_rows + 1).values
        ties = k * n_rows - int((everyone > least).sum())
        ties -= sum(int((other == least).sum()) for other in values[: self.rank])
        tied = pairs.values == least
        keep = (pairs.values > least) | (tied & (tied.cumsum(0) <= ties))
        return trim(pairs, keep), float(least)

    def _call(self, collective, *args) -> None:
        try:
            collective(*args)
        except RuntimeError as error:
            raise ConnectionError(
                f"rank {self.rank} of {self.size} lost the others ({error}). The last checkpoint "
                "is valid: start all ranks again with --resume."
            ) from error


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, recon, ranks):
        return ranks.total(recon.clone())

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def in_parts(path: Path, encode: Callable[[Path, tuple[int, int]], object]) -> None:
    """Let each process of `torchrun` encode its part of a corpus, then make one corpus of them.

    Args:
        path: The corpus' folder.
        encode: Takes the folder and the number of a part, as `SAEModel.encode_corpus` does.
    """
    from nanosae.codes import join_codes

    ranks = join()
    if ranks.size == 1:
        encode(path, (0, 1))
        return
    if (path / "manifest.json").exists():
        raise FileExistsError(f"{path} holds a corpus: several processes write only a new one.")
    parts = [path.with_name(f".{path.name}-{r}") for r in range(ranks.size)]
    encode(parts[ranks.rank], (ranks.rank, ranks.size))
    ranks.any(False)  # all have finished
    if leads():
        join_codes(parts, path)
    ranks.any(False)


def leads() -> bool:
    """Tell whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def join(latents: bool = False) -> Ranks:
    """Join the processes that `torchrun` started; without it, this one is alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Ranks()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(dist.destroy_process_group)  # its threads, left running, abort the process
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return Ranks(dist.get_rank(), size, latents)
