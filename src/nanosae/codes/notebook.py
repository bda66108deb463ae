"""HTML representations for notebooks."""

from __future__ import annotations

import html
import textwrap
from typing import Any

WIDTH = 100  # longest value shown, in characters


def facts_html(title: str, facts: dict[str, Any]) -> str:
    """Return a small HTML table; unknown values (None, "") are left out.

    Example:
        >>> facts_html("1 < 2", {"k": 3, "no": None})
        '<b>1 &lt; 2</b><table><tr><th>k</th><td>3</td></tr></table>'
    """
    rows = ""
    for name, value in facts.items():
        if value is None or value == "":
            continue
        shown = textwrap.shorten(str(value), WIDTH, placeholder=" …")
        rows += f"<tr><th>{html.escape(name)}</th><td>{html.escape(shown)}</td></tr>"
    return f"<b>{html.escape(title)}</b><table>{rows}</table>"
