"""Headers of several rows in exports of survey tools.

SurveyMonkey has a row of choices below the questions; Qualtrics has the questions below short
names, followed by a row of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

IMPORT_ID = re.compile(r'\s*\{"ImportId"')  # in every cell of Qualtrics' third row
# cells below a question with a single column
WITHOUT_CHOICE = ("", "response", "open-ended response", "score")
MAX_LETTERS = 100  # of a choice
MIN_ROWS = 3  # two rows of names and one of values


def joined_names(rows: Sequence[Sequence[str]]) -> tuple[list[str], int] | None:
    """Return the column names of a header of several rows, and the number of its rows.

    Args:
        rows: First rows of a table, with "" for empty cells.

    Returns:
        The names and the number, or None if the header is a single row.

    Example:
        >>> joined_names([["id", "Which channels?", ""], ["", "Email", "Chat"], ["1", "", "Chat"]])
        (['id', 'Which channels?: Email', 'Which channels?: Chat'], 2)
    """
    if len(rows) < MIN_ROWS:
        return None
    upper, lower, third = rows[:MIN_ROWS]
    if len(lower) != len(upper):
        return None
    if all(map(IMPORT_ID.match, third)):
        pairs = zip(upper, lower, strict=True)
        return [question.strip() or name for name, question in pairs], 3
    if not _are_choices(upper, lower, rows[2:]):
        return None
    names = []
    question = ""
    for place, (above, below) in enumerate(zip(upper, lower, strict=True)):
        question = above.strip() or question
        next_above = upper[place + 1 : place + 2]
        has_several = not above or not any(next_above)
        is_choice = has_several and below.strip().lower() not in WITHOUT_CHOICE
        names.append(f"{question}: {below.strip()}" if is_choice else question)
    return names, 2


def _are_choices(
    upper: Sequence[str], lower: Sequence[str], rows: Sequence[Sequence[str]]
) -> bool:
    """Return whether the second row has the choices of the questions above.

    Such a row fills all gaps of the first row, leaves some cells empty, and holds short strings:
    choices, or words such as "Response".
    """
    pairs = list(zip(upper, lower, strict=True))
    fills_gaps = all(below.strip() for above, below in pairs if not above.strip())
    has_gaps = any(not below.strip() for below in lower)
    if not fills_gaps or not has_gaps or not upper[0].strip():
        return False
    filled = [below.strip() for below in lower if below.strip()]
    if any(len(cell) > MAX_LETTERS or cell.isdecimal() for cell in filled):
        return False
    says_response = any(cell.lower() in WITHOUT_CHOICE for cell in filled)
    if says_response:
        return True
    has_gap_above = any(not above.strip() for above in upper)
    return has_gap_above and _are_ticked(pairs, rows)


def _are_ticked(
    pairs: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]
) -> bool:
    """Return whether columns without a name hold only their choice or empty cells."""
    for place, (above, below) in enumerate(pairs):
        if above.strip():
            continue
        cells = {row[place].strip() for row in rows if place < len(row)}
        if not cells <= {"", below.strip()}:
            return False
    return True


def recurs_below(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a cell of the first row recurs in its column, as names do not.

    Example:
        >>> recurs_below([["a", "x"], ["b", ""], ["c", "x"]]), recurs_below([["a"], ["b"]])
        (True, False)
    """
    first, *others = rows
    columns = zip(*others, strict=False)
    pairs = zip(first, columns, strict=False)
    return any(cell.strip() and cell in column for cell, column in pairs)
