"""Results of the verbs in the run folder, with what they were made from.

    families.json  topics.parquet  evaluation.json  contrasts/NAME.json

A result is stored with its parameters and the checksums of the model and codes that it was made
from. Readers are told whether these are still the same (*fresh*) or not (*stale*). A result of one
corpus is stale for another, whose rows it knows nothing of. A damaged file is an error that names
the file and the command that makes it again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from nanosae.atomic import write_bytes
from nanosae.checked import (
    BLANK,
    check_format,
    damaged,
    naming,
    plain,
    read_json,
    read_sealed,
    seal,
    write_sealed_json,
)
from nanosae.codes import DEFAULT_CORPUS, Codes, run_folder
from nanosae.errors import MissingError, StaleError, command_line
from nanosae.lock import SHORT_CHANGE, Lock
from nanosae.model.files import has_model, saved_checksum

LOCK = ".results.lock"
COMMANDS = {  # words of the commands that make each result, before the run folder
    "families.json": ["families"],
    "topics.parquet": ["topics"],
    "topic_rows.parquet": ["topics"],
    "evaluation.json": ["evaluate"],
    "features.parquet": ["describe"],
    "findings.parquet": ["run", "DATA", "-o"],
}
FAMILIES_FORMAT = 1
CONTENT: dict[str, dict[str, type]] = {  # what readers need of a result
    "families.json": {
        "families": list,
        "edges": list,
        "stats": dict,
        "parameters": dict,
    },
    "evaluation.json": {"table": list, "classes": list, "about": dict},
}
READABLE = 60  # characters of a contrast's parameters in its file name
FACTS = b"nanosae"  # key of nanoSAE's facts in the metadata of a Parquet file
CHECKSUM = b"nanosae.checksum"


@dataclass(frozen=True)
class Result:
    """A stored result.

    Attributes:
        name: Path of its file in the run folder.
        value: The result of the verb: a dictionary, or a DataFrame (`.parquet`).
        parameters: The arguments of the verb.
        corpus: Name of the corpus that it was made from; "" if unknown.
        stale: Why the verb might return another result now; "" if the result is fresh.
    """

    name: str
    value: Any
    parameters: dict[str, Any]
    corpus: str
    stale: str

    @property
    def fresh(self) -> bool:
        """Whether model and codes are still those that the result was made from."""
        return not self.stale


def save_result(
    codes: Codes, name: str, value: Any, parameters: dict[str, Any]
) -> Path:
    """Store a result in the run folder of the codes, atomically.

    Args:
        codes: The codes that it was made from.
        name: Path of its file in the run folder: `families.json`, `topics.parquet` and so on.
        value: A dictionary of JSON types (`.json`) or a DataFrame (`.parquet`).
        parameters: The arguments of the verb.

    Returns:
        The path of the file.

    Raises:
        MissingError: If the codes are not in a run folder.
        BusyError: If another process is writing results.
    """
    run = run_folder(codes)
    path = run / name
    facts = made_from(codes, parameters)
    path.parent.mkdir(exist_ok=True)
    with Lock(run / LOCK, SHORT_CHANGE):
        if path.suffix == ".parquet":
            write_table(path, value, facts)
        else:
            write_sealed_json(path, plain(value) | {"made_from": facts})
    return path


def load_result(
    run: str | Path, name: str, codes: Codes | None = None
) -> Result | None:
    """Return a stored result, or None if there is none.

    Args:
        run: The run folder.
        name: Path of its file in the run folder.
        codes: The codes that it is shown with; by default those that it was made from.

    Raises:
        DamagedFileError: If the file was changed or damaged.
    """
    run = Path(run)
    path = run / name
    if not path.exists():
        return None
    if path.suffix == ".parquet":
        value, facts = read_table(path, remedy_for(run, name))
    else:
        value = read_json(path, remedy_for(run, name))
        facts = value.pop("made_from", {})
        _check_content(path, name, value)
    with naming(path, remedy_for(run, name)):
        if "model" not in facts:
            raise ValueError("it does not say what it was made from")
        stale = why_stale(run, facts, codes)
        return Result(name, value, facts["parameters"], facts["corpus"], stale)


def _check_content(path: Path, name: str, value: dict[str, Any]) -> None:
    """Refuse a file of another format, or that another program has written.

    Raises:
        DamagedFileError: If its format is unknown, or something is missing or of another type.
    """
    remedy = remedy_for(path.parent, name)
    if name == "families.json":
        check_format(path, value, FAMILIES_FORMAT, remedy)
    for key, kind in CONTENT.get(name, {}).items():
        if not isinstance(value.get(key), kind):
            what = "an object" if kind is dict else "a list"
            raise damaged(path, f"its {key!r} is not {what}", remedy)


def fresh_value(run: str | Path, name: str, codes: Codes | None = None) -> Any:
    """Return the value of a stored result, or None if there is none or it is stale."""
    result = load_result(run, name, codes)
    return None if result is None or result.stale else result.value


def needed_value(run: str | Path, name: str, codes: Codes | None = None) -> Any:
    """Return the value of a stored result; as `load_result`, but it must exist and be fresh.

    Raises:
        MissingError: If there is none; the message names the command that makes it.
        StaleError: If it was made from another model or other codes.
        DamagedFileError: If it is damaged.
    """
    run = Path(run)
    path = run / name
    result = load_result(run, name, codes)
    if result is None:
        if name in COMMANDS:
            command = _command(run, name, codes)
        else:
            command = command_line(
                "contrast", run, "--by", "COLUMN", *corpus_words(codes)
            )
        raise MissingError(
            f"{run} has no {name} yet.",
            file=path,
            remedy=f"Make it: {command}.",
        )
    if result.stale:
        raise StaleError(
            f"{path} is stale: {result.stale}.",
            file=path,
            remedy=remedy_for(run, name, codes),
        )
    return result.value


def load_contrasts(run: str | Path, codes: Codes | None = None) -> list[Result]:
    """Return the results of contrast, explain and over_time, in the order of their names.

    Args:
        run: The run folder.
        codes: The corpus whose comparisons are returned; by default those of all.
    """
    run = Path(run)
    contrasts = []
    for path in sorted(run.glob("contrasts/[!.]*.json")):
        found = load_result(run, path.relative_to(run).as_posix(), codes)
        if found is None:  # it has been deleted in the meantime
            continue
        if codes is None or found.corpus in ("", codes.name):
            contrasts.append(found)
    return contrasts


def contrast_name(parameters: dict[str, Any]) -> str:
    """Return the path of a contrast in the run folder, unique for its parameters.

    Its readable part has only letters, digits and hyphens, whatever the parameters are.

    Example:
        >>> contrast_name({"verb": "contrast", "by": "a/b", "a": "x"})
        'contrasts/contrast-a-b-x-8875f44b.json'
    """
    text = json.dumps(parameters, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    words = "-".join(str(value) for value in parameters.values() if value is not None)
    readable = re.sub(r"[^A-Za-z0-9]+", "-", words)[:READABLE].strip("-")
    return f"contrasts/{readable}-{digest}.json"


TITLES = {  # titles of comparisons, by verb
    "contrast": "Differences by {}",
    "over-time": "Changes over time, by {}",
    "explain": "Associated with {}",
}


def contrast_title(result: Result) -> str:
    """Return a title for a comparison.

    Example:
        >>> asked = {"verb": "contrast", "by": "group", "a": "A", "b": None, "corpus": "news"}
        >>> contrast_title(Result("contrasts/x.json", {}, asked, "news", ""))
        'Differences by group: A against the rest'
    """
    asked = result.parameters
    if not asked:
        return Path(result.name).stem
    column = asked.get("by") or asked.get("target") or asked.get("time")
    title = TITLES.get(str(asked.get("verb")), "Comparison by {}").format(column)
    if asked.get("a") is not None:
        other = asked.get("b")
        title += f": {asked['a']} against {'the rest' if other is None else other}"
    if asked.get("covariates") is not None:
        held_equal = ", ".join(asked["covariates"])
        title += f", at equal {held_equal}" if held_equal else ", nothing held equal"
    if asked.get("groups") is not None:
        title += f", groups by {asked['groups']}"
    return title


def made_from(codes: Codes, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the facts on its origin that a result is stored with."""
    return {
        "corpus": codes.name,
        "codes": codes.checksum,
        "model": codes.model,
        "parameters": plain(parameters),
    }


def why_stale(run: Path, facts: dict[str, Any], codes: Codes | None) -> str:
    """Return why a result is stale; "" if it is fresh.

    Args:
        run: The run folder.
        facts: The facts that `made_from` returned.
        codes: The codes that it is shown with; by default those that it was made from.
    """
    corpus = facts["corpus"]
    reason = why_outdated(run, facts, codes)
    if not reason and codes is not None and corpus not in ("", codes.name):
        return f"it was made from the corpus {corpus!r}"
    return reason


def why_outdated(run: Path, facts: dict[str, Any], codes: Codes | None) -> str:
    """Return why a result that holds on any corpus is stale; see `why_stale`."""
    model = codes.model if codes is not None else model_checksum(run)
    if facts["model"] != model:
        return (
            f"it was made from model {facts['model'] or '?'}, not from {model or '?'}"
        )
    if codes is None or codes.name != facts["corpus"]:
        try:
            codes = Codes(run / "codes" / facts["corpus"])
        except FileNotFoundError:
            return f"the corpus {facts['corpus']!r}, which it was made from, is gone"
    if codes.checksum != facts["codes"]:
        return (
            f"the corpus {facts['corpus']!r}, which it was made from, has changed since"
        )
    return ""


def model_checksum(run: str | Path) -> str:
    """Return the checksum of a run's model; "" if it has none."""
    return saved_checksum(run) if has_model(run) else ""


def remedy_for(run: Path, name: str, codes: Codes | None = None) -> str:
    """Return a remedy for a damaged or stale result, of a corpus if one is given."""
    if name not in COMMANDS:
        return "Delete it and repeat the comparison."
    command = _command(run, name, codes)
    if name == "features.parquet":  # commands add to it, and read it for that
        return f"Delete it, with all labels, and make it again: {command}."
    return f"Make it again: {command}."


def _command(run: Path, name: str, codes: Codes | None) -> str:
    """Return the command that makes a result."""
    words = COMMANDS[name]
    of_corpus = [] if words[0] == "run" else corpus_words(codes)
    return command_line(*words, run, *of_corpus)


def corpus_words(codes: Codes | None) -> list[str]:
    """Return the words that name a corpus in a command, none for that of a run."""
    if codes is None or codes.name == DEFAULT_CORPUS:
        return []
    return ["--name", codes.name]


def write_table(path: Path, table: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Write a Parquet file atomically, with facts and a checksum in its metadata."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    ours = {FACTS: json.dumps(facts).encode(), CHECKSUM: BLANK.encode()}
    theirs = arrow.schema.metadata
    if theirs is not None:
        ours = theirs | ours
    arrow = arrow.replace_schema_metadata(ours)
    buffer = io.BytesIO()
    parquet.write_table(arrow, buffer)
    write_bytes(path, seal(buffer.getvalue()))


def read_table(
    path: Path, remedy: str, columns: list[str] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a table and the facts that were written with it.

    Args:
        path: The Parquet file.
        remedy: What to do if it is damaged.
        columns: Columns to read, as far as they exist; all by default.
    """
    data = read_sealed(path, remedy)
    with naming(path, remedy):
        source = pa.BufferReader(data)
        schema = parquet.read_schema(source)
        metadata = {} if schema.metadata is None else schema.metadata
        if FACTS not in metadata:
            raise ValueError("it does not say what it was made from")
        facts = json.loads(metadata[FACTS])
        if columns is not None:
            columns = [name for name in columns if name in schema.names]
        return parquet.read_table(source, columns=columns).to_pandas(), facts
