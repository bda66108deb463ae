"""The output of the commands, and the corpus that most of them read."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nanosae
from nanosae.checked import plain
from nanosae.errors import command_line

if TYPE_CHECKING:
    import pandas as pd

    from nanosae.codes import Codes

SHOWN_ROWS = 20
_quiet = False
_as_json = False


def set_manner(*, quiet: bool, as_json: bool) -> None:
    """Set how the commands print.

    Args:
        quiet: Print results only: no progress, notes or next steps.
        as_json: Print results as JSON, and everything else on standard error.
    """
    global _quiet, _as_json
    _quiet = quiet
    _as_json = as_json


def prints_json() -> bool:
    """Return whether results are printed as JSON."""
    return _as_json


def is_quiet() -> bool:
    """Return whether to print results only."""
    return _quiet


def shows_progress() -> bool:
    """Return whether to show progress: on a terminal, unless quiet."""
    return not _quiet and sys.stderr.isatty()


def open_codes(run: Path, name: str | None) -> Codes:
    """Open a corpus of a run; print a note if it has no texts or comes from an earlier model."""
    codes = nanosae.Codes.open(run, name)
    if codes.note_on_model:
        say_beside_results(f"note: {codes.note_on_model}")
    if not codes.has_texts:
        say_beside_results(
            f"note: {codes.path} has no texts; only describe, families, topics, search by row or "
            "feature, contrast, evaluate and export are available."
        )
    return codes


def save(codes: Codes, columns: pd.DataFrame) -> None:
    """Add columns to the feature table of the run; see `save_features`."""
    from nanosae.codes import run_folder
    from nanosae.runs.tables import save_features

    save_features(run_folder(codes), columns, codes)


def show(table: pd.DataFrame, columns: list[str] | None = None) -> None:
    """Print the first rows of a table, or all of it as JSON records."""
    if _as_json:
        from nanosae.runs.export import json_records

        print(json_records(table))
        return
    if table.empty:
        print("no rows")
        return
    shown = table if columns is None else table.filter(items=columns)
    first = shown.head(SHOWN_ROWS)
    print(first.to_string(index=False, max_colwidth=70, float_format=three_digits))
    if len(shown) > SHOWN_ROWS:
        print(f"… {len(shown):,} rows in total")


def three_digits(value: float) -> str:
    """Return a number with three significant digits, also those that are zero.

    Example:
        >>> [three_digits(value) for value in (0.99958, 0.25, 12.585, 1234.5)]
        ['1.00', '0.250', '12.6', '1234']
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def to_json(value: Any) -> str:
    """Return a value as JSON, with null in place of NaN and infinity.

    Example:
        >>> to_json({"low": float("nan"), "values": [1.5, float("inf")]})
        '{"low": null, "values": [1.5, null]}'
    """
    return json.dumps(plain(value), allow_nan=False)


def show_facts(facts: dict[str, Any], words: Any) -> None:
    """Print a result in words, or its facts as one JSON object."""
    print(to_json(facts) if _as_json else words)


def say(line: str) -> None:
    """Print a status line; with JSON output, to standard error and not if quiet."""
    if _as_json:
        say_beside_results(line)
    else:
        print(line)


def say_progress(line: str) -> None:
    """Print a line on the progress of a command, unless quiet; see `say`."""
    if not _quiet:
        say(line)


def say_beside_results(line: str) -> None:
    """Print a line on standard error, apart from the results, unless quiet."""
    if not _quiet:
        print(line, file=sys.stderr)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each warning to users once, without the line of code that raised it."""
    shown: set[str] = set()

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        text = str(message)
        if not issubclass(category, UserWarning):
            usual(message, category, *place, **more)
        elif text not in shown:
            shown.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.showwarning = show
        yield


def say_notes(notes: Iterable[str]) -> None:
    """Print notes unless quiet."""
    if not _quiet:
        for note in notes:
            say(f"note: {note}")


def open_in_browser(page: Path) -> None:
    """Open a local file in the browser."""
    import webbrowser

    webbrowser.open(page.absolute().as_uri())


def command_on(codes: Codes, verb: str, run: Path, *words: Any) -> str:
    """Return the command line of a verb on a corpus, which it names if it is not that of a run."""
    from nanosae.runs.results import corpus_words

    return command_line(verb, run, *words, *corpus_words(codes))


def say_next(*commands: str) -> None:
    """Suggest commands to run next, one per line, unless quiet or printing JSON."""
    if _as_json or _quiet:
        return
    first, *others = commands
    print(f"next: {first}")
    for command in others:
        print(f"  or: {command}")
