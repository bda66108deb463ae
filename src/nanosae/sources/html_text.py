"""Convert HTML texts from mails, help desks, forums and web pages to plain text."""

from __future__ import annotations

import html

import pyarrow as pa

from nanosae.sources.kinds import pc, share

HTML_SHARE = 0.2  # minimum share of texts with an element
BREAKS = "p|div|br|hr|li|ul|ol|tr|table|blockquote|section|article|pre|h[1-6]"
CELLS = "td|th"
INLINE = (
    "a|b|i|u|s|em|strong|span|font|img|code|small|sub|sup|del|center|o:p"
    "|tbody|thead|html|head|body"
)
# attributes, whose values may contain ">"
IN_TAG = r"""(?:\s(?:"[^"<]*"|'[^'<]*'|[^<>])*)?/?>"""
ELEMENT = rf"(?i)</?(?:{BREAKS}|{CELLS}|{INLINE}){IN_TAG}"
HIDDEN = r"(?is)<(?:script|style)\b.*?</(?:script|style)>|<!--.*?-->"
# quoted replies as marked by mail programs
QUOTED = r'(?is)<blockquote\b[^<>]*(?:type="?cite|gmail_quote).*?</blockquote>'
ENTITY = r"&(?:[A-Za-z]{2,8}|#\d{2,6}|#x[\dA-Fa-f]{2,6});"


def is_html(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether at least a fifth of the texts have HTML elements.

    Example:
        >>> is_html(pa.array(["<p>Hello</p>", "no tag"])), is_html(pa.array(["List<int>"]))
        (True, False)
    """
    return share(pc.match_substring_regex(values, ELEMENT)) >= HTML_SHARE


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
