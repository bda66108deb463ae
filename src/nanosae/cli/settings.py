"""Training settings from flags, lists of values and a file.

Each field of TrainConfig is a flag. Flags that are given override the file, which overrides the
defaults of TrainConfig.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypedDict,
    get_origin,
    get_type_hints,
)

from cyclopts import Group, Parameter, Token, convert

from nanosae.cli.parameters import (
    integer,
    integers,
    shown_default,
    split_at_commas,
    words,
)
from nanosae.config import TrainConfig
from nanosae.fields import without_none

Converter = Callable[[Any, Sequence[Token]], Any]


def combinations(given: Settings, path: Path | None) -> list[TrainConfig]:
    """Return a config for every combination of the given values; flags override the file.

    Args:
        given: Settings by name; each value in a list makes a separate config.
        path: JSON file of settings, or the config.json of a run.
    """
    from nanosae.sweep import grid

    base = TrainConfig() if path is None else TrainConfig.load(path)
    lists = {}
    for name, value in given.items():
        lists[name] = value if isinstance(value, list) else [value]
    return grid(base, **lists)


def _listed(hint: Any, tokens: Sequence[Token]) -> list:
    """Read one or more values, separated by commas."""
    read = integer if hint is int else convert
    return [read(hint, [part]) for part in split_at_commas(tokens)]


def _converter(hint: Any, lists: bool) -> Converter | None:
    """Return the converter of a field's values; None means that of its type."""
    kind = without_none(hint)
    if kind == tuple[int, ...]:
        return integers
    if kind == tuple[str, ...]:
        return words
    is_choice = get_origin(kind) is Literal
    if lists and (is_choice or kind in (int, float)):
        return _listed
    return integer if kind is int else None


def _flags(name: str, lists: bool) -> Any:
    """Return a type with a flag for every field of TrainConfig, with its help and default."""
    hints = get_type_hints(TrainConfig)
    flags = {}
    for field in dataclasses.fields(TrainConfig):
        hint = hints[field.name]
        parameter = Parameter(
            converter=_converter(hint, lists),
            show_default=shown_default(field.default),
            negative_bool="no-",  # to override a file of settings
        )
        flags[field.name] = Annotated[hint, parameter]
    made = TypedDict(name, flags, total=False)  # pyright: ignore (computed fields)
    made.__doc__ = TrainConfig.__doc__
    return made


if TYPE_CHECKING:
    Settings = dict[str, Any]
    Lists = dict[str, Any]
else:
    _FLATTENED = Parameter(name="*", group=Group("Settings", sort_key=0))
    Settings = Annotated[_flags("Settings", lists=False), _FLATTENED]
    Lists = Annotated[_flags("Lists", lists=True), _FLATTENED]
