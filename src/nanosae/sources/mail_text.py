"""Replies quoted in mails as plain text."""

from __future__ import annotations

import pyarrow as pa

from nanosae.sources.kinds import pc

# "On Monday, Ann <ann@example.org> wrote:", perhaps in two lines, above lines that begin with ">"
WROTE = "@|wrote|schrieb|écrit|escribió|escreveu|scritto|schreef|napisał|написал"
DATE_LINE = r"(?:^(?:On|Am|Le|El|Em|Il|Op|Dnia|W dniu) [^\n]*\n)?"
ATTRIBUTION = rf"{DATE_LINE}^[^\n>][^\n]*(?:{WROTE})[^\n]*:[ \t\r]*\n\s*"
QUOTED_LINES = r"(?:>[^\n]*(?:\n|\z))+"
ORIGINAL = "Original Message|Ursprüngliche Nachricht|Message d'origine|Mensaje original"
REPLIES = rf"(?m){ATTRIBUTION}{QUOTED_LINES}|^-{{2,}} ?(?:{ORIGINAL}) ?-{{2,}}(?s:.*)\z"


def without_replies(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    r"""Return texts without quoted replies, and how many had some.

    Texts that are nothing else stay.

    Example:
        >>> mail = "Still waiting.\n\nOn 3 March, Ann wrote:\n> Please wait.\n> Ann\n"
        >>> without_replies(pa.chunked_array([[mail, "a list:\n> one"]]))[0].to_pylist()
        ['Still waiting.', 'a list:\n> one']
    """
    has_reply = pc.match_substring_regex(values, REPLIES)
    shortened = pc.replace_substring_regex(values, REPLIES, "")
    shortened = pc.utf8_trim_whitespace(shortened)
    has_own_words = pc.not_equal(shortened, "")
    is_shorter = pc.fill_null(pc.and_(has_reply, has_own_words), False)
    n_shorter = pc.sum(is_shorter).as_py() or 0
    return pc.if_else(is_shorter, shortened, values), n_shorter
