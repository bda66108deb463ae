"""The run's feature table, which every verb adds columns to, and exports of features and rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.runs import annotations as edits


def load_features(run: str | Path) -> pd.DataFrame:
    """Return `RUN/features.parquet`, one line per feature; empty but for `feature` without one."""
    path = Path(run) / "features.parquet"
    return (
        pd.read_parquet(path) if path.exists() else pd.DataFrame({"feature": pd.array([], "int64")})
    )


def known_labels(source: Codes | Path) -> dict[int, str]:
    """Return a run's names of features: by people, else by a language model, else by words."""
    import pyarrow.parquet as pq

    run = source if isinstance(source, Path) else source.run
    if run is None:
        return {}
    path, found = run / "features.parquet", {}
    if path.exists():
        have = [c for c in ("label", "llm_label") if c in pq.read_schema(path).names]
        table = pq.read_table(path, columns=["feature", *have]).to_pydict()
        for labels in (table[name] for name in have):
            found |= {j: name for j, name in zip(table["feature"], labels, strict=True) if name}
    return found | edits.names(run)


def save_features(run: str | Path, columns: pd.DataFrame) -> pd.DataFrame:
    """Add columns to the run's feature table, in one step.

    Args:
        run: The run folder.
        columns: With a column `feature`; of columns that the table has already, the lines of these
            features are replaced.

    Returns:
        The whole table.
    """
    new, kept = columns.set_index("feature"), load_features(run).set_index("feature")
    same = kept.filter(items=list(new.columns))
    same = same.drop(index=new.index, errors="ignore").dropna(how="all")
    both = pd.concat([new, same]) if len(same) else new
    table = kept.drop(columns=same.columns).join(both, how="outer").sort_index().reset_index()
    write(table, Path(run) / "features.parquet")
    return table


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as its name says: .parquet, .csv, .tsv or .json; replaced in one step."""
    path = Path(path)
    part = path.with_name(f".{path.name}")
    if path.suffix == ".parquet":
        table.to_parquet(part, index=False)
    elif path.suffix in (".csv", ".tsv"):
        table.to_csv(part, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    elif path.suffix == ".json":
        table.to_json(part, orient="records", force_ascii=False)
    else:
        raise ValueError(f"{path} is of no known kind: name it .parquet, .csv, .tsv or .json.")
    part.replace(path)


def records(**tables: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return tables as JSON types, a list of lines each; what is missing is None."""
    return {name: json.loads(str(t.to_json(orient="records"))) for name, t in tables.items()}


def tag(codes: Codes, features: Any, names: Any = None, *, rows: Any = None) -> pd.DataFrame:
    """Return the corpus' texts and columns with one more column for each chosen feature.

    Args:
        codes: The corpus.
        features: Features to add, as activations (0 where silent).
        names: Their columns' names; `feature_N` by default.
        rows: Which rows; all by default.

    Raises:
        ValueError: If a feature does not exist.
    """
    features = [int(j) for j in np.atleast_1d(np.asarray(features, dtype=np.int64))]
    names = list(names) if names is not None else [f"feature_{j}" for j in features]
    acts: Any = codes.features(features) if rows is None else codes.take(rows)[:, features]
    table = pd.DataFrame({"row": np.arange(codes.n_rows) if rows is None else rows})
    if codes.has_texts:
        table["text"] = codes.texts(rows)
    for name in codes.columns:
        table[name] = codes.column(name, rows)
    return table.assign(**dict(zip(names, acts.toarray().T, strict=True)))
