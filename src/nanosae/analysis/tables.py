"""The run's feature table, which every verb adds columns to, and exports of features and rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from nanosae.codes import Codes


def load_features(run: str | Path) -> pd.DataFrame:
    """Return `RUN/features.parquet`, one line per feature; empty but for `feature` without one."""
    import pandas as pd

    path = Path(run) / "features.parquet"
    return (
        pd.read_parquet(path) if path.exists() else pd.DataFrame({"feature": pd.array([], "int64")})
    )


def save_features(run: str | Path, columns: pd.DataFrame) -> pd.DataFrame:
    """Add columns to the run's feature table, or replace those that it has, in one step.

    Args:
        run: The run folder.
        columns: With a column `feature`; features without a line there get missing values.

    Returns:
        The whole table.
    """
    kept = load_features(run)
    kept = kept[[c for c in kept.columns if c == "feature" or c not in columns.columns]]
    table = kept.merge(columns, on="feature", how="outer").sort_values("feature", ignore_index=True)
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
    import pandas as pd

    features = [int(j) for j in np.atleast_1d(np.asarray(features, dtype=np.int64))]
    names = list(names) if names is not None else [f"feature_{j}" for j in features]
    acts: Any = codes.features(features) if rows is None else codes.take(rows)[:, features]
    table = pd.DataFrame({"row": np.arange(codes.n_rows) if rows is None else rows})
    if codes.has_texts:
        table["text"] = codes.texts(rows)
    for name in codes.columns:
        table[name] = codes.column(name, rows)
    return table.assign(**dict(zip(names, acts.toarray().T, strict=True)))
