"""BatchTopK: the search for the threshold that just so many entries of a batch exceed.

Bussmann et al. 2024 (arXiv 2412.06410). The `cpu` backend and ranks share this search; `cuda`
narrows its threshold tile by tile without waiting for the device, and `reference` sorts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.pairs import Pairs, filter_pairs

SAMPLE_ROWS = 64  # of which the first threshold is estimated
# of an earlier batch's threshold, which is then most likely a lower bound: of the last batch's, and
# where the number that is kept differs from batch to batch
MARGIN, NESTED_MARGIN = 0.97, 0.9
LOWERING = 0.7  # what a threshold that proved too high is multiplied by
NEGLIGIBLE = 1e-6  # a threshold below it is lowered to zero
ROUNDING = 1.00001  # a selection by a threshold may miss entries that exceed it by less than this


class Selection(NamedTuple):
    """What this rank keeps, and the smallest value that any rank keeps (0 if none is kept)."""

    pairs: Pairs
    smallest_kept: float


def initial_threshold(thresholds: Mapping[int, float], k: int) -> float | None:
    """Return where to begin the search for a batch's threshold; None if nothing is known of it.

    Args:
        thresholds: What earlier batches came to, by the number of entries kept of a row. The more
            entries are kept, the lower the threshold.
        k: Number of entries to keep of a row.

    Example:
        >>> initial_threshold({8: 2.0}, 8)
        1.94
        >>> initial_threshold({4: 2.0, 16: 1.0}, 8)
        0.9
    """
    as_many = [kept for kept in thresholds if kept >= k]
    if not as_many:
        return None
    margin = MARGIN if len(thresholds) == 1 else NESTED_MARGIN
    return margin * thresholds[min(as_many)]


def estimate_threshold(x: Tensor, weight: Tensor, bias: Tensor, total: int) -> float:
    """Estimate, a little low, the `total`-th largest pre-activation from a sample of the rows.

    Args:
        x: Rows, (B, input_size); without any, the estimate is infinite.
        weight: Encoder, latent-major, (hidden_size, input_size).
        bias: Encoder bias, (hidden_size,).
        total: Number of entries to keep of all rows.
    """
    if len(x) == 0:
        return math.inf
    stride = max(1, len(x) // SAMPLE_ROWS)
    sample = x[::stride]
    pre_acts = torch.addmm(bias, sample, weight.T).flatten()
    share = total * len(sample) / len(x)
    n_kept = 1 + int(1.25 * share)
    largest = pre_acts.topk(min(len(pre_acts), n_kept)).values
    return float(largest[-1])


def select_largest(
    select_above: Callable[[float], Pairs],
    total: int,
    initial_threshold: float,
    gather: Callable[[Tensor], list[Tensor]] | None = None,
    rank: int = 0,
) -> Selection:
    """Keep the `total` largest positive entries of a batch; of equal ones, the first.

    Entries above a threshold are candidates. It is lowered until they are enough; then the largest
    stay. So any initial threshold gives the same pairs, and one just below the smallest kept entry
    gives them soonest.

    Args:
        select_above: Takes a threshold to this rank's entries that are greater.
        total: Number of entries to keep on all ranks.
        initial_threshold: The first threshold that is tried.
        gather: Takes values to the list of all ranks' values; None for a single process.
        rank: The place of this rank in that list.
    """
    threshold = initial_threshold if 0 < initial_threshold < math.inf else 0.0
    while True:
        pairs = select_above(threshold)
        by_rank = [pairs.values] if gather is None else gather(pairs.values)
        candidates = by_rank[0] if len(by_rank) == 1 else torch.cat(by_rank)
        smallest_kept = _kth_largest(candidates, total)
        if threshold == 0 or smallest_kept > ROUNDING * threshold:
            break
        threshold = LOWERING * threshold if threshold > NEGLIGIBLE else 0.0
    if len(candidates) <= total:
        smallest = float(candidates.min()) if len(candidates) else 0.0
        return Selection(pairs, smallest)
    n_ties = total - _count(candidates > smallest_kept)
    for other in by_rank[:rank]:
        n_ties -= _count(other == smallest_kept)
    keep = pairs.values > smallest_kept
    ties = (pairs.values == smallest_kept).nonzero().flatten()
    keep[ties[: max(0, n_ties)]] = True
    return Selection(filter_pairs(pairs, keep), smallest_kept)


def _kth_largest(values: Tensor, k: int) -> float:
    """Return the k-th largest value, or 0 if there are fewer."""
    place = len(values) - k
    if place < 0:
        return 0.0
    if values.device.type == "cpu":  # where torch's kthvalue takes ten times as long
        return float(np.partition(values.numpy(), place)[place])
    return float(values.kthvalue(place + 1).values)


def _count(mask: Tensor) -> int:
    return int(mask.sum())
