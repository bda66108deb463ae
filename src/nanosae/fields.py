"""Dataclasses whose values are checked against their annotations, with JSON conversion.

An annotation is `bool`, `int`, `float`, `str`, a `Literal` of strings or a tuple of one of these,
with an `Annotated` `Range` if a number has bounds, and `| None` if it is optional.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints

from nanosae.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Bounds of a number.

    Args:
        words: Description of the allowed numbers, following "must be".
        contains: Returns whether a number is allowed.
    """

    words: str
    contains: Callable[[float], bool]


PositiveInt = Annotated[int, Range("a positive integer", lambda value: value > 0)]
PositiveFloat = Annotated[float, Range("a positive number", lambda value: value > 0)]
NonNegativeFloat = Annotated[
    float, Range("zero or a positive number", lambda value: value >= 0)
]
Share = Annotated[float, Range("at least 0 and below 1", lambda value: 0 <= value < 1)]
Seed = Annotated[
    int, Range("an integer from 0 to 2³² − 1", lambda value: 0 <= value < 2**32)
]


def as_list(values: Any) -> list[Any]:
    """Return a sequence of any kind as a list of plain objects; a single one as a list of one.

    Example:
        >>> import numpy as np
        >>> as_list(np.arange(2)), as_list(("a", "b")), as_list("ab"), as_list(np.int64(3))
        ([0, 1], ['a', 'b'], ['ab'], [3])
    """
    if hasattr(values, "tolist"):  # arrays, and NumPy's scalars
        values = values.tolist()
    if isinstance(values, str) or not isinstance(values, Iterable):
        return [values]
    return list(values)


class CheckedFields:
    """Base of dataclasses whose fields are checked and converted on construction."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            converted = _checked(name, value, hint)
            if converted is not value:
                object.__setattr__(self, name, converted)  # the dataclass may be frozen

    @classmethod
    def field_names(cls) -> list[str]:
        """Return the names of the fields in their order."""
        return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return json.loads(json.dumps(self.get_params()))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Create an object from the output of `to_dict`.

        Raises:
            ConfigError: If a name is unknown or a value does not fit.
        """
        known = cls.field_names()
        for name in fields:
            if name not in known:
                names = ", ".join(sorted(known))
                raise ConfigError(f"unknown field {name!r}; known are {names}.")
        return cls(**fields)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the fields; scikit-learn uses this for parameters such as `config__k`."""
        return {name: getattr(self, name) for name in self.field_names()}

    def set_params(self, **params: Any) -> Self:
        """Set fields, and check all fields again."""
        changed = self.from_dict(self.get_params() | params)
        for name, value in changed.get_params().items():
            setattr(self, name, value)
        return self


class _UnfitError(Exception):
    """A value does not have the type or the range of its annotation."""


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Return a value converted to the type of its annotation."""
    if value is None and NoneType in get_args(hint):
        return None
    hint = without_none(hint)
    try:
        return _converted(value, hint)
    except _UnfitError:
        raise ConfigError(f"{name}={value!r} must be {_words(hint)}.") from None


def without_none(hint: Any) -> Any:
    """Return T for the annotation T | None."""
    members = get_args(hint)
    if NoneType not in members:
        return hint
    return next(member for member in members if member is not NoneType)


def _converted(value: Any, hint: Any) -> Any:
    """Return the value as a plain Python object; numpy scalars are accepted."""
    origin = get_origin(hint)
    if origin is Annotated:
        kind, bounds = get_args(hint)
        number = _converted(value, kind)
        _require(bounds.contains(number))
        return number
    if origin is Literal:
        chosen = _without_numpy(value)
        _require(isinstance(chosen, str) and chosen in get_args(hint))
        return str(chosen)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            _require(hasattr(value, "tolist"))  # an array
            value = as_list(value)
        element = get_args(hint)[0]
        converted = tuple(_converted(item, element) for item in value)
        return value if _is_same(value, converted) else converted
    return _SCALARS[hint](_without_numpy(value))


def _without_numpy(value: Any) -> Any:
    """Convert a numpy scalar to a Python object; return anything else unchanged."""
    numpy = sys.modules.get("numpy")  # already imported if the value is a numpy scalar
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    return value


def _is_same(value: list | tuple, converted: tuple) -> bool:
    """Return whether nothing was converted; scikit-learn's `clone` requires the same object."""
    return isinstance(value, tuple) and all(
        a is b for a, b in zip(value, converted, strict=True)
    )


def _boolean(value: Any) -> bool:
    _require(isinstance(value, bool))
    return value


def _integer(value: Any) -> int:
    _require(isinstance(value, Integral) and not isinstance(value, bool))
    return int(value)


def _number(value: Any) -> float:
    _require(isinstance(value, Real) and not isinstance(value, bool))
    _require(math.isfinite(value))
    return float(value)


def _string(value: Any) -> str:
    _require(isinstance(value, str))
    return value


_SCALARS: dict[type, Callable[[Any], Any]] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _string,
}


def _require(condition: bool) -> None:
    if not condition:
        raise _UnfitError


def _words(hint: Any) -> str:
    """Describe the values that an annotation allows, following "must be"."""
    origin = get_origin(hint)
    if origin is Annotated:
        return get_args(hint)[1].words
    if origin is Literal:
        return "one of " + ", ".join(get_args(hint))
    if origin is tuple:
        return f"a list, and each element {_words(get_args(hint)[0])}"
    names = {
        bool: "True or False",
        int: "an integer",
        float: "a finite number",
        str: "a string",
    }
    return names[hint]
