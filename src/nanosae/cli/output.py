"""Tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def show(table: pd.DataFrame, as_json: bool, columns: list[str] | None = None) -> None:
    """Print a table, or its records as JSON."""
    if as_json:
        print(table.to_json(orient="records", force_ascii=False))
        return
    shown = table.filter(items=columns or list(table.columns))
    print(shown.head(20).to_string(index=False, max_colwidth=70))
    if len(shown) > 20:
        print(f"… {len(shown):,} lines in all")
