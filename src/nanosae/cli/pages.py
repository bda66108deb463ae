"""Commands that show results in a browser, and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import nanosae
from nanosae.cli.output import (
    open_in_browser,
    prints_json,
    say_next,
    say_progress,
    show_facts,
)
from nanosae.cli.parameters import Corpus, Count, Open, OptionalOutput, Run
from nanosae.cli.run import show_results
from nanosae.errors import command_line


def report(
    run: Run,
    /,
    *,
    output: OptionalOutput = None,
    name: Corpus = None,
) -> None:
    """Write all results of a run to one HTML file that opens offline.

    Args:
        output: Output file; RUN/report.html by default.
    """
    path = nanosae.report(run, output, name=name)
    size = path.stat().st_size
    sentence = f"{path}: {size / 1e6:.1f} MB; open it in a browser"
    show_facts({"output": path, "bytes": size}, sentence)
    of_corpus = [] if name is None else ["--name", name]
    say_next(command_line("explore", run, *of_corpus))


def watch(run: Run, /, *, port: Count = 8321) -> None:
    """Follow a running or finished training on a local page.

    Args:
        port: Port on this machine; a free one if it is taken.
    """
    nanosae.watch(run, port)


def explore(
    run: Run,
    /,
    *,
    name: Corpus = None,
    host: str = "127.0.0.1",
    port: Count = 8765,
    open_browser: Annotated[
        bool, Parameter("--browser", negative="--no-browser")
    ] = True,
) -> None:
    """Explore a run in the browser: map, search, cards, steering, comparisons, tags.

    Args:
        host: Address to listen on; addresses other than this machine's require a token.
        port: Port to listen on; 0 chooses a free one.
        open_browser: Open the page in a browser.
    """
    nanosae.explore(run, name=name, host=host, port=port, open_browser=open_browser)


def demo(*, output: OptionalOutput = None, browser: Open = False) -> None:
    """Run the whole analysis on the bundled corpus of 6,000 WordNet definitions.

    Args:
        output: Run folder; by default a temporary one, which is deleted unless --open is given.
    """
    import tempfile

    from nanosae.demo import run_demo

    if browser and output is None:
        output = Path(tempfile.mkdtemp(prefix="nanosae-demo-"))
    analysis = run_demo(output, say_progress)
    show_results(analysis, output)
    own_texts = "nanosae run YOUR_TEXTS.csv -o run"
    if output is None:
        say_progress("The run folder was temporary and is deleted; -o RUN keeps it.")
        say_next("nanosae demo --open", own_texts)
        return
    page = analysis.run / "report.html"
    if not prints_json():
        print(f"{page} holds all results on one page")
    say_next(command_line("explore", output), own_texts)
    if browser:
        open_in_browser(page)


def mcp(run: Run, /) -> None:
    """Serve a run to a language-model agent over standard input and output (MCP), read-only.

    Agents start the server themselves, with command `nanosae` and arguments `mcp RUN`.
    """
    from nanosae.agents.server import serve

    serve(run)
