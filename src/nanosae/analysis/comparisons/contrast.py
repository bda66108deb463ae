"""Which features and topics tell groups, times or outcomes apart.

Three questions share one procedure: `contrast` (this group against that one), `over_time` (what
rises and falls) and `explain` (what goes with a target: two classes, many, or a number). Tests are
about whether a feature is active; one sparse product gives the sums of every feature at once.
Topics that the run knows are tested like features (`compared`): they find what is spread over many
features that are each too rare.

1. A duplicate group counts as one text: each of its rows weighs 1 ÷ their number. Copies are no
   evidence.
2. Every feature is tested on all rows: for groups and times by the likelihood ratio of `log_odds`
   (the effect is the stratified log-odds ratio, or the slope in time), for numbers by the
   difference between rows with and without the feature, with errors that allow unequal variances
   (HC3); the outermost 1 % of numbers on each side are moved to the percentile (winsorised), so
   that one huge number makes no finding.
3. A finding has q ≤ 0.05, the rate of Benjamini and Hochberg over all tests, of which topics, few
   as they are, get a fifth (weighted p: Genovese, Roeder and Wasserman, Biometrika 93 (2006) 509;
   the weights depend on how frequent things are, not on what they go with). Its effect and its
   interval are those that are right given that it was found (`selection`): what is picked because
   it looks large is drawn towards 0, and 95 % of the intervals of findings hold their effect. An
   interval may hold 0: then the finding is one, but its size is not known. Shares are as counted.
4. A joint model of few features (`joint_model`) is chosen on all rows; its score is that of the
   same procedure on held-out rows, which share no duplicate group with those that chose it.

Covariates (text length unless told otherwise) are held equal by stratification: the rows are cut
into strata (quantiles of numbers, values of the rest) and a feature has its own base rate in each.

Findings are ordered by what readers see: the difference of shares, their change over time, the
correlation with a number; each side of a comparison has its own list (`Contrast.sides`).

It says what goes together with what, not why; covariates that nobody named are not held equal.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import cells, is_list, is_missing
from nanosae.analysis.comparisons.compared import load_compared
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.comparisons.hypotheses import Options, Question, answer
from nanosae.analysis.reading import texts_of
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError, DataError

LISTED_VALUES = 6  # in the message about one that is not there


def contrast(
    codes: Corpus,
    a: Any = None,
    b: Any = None,
    *,
    by: str | None = None,
    covariates: Sequence[str] | None = None,
    groups: str | None = None,
    min_active: int = 10,
    labels: Mapping[int, str] | None = None,
    seed: int = 0,
) -> Contrast:
    """Find the features that tell two groups of rows apart.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        a: The first group: a value of the column `by` (or a list of them); without `by` a bool
            mask, an array of row numbers, the rows of a feature (int), or those whose text holds a
            str.
        b: The second group, given in the same way; all other rows if None.
        by: A metadata column; with neither `a` nor `b`, its two values are compared, or each of
            its several values with the rest.
        covariates: Columns to hold equal, and "length" for the texts' length; None: the length if
            there are texts; `()`: nothing.
        groups: A column whose equal values are one source (an author, a thread): counted as one
            text and kept on one side of the split.
        min_active: Independent texts on which a feature must be active to be tested, and in
            which a group must occur.
        labels: Names of features; None: those of the run.
        seed: Seed of the split into the rows that choose the joint model and those that score it.

    Raises:
        ConfigError: If only the second group is given.
        DataError: If a group is empty, or both share rows.
    """
    codes = as_codes(codes)
    options = Options(covariates, groups, min_active, labels, seed)
    if a is None and (b is not None or by is None):
        raise ConfigError(
            "There is no first group to compare"
            + ("." if b is None else f" with b={b!r}."),
            remedy="Give a column (by), one of its values (a), or two groups (a and b).",
        )
    if a is None:
        return explain(codes, by, kind="classes", **vars(options))
    in_a, name_a = _members(codes, a, by)
    if b is None:
        in_b, name_b = ~in_a, "the rest"
        if by is not None:
            in_b &= ~is_missing(codes.column(by))
    else:
        in_b, name_b = _members(codes, b, by)
    n_shared = int((in_a & in_b).sum())
    if n_shared or not in_a.any() or not in_b.any():
        raise DataError(
            f"{name_a} has {in_a.sum()} rows, {name_b} {in_b.sum()}, both {n_shared}: they must be"
            " apart and not empty.",
            column=by,
        )
    facts = {"column": by, "b": name_b, "left_out": _features_among(a, b, by)}
    target = sp.csr_array(in_a.astype(np.float64)[:, None])
    question = Question("groups", target, in_a | in_b, [name_a], facts)
    return answer(load_compared(codes), question, options)


def _features_among(a: Any, b: Any, by: str | None) -> list[int]:
    """Return the features that define a group, which need no test."""
    if by is not None:
        return []
    return [int(group) for group in (a, b) if _is_whole_number(group)]


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int | np.integer)


def _members(codes: Codes, group: Any, by: str | None) -> tuple[np.ndarray, str]:
    """Return the rows of a group, bool (n_rows,), and what to call it."""
    if by is not None:
        return _rows_with_value(codes, group, by)
    if isinstance(group, str):
        return _rows_with_text(codes, group), f"texts with “{group}”"
    name = "the chosen rows"
    if _is_whole_number(group):
        name = f"rows of feature {group}"
        group = codes.feature(int(group))[0]
    rows = np.asarray(group)
    if rows.dtype == bool and len(rows) != codes.n_rows:
        raise DataError(
            f"the mask has {len(rows)} rows, the corpus {codes.n_rows}.",
            remedy="Give one bool per row, or row numbers.",
        )
    member = np.zeros(codes.n_rows, dtype=bool)
    try:
        member[rows] = True
    except IndexError as error:
        raise DataError(
            f"row numbers must be whole and below n_rows={codes.n_rows}: {error}."
        ) from None
    return member, name


def _rows_with_text(codes: Codes, part: str) -> np.ndarray:
    """Return the rows whose text holds a part in any case, bool (n_rows,)."""
    wanted = part.lower()
    texts = texts_of(codes, np.arange(codes.n_rows), marks="")
    return np.array([wanted in text.lower() for text in texts], dtype=bool)


def _rows_with_value(codes: Codes, group: Any, by: str) -> tuple[np.ndarray, str]:
    """Return the rows whose cell is one of the wanted values, and the values.

    Raises:
        DataError: If no row has one of them; the message lists the values that are near.
    """
    asked = group if isinstance(group, list) else [group]
    wanted = [str(value) for value in asked]
    name = " or ".join(wanted)
    values = codes.column(by)
    members = _holding(values, wanted, by)
    if not members.any():
        raise _no_such_value(values, name, by)
    return members, name


def _holding(values: np.ndarray, wanted: list[str], by: str) -> np.ndarray:
    """Say which cells are, or hold, one of the wanted values, bool (n,)."""
    kind = values.dtype.kind
    if kind not in "iufM":
        return np.array([_holds(cell, wanted) for cell in values.tolist()], dtype=bool)
    equals, what, remedy = _is_number, "numbers", "Give a number."
    if kind == "M":
        equals, what, remedy = _is_in_date, "dates", "Write it as in 2024-05-31."
    try:
        return np.logical_or.reduce([equals(values, value) for value in wanted])
    except ValueError:
        raise DataError(
            f"{by} holds {what}, and {' or '.join(wanted)!r} is none.",
            column=by,
            remedy=remedy,
        ) from None


def _no_such_value(values: np.ndarray, name: str, by: str) -> DataError:
    """Say which values there are instead: those that are near, else the most frequent ones."""
    labels: Counter[str] = Counter()
    for cell in cells(values[~is_missing(values)]):
        labels.update(map(str, cell if is_list(cell) else [cell]))
    frequent = [label for label, _ in labels.most_common()]
    near = difflib.get_close_matches(name, frequent, n=LISTED_VALUES, cutoff=0.6)
    what = "near are" if near else "there are"
    shown = ", ".join((near or frequent)[:LISTED_VALUES])
    more = ", …" if not near and len(frequent) > LISTED_VALUES else ""
    return DataError(
        f"{name} has 0 rows: no row has it in column {by!r}; {what} {shown}{more}.",
        column=by,
        remedy="Give one of the values.",
    )


def _holds(cell: Any, wanted: list[str]) -> bool:
    """Return whether a cell is, or a cell of several labels has, one of the wanted values."""
    labels = cell if is_list(cell) else [cell]
    return any(str(label) in wanted for label in labels)


def _is_number(values: np.ndarray, wanted: str) -> np.ndarray:
    """Say which numbers are the wanted one; ids may be too large for a float."""
    try:
        return values == int(wanted)
    except ValueError:
        return values == float(wanted)  # 2019 is 2019.0 where another cell is empty


def _is_in_date(values: np.ndarray, wanted: str) -> np.ndarray:
    """Say which dates are in the wanted day, month ("2024-05") or year."""
    date = np.datetime64(wanted)
    return values.astype(date.dtype) == date
