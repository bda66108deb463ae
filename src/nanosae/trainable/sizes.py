"""Whether SAEs of the wanted sizes can be trained here, before anything is allocated for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nanosae.config import TrainConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import Ranks
from nanosae.errors import ConfigError
from nanosae.kernels import find_device
from nanosae.memory import memory_limit

COPIES = 5  # of the weights: they, gradients, Adam's two moments, the best so far
FLOAT32_BYTES = 4


def check_sizes(configs: Sequence[TrainConfig], data: Dataset, ranks: Ranks) -> None:
    """Refuse SAEs that together do not fit into memory, or cannot be divided among the ranks.

    Args:
        configs: The SAEs that share a pass over the data.
        data: The data.
        ranks: The processes that train them.

    Raises:
        ConfigError: If they are too large, or have fewer latents than there are ranks.
    """
    hidden_sizes = []
    for config in configs:
        hidden_size = config.resolved(data.n_train, data.width).hidden_size
        _check_division(hidden_size, ranks)
        hidden_sizes.append(hidden_size)
    n_latents = sum(_largest_share(hidden_size, ranks) for hidden_size in hidden_sizes)
    output_size = len(data.target_mean) or data.width
    n_bytes = COPIES * FLOAT32_BYTES * n_latents * (data.width + output_size)
    owner, limit = _memory_for(configs[0].device)
    if n_bytes > limit:
        raise _too_large(hidden_sizes, n_bytes, owner, limit)


def _check_division(hidden_size: int, ranks: Ranks) -> None:
    if ranks.divides_latents and hidden_size < ranks.size:
        raise ConfigError(
            f"hidden_size={hidden_size} cannot be divided among {ranks.size} processes.",
            remedy="Divide the rows (parallel='rows'), or start fewer processes.",
        )


def _largest_share(hidden_size: int, ranks: Ranks) -> int:
    """Return the most latents that a process holds."""
    n_parts = ranks.size if ranks.divides_latents else 1
    return -(-hidden_size // n_parts)


def _memory_for(device_name: str) -> tuple[str, float]:
    """Return what bounds the memory for the weights, in words, and how many bytes it allows."""
    device = find_device(device_name)
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        return "the GPU has", float(total)
    return "this process may use", memory_limit()


def _too_large(
    hidden_sizes: list[int], n_bytes: int, owner: str, limit: float
) -> ConfigError:
    """Return the error for SAEs that need more memory than there is."""
    n_features = sum(hidden_sizes)
    most = int(n_features * limit / n_bytes)
    if len(hidden_sizes) == 1:
        wanted = f"hidden_size={n_features:,}"
        remedy = f"Choose a hidden_size of at most {most:,}."
    else:
        wanted = f"training {len(hidden_sizes)} SAEs of {n_features:,} features at once"
        remedy = f"Train fewer of them, or choose at most {most:,} features in all."
    return ConfigError(
        f"{wanted} needs {n_bytes / 2**30:,.1f} GiB for weights, gradients and optimiser, but "
        f"{owner} {limit / 2**30:,.1f} GiB.",
        remedy=remedy,
    )
