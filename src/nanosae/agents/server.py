"""Serve a run to agents by the Model Context Protocol, over standard input and output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanosae.agents import answers
from nanosae.errors import NanoSAEError
from nanosae.extras import extra
from nanosae.pipeline.result import Analysis

INSTRUCTIONS = """A corpus of texts, and the features that a sparse autoencoder found in it. Begin
with `overview`. Every row has a number; quote it where you rely on a text. Labels are guesses:
look at a feature's rows (`feature`) before you rely on it. `compare` controls the
false discovery rate of its tests; what it does not list, it did not find. Nothing is changed."""


def make_server(run: str | Path) -> Any:
    """Return an MCP server with the questions of `answers` as read-only tools.

    Args:
        run: The run folder.

    Raises:
        MissingError: If it holds no codes; ExtraError: without the package `mcp`.
    """
    library = extra("mcp", "mcp.server", "nanosae mcp")
    types = extra("mcp", "mcp.types", "nanosae mcp")
    analysis = Analysis(Path(run))
    server = library.MCPServer("nanosae", instructions=INSTRUCTIONS)
    read_only = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)

    def tool(answer: Callable[..., Any]) -> None:
        server.tool(annotations=read_only)(answer)

    _add_questions_on_rows(tool, analysis)
    _add_questions_on_features(tool, analysis)
    return server


def serve(run: str | Path) -> None:
    """Answer an agent until its input ends."""
    make_server(run).run("stdio")


def _add_questions_on_rows(tool: Callable[..., None], analysis: Analysis) -> None:
    def overview() -> dict[str, Any]:
        """Say what the run holds: rows, features, columns and their values."""
        return _answered(answers.overview, analysis)

    def search(
        query: str | None = None,
        row: int | None = None,
        feature: int | None = None,
        n: int = 10,
    ) -> dict[str, Any]:
        """Find rows: by words (query), by likeness to a row, or by a feature's number."""
        return _answered(answers.search_rows, analysis, query, row, feature, n)

    def row(row: int) -> dict[str, Any]:
        """Show a row: its text, its columns and its features, strongest first."""
        return _answered(answers.show_row, analysis, row)

    def steer(row: int, edit: dict[str, float], n: int = 10) -> dict[str, Any]:
        """Find rows like a row with other activations of features (number or label); 0 is off."""
        return _answered(answers.steer, analysis, row, edit, n)

    for question in (overview, search, row, steer):
        tool(question)


def _add_questions_on_features(tool: Callable[..., None], analysis: Analysis) -> None:
    def features(words: str = "", n: int = 20) -> dict[str, Any]:
        """List features whose label holds all of some words, the most frequent first."""
        return _answered(answers.find_features, analysis, words, n)

    def feature(feature: int) -> dict[str, Any]:
        """Show a feature: its label, its statistics, rows on which it is active and is not."""
        return _answered(answers.show_feature, analysis, feature)

    def compare(
        by: str, a: str | None = None, b: str | None = None, n: int = 20
    ) -> dict[str, Any]:
        """Test which features tell rows with value a of a column from those with b, or the rest."""
        return _answered(answers.compare, analysis, by, a, b, n)

    def topics(n: int = 20) -> dict[str, Any]:
        """List the topics, the largest first, with the numbers of typical rows."""
        return _answered(answers.topics, analysis, n)

    def findings(n: int = 20) -> dict[str, Any]:
        """List the tested sentences on the corpus, the most telling first."""
        return _answered(answers.findings, analysis, n)

    for question in (features, feature, compare, topics, findings):
        tool(question)


def _answered(answer: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Return an answer; a mistake in the question is one, too."""
    try:
        return answer(*arguments)
    except NanoSAEError as mistake:
        return {"error": str(mistake)}
