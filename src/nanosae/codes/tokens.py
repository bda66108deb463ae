"""Rows that are tokens, which are shown in their context."""

from __future__ import annotations

CONTEXT = 60  # characters shown on either side of a token


def in_context(
    text: str, start: int, end: int, opening: str = "", closing: str = ""
) -> str:
    """Return a token with its context, without the leading space of byte-level tokens.

    Args:
        text: The whole text.
        start: Start of the token in the text.
        end: End of the token in the text.
        opening: Mark before the token.
        closing: Mark after the token.
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
