"""Which features and topics differ between groups, over time, or with a target.

Three functions share one procedure: `contrast` compares two groups, `over_time` finds what rises
and falls, and `explain` finds what is associated with a target (classes or a number). All tests
concern whether a feature is active; one sparse product gives the sums for all features at once. If
the run has topics, they are tested like features (`compared`): they reveal what is spread over many
features that are each too rare.

1. A duplicate group counts as one text: each of its rows weighs 1 ÷ the group's size, so copies
   add no evidence.
2. Every feature is tested on all rows. For groups and times, the test is the likelihood-ratio test
   of `log_odds`, and the effect is the stratified log-odds ratio or the slope in time. For numbers,
   the effect is the difference in means between rows with and without the feature, with standard
   errors that allow unequal variances (HC3); numbers are winsorised at 1 % on each side, so that a
   single huge value cannot make a finding.
3. A finding has q ≤ 0.05 in the Benjamini-Hochberg procedure over all tests. Topics, which are few,
   get a fifth of the total weight (weighted p-values: Genovese, Roeder and Wasserman, Biometrika 93
   (2006) 509; the weights depend on how frequent features and topics are, not on the target). The
   effect and its interval are conditional on selection (`selection`): estimates shrink towards 0,
   and 95 % of the findings' intervals cover their effect. An interval may contain 0: the finding
   still holds, but its size is uncertain. Shares are raw.
4. A joint model of a few features (`joint_model`) is selected on all rows. Its score comes from
   running the same procedure on training rows and evaluating it on held-out rows; no duplicate
   group is on both sides.

Covariates (by default the text length) are held equal by stratification: rows are divided into
strata by quantiles of numbers and by the values of other columns, and a feature has its own base
rate in each stratum.

Findings are ordered by what readers see: the difference in shares, their change over time, or the
correlation with a number. Each side of a comparison has its own list (`Contrast.sides`).

Findings are associations, not causes, and covariates that are not named are not held equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.columns import (
    cells,
    classes_of,
    is_missing,
    name_of,
    one_per_row,
)
from nanosae.analysis.comparisons.compared import load_compared
from nanosae.analysis.comparisons.explain import question_about
from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.comparisons.hypotheses import Options, Question, answer
from nanosae.analysis.reading import texts_of
from nanosae.analysis.row_order import as_mask, in_row_order
from nanosae.codes import Codes, Corpus, as_codes, indices
from nanosae.errors import ConfigError, DataError, near_names
from nanosae.runs.tables import Labels

CHOSEN = "the chosen rows"  # name of a group given by its rows


def contrast(
    codes: Corpus,
    a: Any = None,
    b: Any = None,
    *,
    by: Any = None,
    covariates: Sequence[str] | None = None,
    groups: str | None = None,
    min_active: int = 10,
    labels: Labels | None = None,
    seed: int = 0,
) -> Contrast:
    """Find the features that differ between two groups of rows.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        a: The first group. With `by`: a value of that column, or a list of values; a row whose
            cell holds several, as a list or joined by "|", has each of them. Without: a bool mask,
            an array of row numbers, a feature (int: the rows on which it is active), or a string
            (the rows whose text contains it). A mask that is a pandas series is matched with the
            rows by its index if possible; missing values are False.
        b: The second group, given in the same way; None: all other rows.
        by: A metadata column, or one value per row. Without `a` and `b`, its two values are
            compared, or, if it has more, each value with the rest.
        covariates: One or several columns to hold equal; "length" is the length of the texts. None:
            the length, if there are texts. `()`: nothing is held equal.
        groups: A column that names the source of each row, such as an author or a thread: rows
            with equal values count as one text and stay on one side of the split.
        min_active: Minimum number of independent texts on which a feature must be active to be
            tested, and minimum size of a group.
        labels: Labels of features, a mapping or a table with `feature` and `label`; None: those of
            the run.
        seed: Seed of the split into training and held-out rows for the score of the joint model.

    Raises:
        ConfigError: If no first group is given, or `min_active` or `seed` is no whole number.
        DataError: If a group is empty or the groups overlap.
    """
    codes = as_codes(codes)
    options = Options(covariates, groups, min_active, labels, seed)
    if a is None and (b is not None or by is None):
        second_group = "" if b is None else f" with b={b!r}"
        raise ConfigError(
            f"There is no first group to compare{second_group}.",
            remedy="Give a column (by), one of its values (a), or two groups (a and b).",
        )
    if a is None:
        question = question_about(codes, by, "classes")
        return answer(load_compared(codes), question, options)
    in_a, name_a = _members(codes, a, by)
    if b is None:
        in_b, name_b = ~in_a, "the rest"
        if by is not None:
            in_b &= ~is_missing(one_per_row(codes, by))
    else:
        in_b, name_b = _members(codes, b, by)
        if name_b == name_a == CHOSEN:
            name_b = "the other chosen rows"
    column = None if by is None else name_of(by)
    _require_disjoint(in_a, name_a, in_b, name_b, column)
    facts = {"column": column, "b": name_b, "left_out": _features_among(a, b, by)}
    target = sp.csr_array(in_a.astype(np.float64)[:, None])
    notes = [] if by is not None else _notes_on_columns(codes, a, b)
    question = Question("groups", target, in_a | in_b, [name_a], facts, notes)
    return answer(load_compared(codes), question, options)


def _require_disjoint(
    in_a: np.ndarray, name_a: str, in_b: np.ndarray, name_b: str, column: str | None
) -> None:
    n_a = int(in_a.sum())
    n_b = int(in_b.sum())
    n_shared = int((in_a & in_b).sum())
    if n_shared or not n_a or not n_b:
        raise DataError(
            f"Groups must not be empty or overlap: {name_a} ({n_a} rows), {name_b} ({n_b} rows), "
            f"{n_shared} rows in both.",
            column=column,
        )


def _notes_on_columns(codes: Codes, *groups: Any) -> list[str]:
    """Return a note on each group that was read as words but is the name of a column."""
    return [
        f"“{group}” was searched for in the texts; the values of the column of that name are "
        f"compared by by={group!r}."
        for group in groups
        if isinstance(group, str) and group in codes.columns
    ]


def _features_among(a: Any, b: Any, by: Any) -> list[int]:
    """Return the features that define a group; testing them would be circular."""
    if by is not None:
        return []
    return [int(group) for group in (a, b) if _is_whole_number(group)]


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _members(codes: Codes, group: Any, by: Any) -> tuple[np.ndarray, str]:
    """Return the rows of a group, bool (n_rows,), and its name."""
    if by is not None:
        return _rows_with_value(codes, group, by)
    if isinstance(group, str):
        return _rows_with_text(codes, group), f"texts with “{group}”"
    name = CHOSEN
    if _is_whole_number(group):
        name = f"rows of feature {group}"
        group = codes.feature(int(group))[0]
    rows = as_mask(in_row_order(codes, group))
    _refuse_numbers_as_mask(rows, codes.n_rows)
    member = np.zeros(codes.n_rows, dtype=bool)
    member[indices(rows, codes.n_rows, "row")] = True
    return member, name


def _refuse_numbers_as_mask(rows: np.ndarray, n_rows: int) -> None:
    """Refuse a mask of the numbers 0 and 1, which would be read as the rows 0 and 1."""
    are_numbers = rows.dtype.kind in "iuf" and rows.size == n_rows > 2
    if are_numbers and np.isin(rows, [0, 1]).all():
        raise DataError(
            f"The group is {n_rows:,} numbers, all 0 or 1; a mask of the rows is needed.",
            remedy="Give booleans, such as values == 1.",
        )


def _rows_with_text(codes: Codes, phrase: str) -> np.ndarray:
    """Return the rows whose text contains a phrase, ignoring case, bool (n_rows,)."""
    wanted = phrase.lower()
    texts = texts_of(codes, np.arange(codes.n_rows), marks="")
    members = np.array([wanted in text.lower() for text in texts], dtype=bool)
    if not members.any():
        columns = near_names(phrase, codes.columns)
        raise DataError(
            f"No text contains {phrase!r}.",
            remedy=f"Give other words, or a column as by=…; {columns}.",
        )
    return members


def _rows_with_value(codes: Codes, group: Any, by: Any) -> tuple[np.ndarray, str]:
    """Return the rows whose cell is or contains one of the values, and the values in words.

    Raises:
        DataError: If there is no such row; the message lists similar values.
    """
    given_values = list(group) if pd.api.types.is_list_like(group) else [group]
    wanted = list(dict.fromkeys(str(value) for value in given_values))
    name = " or ".join(wanted)
    values = one_per_row(codes, by)
    column = name_of(by) or "the given values"
    members = _cells_with(values, wanted, column)
    if not members.any():
        raise _no_such_value(values, name, column)
    return members, name


def _cells_with(values: np.ndarray, wanted: list[str], by: str) -> np.ndarray:
    """Return which cells are or contain one of the wanted values, bool (n,)."""
    kind = values.dtype.kind
    are_integers = pd.api.types.infer_dtype(values) == "integer"  # perhaps objects
    if kind not in "fM" and not are_integers:
        has_value = [_has_label(cell, wanted) for cell in values.tolist()]
        return np.array(has_value, dtype=bool)
    equals, what, remedy = _is_number, "numbers", "Give a number."
    if kind == "M":
        equals, what, remedy = _is_in_date, "dates", "Write it as in 2024-05-31."
    try:
        return np.logical_or.reduce([equals(values, value) for value in wanted])
    except ValueError:
        raise DataError(
            f"{by} holds {what}, but {' or '.join(wanted)!r} is not one.",
            column=by,
            remedy=remedy,
        ) from None


def _no_such_value(values: np.ndarray, name: str, by: str) -> DataError:
    """Return the error that lists similar values, or else the most frequent ones."""
    counts: Counter[str] = Counter()
    for cell in cells(values[~is_missing(values)]):
        counts.update(classes_of(cell))
    frequent = [label for label, _ in counts.most_common()]
    return DataError(
        f"{name} has 0 rows: it is not in column {by!r}; {near_names(name, frequent)}.",
        column=by,
        remedy="Give one of the values.",
    )


def _has_label(cell: Any, wanted: list[str]) -> bool:
    """Return whether a cell, or one label of a cell with several, is one of the wanted values."""
    labels = classes_of(cell)
    if isinstance(cell, str):
        labels.append(cell)
    return any(label in wanted for label in labels)


def _is_number(values: np.ndarray, wanted: str) -> np.ndarray:
    """Return which numbers equal the wanted one, as integers if possible: ids may be long."""
    try:
        return values == int(wanted)
    except ValueError:
        return values == float(wanted)


def _is_in_date(values: np.ndarray, wanted: str) -> np.ndarray:
    """Return which dates are in the wanted day, month ("2024-05") or year."""
    date = np.datetime64(wanted)
    return values.astype(date.dtype) == date
