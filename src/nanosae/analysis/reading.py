"""Read codes in blocks of features or rows, so that memory is bounded on any corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from nanosae.codes import Codes, indices
from nanosae.model.weights import Weights

BLOCK_WIDTH = 1024  # maximum number of features in a block
BLOCK_PAIRS = 2**22  # approximate maximum number of pairs of a block's features
BLOCK_CELLS = 2**24  # maximum entries of a dense matrix, block × all features
COLUMNS_WIDTH = 256  # features whose columns are read together
TEXTS = 2**14  # texts that are read together


def chosen_features(codes: Codes, features: Any) -> np.ndarray:
    """Return features (numbers or a mask) in ascending order; None: all that are not dead."""
    if features is None:
        return np.flatnonzero(codes.counts)
    return np.unique(indices(features, codes.n_features, "feature"))


def feature_blocks(codes: Codes, features: Any) -> list[np.ndarray]:
    """Split features (None: all) into blocks of bounded width and number of pairs."""
    features = indices(features, codes.n_features, "feature")
    width_by_cells = BLOCK_CELLS // codes.n_features
    width = max(1, min(BLOCK_WIDTH, width_by_cells))
    n_pairs = np.cumsum(codes.counts[features])
    block_by_pairs = n_pairs // BLOCK_PAIRS
    block_by_width = np.arange(len(features)) // width
    is_cut = np.diff(block_by_pairs) + np.diff(block_by_width)
    starts = np.flatnonzero(is_cut) + 1
    return np.split(features, starts)


def feature_columns(
    codes: Codes, features: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the active rows of each feature, ascending, and its activations on them."""
    starts = range(COLUMNS_WIDTH, len(features), COLUMNS_WIDTH)
    for block in np.split(features, starts):
        columns = codes.features(block)
        for start, stop in pairwise(columns.indptr):
            rows = columns.indices[start:stop]
            activations = columns.data[start:stop]
            yield rows, activations


def distinct_rows(
    row_lists: Iterable[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct rows of lists, so that each is read only once.

    Returns:
        The rows, ascending; the place among them of each row, list by list; and the end of each
        list in these places, after a first 0.
    """
    row_lists = list(row_lists)
    all_rows = np.concatenate([np.zeros(0, np.int64), *row_lists])
    distinct, place = np.unique(all_rows, return_inverse=True)
    ends = np.cumsum([0, *map(len, row_lists)])
    return distinct, place, ends


def texts_of(codes: Codes, rows: np.ndarray, marks: str = "«»") -> Iterator[str]:
    """Yield the texts of some rows; see `Codes.texts`."""
    for block in np.split(rows, range(TEXTS, len(rows), TEXTS)):
        yield from codes.texts(block, marks)


def beginning(text: str, n_letters: int) -> str:
    r"""Return a text on one line; a long one truncated at a word.

    Example:
        >>> beginning("A parcel\nthat came late", 12)
        'A parcel …'
    """
    one_line = " ".join(text.split())
    if len(one_line) <= n_letters:
        return one_line
    words, space, _ = one_line[: n_letters + 1].rpartition(" ")
    return f"{words if space else one_line[:n_letters]} …"


def drawn_rows(codes: Codes, most: int) -> np.ndarray:
    """Return a random sample of up to `most` rows, ascending and always the same."""
    return drawn_places(codes.n_rows, most)


def drawn_places(n: int, most: int) -> np.ndarray:
    """Return a random sample of up to `most` of n places, ascending and always the same."""
    rng = np.random.default_rng(0)
    return np.sort(rng.choice(n, min(most, n), replace=False, shuffle=False))


def text_prompt(codes: Codes) -> str:
    """Return the prefix with which the run's texts were embedded, such as "passage: "."""
    model = run_model(codes) if codes.is_of_run_model else None
    return "" if model is None else model.metadata.get("prompt") or ""


def run_model(codes: Codes) -> Weights | None:
    """Return the run's model, or None if there is no run or it has no model."""
    if not codes.has_model:
        return None
    return codes.weights()
