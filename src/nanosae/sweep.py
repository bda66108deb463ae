"""Training many SAEs in one pass over the data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanosae.atomic import FORBIDDEN, write_file
from nanosae.config import TrainConfig
from nanosae.distributed import is_main_process
from nanosae.errors import ConfigError
from nanosae.fields import as_list
from nanosae.runs.folder import SWEEP
from nanosae.train.loop import train_together

if TYPE_CHECKING:
    import pandas as pd

# settings that decide the rows, their order and device, equal for SAEs that share a pass
SHARED = (
    "columns",
    "input_size",
    "batch_size",
    "heldout_share",
    "buffer_bytes",
    "data_seed",
    "parallel",
    "device",
)
IN_FILE_NAMES = dict.fromkeys(map(ord, FORBIDDEN), "_")
MEASURES = ("fvu", "l0", "dead", "train_fvu", "best_step", "seconds")


def grid(config: TrainConfig, **lists: Sequence[Any]) -> list[TrainConfig]:
    """Return a config for every combination of the listed values; a single value needs no list.

    Example:
        >>> [c.k for c in grid(TrainConfig(), k=[16, 32])]
        [16, 32]
    """
    fields = config.to_dict()
    configs = []
    for values in itertools.product(*map(as_list, lists.values())):
        chosen = dict(zip(lists, values, strict=True))
        configs.append(TrainConfig.from_dict(fields | chosen))
    return configs


def sweep(
    configs: Sequence[TrainConfig],
    data: Any,
    output: str | Path,
    *,
    targets: Any = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Train several SAEs in one pass over the data: each batch is read and normalised once.

    The results are bitwise those of separate trainings. SAEs that differ in how rows are batched
    (batch_size, data_seed, heldout_share …) need separate passes.

    Args:
        configs: What to train, such as `grid(TrainConfig(), k=[16, 32, 64], seed=[0, 1])`.
        data: As for `SAETrainer.train`.
        output: Folder for a run per config, named by the settings that differ, and `sweep.csv`.
        targets: As for `SAETrainer.train`.
        resume: Continue unfinished runs.
        force: Replace existing runs.
        progress: Show a progress bar.

    Returns:
        One line per run: settings that differ, fvu, l0, dead, train_fvu, best_step, seconds.

    Raises:
        ConfigError: If there is no config, two are equal, or an iterator of data would be needed
            several times.
        ExistsError: If a folder holds a run, and neither `resume` nor `force` is given.
    """
    import pandas as pd

    configs = as_list(configs)
    _check_configs(configs)
    passes = _passes(configs)
    if len(passes) > 1 and isinstance(data, Iterator):
        raise ConfigError(
            f"these configs need {len(passes)} passes over the data, but an iterator has one.",
            remedy="Give a function that returns the iterator.",
        )
    differences = _differences(configs)
    names = _names(differences)
    output = Path(output)
    metrics: dict[int, dict[str, Any]] = {}
    for members in passes:
        results = train_together(
            [configs[i] for i in members],
            [output / names[i] for i in members],
            data,
            targets,
            resume=resume,
            force=force,
            progress=progress,
        )
        for i, result in zip(members, results, strict=True):
            metrics[i] = result.metrics
    lines = []
    for i, (name, fields) in enumerate(zip(names, differences, strict=True)):
        measured = {measure: metrics[i].get(measure) for measure in MEASURES}
        lines.append({"run": name, **fields, **measured})
    table = pd.DataFrame(lines)
    if is_main_process():
        write_file(output / SWEEP, lambda stream: table.to_csv(stream, index=False))
    return table


def _check_configs(configs: list[Any]) -> None:
    if not configs:
        raise ConfigError("there is nothing to train: give at least one config.")
    for config in configs:
        if not isinstance(config, TrainConfig):
            raise ConfigError(f"{config!r:.60} is not a TrainConfig.")


def _passes(configs: Sequence[TrainConfig]) -> list[list[int]]:
    """Group the numbers of the configs that can share a pass over the data."""
    groups: dict[tuple, list[int]] = {}
    for i, config in enumerate(configs):
        shared = tuple(getattr(config, name) for name in SHARED)
        groups.setdefault(shared, []).append(i)
    return list(groups.values())


def _differences(configs: Sequence[TrainConfig]) -> list[dict[str, Any]]:
    """Return the fields of each config that are not equal in all configs."""
    all_fields = [config.to_dict() for config in configs]
    first = all_fields[0]
    differences: list[dict[str, Any]] = [{} for _ in configs]
    for name, value in first.items():
        if all(fields[name] == value for fields in all_fields):
            continue
        for different, fields in zip(differences, all_fields, strict=True):
            different[name] = fields[name]
    return differences


def _names(differences: list[dict[str, Any]]) -> list[str]:
    """Name each run by the settings that differ.

    Raises:
        ConfigError: If two configs are equal.
    """
    names = []
    for fields in differences:
        named = [f"{name}={value}" for name, value in fields.items()]
        names.append("-".join(named).translate(IN_FILE_NAMES) or "run")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two of the {len(names)} configs are equal ({name}): leave one out."
            )
    return names
