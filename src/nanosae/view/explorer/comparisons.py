"""Steered searches, and comparisons of a selection with all other rows."""

# pyright: reportCallIssue=false
# pandas' stubs see arrays for columns

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.search.search import Results, search
from nanosae.errors import DataError
from nanosae.view.explorer.corpus import Answer, OpenCorpus
from nanosae.view.explorer.rows import MAX_TEXT, PAGE
from nanosae.view.explorer.selections import Selection, select_rows

FIRST_HITS = 100  # whose position before the change is known
MAX_COMPARED = 5_000  # rows on either side of a comparison
FINDINGS = 30  # sent at once


def steer(
    corpus: OpenCorpus,
    row: int | None = None,
    query: str | None = None,
    edit: Mapping[int | str, float] | None = None,
) -> Answer:
    """Rank rows by similarity to a row or a text with some of its features changed.

    Each hit has its position in the ranking before the change, if it was among the first 100.

    Args:
        corpus: The corpus.
        row: The row of the query.
        query: The text of the query, instead of a row.
        edit: New activations of some features.
    """
    before = _search(corpus, row, query, corpus.labels_version())
    after = before
    if edit:
        after = search(corpus.codes, query, row=row, edit=edit, n=PAGE)
    place_before = {hit.row: place for place, hit in enumerate(before.hits)}
    hits = [
        {
            "row": hit.row,
            "score": hit.score,
            "text": hit.text[:MAX_TEXT],
            "was": place_before.get(hit.row),
        }
        for hit in after.hits[:PAGE]
    ]
    return {
        "note": after.note,
        "features": before.features,
        "labels": {
            feature: corpus.labels.get(int(feature), "") for feature in edit or {}
        },
        "hits": hits,
    }


@lru_cache(32)
def _search(
    corpus: OpenCorpus, row: int | None, query: str | None, version: tuple[int, ...]
) -> Results:
    return search(corpus.codes, query, row=row, n=FIRST_HITS)


def contrast_selection(corpus: OpenCorpus, where: Selection | None = None) -> Answer:
    """Return the features that differ between a selection and all other rows, on samples of both.

    Raises:
        DataError: If the selection or the rest has fewer than two rows.
    """
    selected = select_rows(corpus, where)
    every_row = np.arange(corpus.codes.n_rows, dtype=np.int32)
    others = np.setdiff1d(every_row, selected)
    if min(len(selected), len(others)) < 2:
        raise DataError(
            f"the selection has {len(selected):,} of {len(every_row):,} rows: "
            "a comparison needs at least two inside and two outside."
        )
    rng = np.random.default_rng(0)
    sample = _sample(selected, rng)
    other_sample = _sample(others, rng)
    result = contrast(corpus.codes, sample, other_sample, labels=corpus.labels)
    # what defines the selection differs trivially
    conditions = where or {}
    is_trivial = result.findings["feature"].isin(conditions.get("features", []))
    is_topic = result.findings["feature"] < 0
    is_trivial |= is_topic & (result.findings["topic"] == conditions.get("topic"))
    findings = result.findings[~is_trivial]
    return {
        "rows": len(selected),
        "compared": [len(sample), len(other_sample)],
        "notes": result.about["notes"],
        "tests": result.about["n_tested"],
        "findings": findings.head(FINDINGS).to_dict("records"),
    }


def _sample(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shuffled = rng.permutation(len(rows))
    return rows[shuffled[:MAX_COMPARED]].astype(np.int64)
