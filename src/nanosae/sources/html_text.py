"""Convert HTML texts from mails, help desks, forums and web pages to plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pyarrow as pa

from nanosae.sources.kinds import pc, share

HTML_SHARE = 0.2  # share of texts with an element from which all texts are HTML
MOST = 0.9  # share of such texts from which all are called HTML
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
WHOLE = rf"^\s*<{ANY}{IN_TAG}.*</{ANY}\s*>"
WITH_ATTRIBUTES = rf"""<{ANY}\s+[a-z-]+\s*=(?:"[^"<]*"|'[^'<]*'|[^<>])*>.*</{ANY}\s*>"""
# not those in the strings of programs
WRITTEN_AS_HTML = rf"""(?is){WHOLE}|(?:^|[^"'`])(?:<br\s*/?>|{WITH_ATTRIBUTES})"""
HIDDEN = r"(?is)<(?:script|style)\b.*?</(?:script|style)>|<!--.*?-->"
# quoted replies as marked by mail programs
QUOTED = r'(?is)<blockquote\b[^<>]*(?:type="?cite|gmail_quote).*?</blockquote>'
ENTITY = r"&(?:[A-Za-z]{2,8}|#\d{2,6}|#x[\dA-Fa-f]{2,6});"
# entities of frequent characters with a space instead of the ampersand, as in "it #39;s"
NO_AMPERSAND = r"((?:#0?(?:3[4689]|6[02]|1[45]\d|160|8\d{3})|quot|amp|lt|gt|nbsp);)"
BROKEN_ENTITY = rf"(?:^|[^&\w]){NO_AMPERSAND}"
BROKEN_SHARE = 0.01


def which_are_html(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which texts are HTML: all of them if at least a fifth have HTML elements.

    If fewer have, those that begin with an element and close one, or have line breaks (<br>) or
    elements with attributes outside quotation marks.

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
    if not pc.any(is_html).as_py():
        return values, None
    has_element = pc.match_substring_regex(values.filter(is_html), ELEMENT)
    n_html = pc.sum(has_element).as_py()
    noun = "text is" if n_html == 1 else "texts are"
    which = f"{n_html:,} {noun}"
    if n_html >= MOST * (len(values) - values.null_count):
        which = "The texts are"
    note = f"{which} HTML: tags and quoted replies were removed."
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
    if pc.any(pc.match_substring_regex(texts, ENTITY)).as_py():
        texts = _changed(texts, html.unescape)
    texts = pc.replace_substring_regex(texts, r"[ \t\x{a0}]+", " ")
    texts = pc.replace_substring_regex(texts, r"\s*\n\s*", "\n")
    return pc.utf8_trim_whitespace(texts)


def without_entities(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Return texts with characters instead of entities, and how many had some.

    Texts with tags, in which "&lt;" is no tag, are left alone. Entities without an ampersand count
    if one text in a hundred has some.

    Example:
        >>> texts = pa.chunked_array([["AT&amp;T", "it #39;s", "write &lt;b&gt; in <p>"]])
        >>> without_entities(texts)[0].to_pylist()
        ['AT&T', "it's", 'write &lt;b&gt; in <p>']
    """
    has_entity = pc.match_substring_regex(values, ENTITY)
    is_broken = pc.match_substring_regex(values, BROKEN_ENTITY)
    read = html.unescape
    if share(is_broken) >= BROKEN_SHARE:
        has_entity = pc.or_(has_entity, is_broken)
        read = _read_broken
    has_tags = pc.match_substring_regex(values, ELEMENT)
    is_written = pc.fill_null(pc.and_(has_entity, pc.invert(has_tags)), False)
    n_written = pc.sum(is_written).as_py() or 0
    if n_written == 0:
        return values, 0
    return pc.if_else(is_written, _changed(values, read), values), n_written


def _read_broken(text: str) -> str:
    return html.unescape(re.sub(rf"(?: |(?<![&\w])){NO_AMPERSAND}", r"&\1", text))


def _changed(values: pa.ChunkedArray, change: Callable[[str], str]) -> pa.ChunkedArray:
    texts = [text and change(text) for text in values.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])
