"""Everything that a run has found, as tables and objects."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nanosae.analysis.comparisons.overview import UNNAMED
from nanosae.analysis.comparisons.sentences import percent
from nanosae.analysis.groups.topic_rows import NAMING_WORDS
from nanosae.codes import Codes
from nanosae.errors import MissingError, StaleError
from nanosae.runs.export import records
from nanosae.runs.results import fresh_value, load_result
from nanosae.runs.tables import load_features

if TYPE_CHECKING:
    from nanosae.analysis.cards import Card
    from nanosae.analysis.comparisons.findings import Contrast
    from nanosae.analysis.evaluation.evaluate import Evaluation
    from nanosae.analysis.groups.families import Families
    from nanosae.analysis.groups.topics import Topics
    from nanosae.analysis.search.results import Results

BIGGEST_TOPICS = 4
TABLES = ("findings", "topics")  # that a summary tells


class Analysis:
    """The results of `nanosae.run`, or of a run folder that `nanosae.open` has opened.

    Args:
        run: The run folder.

    Attributes:
        run: The run folder.
        codes: The activations of the corpus, with texts and metadata.

    Raises:
        MissingError: If the folder holds no codes, or a result that is asked for is not made yet.
        StaleError: If a result that is asked for is of another model or other codes.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.codes = Codes.open(run)

    @property
    def features(self) -> pd.DataFrame:
        """One line per feature: statistics, label, scores, family, topic."""
        return load_features(self.run, self.codes)

    @property
    def findings(self) -> pd.DataFrame:
        """One sentence per line: tested ones, the most telling first, then what there is.

        See `nanosae.analysis.comparisons.sentences.findings` and
        `nanosae.analysis.comparisons.overview.overview`.
        """
        return self._result("findings.parquet", "run")

    @property
    def topics(self) -> pd.DataFrame:
        """One line per topic, with BERTopic's columns and the features that it is made of."""
        return self._result("topics.parquet", "topics")

    @property
    def families(self) -> Families:
        """Groups of features that are active together."""
        from nanosae.analysis.groups.families import Families

        return Families.from_dict(self._result("families.json", "families"))

    @property
    def evaluation(self) -> Evaluation:
        """What the features are worth beside baselines."""
        from nanosae.analysis.evaluation.evaluate import Evaluation

        return Evaluation.from_dict(self._result("evaluation.json", "evaluate"))

    def cut_topics(self, n: int) -> Topics:
        """Group rows and features into another number of topics."""
        from nanosae.analysis.groups.topics import topics

        return topics(self.codes, n)

    def card(self, feature: int) -> Card:
        """Return all that is known of one feature."""
        from nanosae.analysis.cards import card

        return card(self.codes, feature)

    def search(
        self,
        query: Any = None,
        *,
        row: int | None = None,
        feature: Any = None,
        n: int = 10,
    ) -> Results:
        """Find rows by words, by another row or by a feature."""
        from nanosae.analysis.search.search import search

        return search(self.codes, query, row=row, feature=feature, n=n)

    def contrast(
        self, a: Any = None, b: Any = None, *, by: str | None = None
    ) -> Contrast:
        """Find the features that tell two groups of rows apart."""
        from nanosae.analysis.comparisons.contrast import contrast

        return contrast(self.codes, a, b, by=by)

    def explain(self, target: Any) -> Contrast:
        """Find the features that are associated with a column of numbers or categories."""
        from nanosae.analysis.comparisons.explain import explain

        return explain(self.codes, target)

    def over_time(self, column: str) -> Contrast:
        """Find the features that become more or less frequent."""
        from nanosae.analysis.comparisons.over_time import over_time

        return over_time(self.codes, column)

    def explore(self, *, open_browser: bool = True) -> None:
        """Show the run on a local page, until it is interrupted."""
        from nanosae.view.explorer.server import explore

        explore(self.run, open_browser=open_browser)

    def report(self, path: str | Path | None = None) -> Path:
        """Write everything to one HTML file and return its path."""
        from nanosae.view.report.render import report

        return report(self.run, path)

    def _result(self, name: str, verb: str) -> Any:
        found = load_result(self.run, name, self.codes)
        if found is None:
            raise MissingError(
                f"{self.run} has no {name} yet.", remedy=f"nanosae {verb} makes it."
            )
        if found.stale:
            raise StaleError(
                f"{self.run / name} is stale: {found.stale}.",
                file=self.run / name,
                remedy=f"nanosae {verb} makes it again.",
            )
        return found.value

    def _fresh_table(self, name: str) -> pd.DataFrame | None:
        return fresh_value(self.run, f"{name}.parquet", self.codes)

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints: the folder, its rows, all findings and topics.

        Results that were not made, or of another model or other codes, are empty lists.
        """
        found: dict[str, Any] = {"output": str(self.run), "rows": self.codes.n_rows}
        for name in TABLES:
            table = self._fresh_table(name)
            found[name] = [] if table is None else records(rows=table)["rows"]
        return found

    def summary(self, n: int = 10) -> list[str]:
        """Return the first findings, and the biggest topics, a line each."""
        first = self._first_findings(n)
        tells_topics = "topic" in first["side"].tolist()
        topics = "" if tells_topics else self._biggest_topics()
        about = [f"  biggest topics: {topics}"] if topics else []
        lines = [f"  • {sentence}" for sentence in first["sentence"]]
        return [*self._stale_lines(), *about, *lines]

    def _stale_lines(self) -> list[str]:
        """Say which results are left out since they are of another model or other codes."""
        lines = []
        for name in TABLES:
            found = load_result(self.run, f"{name}.parquet", self.codes)
            if found is not None and found.stale:
                lines.append(f"  The {name} are stale and not shown: {found.stale}.")
        return lines

    def __repr__(self) -> str:
        """Say what it is about and its first findings."""
        head = f"Analysis({str(self.run)!r}: {self.codes.n_rows:,} rows)"
        return "\n".join([head, *self.summary()])

    def _repr_html_(self) -> str:
        sentences = self._first_findings(10)["sentence"]
        items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
        return f"<b>{self.codes.n_rows:,} rows</b><ul>{items}</ul>"

    def _first_findings(self, n: int) -> pd.DataFrame:
        findings = self._fresh_table("findings")
        if findings is None:
            return pd.DataFrame(columns=["side", "sentence"])
        return findings.head(n)

    def _biggest_topics(self) -> str:
        """Name the biggest topics with their shares."""
        topics = self._fresh_table("topics")
        if topics is None:
            return ""
        largest_first = topics.sort_values("Count", ascending=False)
        is_unnamed = largest_first["Name"].str.contains(UNNAMED)
        named = largest_first.loc[~is_unnamed]
        told = []
        for topic in named.head(BIGGEST_TOPICS).to_dict("records"):
            words = ", ".join(topic["Representation"][:NAMING_WORDS])
            share = percent(topic["Count"] / self.codes.n_rows)
            told.append(f"{words} ({share})")
        return "; ".join(told)


def open(run: str | Path) -> Analysis:
    """Open a run folder: everything that was found in it, as tables and objects.

    Raises:
        MissingError: If the folder holds no codes.
    """
    return Analysis(Path(run))
