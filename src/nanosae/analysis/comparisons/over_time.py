"""Which features become more or less frequent (see `contrast`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import betaincinv

from nanosae.analysis.columns import name_of, one_hot, one_per_row
from nanosae.analysis.comparisons.compared import Compared, load_compared
from nanosae.analysis.comparisons.feature_sums import active_indicators
from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.comparisons.hypotheses import (
    Options,
    Question,
    answer_and_rows,
)
from nanosae.analysis.comparisons.periods import Periods, periods
from nanosae.analysis.groups.families import family_names
from nanosae.analysis.groups.topic_rows import load_row_topics
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.runs.tables import Labels, load_features

KINDS = ("topic", "family")  # columns of features.parquet that group related features
MIN_KIND = 5  # features of one topic or family, for a note that they move together
MOST = 0.8  # share of the features of a topic or family that move together
ROUNDING = 1e-9  # relative error of a count
MOVED = 0.5  # share of all features from which on the whole collection is in doubt


def over_time(
    codes: Corpus,
    time: Any,
    *,
    covariates: Sequence[str] | None = None,
    groups: str | None = None,
    min_active: int = 10,
    labels: Labels | None = None,
) -> Contrast:
    """Find the features that become more or less frequent.

    Dates are grouped into calendar periods; outliers are set aside with a note (see `periods`).
    Where most features of a topic or family move in the same direction, or half of all features
    change, a note warns that the collection may have changed rather than what its texts are about.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        time: A metadata column of numbers or dates (ISO 8601), or one of these per row. A pandas
            series is matched with the rows by its index if possible.
        covariates: See `contrast`.
        groups: See `contrast`.
        min_active: See `contrast`.
        labels: See `contrast`.

    Raises:
        DataError: If the column holds neither numbers nor dates.
    """
    codes = as_codes(codes)
    options = Options(covariates, groups, min_active, labels)
    result = answer_over_time(load_compared(codes), time, options)
    result.about["notes"] += collection_notes(codes, result)
    return result


def answer_over_time(compared: Compared, column: Any, options: Options) -> Contrast:
    """Test features and topics against time, and compute their shares in each period."""
    name = name_of(column) or "time"
    found = periods(one_per_row(compared.codes, column), name)
    facts = {"column": name, "unit": found.unit}
    # a single period becomes exactly 0, so rounding errors cannot look like a trend
    since_first = found.time - found.time[found.kept].min()
    target = sp.csr_array(since_first[:, None])
    notes = list(found.notes)
    question = Question("trend", target, found.kept, [name], facts, notes)
    result, rows = answer_and_rows(compared, question, options)
    columns = compared.column_numbers(result.findings)
    result.shares = shares_by_period(compared, found, columns, rows.weight)
    return result


def shares_by_period(
    compared: Compared, found: Periods, columns: np.ndarray, weight: np.ndarray
) -> pd.DataFrame:
    """Compute the share of texts with each feature or topic in each period.

    Rows that have a period count by their weight, so copies of a text count once. `low` to `high`
    is the 95 % Jeffreys interval (Brown, Cai and DasGupta, Stat. Sci. 16 (2001) 101, §3.1.3), which
    begins at 0 if no row is active and ends at 1 if all are.

    Returns:
        `feature, topic` (-1 for the other kind), `period` (its start in years, or a number),
        `name` ("March 2024"), `n, n_active, share, low, high`.
    """
    rows = np.flatnonzero(found.kept)
    starts, level = np.unique(found.start[rows], return_inverse=True)
    active = active_indicators(compared, columns)[rows]
    weighted_levels = one_hot(level).multiply(weight[:, None])
    n_active = (active.T @ weighted_levels).toarray().ravel()
    n = np.tile(np.bincount(level, weight), len(columns))
    n_inactive = n - n_active
    are_all_active = n_inactive < ROUNDING * n
    n_inactive = np.where(are_all_active, 0, n_inactive)
    tails = [[0.025], [0.975]]
    low, high = betaincinv(n_active + 0.5, n_inactive + 0.5, tails)
    low = np.where(n_active == 0, 0, low)
    high = np.where(are_all_active, 1, high)
    names = [found.names[start] for start in starts.tolist()]
    feature, topic = compared.split(columns)
    lines = {
        "feature": np.repeat(feature, len(starts)),
        "topic": np.repeat(topic, len(starts)),
        "period": np.tile(starts, len(columns)),
        "name": names * len(columns),
        "n": n.round().astype(np.int64),
        "n_active": n_active.round().astype(np.int64),
        "share": np.where(are_all_active, 1, n_active / n),
        "low": low,
        "high": high,
    }
    return pd.DataFrame(lines)


def collection_notes(codes: Codes, result: Contrast) -> list[str]:
    """Warn where so many features change that the collection itself may have changed."""
    of_features = result.findings[result.findings["feature"] >= 0]
    direction = of_features.set_index("feature")["effect"].gt(0)
    n_tested = result.about["n_tested"] - result.about["n_topics_tested"]
    notes = []
    if len(direction) >= max(MIN_KIND, MOVED * n_tested):
        notes.append(
            f"{len(direction)} of {n_tested} features change: perhaps the collection has changed"
            " (its sources, or what kind of text it holds) rather than what its texts are about."
        )
    for kind, members in _kinds(codes).items():
        n_common = int((codes.counts[members] >= result.about["min_active"]).sum())
        moved = direction.reindex(members).dropna()
        for rises, verb in ((True, "rise"), (False, "fall")):
            n_moved = moved.to_list().count(rises)
            if n_common >= MIN_KIND and n_moved >= MOST * n_common:
                notes.append(
                    f"{n_moved} of the {n_common} features of {kind} {verb} together: perhaps more"
                    " or fewer texts of this kind were collected. Compare within them, or hold"
                    " their source equal (covariates)."
                )
    return notes


def _kinds(codes: Codes) -> dict[str, list[int]]:
    """Return the features of each topic of the run; of each family if it has no topics."""
    if codes.run is None:
        return {}
    table = load_features(codes.run, codes)
    for column in KINDS:
        if column in table and column not in table.attrs["stale"]:
            known = table[["feature", column]].dropna()
            grouped = known.groupby(column)["feature"]
            names = _names_of_kinds(codes, column)
            return {
                f"the {column} {names.get(kind, kind)}": list(features)
                for kind, features in grouped
            }
    return {}


def _names_of_kinds(codes: Codes, column: str) -> dict[Any, str]:
    """Return the quoted names of topics or families by their numbers."""
    if column == "topic":
        topics = load_row_topics(codes)
        names = {} if topics is None else dict(enumerate(topics.names))
    else:
        names = family_names(codes)
    return {kind: f"“{name}”" for kind, name in names.items() if name}
