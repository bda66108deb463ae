"""BatchTopK: the search for the threshold that exactly B · k entries of a batch exceed.

Bussmann et al. 2024 (arXiv 2412.06410). The `cpu` backend and distributed training share this
search; `cuda` raises its threshold tile by tile without waiting for the device, and `reference`
sorts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.pairs import Pairs, filter_pairs

SAMPLE_ROWS = 64  # rows from which the first threshold is estimated
# The next threshold is most likely above an earlier one lowered by this share: thresholds of few
# rows vary more, by SPREAD / sqrt(rows), and so do those of varying numbers of entries.
SPREAD, NESTED_SPREAD = 2.0, 0.1
LOWERING = 0.7  # factor that lowers a threshold that was too high
NEGLIGIBLE = 1e-6  # thresholds below this are lowered to zero
# entries that exceed a threshold by less than this factor may be missed
ROUNDING = 1.00001


class Selection(NamedTuple):
    """The pairs that this rank keeps, and the smallest value kept on any rank (0 if none is)."""

    pairs: Pairs
    smallest_kept: float


def initial_threshold(
    thresholds: Mapping[int, float], k: int, n_rows: int
) -> float | None:
    """Return a threshold to start the search from, or None if no earlier one is known.

    Args:
        thresholds: Thresholds of earlier batches, by the number of entries kept per row. The more
            entries are kept, the lower the threshold.
        k: Number of entries to keep per row.
        n_rows: Number of rows of each batch.

    Example:
        >>> initial_threshold({8: 2.0}, 8, n_rows=1600)
        1.9
        >>> initial_threshold({4: 2.0, 16: 1.0}, 8, n_rows=1600)
        0.9
    """
    at_least_k = [n_kept for n_kept in thresholds if n_kept >= k]
    if not at_least_k:
        return None
    spread = SPREAD / math.sqrt(max(1, n_rows))
    if len(thresholds) > 1:
        spread = max(spread, NESTED_SPREAD)
    return max(0.0, 1 - spread) * thresholds[min(at_least_k)]


def estimate_threshold(x: Tensor, weight: Tensor, bias: Tensor, total: int) -> float:
    """Estimate the `total`-th largest pre-activation from a sample of rows, slightly too low.

    Args:
        x: Rows, (B, input_size); if there are none, the estimate is infinite.
        weight: Encoder, latent-major, (hidden_size, input_size).
        bias: Encoder bias, (hidden_size,).
        total: Number of entries to keep in all rows.
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
    """Keep the `total` largest positive entries of a batch; of equal entries, the first.

    Entries above a threshold are candidates. The threshold is lowered until there are enough of
    them; the largest are kept. Any initial threshold gives the same pairs; one just below the
    smallest kept entry is fastest.

    Args:
        select_above: Returns this rank's entries above a threshold.
        total: Number of entries to keep over all ranks.
        initial_threshold: The first threshold to try.
        gather: Returns the values of all ranks, as a list; None for a single process.
        rank: Index of this rank in that list.
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
    if values.device.type == "cpu":  # torch's kthvalue takes ten times as long there
        return float(np.partition(values.numpy(), place)[place])
    return float(values.kthvalue(place + 1).values)


def _count(mask: Tensor) -> int:
    return int(mask.sum())
