"""From the data given to `train` to a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from nanosae.data.dataset import Dataset, fingerprint_of
from nanosae.data.order import rows_in_bytes
from nanosae.data.stream import Stream
from nanosae.errors import ConfigError
from nanosae.sources import Rows, open_rows

if TYPE_CHECKING:
    from nanosae.config import TrainConfig


def open_dataset(data: Any, targets: Any, config: TrainConfig) -> Dataset:
    """Prepare data for training.

    Args:
        data: Anything that `open_rows` takes, or a stream such as a `DataLoader`: see `Stream`.
        targets: Vectors to predict, one per row, in any of these forms but a stream; or None.
        config: Gives `columns`, `input_size`, `data_seed`, `heldout_share` and `buffer_bytes`.

    Raises:
        DataError: If the data cannot be used; a ValueError.
        ConfigError: If targets are given with a stream.
    """
    if _is_stream(data):
        if targets is not None:
            raise ConfigError(
                "a stream cannot have separate targets.",
                remedy="Make the stream yield (inputs, targets).",
            )
        return Stream(
            data,
            seed=config.data_seed,
            input_size=config.input_size,
            heldout_share=config.heldout_share,
            buffer_bytes=config.buffer_bytes,
        )
    rows = _open_rows(data, targets, config)
    return Dataset(
        rows,
        seed=config.data_seed,
        heldout_share=config.heldout_share,
        buffer_rows=_rows_in_memory(rows, config),
    )


def fingerprint(data: Any, targets: Any, config: TrainConfig) -> str | None:
    """Return the fingerprint of the rows; None for a stream, of which nothing may be left.

    Arguments and errors are those of `open_dataset`.
    """
    if _is_stream(data):
        return None
    rows = _open_rows(data, targets, config)
    return fingerprint_of(rows, _rows_in_memory(rows, config))


def check_targets(config: TrainConfig, data: Dataset) -> None:
    """Refuse settings that need targets, or do not work with them."""
    if config.skip and not data.has_targets:
        raise ConfigError("skip=True is for transcoders: also give targets.")
    if data.has_targets and config.activation == "gated":
        raise ConfigError(
            "a transcoder cannot be gated: choose relu, topk, batchtopk or jumprelu."
        )


def _is_stream(data: Any) -> bool:
    return callable(data) or isinstance(data, Iterator | DataLoader)


def _rows_in_memory(rows: Rows, config: TrainConfig) -> int:
    return rows_in_bytes(config.buffer_bytes, rows.total_width)


def _open_rows(data: Any, targets: Any, config: TrainConfig) -> Rows:
    return open_rows(
        data, columns=config.columns, input_size=config.input_size, targets=targets
    )
