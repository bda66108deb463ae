"""Headers of several rows, as survey tools export them.

SurveyMonkey puts the choices of a question under it, Qualtrics the questions under short names and
a row of JSON under both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

IMPORT_ID = re.compile(r'\s*\{"ImportId"')  # begins every cell of a row of Qualtrics
# what stands under a question with a single column
WITHOUT_CHOICE = ("", "response", "open-ended response", "score")
LETTERS = 100  # of a choice
FEWEST = 3  # rows: two of names and one of values


def joined_names(rows: Sequence[Sequence[str]]) -> tuple[list[str], int] | None:
    """Return the names that a header of several rows gives the columns, and its number of rows.

    Args:
        rows: First rows of a table, cells without a value as "".

    Returns:
        None if the header is a single row.

    Example:
        >>> joined_names([["id", "Which channels?", ""], ["", "Email", "Chat"], ["1", "", "Chat"]])
        (['id', 'Which channels?: Email', 'Which channels?: Chat'], 2)
    """
    if len(rows) < FEWEST:
        return None
    upper, lower, third = rows[:FEWEST]
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
        has_several = not above or not any(upper[place + 1 : place + 2])
        is_choice = has_several and below.strip().lower() not in WITHOUT_CHOICE
        names.append(f"{question}: {below.strip()}" if is_choice else question)
    return names, 2


def _are_choices(
    upper: Sequence[str], lower: Sequence[str], rows: Sequence[Sequence[str]]
) -> bool:
    """Return whether a second row names the choices of the questions above.

    It fills all gaps of the first row, leaves some cells empty, and holds short strings, most of
    which are a single column's choice or say that it is a response.
    """
    pairs = list(zip(upper, lower, strict=True))
    fills_gaps = all(below.strip() for above, below in pairs if not above.strip())
    has_gaps = any(not below.strip() for below in lower)
    if not fills_gaps or not has_gaps or not upper[0].strip():
        return False
    filled = [below.strip() for below in lower if below.strip()]
    if any(len(cell) > LETTERS or cell.isdecimal() for cell in filled):
        return False
    says_response = any(cell.lower() in WITHOUT_CHOICE for cell in filled)
    if says_response:
        return True
    has_gap_above = any(not above.strip() for above in upper)
    return has_gap_above and _are_ticked(pairs, rows)


def _are_ticked(
    pairs: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]
) -> bool:
    """Return whether columns without a name of their own hold their choice or nothing."""
    for place, (above, below) in enumerate(pairs):
        if above.strip():
            continue
        cells = {row[place].strip() for row in rows if place < len(row)}
        if not cells <= {"", below.strip()}:
            return False
    return True
