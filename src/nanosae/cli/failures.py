"""Failures of a command, reported as one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys

from cyclopts import (
    Argument,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnusedCliTokensError,
)

from nanosae.errors import NanoSAEError

NUMBERS = {int: "a whole number", float: "a number"}
DEFECT = 1
MISTAKE = 2
BROKEN_PIPE = 141  # 128 + SIGPIPE, as if the process had been killed by the signal


def report(error: BaseException) -> int:
    """Print an error as one line on standard error and return the exit code."""
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return BROKEN_PIPE
    message = _user_error(error)
    if message is not None:
        _print_line(f"error: {message}")
        return MISTAKE
    _print_line(
        f"error: this is a defect of nanoSAE, not of your command or data "
        f"({type(error).__name__}: {error}). Please report it with the output of --debug."
    )
    return DEFECT


def _user_error(error: BaseException) -> str | None:
    """Return the message of an error that the user can fix, or None for a defect."""
    if isinstance(error, CycloptsError):
        return _usage_error(error)
    if isinstance(error, NanoSAEError):
        return str(error)
    if isinstance(error, OSError):
        return _system_error(error)
    if _is_out_of_memory(error):
        return f"not enough memory: {error}"
    return None


def _usage_error(error: CycloptsError) -> str:
    """Return the error of a command line in plain words."""
    verb = " ".join(["nanosae", *(error.command_chain or [])])
    return f"{_mistake(error)} See `{verb} --help`."


def _mistake(error: CycloptsError) -> str:
    message = str(error)
    if isinstance(error, UnknownCommandError):
        return message.partition(" Available commands")[0]
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"unexpected value {error.unused_tokens[0]!r}."
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return _missing_value(error.argument, error.keyword)
    if isinstance(error, CoercionError) and error.token is not None:
        kind = NUMBERS.get(error.target_type)
        if kind is not None:
            place = error.token.keyword or "the value"
            return f"{place}: {error.token.value!r} is not {kind}."
    return message


def _missing_value(argument: Argument, keyword: str | None) -> str:
    name = keyword or argument.name
    if keyword is None and not argument.tokens:
        return f"{name} is missing."
    n_values = argument.token_count()[0]
    return (
        f"{name} needs {n_values} values." if n_values > 1 else f"{name} needs a value."
    )


def _system_error(error: OSError) -> str:
    """Return the error of the operating system with the names of the files."""
    if error.strerror is None:
        return str(error)
    names = [
        str(name) for name in (error.filename, error.filename2) if name is not None
    ]
    return ": ".join([*names, error.strerror]) + "."


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, NumPy or PyTorch could not allocate memory."""
    if isinstance(error, MemoryError):
        return True
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _discard_output() -> None:
    """Discard further output: the reader of the pipe has exited, as `head` does."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_line(text: str) -> None:
    print(*text.split(), file=sys.stderr)
