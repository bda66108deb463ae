"""Which features are associated with a target: classes or a number (see `contrast`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import (
    above_minimum,
    as_numbers,
    class_matrix,
    count_infinite,
    is_list,
    is_missing,
    name_of,
    one_per_row,
)
from nanosae.analysis.comparisons.compared import load_compared
from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.comparisons.hypotheses import Options, Question, answer
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import DataError, counted, require_choice
from nanosae.runs.tables import Labels

MAX_DATES = 50  # that are compared with each other
WINSORISED = 0.01  # share of the numbers on each side


def explain(
    codes: Corpus,
    target: Any,
    *,
    kind: Literal["classes", "numeric"] | None = None,
    covariates: Sequence[str] | None = None,
    groups: str | None = None,
    min_active: int = 10,
    labels: Labels | None = None,
    seed: int = 0,
) -> Contrast:
    """Find the features that are associated with a target, one by one and jointly.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        target: A metadata column, or one value per row. Rows with an empty ("", None, NaN) or
            infinite cell are left out; a note counts the infinite ones. A pandas series is matched
            with the rows by its index if possible. Lengths of time are numbers of minutes.
        kind: How to treat the target. None: numbers with more than two distinct values are
            "numeric", everything else "classes". A cell may hold several classes, joined by "|".
        covariates: See `contrast`.
        groups: See `contrast`.
        min_active: See `contrast`; each class is a group.
        labels: See `contrast`.
        seed: See `contrast`.

    Raises:
        ConfigError: If there is no such kind.
        DataError: If `target` does not have one value per row, has fewer than two distinct values,
            or is not numeric although `kind` is "numeric", or has more than 50 different dates, or
            is one number in 98 % of the rows or more.
    """
    codes = as_codes(codes)
    options = Options(covariates, groups, min_active, labels, seed)
    return answer(load_compared(codes), question_about(codes, target, kind), options)


def question_about(
    codes: Codes, column: Any, kind: Literal["classes", "numeric"] | None = None
) -> Question:
    """Make the question what is associated with a column; see `explain` for the arguments."""
    if kind is not None:
        require_choice("kind", kind, ["classes", "numeric"])
    values = one_per_row(codes, column)
    name = name_of(column)
    numbers = as_numbers(above_minimum(values))  # effects are differences
    if kind == "numeric" and numbers is None:
        raise DataError(
            "kind='numeric' needs numbers, but the target holds other values.",
            column=name,
        )
    is_numeric = numbers is not None and kind != "classes"
    if numbers is not None and is_numeric:
        n_numbers = len(np.unique(numbers[~np.isnan(numbers)]))
        _require_two(n_numbers, name)
        is_numeric = kind == "numeric" or n_numbers > 2
    if numbers is not None and is_numeric:
        return _number(numbers, values, name)
    _require_few_dates(values, name)
    return _classes(values, name)


def _require_few_dates(values: np.ndarray, column: str | None) -> None:
    if values.dtype.kind != "M":
        return
    n_dates = len(np.unique(values[~is_missing(values)]))
    if n_dates > MAX_DATES:
        raise DataError(
            f"{column or 'The target'} holds {n_dates:,} different dates.",
            column=column,
            remedy="Follow the features over time instead (over_time).",
        )


def _require_two(n_values: int, column: str | None) -> None:
    if n_values < 2:
        what = "the target" if column is None else f"column {column!r}"
        n_different = counted(n_values, "different value")
        raise DataError(
            f"{what} has {n_different}; 2 or more are needed.",
            column=column,
        )


def _number(numbers: np.ndarray, values: np.ndarray, column: str | None) -> Question:
    """Make the question about a number, winsorised."""
    bounds = np.nanquantile(numbers, [WINSORISED, 1 - WINSORISED])
    if bounds[0] == bounds[1]:
        raise _too_equal(values, numbers == bounds[0], ~np.isnan(numbers), column)
    winsorised = np.clip(numbers, *bounds)
    # a constant becomes exactly 0, so rounding errors cannot look like an effect
    above_minimum = winsorised - bounds[0]
    target = sp.csr_array(np.nan_to_num(above_minimum)[:, None])
    rows = ~np.isnan(numbers)
    name = column or "the target"
    notes = _infinite_note(values, name)
    return Question("numeric", target, rows, [name], {"column": column}, notes)


def _too_equal(
    values: np.ndarray, is_usual: np.ndarray, is_known: np.ndarray, column: str | None
) -> DataError:
    usual = values[is_usual.argmax()]
    n_known = int(is_known.sum())
    n_others = n_known - int(is_usual.sum())
    needed = math.floor(WINSORISED * n_known) + 1
    name = "The target" if column is None else f"Column {column!r}"
    return DataError(
        f"{name} is {usual} in all but {n_others:,} of "
        f"{n_known:,} rows; at least {needed:,} must be above it, or below.",
        column=column,
        remedy="Compare the rows where it differs with the others instead (contrast).",
    )


def _infinite_note(values: np.ndarray, name: str) -> list[str]:
    """Report how many rows are left out because the number is infinite."""
    n_infinite = count_infinite(values)
    if not n_infinite:
        return []
    return [f"{n_infinite:,} of {len(values):,} rows are left out: {name} is infinite."]


def _classes(values: np.ndarray, column: str | None) -> Question:
    """Make the question about each class; of two exclusive classes only the second is tested."""
    names, indicators = class_matrix(values)
    _require_two(len(names), column)
    rows = ~is_missing(values)
    has_lists = values.dtype == object and any(map(is_list, values))
    has_several = bool((indicators.sum(axis=1) > 1).any())
    facts: dict[str, Any] = {"column": column, "lists": has_lists or has_several}
    one_class_each = (indicators.sum(axis=1)[rows] == 1).all()
    if len(names) == 2 and one_class_each:
        facts["b"] = names[0]
        return Question("groups", indicators[:, [1]], rows, names[1:], facts)
    return Question("groups", indicators, rows, names, facts)
