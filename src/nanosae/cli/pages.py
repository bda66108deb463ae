"""Pages for a browser, and the demo."""

from __future__ import annotations

from pathlib import Path

import nanosae
from nanosae.cli.output import say_beside_json, say_done, say_next, to_json
from nanosae.cli.parameters import Corpus, Count, Json, Open, OptionalOutput, Run


def report(
    run: Run,
    /,
    *,
    output: OptionalOutput = None,
    name: Corpus = None,
    as_json: Json = False,
) -> None:
    """Write all that a run knows to one HTML file, which opens from disk without a network.

    Args:
        output: The file; RUN/report.html by default.
    """
    path = nanosae.report(run, output, name=name)
    size = path.stat().st_size
    sentence = f"{path}: {size / 1e6:.1f} MB, open it in a browser"
    say_done({"output": path, "bytes": size}, sentence, as_json)
    say_next(f"nanosae explore {run}", as_json=as_json)


def watch(run: Run, /, *, port: Count = 8321) -> None:
    """Show the course of a training, running or finished, on a local page.

    Args:
        port: Port on this machine; another one if it is taken.
    """
    nanosae.watch(run, port)


def explore(
    run: Run,
    /,
    *,
    name: Corpus = None,
    host: str = "127.0.0.1",
    port: Count = 8765,
    browser: bool = True,
) -> None:
    """Look into a run in the browser: maps, search, cards, steering, comparisons, tags.

    Args:
        host: Address to listen on; any other than this machine's asks for a token.
        port: Port; 0 takes a free one.
        browser: Open a browser.
    """
    nanosae.explore(run, name, host=host, port=port, open_browser=browser)


def demo(
    *, output: OptionalOutput = None, browser: Open = False, as_json: Json = False
) -> None:
    """Run everything on 6,000 glosses of WordNet, which come along with their embeddings.

    Args:
        output: Run folder to keep; without it nothing is left on disk.
    """
    import tempfile
    import webbrowser

    from nanosae.demo import run_demo

    if browser and output is None:
        output = Path(tempfile.mkdtemp(prefix="nanosae-demo-"))
    analysis = run_demo(output, say_beside_json if as_json else print)
    if as_json:
        print(to_json(analysis.to_dict() | {"output": output}))
    if output is None:
        again = "nanosae run YOUR_TEXTS.csv -o run"
        say_next("nanosae demo --open", again, as_json=as_json)
        return
    page = analysis.run / "report.html"
    if not as_json:
        print(f"{page}: all of it on one page")
    again = "nanosae run YOUR_TEXTS.csv -o run"
    say_next(f"nanosae explore {output}", again, as_json=as_json)
    if browser:
        webbrowser.open(page.absolute().as_uri())


def mcp(run: Run, /) -> None:
    """Answer the questions of an agent about a run, over standard input and output (MCP).

    Agents start it themselves: command `nanosae`, arguments `mcp RUN`. Nothing is changed.
    """
    from nanosae.agents.server import serve

    serve(run)
