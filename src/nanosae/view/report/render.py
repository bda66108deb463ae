"""The report: everything in a run folder as one HTML file that opens from disk, offline.

It uses what exists and names the commands that add what is missing. Tables are embedded by column;
feature cards are compressed in blocks, which the browser unpacks when a card is opened.
"""

from __future__ import annotations

from pathlib import Path

from nanosae.atomic import write_text
from nanosae.codes import Codes, Corpus, has_corpus, run_folder
from nanosae.errors import MissingError, command_line
from nanosae.view import pages
from nanosae.view.report.cards import pack_cards
from nanosae.view.report.collect import collect, feature_table

SCRIPTS = (
    "points.js",
    "map.js",
    "training.js",
    "report-data.js",
    "report-findings.js",
    "report-table.js",
    "report-map.js",
    "report-cards.js",
    "report-sections.js",
    "report.js",
)


def report(
    run: Corpus, output: str | Path | None = None, *, name: str | None = None
) -> Path:
    """Write the report of a run.

    Args:
        run: The run folder, in any state, or codes or an `Analysis` of it.
        output: The file to write, by default `RUN/report.html`. It is replaced atomically.
        name: Name of the corpus.

    Returns:
        The path of the report.

    Raises:
        MissingError: If the folder is not a run folder.
        DamagedFileError: If a file of the run is damaged.
    """
    run = run_folder(run)
    path = run / "report.html" if output is None else Path(output)
    write_text(path, render(run, name))
    return path


def render(run: Path, name: str | None = None) -> str:
    """Return the report of a run as HTML; see `report`."""
    _require_run(run)
    codes = None
    if name is not None or has_corpus(run):
        codes = Codes.open(run, name)
    table = feature_table(run, codes)
    cards: list[str] = []
    if codes is not None and "top_rows" in table:
        cards = pack_cards(codes, table)
    return pages.page(
        f"{run.absolute().name} – nanoSAE report",
        pages.static("report.html"),
        data=collect(run, codes, table),
        packed={f"cards-{i}": block for i, block in enumerate(cards)},
        scripts=SCRIPTS,
        styles=("report.css",),
        plotly=True,
    )


def _require_run(run: Path) -> None:
    """Raise MissingError unless the folder contains some part of a run."""
    if not any((run / part).exists() for part in ("config.json", "model", "codes")):
        raise MissingError(
            f"{run} holds no run:",
            file=run,
            remedy=f"{command_line('train', 'DATA', '-o', run)} makes one.",
        )
