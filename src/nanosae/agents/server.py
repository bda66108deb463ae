"""An MCP server that gives agents read-only access to a run over standard input and output."""

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

INSTRUCTIONS = """A corpus of texts, and the features that a sparse autoencoder found in it. Start
with `overview`. Every row has a number; cite it when you rely on a text. Labels are guesses: look
at the rows of a feature (`feature`) before you rely on its label. `compare` controls the false
discovery rate of its tests; differences that it does not list were not found. All tools are
read-only."""
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
    """Return an MCP server with the functions of `answers` as read-only tools.

    Args:
        run: The run folder.

    Raises:
        MissingError: If the folder holds no codes.
        ExtraError: If the package `mcp` is not installed.
    """
    library = extra("mcp", "mcp.server", "nanosae mcp")
    types = extra("mcp", "mcp.types", "nanosae mcp")
    analysis = Analysis(Path(run))
    server = library.MCPServer("nanosae", instructions=INSTRUCTIONS)
    read_only = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for name, answer in TOOLS.items():
        server.tool(name=name, annotations=read_only)(_bind(analysis, answer))
    return server


def serve(run: str | Path) -> None:
    """Serve an agent until its input ends."""
    make_server(run).run("stdio")


def _bind(analysis: Analysis, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Bind the first parameter of a function to a run, and return user errors as answers.

    The MCP library reads the parameters of a tool from its signature.
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
