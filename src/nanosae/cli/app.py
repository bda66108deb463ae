"""The verbs of the command line, flags of the same names as the Python arguments.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import inspect
import io
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter

import nanosae
from nanosae.cli import (
    analysis,
    corpus,
    dictionaries,
    failures,
    models,
    output,
    pages,
    signals,
    training,
)
from nanosae.cli import run as whole
from nanosae.cli.parameters import shown_default
from nanosae.errors import ConfigError
from nanosae.progress import bars


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands and options in a shell.

    bash: put `source <(nanosae completion bash)` into ~/.bashrc.

    zsh: put `source <(nanosae completion zsh)` into ~/.zshrc, after compinit.

    fish: `nanosae completion fish > ~/.config/fish/completions/nanosae.fish`.

    Args:
        shell: The shell that reads the script.
    """
    script = app.generate_completion(prog_name="nanosae", shell=shell)
    print(script + ZSH_ENTRY if shell == "zsh" else script)


# cyclopts' script defines a function; as a file of $fpath it has to call it, sourced to register it
ZSH_ENTRY = """
if [[ $funcstack[1] == _nanosae ]]; then
  _cyclopts_nanosae "$@"
else
  compdef _cyclopts_nanosae nanosae
fi
"""

GROUPS: dict[str, tuple[Callable, ...]] = {
    "From texts to findings: begin here": (whole.run, pages.demo),
    "Rows: vectors out of texts": (corpus.embed, corpus.activations, corpus.cache),
    "Training: a sparse autoencoder out of vectors": (
        training.recommend,
        training.train,
        training.info,
        pages.watch,
    ),
    "Features of a corpus: encode first, then read, name and search them": (
        corpus.encode,
        analysis.describe,
        analysis.label,
        analysis.families,
        analysis.topics,
        analysis.search,
        analysis.evaluate,
        dictionaries.steer,
        dictionaries.tag,
    ),
    "Comparisons: tested differences between groups and over time": (
        analysis.contrast,
        analysis.explain,
        analysis.over_time,
    ),
    "Several SAEs: what other seeds and sizes find": (
        dictionaries.match,
        dictionaries.splitting,
        dictionaries.stability,
    ),
    "Pages: all of it in a browser": (pages.report, pages.explore),
    "Other programs: features and SAEs elsewhere": (
        corpus.export,
        models.convert,
        models.push,
        pages.mcp,
        completion,
    ),
}

# these serve pages, or show one bar over all of their stages
WITHOUT_BARS = (whole.run, pages.demo, pages.watch, pages.explore, pages.mcp)
WITHOUT_JSON = (pages.watch, pages.explore, pages.mcp, completion)
VERBS = tuple(verb for verbs in GROUPS.values() for verb in verbs)


def _version() -> str:
    return str(nanosae.__version__)


app = App(
    name="nanosae",
    help="Train sparse autoencoders on embeddings and read a corpus through their features.",
    version=_version,
    default_parameter=Parameter(
        negative_bool=(),
        negative_iterable=(),
        consume_multiple=True,
        show_default=shown_default,
    ),
    suppress_keyboard_interrupt=False,
    help_format="plaintext",  # the list of verbs needs no parser of Markdown
)
app.meta.suppress_keyboard_interrupt = False
OPTIONS = Group("Options", sort_key=len(GROUPS))
app.meta.group_parameters = OPTIONS
for flag in ("--help", "--version"):
    app[flag].group = OPTIONS
for group_place, (title, verbs) in enumerate(GROUPS.items()):
    group = Group(title, sort_key=group_place)
    for place, verb in enumerate(verbs):
        app.command(verb, group=group, sort_key=place, help_format="markdown")
app["search"].usage = "Usage: nanosae search RUN [QUERY] [OPTIONS]"

ERRORS_ARE_OURS: dict[str, Any] = {
    "exit_on_error": False,
    "print_error": False,
    "result_action": "return_value",
}
Words = Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]
Quiet = Annotated[
    bool,
    Parameter(alias="-q", help="No progress, notes and next commands."),
]
Debug = Annotated[bool, Parameter(help="Show the traceback of an error.")]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON.")]


def parse(words: Sequence[str] | str) -> tuple[Callable, inspect.BoundArguments]:
    """Return the command that words ask for, and its arguments.

    Raises:
        CycloptsError: If they ask for none.
    """
    # where pydantic is loaded, cyclopts would check a list of a field's values against its type
    pydantic = sys.modules.pop("pydantic", None)
    try:
        command, bound, _ = app.parse_args(
            words, end_of_options_delimiter="--", exit_on_error=False, print_error=False
        )
    finally:
        if pydantic is not None:
            sys.modules["pydantic"] = pydantic
    return command, bound


@app.meta.default
def _launch(
    *words: Words, debug: Debug = False, quiet: Quiet = False, as_json: Json = False
) -> int:
    """Run one verb; return the exit code."""
    output.set_manner(quiet=quiet, as_json=as_json)
    try:
        command, bound = parse(words)
        if as_json and command in WITHOUT_JSON:
            raise ConfigError(
                f"nanosae {command.__name__} has no result to print as JSON."
            )
        shows_bars = output.shows_progress() and command not in WITHOUT_BARS
        with bars(shows_bars):
            command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else failures.MISTAKE
    except Exception as error:
        if signals.caught:
            raise signals.Stopped(signals.caught[0]) from error
        if debug:
            traceback.print_exc()
        return failures.report(error)
    return 0


def run(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # a terminal need not know every character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = sys.argv[1:] if argv is None else argv
    try:
        code = app.meta(words, end_of_options_delimiter="", **ERRORS_ARE_OURS)
    except CycloptsError as error:
        return failures.report(error)
    return 0 if code is None else code  # None: help or the version was shown
