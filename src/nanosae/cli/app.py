"""The commands, whose flags have the names of the Python arguments.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import inspect
import io
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
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
    """Print a completion script for a shell.

    bash: add `source <(nanosae completion bash)` to ~/.bashrc.

    zsh: add `source <(nanosae completion zsh)` to ~/.zshrc, after compinit.

    fish: run `nanosae completion fish > ~/.config/fish/completions/nanosae.fish`.

    Args:
        shell: The shell.
    """
    script = app.generate_completion(prog_name="nanosae", shell=shell)
    print(script + ZSH_ENTRY if shell == "zsh" else script)


# cyclopts' script only defines a function: an autoloaded file must call it, a sourced one register
# it
ZSH_ENTRY = """
if [[ $funcstack[1] == _nanosae ]]; then
  _cyclopts_nanosae "$@"
else
  compdef _cyclopts_nanosae nanosae
fi
"""

GROUPS: dict[str, tuple[Callable, ...]] = {
    "Start here: from texts to findings": (whole.run, pages.demo),
    "Prepare vectors": (corpus.embed, corpus.activations, corpus.cache),
    "Train a sparse autoencoder": (
        training.recommend,
        training.train,
        training.info,
        pages.watch,
    ),
    "Analyse the features of a corpus (encode it first)": (
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
    "Test differences between groups and over time": (
        analysis.contrast,
        analysis.explain,
        analysis.over_time,
    ),
    "Compare SAEs of different seeds and sizes": (
        dictionaries.match,
        dictionaries.splitting,
        dictionaries.stability,
    ),
    "View the results in a browser": (pages.report, pages.explore),
    "Connect to other programs": (
        corpus.export,
        models.convert,
        models.push,
        pages.mcp,
        completion,
    ),
}

# these serve pages, or have a progress bar of their own
WITHOUT_BARS = (whole.run, pages.demo, pages.watch, pages.explore, pages.mcp)
WITHOUT_JSON = (pages.watch, pages.explore, pages.mcp, completion)
MAY_BE_EMPTY = ("--prompt", "--query-prompt")  # no prefix
VERBS = tuple(verb for verbs in GROUPS.values() for verb in verbs)


def _version() -> str:
    return str(nanosae.__version__)


app = App(
    name="nanosae",
    help="Train sparse autoencoders on embeddings and analyse a corpus through their features.",
    version=_version,
    default_parameter=Parameter(
        negative_bool=(),
        negative_iterable=(),
        consume_multiple=True,
        show_default=shown_default,
    ),
    suppress_keyboard_interrupt=False,
    help_format="plaintext",  # the list of commands needs no Markdown parser
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
app["stability"].usage = "Usage: nanosae stability RUN OTHERS... [OPTIONS]"

ERRORS_ARE_OURS: dict[str, Any] = {
    "exit_on_error": False,
    "print_error": False,
    "result_action": "return_value",
}
Words = Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]
Quiet = Annotated[
    bool,
    Parameter(alias="-q", help="Print results only: no progress, notes or next steps."),
]
Debug = Annotated[bool, Parameter(help="Show the traceback of an error.")]
Json = Annotated[bool, Parameter(name="--json", help="Print the result as JSON.")]


def parse(words: Sequence[str] | str) -> tuple[Callable, inspect.BoundArguments]:
    """Return the command and its arguments that a command line specifies.

    Raises:
        CycloptsError: If the command line is invalid.
    """
    # if pydantic is loaded, cyclopts would validate a list of values against the field's type
    pydantic = sys.modules.pop("pydantic", None)
    try:
        command, bound, _ = app.parse_args(
            words, end_of_options_delimiter="--", exit_on_error=False, print_error=False
        )
    finally:
        if pydantic is not None:
            sys.modules["pydantic"] = pydantic
    return command, bound


def _check_empty(words: Sequence[str]) -> None:
    """Raise a ConfigError if a value is empty: as a path, it would be the current folder."""
    for before, word in pairwise(["", *words]):
        is_flag_without_value = word.startswith("-") and word.endswith("=")
        if word and not is_flag_without_value:
            continue
        named = word.removesuffix("=") or before
        if named not in MAY_BE_EMPTY:
            raise ConfigError(
                f"the value after {named!r} is empty; is a variable unset?"
            )


@app.meta.default
def _launch(
    *words: Words, debug: Debug = False, quiet: Quiet = False, as_json: Json = False
) -> int:
    """Run one command and return its exit code."""
    output.set_manner(quiet=quiet, as_json=as_json)
    try:
        _check_empty(words)
        command, bound = parse(words)
        if as_json and command in WITHOUT_JSON:
            raise ConfigError(
                f"nanosae {command.__name__} has no result to print as JSON."
            )
        shows_bars = output.shows_progress() and command not in WITHOUT_BARS
        with bars(shows_bars), output.plain_warnings():
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
    """Run the program and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # not every terminal can print every character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = sys.argv[1:] if argv is None else argv
    try:
        code = app.meta(words, end_of_options_delimiter="", **ERRORS_ARE_OURS)
    except CycloptsError as error:
        return failures.report(error)
    return 0 if code is None else code  # None after --help and --version
