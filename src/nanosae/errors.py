"""The errors that a user can do something about.

Each says what was given, what was needed and what to do; attributes tell where. Every kind is also
the built-in exception that Python code expects. Any other exception from a public function is a bug
of this package.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path

LISTED_NAMES = 8


class NanoSAEError(Exception):
    """An error with a remedy.

    Args:
        message: What was given and what was needed, in one or two sentences.
        file: The file at fault, if any.
        row: The row at fault, 0-based, if any.
        column: The column at fault, if any.
        remedy: What to do, appended to the message.

    Example:
        >>> error = DataError("k=900 exceeds hidden_size=512.", remedy="Choose a smaller k.")
        >>> str(error), isinstance(error, ValueError)
        ('k=900 exceeds hidden_size=512. Choose a smaller k.', True)
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        column: str | int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message if remedy is None else f"{message} {remedy}")
        self.file = None if file is None else Path(file)
        self.row = row
        self.column = column
        self.remedy = remedy


class ConfigError(NanoSAEError, ValueError):
    """Settings or arguments are out of range or contradict each other."""


class DataError(NanoSAEError, ValueError):
    """Rows, texts or columns cannot be used as they are."""


class DataTypeError(NanoSAEError, TypeError):
    """An object has an unsupported type."""


class DamagedFileError(NanoSAEError, ValueError):
    """A file was changed or damaged after it was written; `remedy` says how to restore it."""


class StaleError(NanoSAEError, ValueError):
    """A result was made from another model or other codes than the present ones."""


class MissingError(NanoSAEError, FileNotFoundError):
    """A file or folder does not exist."""


class ExistsError(NanoSAEError, FileExistsError):
    """A file or folder would be overwritten."""


class BusyError(NanoSAEError, BlockingIOError):
    """Another process is writing in the same folder."""


class WriteError(NanoSAEError, OSError):
    """A file could not be written; the previous content is unchanged."""


class ServerError(NanoSAEError, ConnectionError):
    """A server cannot be reached, refuses the key or the model, or keeps failing."""


class ExtraError(NanoSAEError, ImportError):
    """An optional dependency is not installed."""


class LostRankError(NanoSAEError, ConnectionError):
    """Another process of a distributed training was lost."""


class ForkError(NanoSAEError, RuntimeError):
    """A forked process cannot compute, because threads do not survive a fork."""


class DivergedError(NanoSAEError, FloatingPointError):
    """The loss of a training became infinite or NaN."""


def reason_of(error: Exception) -> str:
    r"""Return the message of an error in one line, or its type if it has no message.

    Example:
        >>> reason_of(ValueError("not a number:\n  'x'")), reason_of(EOFError())
        ("not a number: 'x'", 'EOFError')
    """
    return " ".join(str(error).split()) or type(error).__name__


def first_line_of(error: Exception) -> str:
    """Return the first line of the message of an error, or its type if it has no message."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def near_names(name: str, known: Iterable[str]) -> str:
    """Return the part of a message that lists known names: those like `name`, else the first.

    Names that begin with it, such as questions of a survey by their number, are the most like it.

    Example:
        >>> near_names("Yaer", ["text", "year"]), near_names("x", ["text"]), near_names("x", [])
        ('near is year', 'there is text', 'there are none')
        >>> near_names("Q2", ["Q1. Your age?", "Q2. Your gender?"])
        'near is Q2. Your gender?'
    """
    import difflib

    names = list(known)
    by_case = {found.casefold(): found for found in names}
    wanted = str(name).casefold()  # a number is no name, but may be given for one
    beginning = [one for one in by_case if wanted and one.startswith(wanted)]
    alike = difflib.get_close_matches(wanted, by_case, LISTED_NAMES, 0.6)
    near = [by_case[match] for match in dict.fromkeys([*beginning, *alike])]
    shown = (near or names)[:LISTED_NAMES]
    if not shown:
        return "there are none"
    verb = "is" if len(shown) == 1 else "are"
    more = ", …" if not near and len(names) > LISTED_NAMES else ""
    return f"{'near' if near else 'there'} {verb} {', '.join(shown)}{more}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "finding"), counted(1200, "finding"), counted(2, "family")
        ('1 finding', '1,200 findings', '2 families')
    """
    if n == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{n:,} {noun.removesuffix('y')}ies"
    return f"{n:,} {noun}s"


def command_line(*words: object) -> str:
    """Return a nanosae command that a shell reads as these words, to suggest to the user.

    Example:
        >>> command_line("explore", Path("my run")), command_line("topics", "run", "-n", 9)
        ("nanosae explore 'my run'", 'nanosae topics run -n 9')
    """
    return shlex.join(["nanosae", *map(str, words)])


def require_whole(least: int, **values: object) -> None:
    """Raise a ConfigError if an argument is no whole number of at least `least`.

    Example:
        >>> require_whole(1, n=2)
        >>> require_whole(1, n=0)
        Traceback (most recent call last):
        nanosae.errors.ConfigError: n=0 must be at least 1.
        >>> require_whole(0, seed=1.5)
        Traceback (most recent call last):
        nanosae.errors.ConfigError: seed=1.5 must be a whole number.
    """
    for name, value in values.items():
        if not isinstance(value, Integral):
            raise ConfigError(f"{name}={value!r} must be a whole number.")
        if int(value) < least:
            raise ConfigError(f"{name}={value} must be at least {least}.")


def require_number(**values: object) -> None:
    """Raise a ConfigError if an argument is no number.

    Example:
        >>> require_number(max_density=0.2)
        >>> require_number(max_density=None)
        Traceback (most recent call last):
        nanosae.errors.ConfigError: max_density=None must be a number.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or math.isnan(value):
            raise ConfigError(f"{name}={value!r} must be a number.")


def require_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise a ConfigError if an argument is none of its choices.

    Example:
        >>> require_choice("pooling", "max", ["mean", "last"])
        Traceback (most recent call last):
        nanosae.errors.ConfigError: pooling='max' must be one of mean, last.
    """
    known = list(choices)
    if value not in known:
        raise ConfigError(f"{name}={value!r} must be one of {', '.join(known)}.")
