"""Renew the outputs of code blocks in the pages, marked there by `<!-- output -->`.

    python docs/make_outputs.py [PAGE ...]

Each page with outputs is run from its first block to its last output, in a folder of its own and
with the files that its tests use. Run this when results have changed, and review the diff. Seconds
and names of temporary folders, which differ between runs, are kept; edit them by hand after a new
measurement.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests" / "docs")]

from blocks import Session, blocks, keep_passing, shown  # noqa: E402 (found by the line before)
from pages import PAGES, prepare  # noqa: E402


def renew(page: str) -> bool:
    """Run a page and replace its outputs; return whether any of them changed."""
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(page, folder)
        session = Session(page, folder)
        pieces, end, printed = [], 0, ""
        found = blocks(text)
        last = max(i for i, block in enumerate(found) if block.is_output)
        for block in found[: last + 1]:
            if block.is_run:
                printed = session.run(block)
            elif block.is_output:
                start, stop = block.span
                output = keep_passing(block.code, shown(printed, block.comment))
                pieces += [text[end:start], output]
                end = stop
    renewed = "".join([*pieces, text[end:]])
    if renewed != text:
        path.write_text(renewed, encoding="utf-8")
    return renewed != text


def main() -> None:
    """Renew the named pages, or all pages with outputs."""
    for page in sys.argv[1:] or PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        if any(block.is_output for block in blocks(text)):
            print(page, "changed" if renew(page) else "as before", flush=True)


if __name__ == "__main__":
    main()
