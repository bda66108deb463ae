"""The feature table of a run, to which verbs add columns.

`RUN/features.parquet` belongs to one model. When the model is replaced, the table is kept as
`features-MODEL.parquet`, and is used again if that model returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nanosae.atomic import write_bytes
from nanosae.codes import Codes
from nanosae.errors import DataError, DataTypeError
from nanosae.lock import SHORT_CHANGE, Lock
from nanosae.runs import annotations
from nanosae.runs.results import (
    LOCK,
    model_checksum,
    read_table,
    remedy_for,
    why_outdated,
    why_stale,
    write_table,
)

Labels = Mapping[int, str] | pd.DataFrame  # labels of features, see `labels_by_feature`
TABLE = "features.parquet"
LABELS = ("label", "llm_label")  # later ones win
DOUBTS = ("label_doubtful", "llm_doubtful")  # whether each of these is doubtful
# beginnings of columns that say what features mean, which holds on any corpus
MEANINGS = ("label", "llm_", "keywords")
UNKNOWN = "unknown"  # name of the model of a table that was made without one


def load_features(run: str | Path, codes: Codes | None = None) -> pd.DataFrame:
    """Return the feature table of a model, one line per feature.

    Args:
        run: The run folder.
        codes: Codes by the model; by default the run's model.

    Returns:
        The table; if there is none, an empty one with the column `feature`. `attrs["stale"]` maps
        each stale column to the reason; `attrs["other_models"]` lists the models of other tables
        in the folder.
    """
    run = Path(run)
    model = _model(run, codes)
    table, facts = _load(run, model)
    table.attrs["stale"] = _stale_columns(run, facts, codes)
    table.attrs["other_models"] = _other_models(run, model)
    return table


def known_labels(source: Codes | Path) -> dict[int, str]:
    """Return names of features: by people, else by a language model, else by words.

    Args:
        source: Codes or a run folder, whose model has the features.
    """
    table, names = _labels_and_names(source)
    known: dict[int, str] = {}
    for column in LABELS:
        if column in table:
            known |= _by_feature(table, column)
    return known | names


def labels_by_feature(labels: Labels) -> dict[int, str]:
    """Return the non-empty labels of a mapping or table.

    Args:
        labels: A mapping from features to labels, or a table with `feature` and `label`, such
            as `label` returns.

    Raises:
        DataTypeError: If it is neither.
        DataError: If a feature is not a whole number.
    """
    if isinstance(labels, Mapping):
        texts = pd.Series([*labels.values()], dtype=object)
        labels = pd.DataFrame({"feature": [*labels], "label": texts})
    given = type(labels).__name__
    if isinstance(labels, pd.DataFrame):
        if "label" not in labels:
            return {}
        if "feature" in labels:
            return _by_feature(labels, "label")
        given = f"a table with the columns {', '.join(map(str, labels.columns))}"
    raise DataTypeError(
        f"labels must be a mapping from features to labels, or a table with the columns `feature` "
        f"and `label`, not {given}."
    )


def _by_feature(table: pd.DataFrame, column: str) -> dict[int, str]:
    found = {}
    for feature, label in zip(table["feature"], table[column], strict=True):
        if not pd.isna(label) and label != "":  # a label may look like a number
            found[_number_of(feature)] = str(label)
    return found


def _number_of(feature: Any) -> int:
    """Return the number of a feature; keys of JSON are texts."""
    try:
        number = int(feature)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or (number != feature and not isinstance(feature, str)):
        raise DataError(
            f"labels: a feature is given by its number, not by {feature!r}."
        )
    return number


def doubtful_labels(source: Codes | Path) -> set[int]:
    """Return the features whose name in `known_labels` is doubtful; people's names never are.

    Args:
        source: As for `known_labels`.
    """
    table, names = _labels_and_names(source)
    doubtful: set[int] = set()
    for column, doubt in zip(LABELS, DOUBTS, strict=True):
        if column not in table:
            continue
        is_labelled = table[column].fillna("") != ""
        doubtful -= set(table["feature"][is_labelled])
        if doubt in table:
            is_doubted = is_labelled & table[doubt].eq(True)  # False where missing
            doubtful |= set(table["feature"][is_doubted])
    return {int(feature) for feature in doubtful} - names.keys()


def _labels_and_names(source: Codes | Path) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the labels of a model's features, with doubts, and the names given by people."""
    codes = source if isinstance(source, Codes) else None
    run = source if isinstance(source, Path) else source.run
    if run is None:
        return _no_features(), {}
    model = _model(run, codes)
    table, _ = _load(run, model, ["feature", *LABELS, *DOUBTS])
    return table, annotations.names(run, model)


def save_features(
    run: str | Path, columns: pd.DataFrame, codes: Codes | None = None
) -> pd.DataFrame:
    """Add columns to the feature table, atomically.

    Args:
        run: The run folder.
        columns: A table with a column `feature`; in columns that exist already, the values of
            these features are replaced.
        codes: The codes that the columns were made from; by default only the run's model.

    Returns:
        The whole table.

    Raises:
        BusyError: If another process is writing results.
    """
    run = Path(run)
    model = _model(run, codes)
    with Lock(run / LOCK, SHORT_CHANGE):
        kept, facts = _load(run, model)
        table = _merged(kept, columns)
        origins = _origins(kept, columns, facts.get("columns", {}), codes)
        _keep_other_table(run, model)
        write_table(run / TABLE, table, {"model": model, "columns": origins})
        (run / _name_for(model)).unlink(missing_ok=True)
    return table


def for_all_features(columns: pd.DataFrame, n_features: int) -> pd.DataFrame:
    """Add lines of missing values for the features that have none, which replace earlier values.

    Example:
        >>> for_all_features(pd.DataFrame({"feature": [1], "label": ["a"]}), 2).to_dict("list")
        {'feature': [0, 1], 'label': [nan, 'a']}
    """
    every_feature = pd.RangeIndex(n_features, name="feature")
    return columns.set_index("feature").reindex(every_feature).reset_index()


def _model(run: Path, codes: Codes | None) -> str:
    return model_checksum(run) if codes is None else codes.model


def _name_for(model: str) -> str:
    return f"features-{model or UNKNOWN}.parquet"


def _load(
    run: Path, model: str, columns: list[str] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the table of a model and its facts, whether it is in use or kept."""
    for name in (TABLE, _name_for(model)):
        path = run / name
        if path.exists():
            table, facts = read_table(path, remedy_for(run, TABLE), columns)
            if facts["model"] == model:
                return table, facts
    return _no_features(), {}


def _no_features() -> pd.DataFrame:
    return pd.DataFrame({"feature": pd.array([], "int64")})


def _other_models(run: Path, model: str) -> list[str]:
    found = {
        path.stem.removeprefix("features-") for path in run.glob("features-*.parquet")
    }
    if (run / TABLE).exists():
        _, facts = read_table(run / TABLE, remedy_for(run, TABLE), ["feature"])
        found.add(facts["model"] or UNKNOWN)
    return sorted(found - {model or UNKNOWN})


def _keep_other_table(run: Path, model: str) -> None:
    """Keep the table, if it belongs to another model, under the name of that model."""
    path = run / TABLE
    if not path.exists():
        return
    _, facts = read_table(path, remedy_for(run, TABLE), ["feature"])
    other = facts["model"]
    if other != model:
        write_bytes(run / _name_for(other), path.read_bytes())


def _stale_columns(
    run: Path, facts: dict[str, Any], codes: Codes | None
) -> dict[str, str]:
    stale = {}
    for column, origins in facts.get("columns", {}).items():
        why = why_outdated if column.startswith(MEANINGS) else why_stale
        for origin in origins:
            reason = why(run, origin, codes)
            if reason:
                stale[column] = reason
    return stale


def _origins(
    kept: pd.DataFrame,
    columns: pd.DataFrame,
    before: dict[str, list],
    codes: Codes | None,
) -> dict[str, list[dict[str, str]]]:
    """Return what each column was made from: several codes if it keeps values of other lines."""
    new = []
    if codes is not None:
        new = [{"corpus": codes.name, "codes": codes.checksum, "model": codes.model}]
    is_replaced = kept["feature"].isin(columns["feature"])
    values_of_others = kept.loc[~is_replaced].count()  # by column
    origins = dict(before)
    for column in columns.columns.drop("feature"):
        others = []
        if values_of_others.get(column, 0):
            old = before.get(column, [])
            others = [origin for origin in old if origin not in new]
        origins[column] = [*others, *new]
    return origins


def _merged(kept: pd.DataFrame, columns: pd.DataFrame) -> pd.DataFrame:
    """Return the kept table with the new columns; other lines of existing columns stay."""
    new, old = columns.set_index("feature"), kept.set_index("feature")
    same = old.filter(items=list(new.columns))
    same = same.drop(index=new.index, errors="ignore").dropna(how="all")
    parts = [part for part in (new, same) if len(part)]
    both = pd.concat(parts) if parts else new
    return (
        old.drop(columns=same.columns)
        .join(both, how="outer")
        .sort_index()
        .reset_index()
    )
