"""The commands that made a run, and those that add what it lacks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

from nanosae.codes import Codes
from nanosae.runs.tables import load_features
from nanosae.view.files import read_json

TOPICS = 20  # of a run that was not asked for any yet


class Step(NamedTuple):
    """One step of an analysis.

    Attributes:
        is_done: Whether it was done.
        adds: What it adds.
        words: The words of its command, but for `nanosae`.
    """

    is_done: bool
    adds: str
    words: list[Any]

    @property
    def command(self) -> str:
        """The command as it is typed."""
        return shlex.join(["nanosae", *map(str, self.words)])


def past_commands(run: Path, config: dict[str, Any], codes: Codes | None) -> list[str]:
    """Return the commands of the steps that were done, in order."""
    return [step.command for step in _steps(run, config, codes) if step.is_done]


def missing_steps(run: Path, config: dict[str, Any], codes: Codes | None) -> list[tuple[str, str]]:
    """Return what is missing, and the command that adds it."""
    return [(step.adds, step.command) for step in _steps(run, config, codes) if not step.is_done]


def _steps(run: Path, config: dict[str, Any], codes: Codes | None) -> list[Step]:
    return [
        *_training_steps(run, config),
        *_encoding_steps(run, config, codes),
        *_analysis_steps(run, codes),
        Step(True, "this report", ["report", run]),
    ]


def _training_steps(run: Path, config: dict[str, Any]) -> list[Step]:
    words = ["train", config.get("data") or "DATA"]
    if config:
        words += ["-o", run, *_flags(config["requested"])]
    steps = [Step(bool(config), "the settings of a training", words)]
    if not (run / "model").exists():
        steps.append(Step(False, "the trained model", [*words, "--resume"]))
    return steps


def _encoding_steps(run: Path, config: dict[str, Any], codes: Codes | None) -> list[Step]:
    source = config.get("data") or "DATA"
    if codes is not None:
        source = _source_of_vectors(codes) or source
    words = ["encode", run, source]
    steps = [Step(codes is not None, "the features of a corpus", words)]
    if codes is not None and not codes.has_texts:
        steps.append(Step(False, "texts", [*words, "--texts", "TEXTS"]))
    return steps


def _source_of_vectors(codes: Codes) -> str | None:
    """Return the file from which a corpus was encoded, if it is known."""
    for shard in codes.manifest["shards"]:
        vectors = shard["vectors"] or {}
        if "path" in vectors:
            return vectors["path"]
    return None


def _analysis_steps(run: Path, codes: Codes | None) -> list[Step]:
    table = load_features(run)
    has_families = (run / "families.json").exists()
    return [
        Step("top_rows" in table, "feature cards", ["describe", run]),
        Step("label" in table, "labels", ["label", run]),
        Step(has_families, "families", ["families", run]),
        _topics_step(run),
        *_contrast_steps(run, codes),
        _evaluation_step(run, codes),
    ]


def _topics_step(run: Path) -> Step:
    import pyarrow.parquet as pq

    path = run / "topics.parquet"
    n = pq.read_metadata(path).num_rows if path.exists() else TOPICS
    return Step(path.exists(), "topics", ["topics", run, "-n", n])


def _some_column(codes: Codes | None) -> str:
    """Return a column that a command may name."""
    if codes is None or not codes.columns:
        return "COLUMN"
    return codes.columns[0]


def _contrast_steps(run: Path, codes: Codes | None) -> list[Step]:
    paths = sorted((run / "contrasts").glob("*.json"))
    if not paths:
        return [Step(False, "contrasts", ["contrast", run, "--by", _some_column(codes)])]
    return [Step(True, "", _contrast_words(run, path)) for path in paths]


def _contrast_words(run: Path, path: Path) -> list[Any]:
    """Return the command that made a file of contrasts."""
    kind, _, column = path.stem.partition("-")
    if kind == "time":
        return ["over-time", run, "--column", column]
    if kind != "contrast":
        return [kind, run, "--target", column]
    result = read_json(path)
    words = ["contrast", run, "--by", column]
    groups = {finding["target"] for finding in result["findings"]}
    if len(groups) == 1:
        words += ["--a", *groups]
        others = result["about"].get("b", "the rest")
        if others != "the rest":
            words += ["--b", others]
    return words


def _evaluation_step(run: Path, codes: Codes | None) -> Step:
    result = read_json(run / "evaluation.json")
    labels = _some_column(codes) if result is None else result["about"]["labels"]
    words = ["evaluate", run]
    if labels:
        words += ["--labels", labels]
    is_done = result is not None and "rows" in result["about"]
    return Step(is_done, "a comparison with baselines", words)


def _flags(requested: dict[str, Any]) -> list[str]:
    """Return settings that are not the defaults as flags."""
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
