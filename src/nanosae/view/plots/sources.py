"""The data of figures: metrics, snapshots, codes, labels and results of a run, or the objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.groups.topic_rows import N_TOPICS
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.similarity import as_float32
from nanosae.codes import Codes, as_codes
from nanosae.codes.given import HoldsCodes
from nanosae.errors import DamagedFileError, DataError, DataTypeError, MissingError
from nanosae.model.weights import Weights
from nanosae.runs.folder import verify_training
from nanosae.runs.results import fresh_value, load_contrasts, needed_value
from nanosae.runs.tables import known_labels
from nanosae.view.files import read_arrays, read_json, snapshot_files
from nanosae.view.plots.base import run_of

CONTRAST = {"kind", "about", "findings"}  # keys of the dictionary of a contrast
# a run folder, an `Analysis`, or the lines of the metrics
Metrics = str | Path | HoldsCodes | Sequence[Mapping[str, Any]]


def metrics(run: Any) -> list[dict[str, Any]]:
    """Return the complete lines of a run's metrics.jsonl.

    Args:
        run: A run folder, an `Analysis` of it, or the lines themselves.

    Raises:
        MissingError: If there are none yet.
    """
    run = run_of(run)
    if not isinstance(run, str | Path):
        return [dict(line) for line in run]
    verify_training(run)
    path = Path(run) / "metrics.jsonl"
    text = path.read_text("utf-8") if path.exists() else ""
    complete = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if not complete:
        raise MissingError(
            f"{path} is missing or empty: this run has logged nothing yet.",
            file=path,
        )
    try:
        return [json.loads(line) for line in complete]
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged ({error}).", file=path) from error


def snapshots(run: Any) -> dict[int, dict[str, np.ndarray]]:
    """Return the complete snapshots of a run folder, or of an `Analysis` of it, by step.

    Raises:
        MissingError: If there are none.
    """
    run = run_of(run)
    verify_training(run)
    found = {}
    for step, path in snapshot_files(Path(run)).items():
        snapshot = read_arrays(path)
        if snapshot is not None:
            found[step] = snapshot
    if not found:
        raise MissingError(
            f"{run}/snapshots has no snapshots; training with a run folder writes them."
        )
    return found


def labels_of(source: Any) -> dict[int, str]:
    """Return the labels of a run, or of the run of codes; none for other objects."""
    if isinstance(source, Codes):
        return known_labels(source)
    if isinstance(source, str | Path):
        return known_labels(Path(source))
    return {}


def feature_name(labels: Mapping[int, str], feature: int) -> str:
    """Return the label of a feature, or else its number."""
    return labels.get(feature) or f"feature {feature}"


def named_runs(runs: Any) -> dict[str, Any]:
    """Return runs by name, from a mapping, a folder of runs, a list of runs or a single run."""
    if isinstance(runs, Mapping):
        return {name: run_of(run) for name, run in runs.items()}
    runs = run_of(runs)
    if isinstance(runs, str | Path) and not (Path(runs) / "config.json").exists():
        inside = sorted(path.parent for path in Path(runs).glob("*/config.json"))
        runs = inside or runs
    if not isinstance(runs, list | tuple):
        runs = [runs]
    runs = [run_of(run) for run in runs]
    return {_run_name(run, i): run for i, run in enumerate(runs)}


def _run_name(run: Any, place: int) -> str:
    return Path(run).name if isinstance(run, str | Path) else f"SAE {place}"


def evaluation_table(source: Any) -> pd.DataFrame:
    """Return the table of an Evaluation, or of a run's evaluation.json."""
    if not isinstance(source, str | Path):
        return source.table
    return pd.DataFrame(needed_value(source, "evaluation.json")["table"])


def family_tables(source: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of families and of their edges, from Families or a run folder.

    Raises:
        MissingError: If the run has no families.json.
        DataError: If there is no family.
    """
    if isinstance(source, str | Path):
        result = needed_value(source, "families.json")
        table = pd.DataFrame(result["families"])
        edges = pd.DataFrame(result["edges"])
    else:
        table, edges = source.table, source.edges
    if table.empty:
        raise DataError(
            "there are no families: no group of features is active together often enough."
        )
    return table, edges


def contrast_result(source: Any) -> dict[str, Any]:
    """Return a contrast as a dictionary, from a Contrast, its dictionary or file, or a run folder.

    Raises:
        MissingError: If there is no file, or a run folder has several.
        DataTypeError: If it is none of these.
    """
    if not isinstance(source, str | Path):
        result = source.to_dict() if hasattr(source, "to_dict") else source
        if not isinstance(result, Mapping) or not result.keys() >= CONTRAST:
            raise DataTypeError(
                "A result of contrast, explain or over_time is needed, or a run folder, not "
                f"{type(source).__name__}."
            )
        return dict(result)
    path = Path(source)
    if not path.is_dir():
        return _contrast_file(path)
    results = [result for result in load_contrasts(path) if result.fresh]
    if len(results) != 1:
        names = ", ".join(result.name for result in results) or "none"
        raise MissingError(f"{path}/contrasts has {names}: give one file.", file=path)
    return results[0].value


def _contrast_file(path: Path) -> dict[str, Any]:
    """Return the content of a file of a contrast; in a run folder it must be fresh."""
    if path.parent.name == "contrasts":
        return needed_value(path.parent.parent, f"contrasts/{path.name}")
    result = read_json(path)
    if result is None:
        raise MissingError(f"{path} does not exist.", file=path)
    return result


def topics_of(source: Any) -> Any:
    """Return Topics, or compute those of codes or a run folder, as many as it has stored."""
    if hasattr(source, "row_topic"):
        return source
    codes = as_codes(source)
    n = N_TOPICS
    if codes.run is not None:
        table = fresh_value(codes.run, "topics.parquet", codes)
        n = N_TOPICS if table is None else len(table)
    return topics(codes, n)


def weight_matrices(source: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return W_enc (input_size, hidden_size) and W_dec (hidden_size, input_size) as float32.

    Args:
        source: A run folder, Weights or a model.
    """
    if isinstance(source, str | Path):
        source = Weights.load(source)
    if not hasattr(source, "W_enc"):
        raise DataTypeError(
            f"A model, Weights or a run folder is needed, not {type(source).__name__}."
        )
    return as_float32(source.W_enc), as_float32(source.W_dec)
