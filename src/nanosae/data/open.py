"""From whatever a user trains on to a dataset: the entry of `train(data)` into this room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from nanosae.data.dataset import Dataset
from nanosae.data.order import rows_in_bytes
from nanosae.data.stream import Stream
from nanosae.errors import ConfigError
from nanosae.sources import open_rows

if TYPE_CHECKING:
    from nanosae.config import TrainConfig


def open_dataset(data: Any, targets: Any, config: TrainConfig) -> Dataset:
    """Prepare data for training by the settings that concern rows.

    Args:
        data: Anything that `open_rows` takes, or a stream (a `DataLoader`, too): see `Stream`.
        targets: Vectors to be predicted, one for each row, of any kind; None without.
        config: Gives `columns`, `input_size`, `data_seed`, `heldout_share` and `buffer_bytes`.

    Raises:
        DataError: If the data cannot be used; it is a ValueError.
        ConfigError: If there are targets beside a stream.
    """
    if callable(data) or isinstance(data, Iterator | DataLoader):
        if targets is not None:
            raise ConfigError(
                "targets cannot be given beside a stream:",
                remedy="let the stream yield (inputs, targets).",
            )
        return Stream(
            data,
            seed=config.data_seed,
            input_size=config.input_size,
            heldout_share=config.heldout_share,
            buffer_bytes=config.buffer_bytes,
        )
    rows = open_rows(
        data, columns=config.columns, input_size=config.input_size, targets=targets
    )
    return Dataset(
        rows,
        seed=config.data_seed,
        heldout_share=config.heldout_share,
        buffer_rows=rows_in_bytes(config.buffer_bytes, rows.total_width),
    )


def check_targets(config: TrainConfig, data: Dataset) -> None:
    """Refuse settings that do not go with targets, or with none."""
    if config.skip and not data.has_targets:
        raise ConfigError("skip=True is for transcoders: give targets, too.")
    if data.has_targets and config.activation == "gated":
        raise ConfigError(
            "a transcoder cannot be gated: choose relu, topk, batchtopk or jumprelu."
        )
