"""Convert HTML texts from mails, help desks, forums and web pages to plain text."""

from __future__ import annotations

import html

import pyarrow as pa

from nanosae.sources.kinds import pc, share

HTML_SHARE = 0.2  # share of texts with an element from which all texts are HTML
BREAKS = "p|div|br|hr|li|ul|ol|tr|table|blockquote|section|article|pre|h[1-6]"
CELLS = "td|th"
INLINE = (
    "a|b|i|u|s|em|strong|span|font|img|code|small|sub|sup|del|center|o:p"
    "|tbody|thead|html|head|body"
)
# attributes, whose values may contain ">"
IN_TAG = r"""(?:\s(?:"[^"<]*"|'[^'<]*'|[^<>])*)?/?>"""
ANY = rf"(?:{BREAKS}|{CELLS}|{INLINE})"
ELEMENT = rf"(?i)</?{ANY}{IN_TAG}"
WRITTEN_AS_HTML = rf"(?is)^\s*<{ANY}{IN_TAG}.*</{ANY}\s*>|<br\s*/?>"
HIDDEN = r"(?is)<(?:script|style)\b.*?</(?:script|style)>|<!--.*?-->"
# quoted replies as marked by mail programs
QUOTED = r'(?is)<blockquote\b[^<>]*(?:type="?cite|gmail_quote).*?</blockquote>'
ENTITY = r"&(?:[A-Za-z]{2,8}|#\d{2,6}|#x[\dA-Fa-f]{2,6});"


def which_are_html(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which texts are HTML: all of them if at least a fifth have HTML elements.

    If fewer have, those that begin with an element and close one, or have line breaks (<br>).

    Example:
        >>> few = pa.chunked_array([["<p>Hello</p>", "a tag: <p>", *["no tag"] * 9]])
        >>> which_are_html(few).to_pylist()[:3]
        [True, False, False]
    """
    has_element = pc.match_substring_regex(values, ELEMENT)
    if share(has_element) >= HTML_SHARE:
        return pc.is_valid(values)
    return pc.fill_null(pc.match_substring_regex(values, WRITTEN_AS_HTML), False)


def without_html(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str | None]:
    """Return texts of which those that are HTML are plain, and a note if there are any."""
    is_html = which_are_html(values)
    n_html = pc.sum(is_html).as_py() or 0
    if n_html == 0:
        return values, None
    if n_html == len(values) - values.null_count:
        note = "The texts are HTML: tags and quoted replies were removed."
        return plain_texts(values), note
    noun = "text is" if n_html == 1 else "texts are"
    note = f"{n_html:,} {noun} HTML: tags and quoted replies were removed."
    return pc.if_else(is_html, plain_texts(values), values), note


def plain_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    r"""Return texts without tags, scripts and quoted replies, with one line per block.

    Example:
        >>> html_texts = pa.chunked_array([["<p>A &amp; B</p><p>less: 1 < 2</p>", None]])
        >>> plain_texts(html_texts).to_pylist()
        ['A & B\nless: 1 < 2', None]
    """
    texts = pc.replace_substring_regex(values, HIDDEN, " ")
    texts = pc.replace_substring_regex(texts, QUOTED, " ")
    texts = pc.replace_substring_regex(texts, rf"(?i)</?(?:{BREAKS}){IN_TAG}", "\n")
    texts = pc.replace_substring_regex(texts, rf"(?i)</?(?:{CELLS}){IN_TAG}", " ")
    texts = pc.replace_substring_regex(texts, ELEMENT, "")
    has_entity = pc.match_substring_regex(texts, ENTITY)
    if pc.any(has_entity).as_py():
        written = [text and html.unescape(text) for text in texts.to_pylist()]
        texts = pa.chunked_array([pa.array(written, pa.string())])
    texts = pc.replace_substring_regex(texts, r"[ \t\x{a0}]+", " ")
    texts = pc.replace_substring_regex(texts, r"\s*\n\s*", "\n")
    return pc.utf8_trim_whitespace(texts)
