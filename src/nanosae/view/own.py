"""Results of the corpus that a page shows; those of another corpus count as stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from nanosae.codes import Codes
from nanosae.runs.results import Result, load_contrasts, load_result
from nanosae.runs.tables import load_features

# beginnings of columns that say what features mean, on any corpus
MEANINGS = ("label", "llm_", "keywords")


def own_result(run: Path, name: str, codes: Codes | None) -> Result | None:
    """Return a stored result, or None if there is none; see `load_result`."""
    result = load_result(run, name, codes)
    if result is None or _is_own(result, codes):
        return result
    return replace(result, stale=result.stale or _reason(result.corpus))


def own_value(run: Path, name: str, codes: Codes | None) -> Any:
    """Return the value of a stored result, or None if there is none or it is stale."""
    result = own_result(run, name, codes)
    return None if result is None or result.stale else result.value


def own_contrasts(run: Path, codes: Codes | None) -> list[Result]:
    """Return the comparisons within a corpus; see `load_contrasts`."""
    return [result for result in load_contrasts(run, codes) if _is_own(result, codes)]


def own_features(run: Path, codes: Codes | None) -> pd.DataFrame:
    """Return the feature table, in which columns of another corpus are stale but for labels."""
    table = load_features(run, codes)
    if codes is None:
        return table
    stale = table.attrs["stale"]
    for column, corpora in table.attrs["corpora"].items():
        others = sorted(corpora - {codes.name})
        if others and not column.startswith(MEANINGS):
            stale.setdefault(column, _reason(others[0]))
    return table


def _is_own(result: Result, codes: Codes | None) -> bool:
    return codes is None or result.corpus in ("", codes.name)


def _reason(corpus: str) -> str:
    return f"it was made from the corpus {corpus!r}"
