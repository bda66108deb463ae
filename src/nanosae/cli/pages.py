"""Pages for a browser, and the demo."""

from __future__ import annotations

import nanosae
from nanosae.cli.parameters import Corpus, Count, OptionalOutput, Run


def report(run: Run, /, *, output: OptionalOutput = None, name: Corpus = None) -> None:
    """Write all that a run knows to one HTML file, which opens from disk without a network.

    Args:
        output: The file; RUN/report.html by default.
    """
    path = nanosae.report(run, output, name=name)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, open it in a browser")


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


def demo(*, output: OptionalOutput = None) -> None:
    """Train on the embedded corpus of 6,000 WordNet glosses and show ten features.

    Args:
        output: Run folder to keep; without it nothing is left on disk.
    """
    from nanosae.demo import run_demo

    run_demo(output, print)
