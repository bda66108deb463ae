"""The plan of a run: the roles of the columns, and the embedder.

The plan is printed before anything is computed, so that a wrong guess costs only seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pyarrow as pa

from nanosae.analysis.splits import normalised
from nanosae.errors import ConfigError, DataError, counted, near_names
from nanosae.fields import as_list
from nanosae.runs.embeddings import Embeddings
from nanosae.runs.export import free_name
from nanosae.schemas import INDEX, refuse_other_order
from nanosae.sources import open_rows
from nanosae.sources.arrays import ARRAY_SUFFIXES
from nanosae.sources.categories import Column, Role
from nanosae.sources.embedded import take_vectors
from nanosae.sources.frames import table_of_texts
from nanosae.sources.json_files import with_chats_as_text
from nanosae.sources.notes import notes_of
from nanosae.sources.plain_text import as_plain_text
from nanosae.sources.repeated_columns import with_own_names
from nanosae.sources.roles import (
    column_roles,
    likely_text,
    with_roles,
)
from nanosae.sources.shared_sources import note_on_sources
from nanosae.sources.text_lengths import note_on_length, without_lengths
from nanosae.sources.texts import drop_empty_texts, read_texts, without_structs
from nanosae.sources.typed import with_types
from nanosae.text.embed import MODEL
from nanosae.text.embedders import Embedder, find_embedder
from nanosae.text.language import language_note

MIN_ROWS = 50  # rows needed to learn anything
MAX_NAMES = 5  # columns of the same role that are listed by name
MIN_MINUTES = 2  # of embedding, about which the plan says how long it takes
CHARACTERS_PER_TOKEN = 4  # in English; other languages need more tokens
MIN_DISTINCT = 10  # texts, so that both sides of a split have some


@dataclass(frozen=True)
class Plan:
    """How a run interprets its data.

    Attributes:
        table: The rows with a text and all columns that are kept; the text column is `text`.
        vectors: Given rows, (n, width), or None if the texts are to be embedded.
        embedder: The embedder; None if vectors are given.
        columns: The role of every column.
        groups: Columns whose values are compared.
        times: Columns over which features are followed.
        numbers: Columns of numbers that are explained.
        classes: Column of known classes to evaluate the features on, if any.
        notes: Sentences about rows that were skipped and the like.
    """

    table: pa.Table
    vectors: np.ndarray | None
    embedder: Embedder | None
    columns: list[Column]
    groups: list[str]
    times: list[str]
    numbers: list[str]
    classes: str | None
    notes: list[str]

    @property
    def has_texts(self) -> bool:
        """Whether the rows have texts."""
        return "text" in self.table.column_names

    @property
    def has_other_columns(self) -> bool:
        """Whether there are columns beside texts and vectors."""
        return any(column.role not in ("text", "vectors") for column in self.columns)

    def lines(self) -> list[str]:
        """Return the plan in lines: the role of every column with its reason, and the notes."""
        lines = [f"{len(self.table):,} rows", *_lines_on_columns(self.columns)]
        if self.embedder is not None:
            lines.append(_line_on_embedder(self.embedder, len(self.table)))
        elif self.vectors is not None and self.columns[0].role != "vectors":
            lines.append(f"  vectors: {self.vectors.shape[1]} dimensions, as given")
        return lines + [f"  {note}" for note in self.notes]


def _line_on_embedder(embedder: Embedder, n_texts: int) -> str:
    """Return a line on the embedder, with the time that it takes if that is minutes."""
    line = f"  embedder: {embedder.name} ({embedder.note})"
    minutes = round(n_texts * embedder.seconds / 60)
    if minutes < MIN_MINUTES:
        return line
    line += f", about {minutes} minutes"
    if embedder.name == MODEL:
        line += "; --embedder wordllama takes seconds, but is less accurate"
    return line


def _lines_on_columns(columns: list[Column]) -> list[str]:
    """Return a line for each column, in their order, or for many with the same role and reason."""
    names_of: dict[tuple[str, str], list[str]] = {}
    for column in columns:
        names_of.setdefault((column.role, column.reason), []).append(column.name)
    lines = []
    for column in columns:
        name, alike = column.name, names_of[column.role, column.reason]
        if len(alike) > MAX_NAMES:
            if name != alike[0]:
                continue
            name = f"{', '.join(alike[:MAX_NAMES])} and {len(alike) - MAX_NAMES} more"
        lines.append(f"  {name}: {column.role} ({column.reason})")
    return lines


def make_plan(
    data: Any,
    *,
    vectors: Any = None,
    text: str | None = None,
    by: str | Sequence[str] | None = None,
    time: str | Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
    classes: str | None = None,
    embedder: Any = None,
    base_url: str | None = None,
    prompt: str = "",
    query_prompt: str | None = None,
    encoding: str = "utf-8",
) -> Plan:
    """Plan a run: find the roles of the columns, the vectors and the embedder.

    The arguments are those of `nanosae.run`.

    Raises:
        DataError: If no column, or more than one, can be the text, or there are too few rows.
        ConfigError: If a named column does not exist, or both vectors and an embedder are given.
    """
    if vectors is not None and embedder is not None:
        raise ConfigError("vectors and embedder cannot both be given.")
    refuse_other_order(data, vectors, "vectors")
    text = None if text is None else str(text)
    table, vectors_of_file = _read(data, text, encoding)
    known = table.column_names
    by, time, target = (_names(given, known) for given in (by, time, target))
    _check_names(known, text, by=by, time=time, target=target, classes=classes)
    notes = notes_of(table)
    given_vectors = vectors_of_file if vectors is None else vectors
    table, rows, vectors_column = take_vectors(table, given_vectors, embedder)
    columns = _roles_of(table, text, by, time, target)
    texts = [column.name for column in columns if column.role == "text"]
    if not texts and rows is None:
        raise _no_text(columns, likely_text(table, columns))

    table = with_types(table, columns)
    table, new_names, notes_on_texts = _prepared(table, texts, embeds=rows is None)
    notes += notes_on_texts
    if texts:
        columns = without_lengths(columns, table, target or [])
    notes += note_on_sources(columns, table)
    found = None
    if rows is None:
        found = find_embedder(
            embedder, base_url=base_url, prompt=prompt, query_prompt=query_prompt
        )
        notes += note_on_length(table["text"])
        notes += language_note(found.name, table["text"].to_pylist())
    return Plan(
        table=table,
        vectors=rows,
        embedder=found,
        columns=[*vectors_column, *columns],
        groups=_compared(by, columns, new_names, "category", "tags"),
        times=_compared(time, columns, new_names, "date"),
        numbers=_compared(target, columns, new_names, "number"),
        classes=None if classes is None else new_names.get(classes, classes),
        notes=notes,
    )


def _prepared(
    table: pa.Table, texts: list[str], *, embeds: bool
) -> tuple[pa.Table, dict[str, str], list[str]]:
    """Convert the texts, in the first of these columns, and skip rows that cannot be embedded.

    Returns:
        The table, the new names of the columns that got one, and notes.
    """
    new_names: dict[str, str] = {}
    notes: list[str] = []
    if texts:
        table, new_names, notes = _with_plain_text(table, texts[0])
    if embeds:
        table, notes_on_skipped = _without_empty_texts(table)
        notes += notes_on_skipped
    _check_rows(table)
    return table, new_names, notes


def _with_plain_text(
    table: pa.Table, text: str
) -> tuple[pa.Table, dict[str, str], list[str]]:
    """Rename the text column to `text`, and convert its values to plain strings."""
    new_names = {text: "text"}
    notes = []
    if text != "text" and "text" in table.column_names:
        new_name = free_name("text", table.column_names)
        new_names["text"] = new_name
        notes.append(
            f"The column 'text' is renamed to {new_name!r}; 'text' are the texts."
        )
    names = [new_names.get(name, name) for name in table.column_names]
    place = names.index("text")
    plain, notes_on_texts = as_plain_text(table[place].cast(pa.string()))
    notes += notes_on_texts
    table = table.rename_columns(names).set_column(place, "text", plain)
    return table, new_names, notes


def _without_empty_texts(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Return the rows with a text, numbered if some are skipped, with a note on these."""
    numbered = table
    if INDEX not in table.column_names:
        numbered = table.append_column(INDEX, pa.array(range(len(table))))
    kept, skipped = drop_empty_texts(numbered)
    if not skipped:
        return table, []
    return kept, [_note_on_skipped(skipped)]


def _note_on_skipped(texts: list[str]) -> str:
    note = f"Skipped {counted(len(texts), 'row')} without a text"
    placeholders = sorted(set(texts) - {""})
    if not placeholders:
        return f"{note}."
    return f"{note} (empty, or only {', '.join(placeholders)})."


def _names(given: str | Sequence[str] | None, known: Sequence[str]) -> list[str] | None:
    """Return the given names of columns as a list.

    A string is the name of a column, which may contain commas, or several names between commas.
    """
    if given is None:
        return None
    names = []
    for name in as_list(given):
        parts = str(name).split(",")
        are_names = name not in known and any(part in known for part in parts)
        names += parts if are_names else [name]
    return list(dict.fromkeys(names))


def _read(data: Any, text: str | None, encoding: str) -> tuple[pa.Table, Any]:
    """Return the table, and the path of the vectors if the data is a file of vectors."""
    if not isinstance(data, str | Path):
        table = with_own_names(without_structs(table_of_texts(data)))
        return with_chats_as_text(table), None
    path = Path(data)
    if path.suffix not in ARRAY_SUFFIXES:
        return read_texts(path, text, encoding=encoding), None
    texts = path.with_suffix(".parquet")  # as `embed` writes them
    if texts.exists():
        return read_texts(texts, text), path
    return pa.table({"row": range(open_rows(path).n_rows)}), path


def _no_text(columns: list[Column], likely: str | None) -> DataError:
    if not columns:
        return DataError("The data has no columns.", remedy="Give texts.")
    described = "; ".join(f"{column.name}: {column.reason}" for column in columns[:6])
    remedy = "Name the text column with text=NAME (--text NAME)."
    if likely is not None:
        remedy = (
            f"Name the text column, perhaps text={likely!r} (--text {quote(likely)})."
        )
    return DataError(
        f"No column looks like a text ({described}).",
        remedy=remedy,
    )


def _check_rows(table: pa.Table) -> None:
    """Raise a DataError if there are too few rows or distinct texts."""
    if len(table) < MIN_ROWS:
        raise DataError(
            f"{len(table)} rows have a text; at least {MIN_ROWS} are needed.",
            remedy="Add texts, or divide long ones into paragraphs or sentences.",
        )
    if "text" not in table.column_names:
        return
    texts = table["text"]
    distinct: set[str] = set()
    for text in texts:
        distinct.add(normalised(str(text.as_py())))
        if len(distinct) >= MIN_DISTINCT:
            return
    raise DataError(
        f"Ignoring case, digits and punctuation, only {len(distinct)} of the {len(texts):,} "
        f"texts are distinct; at least {MIN_DISTINCT} are needed.",
        remedy="Choose another text column with text=NAME (--text NAME).",
    )


def _check_names(
    known: Sequence[str], text: str | None, **given: str | Sequence[str] | None
) -> None:
    """Raise a ConfigError if there is no column of a given name, or it is that of the texts."""
    for option, names in {"text": text, **given}.items():
        for name in [] if names is None else as_list(names):
            if name not in known:
                raise ConfigError(
                    f"{option}: there is no column {name!r}; {near_names(name, known)}."
                )
            if option != "text" and name == text:
                raise ConfigError(
                    f"{option}: {name!r} is the text column; give another column."
                )


def _roles_of(
    table: pa.Table,
    text: str | None,
    by: Sequence[str] | None,
    time: Sequence[str] | None,
    target: Sequence[str] | None,
) -> list[Column]:
    """Return the role of each column: the requested one, or else the detected one."""
    requested: dict[str, Role] = dict.fromkeys(by or [], "category")
    requested |= dict.fromkeys(time or [], "date")
    requested |= dict.fromkeys(target or [], "number")
    return with_roles(_detected_roles(table, text), table, requested)


def _detected_roles(table: pa.Table, text: str | None) -> list[Column]:
    if text is None:
        return column_roles(table)
    columns = [Column(text, "text", "as requested")]
    for column in column_roles(table, skip=[text]):
        if column.role == "text":
            column = Column(column.name, "unused", column.reason)
        columns.append(column)
    return columns


def _compared(
    given: Sequence[str] | None,
    columns: list[Column],
    new_names: Mapping[str, str],
    *roles: Role,
) -> list[str]:
    """Return the given columns, or by default all columns with certain roles."""
    names = given
    if names is None:
        names = [column.name for column in columns if column.role in roles]
    return [new_names.get(name, name) for name in names]


def embedding_cost(plan: Plan, run: Path, price: float | None) -> str:
    """Return how many texts are to be embedded, and the cost, in words.

    Args:
        plan: The plan of the run.
        run: The run folder; texts already embedded there cost nothing.
        price: Price of a million tokens, in any currency.
    """
    if plan.embedder is None:
        return "nothing to embed: the vectors are given"
    texts = plan.table["text"].to_pylist()
    if (run / "embeddings").exists():
        new = Embeddings(run / "embeddings", plan.embedder.identity).missing(texts)
    else:
        new = list(set(texts))
    n_tokens = sum(map(len, new)) // CHARACTERS_PER_TOKEN
    size = f"{len(new):,} texts to embed, about {n_tokens:,} tokens"
    if price is None:
        return size
    return f"{size}, which would cost about {n_tokens * price / 1e6:.2f}"
