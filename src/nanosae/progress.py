"""Progress bars of long loops: off in Python unless requested, one at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
DELAY = 1.0  # seconds before a loop shows a bar

_wanted: bool | None = None  # None if not decided
_is_shown = False


@contextmanager
def bars(wanted: bool) -> Iterator[None]:
    """Turn progress bars on or off within a `with` block."""
    global _wanted
    before, _wanted = _wanted, wanted
    try:
        yield
    finally:
        _wanted = before


def tracked(
    items: Iterable[T], what: str, total: int | None = None, *, unasked: bool = False
) -> Iterator[T]:
    """Yield items, with a bar if bars are on and no outer loop shows one.

    Args:
        items: The items.
        what: Description of the loop, shown in the bar.
        total: Number of items, if `items` has no length.
        unasked: Whether to show a bar on a terminal even if `bars` was not called.

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
