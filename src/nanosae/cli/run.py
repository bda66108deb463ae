"""The main job in one command: from a file of texts to findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nanosae.cli.output import (
    open_in_browser,
    prints_json,
    say,
    say_next,
    show,
    show_facts,
    to_json,
)
from nanosae.cli.parameters import (
    Encoding,
    FileName,
    Number,
    Open,
    OptionalWords,
    Output,
    Stats,
)

File = Annotated[
    FileName,
    Parameter(
        help="Texts: a .csv .tsv .jsonl .json .parquet .xlsx or .txt file, also compressed, a "
        "folder or a glob."
    ),
]


def run(
    file: File,
    /,
    *,
    output: Output,
    text: str | None = None,
    by: OptionalWords = None,
    time: OptionalWords = None,
    target: OptionalWords = None,
    labels: str | None = None,
    embedder: str | None = None,
    base_url: str | None = None,
    prompt: str = "",
    query_prompt: str | None = None,
    dry_run: bool = False,
    price: float | None = None,
    vectors: FileName | None = None,
    encoding: Encoding = "utf-8",
    config: Path | None = None,
    topics: Number = 20,
    explore: bool = False,
    browser: Open = False,
    stats: Stats = False,
) -> None:
    """Turn a file of texts into named concepts, tested comparisons and a report.

    Called again, it goes on at the first stage that is not finished; with other settings, only what
    depends on them is done again.

    Args:
        output: The run folder.
        text: The text column, where it is not to be chosen.
        by: Columns whose values to compare, instead of all categories.
        time: Columns to follow concepts over, instead of all dates.
        target: Columns of numbers to explain, instead of all.
        labels: Column of known labels to evaluate the features on.
        embedder: wordllama, all-MiniLM-L6-v2, the name of any sentence-transformers model,
            model2vec:NAME, or with --base-url a model of that server.
        base_url: Server of the embeddings protocol that has the embedder (key in NANOSAE_API_KEY or
            OPENAI_API_KEY).
        prompt: Put before each text for the embedder, such as "passage: ".
        query_prompt: Put before each query of a search, such as "query: "; by default the texts'
            prompt.
        dry_run: Only say what is taken for what, and what embedding costs.
        price: Price of a million tokens, for --dry-run.
        vectors: Rows that belong to the texts, instead of an embedder.
        config: JSON file of training settings.
        topics: Number of topics.
        explore: Open the explorer at the end.
    """
    from nanosae.analysis.comparisons.sentences import NUMBERS
    from nanosae.config import TrainConfig
    from nanosae.pipeline.plan import PlanOptions, embedding_cost, make_plan
    from nanosae.pipeline.run import run_plan

    options = PlanOptions(
        vectors=vectors,
        text=text,
        by=by,
        time=time,
        target=target,
        labels=labels,
        embedder=embedder,
        base_url=base_url,
        prompt=prompt,
        query_prompt=query_prompt,
        encoding=encoding,
    )
    settings = None if config is None else TrainConfig.load(config)
    plan = make_plan(file, options)
    if dry_run:
        cost = embedding_cost(plan, output, price)
        sentences = "\n".join([*plan.lines(), cost])
        show_facts({"plan": plan.lines(), "cost": cost}, sentences)
        return
    analysis = run_plan(plan, output, config=settings, n_topics=topics, say=say)
    if prints_json():
        print(to_json(analysis.to_dict()))
    elif stats:
        show(analysis.findings, columns=["sentence", *NUMBERS])
    page = output / "report.html"
    say_next(f"nanosae explore {output}", f"open {page} in a browser")
    if browser:
        open_in_browser(page)
    if explore:
        analysis.explore()
