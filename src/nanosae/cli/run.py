"""The main command: from a file of texts to findings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Group, Parameter

from nanosae.cli.output import (
    is_quiet,
    open_in_browser,
    prints_json,
    say_next,
    say_progress,
    show,
    show_facts,
    to_json,
)
from nanosae.cli.parameters import (
    Encoding,
    Number,
    Open,
    OptionalFile,
    Output,
    Stats,
    Texts,
    refuse_unused,
)
from nanosae.errors import ConfigError, command_line

if TYPE_CHECKING:
    from nanosae.pipeline.result import Analysis


@Parameter(name="*", group=Group("Columns", sort_key=0))
@dataclass(frozen=True)
class Columns:
    """How to interpret the columns of the file.

    Attributes:
        text: Text column, if it is not found automatically.
        by: Columns whose values to compare; all categories by default.
        time: Columns over which to follow features; all dates by default.
        target: Columns of numbers to explain; all by default.
        classes: Column of known classes to evaluate the features on.
        encoding: Encoding of a CSV or text file.
    """

    text: str | None = None
    by: tuple[str, ...] | None = None  # `make_plan` splits them at commas
    time: tuple[str, ...] | None = None
    target: tuple[str, ...] | None = None
    classes: str | None = None
    encoding: Encoding = "utf-8"


@Parameter(name="*", group=Group("Embeddings", sort_key=1))
@dataclass(frozen=True)
class Embeddings:
    """How to embed the texts.

    Attributes:
        embedder: wordllama, all-MiniLM-L6-v2, the name or folder of any sentence-transformers
            model, model2vec:NAME, or with --base-url a model of that server; by default the best
            installed one.
        base_url: Address of a server with the embeddings protocol (key in NANOSAE_API_KEY or
            OPENAI_API_KEY).
        prompt: Prefix of each text for the embedder, such as "passage: ".
        query_prompt: Prefix of each search query, such as "query: "; that of the texts by default.
        vectors: File of precomputed vectors, one for each text, to use instead of an embedder.
    """

    embedder: str | None = None
    base_url: str | None = None
    prompt: str = ""
    query_prompt: str | None = None
    vectors: OptionalFile = None


def run(
    file: Texts,
    /,
    *,
    output: Output,
    columns: Columns = Columns(),
    embeddings: Embeddings = Embeddings(),
    config: Path | None = None,
    n_topics: Number = 20,
    dry_run: bool = False,
    price: float | None = None,
    stats: Stats = False,
    browser: Open = False,
    explore: bool = False,
) -> None:
    """Turn a file of texts into labelled features, tested comparisons and a report.

    Repeat the command to resume at the first unfinished stage. With other settings, only the stages
    that depend on them are repeated, and those whose results were deleted.

    Args:
        output: The run folder.
        config: JSON file of training settings.
        n_topics: Number of topics; fewer if words cannot tell them apart, or if there are fewer
            than ten rows for each.
        dry_run: Only print how the columns are interpreted, and what embedding costs.
        price: Price of a million tokens, for --dry-run.
        explore: Open the explorer at the end.
    """
    from nanosae.analysis.comparisons.sentences import NUMBERS
    from nanosae.config import TrainConfig
    from nanosae.pipeline.plan import embedding_cost, make_plan
    from nanosae.pipeline.run import run_plan

    if not dry_run:
        refuse_unused("without --dry-run", run, {"price": price})
    elif price is not None and not price >= 0:
        raise ConfigError(f"--price {price}: give a price of at least 0.")
    settings = None if config is None else TrainConfig.load(config)
    plan = make_plan(file, **asdict(columns), **asdict(embeddings))
    if dry_run:
        cost = embedding_cost(plan, output, price)
        sentences = "\n".join([*plan.lines(), cost])
        show_facts({"plan": plan.lines(), "cost": cost}, sentences)
        return
    analysis = run_plan(
        plan, output, config=settings, n_topics=n_topics, say=say_progress
    )
    show_results(analysis, output)
    if stats and not prints_json():
        show(analysis.findings, columns=["sentence", *NUMBERS])
    page = output / "report.html"
    say_next(command_line("explore", output), f"open {page} in a browser")
    if browser:
        open_in_browser(page)
    if explore:
        analysis.explore()


def show_results(analysis: Analysis, output: Path | None) -> None:
    """Print the results of a run as JSON, or in words unless `say_progress` has printed them."""
    if prints_json():
        print(to_json(analysis.to_dict() | {"output": output}))
    elif is_quiet():
        print(*analysis.summary(), sep="\n")
