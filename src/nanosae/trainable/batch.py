"""Rows with their pre-activations: those of the kept pairs (sparse) or all of them (dense).

Both kinds of batch have the same methods, so that each formula in `objectives` is written once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nanosae.kernels import (
    Pairs,
    Plan,
    column_sums,
    sparse_decode,
    sparse_encode,
    without_padding,
)
from nanosae.kernels.prefixes import split_by_prefix
from nanosae.trainable.sae import TrainableSAE


@dataclass(eq=False)
class Batch:
    """Rows of a step, with their targets.

    Attributes:
        sae: The parameters.
        x: Centred and scaled rows, (rows, input_size).
        target: What to reconstruct, (rows, output_size): x itself, except for a transcoder.
        n_elements: Divisor of all sums: rows of the whole step × output_size.
    """

    sae: TrainableSAE
    x: Tensor
    target: Tensor
    n_elements: int

    def target_squares(self) -> Tensor:
        """Return the sum of squares of the targets, divided by `n_elements`."""
        entries = self.target.flatten()
        return torch.dot(entries, entries) / self.n_elements

    def with_skip(self, recon: Tensor, n_rows: int | None = None) -> Tensor:
        """Add the output of the skip connection for all rows, or the first `n_rows`."""
        if not self.sae.config.skip:
            return recon
        return recon + self.x[:n_rows] @ self.sae.params["W_skip"].T


class SparseBatch(Batch):
    """Rows with their kept pairs.

    Attributes:
        pre_acts: Pre-activations of the pairs, (nnz,), differentiable.
    """

    def __init__(
        self,
        sae: TrainableSAE,
        x: Tensor,
        target: Tensor,
        n_elements: int,
        pairs: Pairs,
    ) -> None:
        super().__init__(sae, x, target, n_elements)
        self.pairs = pairs
        self.cols = pairs.cols.long()
        self.plan = sae.kernels.make_plan(pairs, sae.n_latents)
        encoder, bias = sae.params["W_enc"], sae.encoder_bias
        self.pre_acts = sparse_encode(x, encoder, bias, pairs, self.plan, sae.kernels)

    def per_pair(self, vector: Tensor) -> Tensor:
        """Return a per-latent vector in the shape of `pre_acts`."""
        return vector.index_select(0, self.cols)

    def decode(self, acts: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the reconstruction by the latents of all ranks, (rows, output_size)."""
        return self.with_skip(self.decode_latents(acts, weight, bias))

    def decode_latents(self, acts: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return `decode` without the skip connection."""
        return _decode(self.sae, acts, weight, bias, self.pairs, self.plan)

    def decode_prefix(self, acts: Tensor, prefix: int, n_rows: int) -> Tensor:
        """Reconstruct the first rows from the first `prefix` latents, (n_rows, output_size)."""
        sae, pairs, plan = self.sae, self.pairs, self.plan
        is_within = self.cols + sae.latents.start < prefix
        acts = torch.where(is_within, acts, torch.zeros_like(acts))
        if sae.device.type == "cpu":  # a GPU would be waited for
            pairs = without_padding(pairs._replace(row_ptr=pairs.row_ptr[: n_rows + 1]))
            plan = sae.kernels.make_plan(pairs, sae.n_latents)
            acts = acts[: len(pairs.cols)]
        weight, bias = sae.params["W_dec"], sae.params["b_dec"]
        recon = _decode(sae, acts, weight, bias, pairs, plan)[:n_rows]
        return self.with_skip(recon, n_rows)

    def decode_prefixes(self, acts: Tensor) -> Tensor:
        """Return the reconstruction by each Matryoshka prefix, (prefixes, rows, output_size)."""
        sae = self.sae
        order, groups = split_by_prefix(self.pairs, sae.prefixes, sae.latents.start)
        weight, bias = sae.params["W_dec"], sae.params["b_dec"]
        no_bias = torch.zeros_like(bias)
        plan = sae.kernels.make_plan(groups, sae.n_latents)
        acts = acts.index_select(0, order)
        recon = _decode(sae, acts, weight, no_bias, groups, plan)
        by_group = recon.view(len(sae.prefixes), len(self.x), sae.output_size)
        return self.with_skip(by_group.cumsum(0) + bias)

    def pre_act_sums(self) -> Tensor:
        """Return the sum over the rows of each latent's pre-activations, (n_latents,)."""
        return column_sums(self.x, self.sae.params["W_enc"], self.sae.encoder_bias)


class DenseBatch(Batch):
    """Rows with all of their pre-activations, for steps in which many latents are active.

    Attributes:
        pre_acts: (rows, n_latents), differentiable.
    """

    def __init__(
        self, sae: TrainableSAE, x: Tensor, target: Tensor, n_elements: int
    ) -> None:
        super().__init__(sae, x, target, n_elements)
        self.pre_acts = torch.addmm(sae.encoder_bias, x, sae.params["W_enc"].T)

    def per_pair(self, vector: Tensor) -> Tensor:
        """Return a per-latent vector in a shape that broadcasts with `pre_acts`."""
        return vector

    def decode(self, acts: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the reconstruction, (rows, output_size)."""
        recon = self.sae.ranks.sum_reconstructions(acts @ weight)
        return self.with_skip(recon + bias)


def _decode(
    sae: TrainableSAE,
    acts: Tensor,
    weight: Tensor,
    bias: Tensor,
    pairs: Pairs,
    plan: Plan,
) -> Tensor:
    if not sae.ranks.divides_latents:
        return sparse_decode(acts, weight, bias, pairs, plan, sae.kernels)
    no_bias = torch.zeros_like(bias)
    own = sparse_decode(acts, weight, no_bias, pairs, plan, sae.kernels)
    return sae.ranks.sum_reconstructions(own) + bias
