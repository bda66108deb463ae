"""The commands that made a run, and those that would add what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nanosae.analysis.columns import column_to_compare
from nanosae.analysis.groups.topic_rows import N_TOPICS
from nanosae.codes import DEFAULT_CORPUS, Codes
from nanosae.codes.format import STAGES
from nanosae.errors import command_line
from nanosae.runs.results import (
    Result,
    contrast_title,
    corpus_words,
    load_contrasts,
    load_result,
)
from nanosae.runs.tables import load_features


class Step(NamedTuple):
    """One step of an analysis.

    Attributes:
        is_done: Whether it was done.
        adds: What it adds.
        words: The arguments of its command.
    """

    is_done: bool
    adds: str
    words: list[Any]

    @property
    def command(self) -> str:
        """The command line."""
        return command_line(*self.words)


class StoredResults:
    """The stored results of a run, stale ones included.

    Attributes:
        contrasts: Results of contrast, explain and over_time.
    """

    def __init__(self, run: Path, codes: Codes | None) -> None:
        names = (
            "families.json",
            "topics.parquet",
            "evaluation.json",
            "findings.parquet",
        )
        self._by_name = {name: load_result(run, name, codes) for name in names}
        self.contrasts = load_contrasts(run, codes)

    def _fresh(self, name: str) -> Result | None:
        result = self._by_name[name]
        return result if result is not None and result.fresh else None

    def fresh_value(self, name: str) -> Any:
        """Return the value of a result, or None if it is missing or stale."""
        result = self._fresh(name)
        return None if result is None else result.value

    def number_of_topics(self) -> int:
        """Return the number of topics that was asked for, by default if there are none."""
        result = self._fresh("topics.parquet")
        return N_TOPICS if result is None else result.parameters["n"]

    def step(self, name: str, what: str, words: list[Any]) -> Step:
        """Return the step that makes a result, with the reason if it is stale."""
        result = self._by_name[name]
        if result is not None and result.stale:
            what = f"{what} again ({result.stale})"
        return Step(self._fresh(name) is not None, what, words)


def past_commands(
    run: Path, config: dict[str, Any], codes: Codes | None, results: StoredResults
) -> list[str]:
    """Return the commands of the steps that were done, in order."""
    steps = _steps(run, config, codes, results)
    if (run / STAGES).exists():
        comparisons = _contrast_steps(run, codes, results)
        further = [*comparisons, _evaluation_step(run, codes, results)]
        steps = [_whole_run(run, config, results), *_of_corpus(codes, further)]
    return [step.command for step in steps if step.is_done]


def missing_steps(
    run: Path, config: dict[str, Any], codes: Codes | None, results: StoredResults
) -> list[tuple[str, str]]:
    """Return what is missing, and the command that adds it."""
    steps = _steps(run, config, codes, results)
    return [(step.adds, step.command) for step in steps if not step.is_done]


def _steps(
    run: Path, config: dict[str, Any], codes: Codes | None, results: StoredResults
) -> list[Step]:
    steps = [
        *_encoding_steps(run, config, codes),
        *_analysis_steps(run, codes, results),
        Step(True, "this report", ["report", run]),
    ]
    return [*_training_steps(run, config), *_of_corpus(codes, steps)]


def _whole_run(run: Path, config: dict[str, Any], results: StoredResults) -> Step:
    """Return the command that does all of an analysis."""
    words = ["run", "DATA", "-o", run]
    embedder = config.get("requested", {}).get("embedder")
    if embedder is not None:
        words += ["--embedder", embedder]
    n = results.number_of_topics()
    if n != N_TOPICS:
        words += ["--n-topics", n]
    return Step(True, "the whole analysis", words)


def _training_steps(run: Path, config: dict[str, Any]) -> list[Step]:
    words = ["train", config.get("data") or "DATA"]
    if config:
        words += ["-o", run, *_flags(config["requested"])]
    steps = [Step(bool(config), "the settings of a training", words)]
    if not (run / "model").exists():
        steps.append(Step(False, "the trained model", [*words, "--resume"]))
    return steps


def _encoding_steps(
    run: Path, config: dict[str, Any], codes: Codes | None
) -> list[Step]:
    source = config.get("data") or "DATA"
    if codes is not None:
        source = _source_of_vectors(codes) or source
    words = ["encode", run, source]
    steps = [Step(codes is not None, "the features of a corpus", words)]
    if codes is not None and not codes.has_texts:
        steps.append(Step(False, "texts", [*words, "--texts", "TEXTS"]))
    return steps


def _source_of_vectors(codes: Codes) -> str | None:
    """Return the file from which a corpus was encoded, if known."""
    for shard in codes.manifest["shards"]:
        vectors = shard["vectors"] or {}
        if "path" in vectors:
            return vectors["path"]
    return None


def _analysis_steps(
    run: Path, codes: Codes | None, results: StoredResults
) -> list[Step]:
    table = load_features(run, codes)
    topics = ["topics", run, "-n", results.number_of_topics()]
    return [
        _column_step(table, "top_rows", "feature cards", ["describe", run]),
        _column_step(table, "label", "labels", ["label", run]),
        results.step("families.json", "families", ["families", run]),
        results.step("topics.parquet", "topics", topics),
        *_contrast_steps(run, codes, results),
        _evaluation_step(run, codes, results),
    ]


def _of_corpus(codes: Codes | None, steps: list[Step]) -> list[Step]:
    """Return steps whose commands name the corpus, unless it is that of a run."""
    name = corpus_words(codes)
    return [
        step if "--name" in step.words else step._replace(words=[*step.words, *name])
        for step in steps
    ]


def _column_step(table: pd.DataFrame, column: str, what: str, words: list) -> Step:
    """Return the step that adds a column to the feature table, done if it is fresh."""
    reason = table.attrs["stale"].get(column)
    if reason is not None:
        return Step(False, f"{what} again ({reason})", words)
    return Step(column in table, what, words)


def _contrast_steps(
    run: Path, codes: Codes | None, results: StoredResults
) -> list[Step]:
    repeatable = [result for result in results.contrasts if result.parameters]
    if not repeatable:
        column = None if codes is None else column_to_compare(codes)
        words = ["contrast", run, "--by", column]
        return [] if column is None else [Step(False, "contrasts", words)]
    steps = []
    for result in repeatable:
        what = (
            "" if result.fresh else f"{contrast_title(result)} again ({result.stale})"
        )
        steps.append(Step(result.fresh, what, _contrast_words(run, result)))
    return steps


def _contrast_words(run: Path, result: Result) -> list[Any]:
    """Return the command that made a contrast."""
    parameters = dict(result.parameters)
    words = [parameters.pop("verb"), run]
    corpus = parameters.pop("corpus", None)
    if corpus != DEFAULT_CORPUS:
        parameters["name"] = corpus
    for name, value in parameters.items():
        if value is not None:
            words += [f"--{name}", value]
    return words


def _evaluation_step(run: Path, codes: Codes | None, results: StoredResults) -> Step:
    evaluation = results.fresh_value("evaluation.json")
    if evaluation is not None:
        classes = evaluation["about"]["classes"]
    else:
        classes = None if codes is None else column_to_compare(codes)
    words = ["evaluate", run]
    if classes:
        words += ["--classes", classes]
    step = results.step("evaluation.json", "a comparison with baselines", words)
    has_measures = evaluation is not None and "rows" in evaluation["about"]
    return step._replace(is_done=has_measures)


def _flags(requested: dict[str, Any]) -> list[str]:
    """Return the settings that differ from the defaults as flags."""
    from nanosae.config import TrainConfig

    defaults = TrainConfig().to_dict()
    flags = []
    for name, value in requested.items():
        if value == defaults.get(name) or value is False:
            continue
        flags.append(f"--{name.replace('_', '-')}")
        if isinstance(value, list):
            flags += map(str, value)
        elif value is not True:
            flags.append(str(value))
    return flags
