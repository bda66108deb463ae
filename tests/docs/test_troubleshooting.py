"""Every message of docs/troubleshooting.md is one that the source can print."""

import ast
import re
from pathlib import Path

import pytest

import nanosae
from pages import ROOT

GAP = "…"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.M)


def template(node):
    """Return a text of the source, with a gap for each value that it is filled with."""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else GAP
    if isinstance(node, ast.BinOp):
        return template(node.left) + template(node.right)
    return GAP


@pytest.fixture(scope="module")
def templates():
    found = set()
    for path in Path(nanosae.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr | ast.Constant | ast.BinOp):
                found.add(template(node))
    return found


def can_be_printed(message, templates):
    """Say whether the words of a message stand in one template, in their order."""
    pieces = [re.escape(piece.strip(" .?")) for piece in message.split(GAP)]
    pattern = re.compile(
        rf"[^\n]*?{GAP}[^\n]*?".join(piece for piece in pieces if piece)
    )
    return any(pattern.search(text) for text in templates)


def test_every_message_of_the_page_stands_in_the_source(templates):
    assert len(MESSAGES) >= 40
    assert [text for text in MESSAGES if not can_be_printed(text, templates)] == []


@pytest.mark.parametrize(
    "message",
    [
        "… was trained on other columns.",
        "k=… must be below hidden_size=….",
        "no such text",
    ],
)
def test_a_message_that_is_gone_would_be_found(message, templates):
    assert not can_be_printed(message, templates)
