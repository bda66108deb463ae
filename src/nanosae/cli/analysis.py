"""Describe, name, search and compare the features of a corpus."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

import nanosae
from nanosae.cli.output import show
from nanosae.cli.parameters import Corpus, Json, Number, Positional, Run, app

if TYPE_CHECKING:
    from nanosae.analysis.findings import Contrast


@app.command
def describe(corpus: Corpus, feature: int | None = None) -> None:
    """Describe every feature (written to features.parquet), or show the card of one.

    Args:
        corpus: Which one.
        feature: Show this feature's card.
    """
    if feature is not None:
        card = nanosae.card(corpus.codes(), feature)
        print(json.dumps(card.to_dict(), default=str) if corpus.as_json else card)
        return
    table = nanosae.describe(corpus.codes())
    corpus.save(table)
    show(table, corpus.as_json, ["feature", "density", "n_active", "max_activation", "health"])


@app.command
def label(
    corpus: Corpus,
    groups: str | None = None,
    llm: bool = False,
    model: str = "gpt-4o-mini",
    base_url: str | None = None,
    scoring: Literal["predict", "detect"] = "predict",
    negatives: Literal["random", "hard", "mixed"] = "random",
    concurrency: int = 8,
    max_calls: int | None = None,
    max_cost: float | None = None,
    price: tuple[float, float] | None = None,
    features: tuple[int, ...] | None = None,
    dry_run: bool = False,
) -> None:
    """Name features by keywords, or with --llm by a language model, each with a held-out score.

    Args:
        corpus: Which one.
        groups: Column whose groups stay on one side of the held-out split.
        llm: Ask a language model (key in OPENAI_API_KEY).
        model: Its name.
        base_url: Any server of the chat-completions protocol.
        scoring: Judge one text a call, or find those that fit among ten (a tenth of the calls).
        negatives: Kind of the inactive texts that are shown and judged.
        concurrency: Calls under way at once; 1 suits a small local server.
        max_calls: Stop after so many calls.
        max_cost: Stop at this cost, in the currency of `price`.
        price: Price of a million tokens, read and written.
        features: Only these.
        dry_run: Only count calls, tokens and price.
    """
    codes, chosen = corpus.codes(), None if features is None else list(features)
    if llm:
        limits = {"price": price, "max_calls": max_calls, "max_cost": max_cost}
        chat = nanosae.Chat(model, base_url, concurrency=concurrency, **limits)
        how: Any = {"groups": groups, "scoring": scoring, "negatives": negatives}
        table = nanosae.llm_label(codes, chat, chosen, dry_run=dry_run, **how)
        if dry_run:
            show(table, corpus.as_json)
            return
        shown = ["feature", "llm_label", "llm_f1", "llm_pearson", "llm_n"]
    else:
        table = nanosae.label(codes, chosen, groups=groups)
        shown = ["feature", "label", "label_auc", "label_f1", "label_n"]
    corpus.save(table)
    for usage in table.attrs.get("usage", []):
        print(", ".join(f"{k} {v}" for k, v in usage.items() if v != ""), file=sys.stderr)
    if unlabelled := table.attrs.get("unlabelled"):
        what = f"{len(unlabelled)} features without a judged name keep the labels they had"
        print(f"{what}; the same command goes on from the answers so far.", file=sys.stderr)
    best = table if corpus.as_json else table.sort_values(shown[2], ascending=False)
    show(best, corpus.as_json, shown)


@app.command
def families(corpus: Corpus) -> None:
    """Group features into families by what fires together.

    Args:
        corpus: Which one.
    """
    import pandas as pd

    codes = corpus.codes()
    found = nanosae.families(codes)
    text = found.to_json(corpus.run / "families.json")
    family = pd.Series(found.feature_family, range(codes.n_features), dtype="Int64")
    corpus.save(family.rename("family").rename_axis("feature").reset_index())
    print(text) if corpus.as_json else show(found.table, False)


@app.command
def topics(corpus: Corpus, n: Number = 20) -> None:
    """Merge features into N topics, without training again.

    Args:
        corpus: Which one.
        n: Number of topics.
    """
    import pandas as pd

    from nanosae.runs.tables import write

    found = nanosae.topics(corpus.codes(), n)
    corpus.save(pd.DataFrame({"topic": found.feature_topic}).rename_axis("feature").reset_index())
    write(found.table, corpus.run / "topics.parquet")
    show(found.table, corpus.as_json, ["Topic", "Count", "Name"])


@app.command
def search(
    run: Run,
    query: Annotated[Positional[str | None], tyro.conf.arg(metavar="QUERY")] = None,
    row: int | None = None,
    feature: str | None = None,
    n: Number = 10,
    name: str | None = None,
    as_json: Json = False,
) -> None:
    """Find rows by words, by another row or by a feature; each hit says which features it shares.

    Args:
        run: The run folder.
        query: Words.
        row: A row to start from.
        feature: A feature's number or label.
        n: Number of hits.
        name: Which corpus of the run.
        as_json: Print JSON.
    """
    by = int(feature) if feature is not None and feature.isdecimal() else feature
    found = nanosae.search(Corpus(run, name).codes(), query, row=row, feature=by, n=n)
    if not as_json:
        print(found.note)
    show(found.to_frame(), as_json)


@app.command
def contrast(
    corpus: Corpus,
    by: str,
    a: str | None = None,
    b: str | None = None,
    groups: str | None = None,
) -> None:
    """Say which features distinguish groups of rows.

    Args:
        corpus: Which one.
        by: The column that makes the groups.
        a: Its value in the first group; all values are compared without it.
        b: Its value in the second group; all other rows without it.
        groups: Column whose groups stay on one side of the held-out split.
    """
    found = nanosae.contrast(corpus.codes(), a, b, by=by, groups=groups)
    _tell(corpus, f"contrast-{by}", found)


@app.command
def explain(corpus: Corpus, target: str, groups: str | None = None) -> None:
    """Say which features explain a column, one by one and together.

    Args:
        corpus: Which one.
        target: The column: two classes, several, or numbers.
        groups: Column whose groups stay on one side of the held-out split.
    """
    _tell(corpus, f"explain-{target}", nanosae.explain(corpus.codes(), target, groups=groups))


@app.command
def over_time(corpus: Corpus, column: str) -> None:
    """Say which features become more or less frequent over time.

    Args:
        corpus: Which one.
        column: The column with the time.
    """
    _tell(corpus, f"time-{column}", nanosae.over_time(corpus.codes(), column))


@app.command
def evaluate(corpus: Corpus, labels: str | None = None, groups: str | None = None) -> None:
    """Measure what the features are worth, beside dense vectors, PCA, k-means and a random decoder.

    Args:
        corpus: Which one.
        labels: Column of known labels.
        groups: Column whose groups stay on one side of the held-out split.
    """
    found = nanosae.evaluate(corpus.codes(), labels, groups=groups)
    text = json.dumps(found.to_dict(), default=str)
    (corpus.run / "evaluation.json").write_text(text, encoding="utf-8")
    print(text if corpus.as_json else found.wide().to_string())


def _tell(corpus: Corpus, name: str, found: Contrast) -> None:
    text = json.dumps(found.to_dict(), default=str)
    (corpus.run / "contrasts").mkdir(exist_ok=True)
    (corpus.run / "contrasts" / f"{name}.json").write_text(text, encoding="utf-8")
    sentences = found.sentences(20) or ["Nothing differs by more than chance would."]
    print(text if corpus.as_json else "\n".join(sentences))
