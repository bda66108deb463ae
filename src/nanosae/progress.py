"""Bars of long loops: none in Python unless asked for, one at a time on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
DELAY = 1.0  # seconds that a loop lasts before it has a bar

_wanted: bool | None = None  # None: nobody has said
_is_shown = False


@contextmanager
def bars(wanted: bool) -> Iterator[None]:
    """Say whether loops within a `with` block show how far they are."""
    global _wanted
    before, _wanted = _wanted, wanted
    try:
        yield
    finally:
        _wanted = before


def tracked(
    items: Iterable[T], what: str, total: int | None = None, *, unasked: bool = False
) -> Iterator[T]:
    """Yield items, with a bar if bars are wanted and no loop around this one has one.

    Args:
        items: What is looped over.
        what: What is done, as the bar says.
        total: Number of items, where `items` has no length.
        unasked: Whether to show a bar on a terminal, too, where nobody has said.

    Example:
        >>> with bars(False):
        ...     list(tracked("abc", "spell"))
        ['a', 'b', 'c']
    """
    global _is_shown
    is_wanted = _wanted
    if is_wanted is None:
        is_wanted = unasked and sys.stderr.isatty()
    if _is_shown or not is_wanted:
        yield from items
        return
    from tqdm.auto import tqdm

    _is_shown = True
    try:
        yield from tqdm(
            items, what, total=total, delay=DELAY, leave=False, dynamic_ncols=True
        )
    finally:
        _is_shown = False
