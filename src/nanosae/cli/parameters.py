"""Parameters shared by several commands, and the converters of their values."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import CoercionError, Parameter, Token

from nanosae.errors import ConfigError


def integer(_: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; 2.5 is an error, not 2."""
    with contextlib.suppress(ValueError):
        return int(tokens[0].value)
    raise CoercionError(token=tokens[0], target_type=int)


def integers(_: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    """Read whole numbers, separated by spaces or commas."""
    return tuple(integer(int, [part]) for part in split_at_commas(tokens))


def words(_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Read words, separated by spaces or commas."""
    return tuple(part.value for part in split_at_commas(tokens))


def split_at_commas(tokens: Sequence[Token]) -> list[Token]:
    """Split the values of tokens at their commas."""
    parts = []
    for token in tokens:
        parts += [attrs.evolve(token, value=value) for value in token.value.split(",")]
    return parts


Count = Annotated[int, Parameter(converter=integer)]
OptionalCount = Annotated[int | None, Parameter(converter=integer)]
Integers = Annotated[tuple[int, ...] | None, Parameter(converter=integers)]
Words = Annotated[tuple[str, ...], Parameter(converter=words)]
OptionalWords = Annotated[tuple[str, ...] | None, Parameter(converter=words)]

Run = Annotated[Path, Parameter(help="The run folder.")]
if TYPE_CHECKING:
    FileName = str
else:
    # with Path, shells complete file names; cyclopts converts to the first type that fits
    FileName = str | Path

Data = Annotated[
    FileName,
    Parameter(
        help="Vectors: a .csv .tsv .parquet .feather .arrow .npy .npz .safetensors or .pt file, a "
        "folder or a glob."
    ),
]
Texts = Annotated[
    FileName,
    Parameter(
        help="Texts: a .csv .tsv .jsonl .json .parquet .xlsx or .txt file (one text per line), "
        "possibly compressed, a folder or a glob."
    ),
]
OptionalFile = Annotated[FileName | None, Parameter(metavar="FILE")]
TextColumn = Annotated[str, Parameter(help="Name of the text column.")]
Encoding = Annotated[
    str,
    Parameter(help="Encoding of a CSV or text file; many from Excel are cp1252."),
]
Output = Annotated[Path, Parameter(alias="-o")]
Model = Annotated[
    FileName,
    Parameter(help="Name or folder of a Hugging Face model, or a .gguf file."),
]
OptionalOutput = Annotated[Path | None, Parameter(alias="-o")]
Stats = Annotated[bool, Parameter(help="Show the statistics behind the findings.")]
Open = Annotated[bool, Parameter(name="--open", help="Open the report in a browser.")]
Number = Annotated[int, Parameter(alias="-n", converter=integer)]
Corpus = Annotated[
    str | None, Parameter(name="--name", help="Name of the corpus in the run.")
]
Groups = Annotated[
    str | None,
    Parameter(
        help="Column of groups that must not be split between training and held-out rows."
    ),
]
Covariates = Annotated[
    tuple[str, ...] | None,
    Parameter(
        help='Columns to hold equal; "length", the default, is the length of the texts. '
        "Without a name, nothing is held equal."
    ),
]
Sources = Annotated[
    str | None,
    Parameter(
        help="Column that names the source of each row, such as an author or a thread: "
        "rows with equal values count as one text."
    ),
]


def refuse_unused(when: str, command: Callable, given: dict[str, Any]) -> None:
    """Raise a ConfigError if an option that then has no effect differs from its default.

    Args:
        when: When the options have no effect, such as "without --llm".
        command: The command, whose signature has the defaults.
        given: The values of the options by parameter.
    """
    parameters = inspect.signature(command).parameters
    for name, value in given.items():
        if value != parameters[name].default:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} has no effect {when}.")


def shown_default(value: Any) -> str | None:
    """Return a default for the help, or None if it is empty or a flag that is off."""
    if value is None or value is False or value == "":
        return None
    return str(value)
