"""Rows that are tokens: they are shown in the text around them."""

from __future__ import annotations

CONTEXT = 60  # characters shown on either side of a token


def in_context(
    text: str, start: int, end: int, opening: str = "", closing: str = ""
) -> str:
    """Return a token, without the space that byte-level tokens begin with, and its context.

    Args:
        text: The whole text.
        start: Where the token begins in it.
        end: Where it ends.
        opening: What to write before the token.
        closing: What to write after it.
    """
    token = text[start:end]
    start += len(token) - len(token.lstrip())
    left = text[max(0, start - CONTEXT) : start]
    right = text[end : end + CONTEXT]
    if start > CONTEXT:
        left = "…" + left[left.find(" ") + 1 :]
    if len(text) > end + CONTEXT:
        right = (right.rpartition(" ")[0] or right) + "…"
    return f"{left}{opening}{text[start:end]}{closing}{right}"
