"""An open corpus of a run: data that answers share, read again when files change.

Answers must be fast on a million rows: nothing of size rows × features is ever held.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pandas' stubs see arrays for columns

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nanosae.analysis.columns import as_moments
from nanosae.analysis.comparisons.periods import DAYS_PER_YEAR
from nanosae.analysis.groups.families import family_names
from nanosae.analysis.groups.topic_rows import load_row_topics, topic_name
from nanosae.analysis.reading import run_model
from nanosae.codes import Codes
from nanosae.runs import annotations
from nanosae.runs.results import fresh_value, load_result
from nanosae.runs.tables import doubtful_labels, known_labels, load_features
from nanosae.view.explorer.prepare import first_map, load_map
from nanosae.view.files import modified_at
from nanosae.view.maps import largest_first
from nanosae.view.scores import label_scores
from nanosae.view.style import COLORS

SECONDS_PER_DAY = 86_400
DAY_ERROR = 1e-6  # days; rounding error of a year in float64
DATES_TRIED = 200  # values of a column that are tried as dates

STALE_COLUMNS = {"n_active": "descriptions", "label": "labels", "llm_label": "labels"}
STALE_FILES = {
    "families.json": "families",
    "topics.parquet": "topics",
    "findings.parquet": "findings",
}

Answer = dict[str, Any]


class Column(NamedTuple):
    """A metadata column.

    Attributes:
        values: A number, a time in years, or a position in `names` (−1: missing) for each row.
        names: Names of the groups, the most frequent first; empty for numbers and times.
        is_date: Whether the values are times.
    """

    values: np.ndarray
    names: list[str]
    is_date: bool = False


class Groups(NamedTuple):
    """Families or topics.

    Attributes:
        of_feature: Group of each feature, counted from the largest (−1: none).
        names: Names of the groups, the largest first.
        numbers: Numbers of these groups in the run, in the same order.
        of_row: Group of each row (−1: none); None if it is that of the leading feature.
    """

    of_feature: np.ndarray
    names: dict[int, str]
    numbers: list[int]
    of_row: np.ndarray | None = None


class OpenCorpus:
    """An open corpus of a run; may be used by several threads.

    Args:
        run: The run folder.
        name: Name of the corpus.

    Attributes:
        run: The run folder.
        codes: Its codes.
        model: The weights of their model, or None.
        id: Differs between corpora, and between runs that are served one after the other.
        directions: Unit directions of the features, (n_features, input_size), or None.
        row_order: All rows in a fixed random order; any first part is a random sample.
        map_is_asked: Set after the points of a map have been sent for the first time.

    Raises:
        MissingError: If the run has no codes.
        DamagedFileError: If the codes or user.sqlite are damaged.
    """

    def __init__(self, run: str | Path, name: str | None = None) -> None:
        self.run = Path(run)
        self.codes = Codes.open(run, name)
        self.id = _corpus_id(self.run, self.codes)
        self.model = run_model(self.codes)
        self.directions = None if self.model is None else self.model.directions()
        self._map_lock = threading.Lock()
        self._loaded: dict[str, tuple[Any, Any]] = {}  # by name, with their versions
        self.map_is_asked = threading.Event()
        self.row_order = np.arange(self.codes.n_rows, dtype=np.uint32)
        np.random.default_rng(0).shuffle(self.row_order)
        # report damage before the page is opened
        annotations.names(self.run, self.codes.model)

    @property
    def table(self) -> pd.DataFrame:
        """The run's feature table by feature."""
        version = modified_at(self.run / "features.parquet")
        return self._kept("table", version, self._feature_table)

    def _feature_table(self) -> pd.DataFrame:
        return load_features(self.run, self.codes).set_index("feature")

    @property
    def labels(self) -> dict[int, str]:
        """Labels of features, or names given by people."""
        version = self.labels_version()
        return self._kept("labels", version, lambda: known_labels(self.codes))

    @property
    def doubtful(self) -> set[int]:
        """Features with doubtful labels."""
        version = self.labels_version()
        return self._kept("doubtful", version, lambda: doubtful_labels(self.codes))

    @property
    def scores(self) -> dict[int, float]:
        """Scores of the labels in `labels`, of those that have one."""
        version = self.labels_version()
        return self._kept("scores", version, self._label_scores)

    def _label_scores(self) -> dict[int, float]:
        table = load_features(self.run, self.codes)
        named = annotations.names(self.run, self.codes.model)
        table["score"] = label_scores(table, named)
        return table.set_index("feature")["score"].dropna().to_dict()

    @property
    def map(self) -> dict[str, np.ndarray]:
        """The map of `make_map` or, until it exists, the first map."""
        stored = self.stored_map
        if stored is not None:
            return stored
        with self._map_lock:  # concurrent requests compute it only once
            return self._kept("first map", 0, lambda: first_map(self.codes))

    @property
    def stored_map(self) -> dict[str, np.ndarray] | None:
        """The map of `make_map`, or None until it exists."""
        return self._kept("map", self.map_version(), lambda: load_map(self.codes))

    def _kept(self, what: str, version: Any, load: Callable[[], Any]) -> Any:
        """Return data that are loaded anew only when their version changes."""
        known = self._loaded.get(what)
        if known is None or known[0] != version:
            known = self._loaded[what] = (version, load())
        return known[1]

    def labels_version(self) -> tuple[int, ...]:
        """Return a version that changes when features are labelled or renamed."""
        return tuple(
            modified_at(self.run / file) for file in ("features.parquet", "user.sqlite")
        )

    def map_version(self) -> int:
        """Return a version that changes when a new map is made."""
        return modified_at(self.codes.path / "map.npz")

    def stale(self) -> dict[str, str]:
        """Return the stale results, with the reason of each."""
        columns = self.table.attrs.get("stale", {})
        reasons = {
            what: columns[column]
            for column, what in STALE_COLUMNS.items()
            if column in columns
        }
        for name, what in STALE_FILES.items():
            result = load_result(self.run, name, self.codes)
            if result is not None and result.stale:
                reasons[what] = result.stale
        return reasons

    def column(self, name: str) -> Column:
        """Return a metadata column.

        Raises:
            DataError: If there is no such column.
        """
        return _column(self.codes, name)

    def groups(self, kind: str) -> Groups | None:
        """Return the families or topics of the features; None if the run has no fresh ones."""
        if kind not in ("family", "topic") or kind not in self.table:
            return None
        if kind in self.table.attrs.get("stale", {}):
            return None
        found = _groups(self, kind)
        return found if found.names else None


def _corpus_id(run: Path, codes: Codes) -> str:
    parts = [str(run.resolve()), codes.name, codes.checksum, codes.model]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@lru_cache(8)
def _column(codes: Codes, name: str) -> Column:
    return read_column(codes.series(name))


def read_column(given: pd.Series) -> Column:
    """Return values of a metadata column as numbers, times or groups."""
    values = given.map(as_text) if pd.api.types.is_object_dtype(given) else given
    is_datetime = pd.api.types.is_datetime64_any_dtype(values)
    if is_datetime or _holds_dates(values):
        return Column(_years(as_moments(values)), [], is_date=True)
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > len(COLORS):
        return Column(values.to_numpy(np.float64, na_value=np.nan), [])
    codes_by_value, names = pd.factorize(values.where(_is_known(values)))
    if not len(names):
        return Column(np.full(len(values), np.nan), [])
    order, place = largest_first(codes_by_value)
    group_names = [str(names[i]) for i in order]
    return Column(place[codes_by_value].astype(np.int32), group_names)


def _years(moments: np.ndarray) -> np.ndarray:
    """Return dates as years; NaN for missing ones."""
    days = moments.astype(np.float64) / SECONDS_PER_DAY
    years = 1970 + days / DAYS_PER_YEAR
    return np.where(np.isnat(moments), np.nan, years)


def day(year: float) -> str:
    """Return a time in years as an ISO 8601 date.

    Example:
        >>> day(2021.25)
        '2021-04-01'
    """
    days = (year - 1970) * DAYS_PER_YEAR
    whole_days = int(np.floor(days + DAY_ERROR))
    return str(np.datetime64(whole_days, "D"))


def as_text(value: Any) -> Any:
    """Return a list or a dictionary of values as a text, and other values unchanged."""
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(map(str, value))
    return str(value) if isinstance(value, dict) else value


def _is_known(values: pd.Series) -> pd.Series:
    if values.dtype.kind == "f":
        return pd.Series(np.isfinite(values))
    return values.notna() & (values != "")


def _holds_dates(values: pd.Series) -> bool:
    """Return whether the first texts of a column begin with year and month."""
    if pd.api.types.is_numeric_dtype(values):
        return False
    first = values[_is_known(values)].head(DATES_TRIED).astype(str)
    if first.empty:
        return False
    return bool(first.str.match(r"\d{4}-\d\d").all())


def _groups(corpus: OpenCorpus, kind: str) -> Groups:
    group = np.full(corpus.codes.n_features, -1)
    known = corpus.table[kind].fillna(-1).astype(np.int64)
    group[known.index] = known
    rows = load_row_topics(corpus.codes) if kind == "topic" else None
    members = group if rows is None else rows.row_topic
    n_groups = max(group.max(initial=0), members.max(initial=0)) + 1
    order, place = largest_first(members, n_groups)
    filled = np.isin(order, members)
    given = family_names(corpus.codes) if kind == "family" else _topic_names(corpus)
    names = {}
    for i, g in enumerate(order[filled].tolist()):
        names[i] = given.get(g, f"{kind} {g}")
    of_row = None if rows is None else place[members]
    return Groups(place[group], names, order[filled].tolist(), of_row)


def _topic_names(corpus: OpenCorpus) -> dict[int, str]:
    table = fresh_value(corpus.run, "topics.parquet", corpus.codes)
    lines = [] if table is None else table.itertuples()
    return {
        line.Topic: topic_name(line.Representation)
        for line in lines
        if len(line.Representation)
    }
