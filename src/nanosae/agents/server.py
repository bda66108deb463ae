"""Serve a run to agents by the Model Context Protocol, over standard input and output."""

from __future__ import annotations

import functools
import inspect
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
TOOLS = {
    "overview": answers.overview,
    "search": answers.search_rows,
    "row": answers.show_row,
    "steer": answers.steer,
    "features": answers.find_features,
    "feature": answers.show_feature,
    "compare": answers.compare,
    "topics": answers.topics,
    "findings": answers.findings,
}


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
    for name, answer in TOOLS.items():
        server.tool(name=name, annotations=read_only)(_about(analysis, answer))
    return server


def serve(run: str | Path) -> None:
    """Answer an agent until its input ends."""
    make_server(run).run("stdio")


def _about(analysis: Analysis, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function without its first parameter, the run; a mistake in a question is an answer.

    The library reads the parameters of a tool from its signature.
    """

    @functools.wraps(answer)
    def ask(**arguments: Any) -> dict[str, Any]:
        try:
            return answer(analysis, **arguments)
        except NanoSAEError as mistake:
            return {"error": str(mistake)}

    signature = inspect.signature(answer, eval_str=True)
    _, *asked = signature.parameters.values()
    ask.__signature__ = signature.replace(parameters=asked)  # type: ignore[attr-defined]
    return ask
