"""MkDocs hooks: pages from the repository's root, and equations as MathML.

MathML needs no script, so the site loads nothing from elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
CODE_OR_EQUATION = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]*`)"
    r"|\$\$(?P<block>.+?)\$\$"
    r"|(?<![\w$])\$(?P<inline>[^$]+?)\$(?![\w$])",
    re.M | re.S,
)
LLMS = "llms.txt"
FROM_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from the root, with links relative to `docs/`."""
    for page, source in FROM_ROOT.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, LLMS, content=_llms()))
    return files


def _llms() -> str:
    """Return llms.txt with the pages' addresses on the site."""
    text = (ROOT / LLMS).read_text(encoding="utf-8")
    for page, source in FROM_ROOT.items():
        text = text.replace(f"]({source})", f"](docs/{page})")
    return re.sub(r"\]\(docs/(.+?)\.md\)", r"](\1/)", text)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace $…$ and $$…$$ outside code with MathML."""
    return CODE_OR_EQUATION.sub(_as_mathml, markdown)


def _as_mathml(match: re.Match[str]) -> str:
    if match["code"]:
        return match["code"]
    if match[
        "inline"
    ]:  # a span, because a line that begins with <math> becomes a block
        return f"<span>{_mathml(match['inline'], 'inline')}</span>"
    # equations wider than the screen scroll by themselves
    equation = _mathml(match["block"], "block")
    return f'<div style="overflow-x: auto">{equation}</div>'


def _mathml(latex: str, display: str) -> str:
    return convert(" ".join(latex.split()), display=display)
