"""From whatever a user trains on to a dataset: the entry of `train(data)` into this room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nanosae.data.dataset import Dataset
from nanosae.data.stream import Stream
from nanosae.sources import open_rows

if TYPE_CHECKING:
    from nanosae.config import TrainConfig


def open_dataset(data: Any, targets: Any, config: TrainConfig) -> Dataset:
    """Prepare data (and targets) for training by the settings that concern rows."""
    options = {"seed": config.data_seed, "heldout_share": config.heldout_share}
    options["buffer_rows"] = config.buffer_rows
    if callable(data) or isinstance(data, Iterator):
        return Stream(data, input_size=config.input_size, **options)
    columns = None if config.columns is None else list(config.columns)
    rows = open_rows(data, columns=columns, input_size=config.input_size, targets=targets)
    return Dataset(rows, **options)
