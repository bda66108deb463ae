"""Feature cards, limited so that a report stays below 25 MB for corpora of any size.

The more features there are, the fewer and shorter are the texts on a card. Cards are compressed in
blocks, which the browser unpacks when a card is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.view import pages

CARDS_PER_BLOCK = 128
MAX_CARDS = 20_000
CARD_BYTES = 14_000_000  # of packed cards
TEXT_BYTES = 30_000_000  # of texts and numbers before packing
BYTES_PER_ROW = 15  # for the number and the activation of a row
BYTES_PER_CARD = 300  # for all other numbers of a card
SAMPLE = 500  # rows from which the length of texts is estimated
MAX_RELATED = 8  # features of each kind of relation

EXAMPLES = {  # columns of the feature table with example rows, and their names on a card
    "top_rows": "top",
    "quantile_rows": "across",
    "near_misses": "near",
}
RELATED = {  # columns of related features, and of the strength of each relation
    "nearest": "nearest_cosine",
    "opposite": "opposite_cosine",
    "coactive": "coactive_npmi",
}


@dataclass(frozen=True)
class CardLimits:
    """Limits on the content of a card.

    Attributes:
        top_rows: Number of texts on which the feature is strongest.
        quantile_rows: Number of texts from strong to weak.
        near_misses: Number of similar texts on which it is inactive.
        text_bytes: Length of each text, in bytes of UTF-8.
    """

    top_rows: int
    quantile_rows: int
    near_misses: int
    text_bytes: int

    def card_bytes(self, text_lengths: Sequence[int]) -> float:
        """Return the expected size of a card in bytes, given a sample of text lengths."""
        n_texts = self.top_rows + self.quantile_rows + self.near_misses
        mean_length = np.minimum(text_lengths, self.text_bytes).mean()
        return n_texts * (BYTES_PER_ROW + mean_length) + BYTES_PER_CARD


LIMITS = (  # the first one that fits into TEXT_BYTES is used, or else the last
    CardLimits(top_rows=10, quantile_rows=6, near_misses=6, text_bytes=500),
    CardLimits(top_rows=8, quantile_rows=5, near_misses=4, text_bytes=300),
    CardLimits(top_rows=5, quantile_rows=4, near_misses=3, text_bytes=200),
    CardLimits(top_rows=3, quantile_rows=2, near_misses=2, text_bytes=140),
    CardLimits(top_rows=2, quantile_rows=1, near_misses=1, text_bytes=100),
)


def pack_cards(codes: Codes, table: pd.DataFrame) -> list[str]:
    """Return blocks of cards in the order of the table, up to about CARD_BYTES in total.

    Args:
        codes: The corpus.
        table: The feature table, best features first, with a column `top_rows`.

    Returns:
        Packed blocks (see `pages.pack`) of `cards` and the `texts` that they show, by row.
    """
    # dead features come last
    n_cards = int(np.count_nonzero(codes.counts))
    limits = choose_limits(n_cards, _text_lengths(codes))
    examples = {}
    for kind in EXAMPLES:
        if kind in table:
            n_shown = getattr(limits, kind)
            examples[kind] = [_first(rows, n_shown) for rows in table[kind]]
    shown = _ShownRows(codes, examples, limits.text_bytes)
    blocks = []
    size = 0
    for start in range(0, min(n_cards, MAX_CARDS), CARDS_PER_BLOCK):
        places = range(start, min(start + CARDS_PER_BLOCK, n_cards))
        block = _pack_block(table, places, examples, shown)
        blocks.append(block)
        size += len(block)
        if size > CARD_BYTES:
            break
    return blocks


def choose_limits(n_cards: int, text_lengths: Sequence[int]) -> CardLimits:
    """Return the most generous limits with which all cards fit into TEXT_BYTES, or the tightest."""
    for limits in LIMITS:
        if n_cards * limits.card_bytes(text_lengths) <= TEXT_BYTES:
            return limits
    return LIMITS[-1]


def _text_lengths(codes: Codes) -> list[int]:
    """Return the lengths in bytes of a sample of texts."""
    if not codes.has_texts:
        return [0]
    rng = np.random.default_rng(0)
    size = SAMPLE if codes.n_rows else 0
    sample = np.unique(rng.integers(0, max(codes.n_rows, 1), size))
    return [len(text.encode()) for text in codes.texts(sample)]


class _ShownRows:
    """The rows shown on any card, with their texts and activations."""

    def __init__(
        self, codes: Codes, examples: Mapping[str, list[np.ndarray]], text_bytes: int
    ) -> None:
        per_kind = [np.concatenate(rows) for rows in examples.values()]
        self.rows = np.unique(np.concatenate(per_kind)).astype(np.int64)
        texts = codes.texts(self.rows) if codes.has_texts else [""] * len(self.rows)
        self.texts = [truncated(text, text_bytes) for text in texts]
        self._activations = codes.take(self.rows).tocsc()

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Return the positions of rows among the shown rows."""
        return np.searchsorted(self.rows, rows.astype(np.int64))

    def activations(self, places: np.ndarray, feature: int) -> list[float]:
        """Return the activations of a feature on the shown rows at some positions."""
        if not len(places):
            return []
        start, stop = self._activations.indptr[feature : feature + 2]
        rows = self._activations.indices[start:stop]
        column = np.zeros(len(self.rows), np.float32)
        column[rows] = self._activations.data[start:stop]
        return column[places].tolist()


def _pack_block(
    table: pd.DataFrame,
    places: range,
    examples: Mapping[str, list[np.ndarray]],
    shown: _ShownRows,
) -> str:
    """Pack the cards of the features at some positions of the table, with their texts."""
    cards = []
    texts: dict[str, str] = {}
    features = table["feature"].to_numpy()
    for i in places:
        feature = int(features[i])
        card: dict[str, Any] = {"feature": feature}
        for kind, rows_of_feature in examples.items():
            rows = rows_of_feature[i]
            found = shown.places(rows)
            activations = shown.activations(found, feature)
            card[EXAMPLES[kind]] = _number_pairs(rows, activations, digits=3)
            for place in found.tolist():
                texts[str(shown.rows[place])] = shown.texts[place]
        cards.append(card | _numbers(table.iloc[i]))
    return pages.pack({"cards": cards, "texts": texts})


def _numbers(line: Any) -> dict[str, Any]:
    """Return the numbers on a card: histogram, moments, related features."""
    numbers: dict[str, Any] = {"histogram": _first(line.get("histogram"), 100)}
    for name in ("mean_activation", "std_activation"):
        if name in line:
            numbers[name] = rounded(line[name])
    duplicate_of = line.get("duplicate_of", -1)
    if duplicate_of >= 0:
        numbers["duplicate_of"] = int(duplicate_of)
    for name, closeness in RELATED.items():
        features = _first(line.get(name), MAX_RELATED)
        values = _first(line.get(closeness), MAX_RELATED)
        numbers[name] = _number_pairs(features, values, digits=2)
    return numbers


def _number_pairs(numbers: Any, values: Any, digits: int) -> list[list[Any]]:
    """Return pairs of an integer and a value rounded to some significant digits."""
    pairs = []
    for number, value in zip(numbers, values, strict=True):
        short = f"{value:.{digits}g}"
        pairs.append([int(number), float(short)])
    return pairs


def rounded(value: Any) -> Any:
    """Round a non-integer number to 4 significant digits; return anything else unchanged.

    Example:
        >>> rounded(0.123456), rounded(3.0), rounded("a")
        (0.1235, 3.0, 'a')
    """
    if isinstance(value, float) and not value.is_integer():
        return float(f"{value:.4g}")
    return value


def _first(values: Any, most: int) -> np.ndarray:
    """Return the first values of a list; none if it is missing."""
    if not hasattr(values, "__len__"):
        return np.zeros(0, np.int64)
    return np.asarray(values)[:most]


def truncated(text: str, most: int) -> str:
    """Truncate a text to a number of bytes in UTF-8, at a character.

    Example:
        >>> truncated("é" * 10, 5)
        'éé …'
    """
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return text
    return data[:most].decode("utf-8", "ignore").rstrip() + " …"
