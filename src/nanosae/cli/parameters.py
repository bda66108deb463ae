"""Parameters that several verbs share, and how their values are read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import CoercionError, Parameter, Token


def integer(_: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; 2.5 is an error rather than 2."""
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
    # Path, too, so that shells complete it; cyclopts takes the first type that fits
    FileName = str | Path

Data = Annotated[
    FileName,
    Parameter(
        help="A .csv .tsv .parquet .feather .arrow .npy .npz .safetensors .pt file, a folder or a "
        "glob."
    ),
]
Texts = Annotated[
    FileName,
    Parameter(
        help="A .csv .tsv .jsonl .json .parquet .xlsx or .txt file (a text per line), also "
        "compressed, a folder or a glob."
    ),
]
TextColumn = Annotated[str, Parameter(help="Name of the text column.")]
Encoding = Annotated[
    str, Parameter(help="Of a CSV or text file: cp1252 for many that Excel saved.")
]
Output = Annotated[Path, Parameter(alias="-o")]
Model = Annotated[
    FileName,
    Parameter(help="Name or folder of a Hugging Face model, or a .gguf file."),
]
OptionalOutput = Annotated[Path | None, Parameter(alias="-o")]
Stats = Annotated[bool, Parameter(help="Show the numbers behind findings.")]
Open = Annotated[bool, Parameter(name="--open", help="Open the report in a browser.")]
Number = Annotated[int, Parameter(alias="-n", converter=integer)]
Corpus = Annotated[
    str | None, Parameter(name="--name", help="Name of the corpus in the run.")
]
Groups = Annotated[
    str | None,
    Parameter(help="Column whose groups stay on one side of the held-out split."),
]


def shown_default(value: Any) -> str | None:
    """Return what help shows of a default: nothing of a flag that is off, or of what is empty."""
    if value is None or value is False or value == "":
        return None
    return str(value)
