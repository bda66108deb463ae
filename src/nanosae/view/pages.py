"""Self-contained HTML documents that need no network and do not trust the content of a corpus.

Style sheets and scripts come from `static/`, plotly.js from the installed wheel. The content
security policy of a page lists the checksums of its scripts: no other script runs, and nothing is
loaded. Data are embedded as JSON in blocks that the browser does not execute, and scripts insert
texts as text (`textContent`), never as markup.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from nanosae.view.style import template


def page(
    title: str,
    body: str,
    *,
    data: Mapping[str, Any] | None = None,
    packed: Mapping[str, str] | None = None,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    plotly: bool = False,
    connect: str = "'none'",
) -> str:
    """Return a self-contained HTML document.

    Args:
        title: The title, any text.
        body: Trusted markup; everything from a corpus belongs in `data`.
        data: Values that scripts read with `nano.data(name)`.
        packed: Values from `pack` that scripts read with `await nano.unpack(name)`.
        scripts: Files of `static/` to run after `nano.js`, in this order.
        styles: Files of `static/` to add after `base.css`.
        plotly: Whether to include plotly.js (about 4.5 MB) and our templates.
        connect: Sources that scripts may fetch: "'none'", or "'self'" for a page of a server.

    Example:
        >>> "<title>1 &lt; 2</title>" in page("1 < 2", "<main></main>")
        True
    """
    code = [static(name) for name in ("nano.js", *scripts)]
    css = "\n".join(static(name) for name in ("base.css", *styles))
    blocks = dict(data or {})
    if plotly:
        from plotly.offline import get_plotlyjs

        code.insert(0, get_plotlyjs())
        blocks["templates"] = {"light": template(), "dark": template(dark=True)}
    blocks |= packed or {}
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy(code, connect)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title><style>{css}</style></head><body>{body}",
        *(embed(name, value) for name, value in blocks.items()),
        *(f"<script>{text}</script>" for text in code),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def policy(scripts: Sequence[str], connect: str) -> str:
    """Return a content security policy that allows only these scripts, given as texts."""
    allowed = " ".join(f"'sha256-{_checksum(text)}'" for text in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _checksum(text: str) -> str:
    """Return the SHA-256 of a script in base64."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def embed(name: str, value: Any) -> str:
    r"""Return a script block with JSON that no value can break out of.

    Example:
        >>> embed("x", ["</script>", float("nan")])
        '<script type="application/json" id="data-x">["\\u003c/script>",null]</script>'
    """
    return f'<script type="application/json" id="data-{name}">{to_json(value)}</script>'


def pack(value: Any) -> str:
    """Return a value as compressed JSON in base64, about a third of the size."""
    compressed = gzip.compress(to_json(value).encode(), mtime=0)
    return base64.b64encode(compressed).decode()


def to_json(value: Any) -> str:
    """Return JSON in plotly's encoding (arrays, figures; NaN is null), `<` and U+2028 escaped."""
    from plotly.utils import PlotlyJSONEncoder

    text = json.dumps(
        value, cls=PlotlyJSONEncoder, ensure_ascii=False, separators=(",", ":")
    )
    for char in "<\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def static(name: str) -> str:
    """Return the text of a file in `static/`."""
    return (files("nanosae.view") / "static" / name).read_text("utf-8")
