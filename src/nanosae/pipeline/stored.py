"""What the stages of a run have stored in its folder, and whether it may be replaced."""

from __future__ import annotations

from pathlib import Path

from nanosae.codes import DEFAULT_CORPUS, Codes, corpus_path
from nanosae.codes.format import (
    MANIFEST,
    STAGES,
    has_all_files,
    is_complete,
    read_manifest,
)
from nanosae.errors import DamagedFileError, ExistsError, MissingError
from nanosae.model.files import read_model
from nanosae.pipeline.stages import Record
from nanosae.runs.earlier import files_of_training
from nanosae.runs.results import Result, load_result, model_checksum
from nanosae.runs.tables import load_features

FILES = {"embed": "embeddings/rows.npy", "report": "report.html"}
COLUMNS = {  # of the table of features
    "describe": "density",
    "label": "label",
    "families": "family",
    "topics": "topic",
}
RESULTS = {
    "families": ["families.json"],
    "topics": ["topics.parquet", "topic_rows.parquet"],
    "compare": ["findings.parquet"],
    "evaluate": ["evaluation.json"],
}


def state_of(run: Path, stage: str) -> str:
    """Return the state of the stored result of a stage.

    It is the checksum of a model or of codes, or "fresh", or "" if the result is missing, damaged
    or made from another model or other codes.

    Raises:
        DamagedFileError: If a file is damaged that would not be replaced: the table of features,
            the settings of the model or the manifest of the codes.
    """
    if stage == "train":
        return _checksum_of_model(run)
    if stage == "encode":
        return _checksum_of_codes(run)
    if stage in FILES:
        is_fresh = (run / FILES[stage]).exists()
    else:
        is_fresh = bool(_checksum_of_codes(run)) and _is_fresh(run, stage)
    return "fresh" if is_fresh else ""


def _checksum_of_model(run: Path) -> str:
    known = model_checksum(run)
    if not known:
        return ""
    try:
        read_model(run)
    except (MissingError, DamagedFileError):
        return ""
    return known


def _checksum_of_codes(run: Path) -> str:
    path = corpus_path(run, DEFAULT_CORPUS)
    if not (path / MANIFEST).exists():
        return ""
    manifest = read_manifest(path)
    is_whole = is_complete(manifest) and has_all_files(path, manifest)
    return Codes(path).checksum if is_whole else ""


def _is_fresh(run: Path, stage: str) -> bool:
    codes = Codes.open(run, DEFAULT_CORPUS)
    if stage in COLUMNS:
        column, table = COLUMNS[stage], load_features(run, codes)
        if column not in table or column in table.attrs["stale"]:
            return False
    try:
        results = [load_result(run, name, codes) for name in RESULTS.get(stage, [])]
    except DamagedFileError:
        return False
    return all(result is not None and _is_whole(run, result) for result in results)


def _is_whole(run: Path, result: Result) -> bool:
    """Return whether a result is fresh, and the comparisons are there that it is a table of."""
    names = result.parameters.get("comparisons", [])
    return result.fresh and all((run / name).exists() for name in names)


def check_that_it_may_be_written(run: Path) -> None:
    """Refuse a folder with a training or codes that no run has made, which would be replaced.

    Raises:
        ExistsError: If there are any.
    """
    if (run / STAGES).exists():
        _check_that_results_are_its_own(run)
        return
    found = files_of_training(run)
    if (corpus_path(run, DEFAULT_CORPUS) / MANIFEST).exists():
        found.append(f"codes/{DEFAULT_CORPUS}")
    if found:
        raise ExistsError(
            f"{run} holds {', '.join(found)}, which nanosae run has not made and would "
            "replace.",
            file=run,
            remedy="Choose another folder.",
        )


def _check_that_results_are_its_own(run: Path) -> None:
    record = Record(run / STAGES)
    for stage, name in (("train", "model"), ("encode", f"codes/{DEFAULT_CORPUS}")):
        state = state_of(run, stage)
        if state and record.state(stage) not in (None, state):
            raise ExistsError(
                f"{run / name} has changed since nanosae run made it, and would be replaced.",
                file=run / name,
                remedy="Choose another folder, or delete it to have it made again.",
            )
