"""The results of a run, as tables and objects."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pandas as pd

from nanosae.analysis.cards import card
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.comparisons.overview import UNNAMED
from nanosae.analysis.comparisons.sentences import percent
from nanosae.analysis.evaluation.evaluate import Evaluation
from nanosae.analysis.groups.families import Families
from nanosae.analysis.groups.topic_rows import topic_name
from nanosae.analysis.groups.topics import topics as cut_topics
from nanosae.analysis.search.search import search
from nanosae.codes import Codes
from nanosae.runs.export import records
from nanosae.runs.results import fresh_value, load_result, needed_value
from nanosae.runs.tables import load_features

BIGGEST_TOPICS = 4
TABLES = ("findings", "topics")  # shown in a summary


class Analysis:
    """The results of `nanosae.run`, or of a run folder opened with `nanosae.open`.

    The functions of a corpus are methods, too: `analysis.contrast(by="year")` is
    `nanosae.contrast(analysis, by="year")`; likewise `card`, `search`, `explain`, `over_time`
    and, as `cut_topics`, `topics`.

    Args:
        run: The run folder, or the folder of a corpus in it.

    Attributes:
        run: The run folder.
        codes: The activations of the corpus, with texts and metadata.

    Raises:
        MissingError: If the folder holds no codes, or a requested result does not exist yet.
        StaleError: If a requested result was made from another model or other codes.
    """

    def __init__(self, run: Path) -> None:
        self.codes = Codes.open(run)
        self.run = run if self.codes.run is None else self.codes.run

    @property
    def features(self) -> pd.DataFrame:
        """One row per feature: statistics, label, scores, family, topic."""
        return load_features(self.run, self.codes)

    @property
    def findings(self) -> pd.DataFrame:
        """One sentence per row: tested findings, the most telling first, then descriptive counts.

        See `nanosae.analysis.comparisons.summary.findings` and
        `nanosae.analysis.comparisons.overview.overview`.
        """
        return needed_value(self.run, "findings.parquet", self.codes)

    @property
    def topics(self) -> pd.DataFrame:
        """One row per topic, with BERTopic's columns and the features that make it up."""
        return needed_value(self.run, "topics.parquet", self.codes)

    @property
    def families(self) -> Families:
        """Groups of features that are active together."""
        stored = needed_value(self.run, "families.json", self.codes)
        return Families.from_dict(stored)

    @property
    def evaluation(self) -> Evaluation:
        """The measures of the features beside those of baselines."""
        stored = needed_value(self.run, "evaluation.json", self.codes)
        return Evaluation.from_dict(stored)

    card = card
    search = search
    contrast = contrast
    explain = explain
    over_time = over_time
    cut_topics = cut_topics

    def explore(self, *, open_browser: bool = True) -> None:
        """Show the run on a local page until interrupted."""
        from nanosae.view.explorer.server import explore

        explore(self.run, open_browser=open_browser)

    def report(self, output: str | Path | None = None) -> Path:
        """Write all results to one HTML file and return its path."""
        from nanosae.view.report.render import report

        return report(self.run, output)

    def _fresh_table(self, name: str) -> pd.DataFrame | None:
        return fresh_value(self.run, f"{name}.parquet", self.codes)

    def to_dict(self) -> dict[str, Any]:
        """Return the folder, its rows, all findings and topics, as printed by `--json`.

        Missing and stale results are empty lists.
        """
        found: dict[str, Any] = {"output": str(self.run), "rows": self.codes.n_rows}
        for name in TABLES:
            table = self._fresh_table(name)
            found[name] = [] if table is None else records(table)
        return found

    def summary(self, n: int = 10) -> list[str]:
        """Return the biggest topics and the first findings, in one line each."""
        first = self._first_findings(n)
        has_topics = "topic" in first["side"].tolist()
        topics = "" if has_topics else self._biggest_topics()
        topic_lines = [f"  biggest topics: {topics}"] if topics else []
        findings = [f"  • {sentence}" for sentence in first["sentence"]]
        return [*self._stale_lines(), *topic_lines, *findings]

    def _stale_lines(self) -> list[str]:
        """Return a line for each result that is stale: codes, which are shown, and tables."""
        note = self.codes.note_on_model
        lines = [f"  {note}"] if note else []
        for name in TABLES:
            found = load_result(self.run, f"{name}.parquet", self.codes)
            if found is not None and found.stale:
                lines.append(f"  The {name} are stale and not shown: {found.stale}.")
        return lines

    def __repr__(self) -> str:
        """Return the folder, the number of rows and the summary."""
        head = f"Analysis({str(self.run)!r}: {self.codes.n_rows:,} rows)"
        return "\n".join([head, *self.summary()])

    def _repr_html_(self) -> str:
        lines = [line.strip().removeprefix("• ") for line in self.summary()]
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        return f"<b>{self.codes.n_rows:,} rows</b><ul>{items}</ul>"

    def _first_findings(self, n: int) -> pd.DataFrame:
        findings = self._fresh_table("findings")
        if findings is None:
            return pd.DataFrame(columns=["side", "sentence"])
        return findings.head(n)

    def _biggest_topics(self) -> str:
        """Return the names and shares of the biggest topics."""
        topics = self._fresh_table("topics")
        if topics is None:
            return ""
        largest_first = topics.sort_values("Count", ascending=False)
        is_unnamed = largest_first["Name"].str.contains(UNNAMED)
        named = largest_first.loc[~is_unnamed]
        described = []
        for topic in named.head(BIGGEST_TOPICS).to_dict("records"):
            name = topic_name(topic["Representation"])
            share = percent(topic["Count"] / self.codes.n_rows)
            described.append(f"{name} ({share})")
        return "; ".join(described)


def open(run: str | Path) -> Analysis:
    """Open a run folder and return its results.

    Raises:
        MissingError: If the folder holds no codes.
    """
    return Analysis(Path(run))
