"""Describe, label, group, search and compare the features of a corpus."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

import nanosae
from nanosae.cli.output import (
    SHOWN_ROWS,
    command_on,
    open_codes,
    prints_json,
    save,
    say_next,
    say_notes,
    show,
    show_facts,
)
from nanosae.cli.parameters import (
    Corpus,
    Count,
    Covariates,
    Groups,
    Integers,
    Number,
    OptionalCount,
    OptionalFile,
    Run,
    Sources,
    Stats,
    TextColumn,
    refuse_unused,
)
from nanosae.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from nanosae.analysis.comparisons.findings import Contrast
    from nanosae.codes import Codes


def describe(
    run: Run,
    /,
    *,
    feature: OptionalCount = None,
    name: Corpus = None,
) -> None:
    """Compute statistics of every feature, or show the card of one.

    Args:
        feature: Show the card of this feature.
    """
    from nanosae.runs.tables import known_labels

    codes = open_codes(run, name)
    if feature is not None:
        card = nanosae.card(codes, feature)
        show_facts(card.to_dict(), card)
        return
    table = nanosae.describe(codes)
    save(codes, table)
    say_notes(table.attrs.get("notes", ()))
    columns = ["feature", "density", "n_active", "max_activation", "health"]
    labels = known_labels(codes)
    if labels and not prints_json():
        table = table.assign(label=table["feature"].map(labels.get))
        columns.insert(1, "label")
    show(table, columns)
    say_next(command_on(codes, "label", run))


def label(
    run: Run,
    /,
    *,
    groups: Groups = None,
    embedder: str | None = None,
    llm: bool = False,
    model: str = "gpt-4o-mini",
    base_url: str | None = None,
    scoring: Literal["predict", "detect"] = "predict",
    negatives: Literal["random", "hard", "mixed"] = "random",
    concurrency: Count = 8,
    max_calls: OptionalCount = None,
    max_cost: float | None = None,
    price: tuple[float, float] | None = None,
    features: Integers = None,
    dry_run: bool = False,
    name: Corpus = None,
) -> None:
    """Label features with keywords or a language model (--llm), with held-out scores.

    Args:
        embedder: Embedder of the run's rows; labels are then chosen and scored by its embeddings.
        llm: Ask a language model (key in OPENAI_API_KEY).
        model: Name of the language model.
        base_url: Address of any server with the chat-completions protocol.
        scoring: predict judges one text per call; detect picks the matching ones among ten, in a
            tenth of the calls.
        negatives: Inactive texts to show and to judge: random, hard (similar to active ones), or
            mixed (half of each).
        concurrency: Number of simultaneous calls; use 1 for a small local server.
        max_calls: Stop after this number of calls.
        max_cost: Stop at this cost, in the currency of `price`.
        price: Prices of a million input tokens and of a million output tokens.
        features: Features to label; all by default.
        dry_run: Only estimate calls, tokens and cost.
    """
    asked: Any = {"model": model, "base_url": base_url, "concurrency": concurrency}
    limits: Any = {"price": price, "max_calls": max_calls, "max_cost": max_cost}
    options: Any = {"scoring": scoring, "negatives": negatives, "dry_run": dry_run}
    if llm:
        refuse_unused("with --llm", label, {"embedder": embedder})
    else:
        refuse_unused("without --llm", label, asked | limits | options)
    codes = open_codes(run, name)
    chosen = None if features is None else list(features)
    if not llm:
        table = nanosae.label(codes, chosen, groups=groups, embedder=embedder)
        _save_labels(codes, table, are_all=chosen is None)
        _suggest_next(codes, run)
        return
    chat = nanosae.Chat(**asked, **limits)
    table = nanosae.llm_label(codes, chat, chosen, groups=groups, **options)
    if dry_run:
        show(table)
        return
    _save_llm_labels(codes, table)
    _suggest_next(codes, run)


def _save_labels(codes: Codes, table: pd.DataFrame, *, are_all: bool) -> None:
    """Save labels from words, and print them."""
    from nanosae.runs.tables import for_all_features

    save(codes, for_all_features(table, codes.n_features) if are_all else table)
    columns = ["feature", "label", "label_auc", "label_f1", "label_n", "label_doubtful"]
    # a high AUC on few texts says little
    _show_labels(table, columns, score="label_auc_low")


def _save_llm_labels(codes: Codes, table: pd.DataFrame) -> None:
    """Save a language model's labels, and print their usage and what is left to do."""
    save(codes, table)
    for usage in table.attrs["usage"]:
        items = [f"{item} {value}" for item, value in usage.items() if value != ""]
        print(", ".join(items), file=sys.stderr)
    unlabelled = table.attrs["unlabelled"]
    if unlabelled:
        print(
            f"{len(unlabelled)} features got no scored label and keep their previous ones; "
            "repeat the command to continue from the answers so far.",
            file=sys.stderr,
        )
    columns = ["feature", "llm_label", "llm_f1", "llm_pearson", "llm_n"]
    _show_labels(table, columns, score="llm_f1")


def _suggest_next(codes: Codes, run: Path) -> None:
    from nanosae.analysis.columns import column_to_compare

    column = column_to_compare(codes)
    commands = [command_on(codes, verb, run) for verb in ("families", "topics")]
    if column is not None:
        commands.append(command_on(codes, "contrast", run, "--by", column))
    say_next(*commands)


def _show_labels(table: pd.DataFrame, columns: list[str], score: str) -> None:
    """Print the notes and the labels, best first unless they are printed as JSON."""
    say_notes(table.attrs.get("notes", ()))
    if not prints_json():
        table = table.sort_values(score, ascending=False)
    show(table, columns)


def families(run: Run, /, *, name: Corpus = None) -> None:
    """Group features that are active together into families."""
    from nanosae.analysis.groups.families import save_families

    codes = open_codes(run, name)
    found = nanosae.families(codes)
    save_families(codes, found)
    if prints_json():
        print(found.to_json())
    else:
        show(found.table, ["family", "label", "size", "score"])
    say_next(*(command_on(codes, verb, run) for verb in ("topics", "report")))


def topics(run: Run, /, *, n: Number = 20, name: Corpus = None) -> None:
    """Group rows and features into N topics, without retraining.

    Args:
        n: Number of topics.
    """
    from nanosae.analysis.groups.topic_rows import save_topics, topic_name

    codes = open_codes(run, name)
    found = nanosae.topics(codes, n)
    save_topics(codes, found)
    table = found.table
    if not prints_json():
        words = table["Representation"].map(topic_name)
        table = table.assign(Words=words).sort_values("Count", ascending=False)
    show(table, ["Topic", "Count", "Words"])
    say_next(*(command_on(codes, verb, run) for verb in ("report", "explore")))


def search(
    run: Run,
    query: Annotated[str | None, Parameter(help="Words to search for.")] = None,
    /,
    *,
    row: OptionalCount = None,
    feature: str | None = None,
    embedder: str | None = None,
    n: Number = 10,
    name: Corpus = None,
) -> None:
    """Find rows by meaning and words, by another row, or by a feature.

    Args:
        row: Find rows similar to this one.
        feature: Find rows of this feature, given by number or label.
        embedder: Embedder of the run's rows, if the run does not name it.
        n: Number of hits.
    """
    by = int(feature) if feature is not None and feature.isdecimal() else feature
    codes = open_codes(run, name)
    found = nanosae.search(codes, query, row=row, feature=by, n=n, embedder=embedder)
    if prints_json():
        show(found.to_frame())
    else:
        print(found)
    say_next(command_on(codes, "describe", run, "--feature", "FEATURE"))


def contrast(
    run: Run,
    /,
    *,
    by: str,
    a: str | None = None,
    b: str | None = None,
    covariates: Covariates = None,
    groups: Sources = None,
    stats: Stats = False,
    name: Corpus = None,
) -> None:
    """Find the features that distinguish groups of rows.

    Args:
        by: Column that defines the groups.
        a: Value of the first group; by default, every value is compared with the rest.
        b: Value of the second group; by default, all other rows.
    """
    codes = open_codes(run, name)
    options: Any = {"covariates": covariates, "groups": groups}
    found = nanosae.contrast(codes, a, b, by=by, **options)
    asked = {"verb": "contrast", "by": by, "a": a, "b": b, **options}
    _save_and_show(codes, asked, found, stats)


def explain(
    run: Run,
    /,
    *,
    target: str,
    covariates: Covariates = None,
    groups: Sources = None,
    stats: Stats = False,
    name: Corpus = None,
) -> None:
    """Find the features that explain a column, individually and jointly.

    Args:
        target: Column with two or more classes, or with numbers.
    """
    codes = open_codes(run, name)
    options: Any = {"covariates": covariates, "groups": groups}
    found = nanosae.explain(codes, target, **options)
    asked = {"verb": "explain", "target": target, **options}
    _save_and_show(codes, asked, found, stats)


def over_time(
    run: Run,
    /,
    *,
    time: str,
    covariates: Covariates = None,
    groups: Sources = None,
    stats: Stats = False,
    name: Corpus = None,
) -> None:
    """Find the features that become more or less frequent over time.

    Args:
        time: Column with dates or times.
    """
    codes = open_codes(run, name)
    options: Any = {"covariates": covariates, "groups": groups}
    found = nanosae.over_time(codes, time, **options)
    asked = {"verb": "over-time", "time": time, **options}
    _save_and_show(codes, asked, found, stats)


def evaluate(
    run: Run,
    /,
    *,
    classes: str | None = None,
    targets: OptionalFile = None,
    groups: Groups = None,
    model: str | None = None,
    layer: str | None = None,
    texts: OptionalFile = None,
    text: TextColumn = "text",
    name: Corpus = None,
) -> None:
    """Compare the features with dense vectors, PCA, k-means and a random decoder.

    Args:
        classes: Column of the known classes of rows.
        targets: File of the target rows of a transcoder.
        model: Measure instead the cost of replacing a layer of this language model with the SAE.
        layer: Name of the layer, such as `layers.15`, if the SAE does not record it.
        texts: File of texts that the SAE was not trained on.
    """
    of_codes = {"classes": classes, "targets": targets, "groups": groups, "name": name}
    of_model = {"layer": layer, "texts": texts, "text": text}
    if model is None:
        refuse_unused("without --model", evaluate, of_model)
    else:
        refuse_unused("with --model", evaluate, of_codes)
        _evaluate_in_model(run, model, layer, texts, text)
        return
    from nanosae.analysis.evaluation.verdict import verdict
    from nanosae.runs.results import save_result
    from nanosae.sources import open_rows

    codes = open_codes(run, name)
    vectors = None
    if targets is not None:
        rows = open_rows(targets)
        vectors = rows.read(0, rows.n_rows)
    found = nanosae.evaluate(codes, classes, targets=vectors, groups=groups)
    result = found.to_dict()
    parameters = {"classes": classes, "targets": targets, "groups": groups}
    save_result(codes, "evaluation.json", result, parameters)
    sentences = verdict(found)
    shown = [str(found), "", *found.about["notes"], *sentences]
    show_facts(result | {"verdict": sentences}, "\n".join(shown))
    say_next(command_on(codes, "report", run))


def _evaluate_in_model(
    run: Path,
    model: str,
    layer: str | None,
    texts: str | None,
    text: str,
) -> None:
    """Print the loss recovered and the KL divergence of a model with the SAE spliced in."""
    from nanosae.sources.texts import read_texts

    if texts is None:
        raise ConfigError("--model requires --texts.")
    sentences = read_texts(texts, text)[text].to_pylist()
    sae = nanosae.SAEModel.load(run)
    found = nanosae.loss_recovered(model, layer, sae, sentences)._asdict()
    lines = []
    for name, value in found.items():
        shown = f"{value:,}" if name == "tokens" else f"{value:.4f}"
        lines.append(f"{name:15} {shown}")
    show_facts(found, "\n".join(lines))


def _save_and_show(
    codes: Codes, asked: dict[str, Any], found: Contrast, stats: bool
) -> None:
    """Save a comparison under a name derived from what was asked, and print it."""
    from nanosae.analysis.comparisons.summary import lines
    from nanosae.codes import run_folder
    from nanosae.runs.results import contrast_name, save_result

    result = found.to_dict()
    given = {name: value for name, value in asked.items() if value is not None}
    parameters = given | {"corpus": codes.name}
    save_result(codes, contrast_name(parameters), result, parameters)
    explains = parameters["verb"] == "explain"
    shown = lines(found, SHOWN_ROWS, statistics=stats, model=explains)
    show_facts(result, "\n".join(shown))
    say_next(command_on(codes, "report", run_folder(codes)))
