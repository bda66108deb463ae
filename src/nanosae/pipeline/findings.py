"""The findings of several comparisons in one table, the most telling first.

A finding is a sentence for people who read no statistics (`analysis/sentences.py`). Only what
`contrast`, `over_time` and `explain` found becomes one. Each side of a comparison has its own list,
strongest difference first, and sides take turns, so that no side and no column fills the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import pandas as pd

from nanosae.analysis.findings import Contrast

COLUMNS = ["column", "side", "feature", "label", "sentence", "strength", "q"]
STRENGTH = {"groups": "risk_difference", "numeric": "r", "trend": "share_change"}


def findings(results: Iterable[Contrast]) -> pd.DataFrame:
    """Say what comparisons found in plain words, the most telling first.

    Args:
        results: What `contrast`, `over_time` and `explain` returned.

    Returns:
        One line per finding: `column`, `side` (the group, or whether it rises or falls), `feature`,
        `label`, `sentence`, `strength` (difference of shares, their change over time, or of numbers
        the correlation) and `q` (false discovery rate). A feature is said once per column.
    """
    queues: list[list[dict[str, Any]]] = []
    for result in results:
        lines = pd.DataFrame(_lines(result), columns=COLUMNS)
        strongest_first = lines.sort_values(
            "strength", key=abs, ascending=False, kind="stable"
        )
        once = strongest_first.drop_duplicates("feature")
        queues += [
            side.to_dict("records") for _, side in once.groupby("side", sort=False)
        ]
    queues.sort(key=lambda queue: -abs(queue[0]["strength"]))
    return pd.DataFrame(_in_turn(queues), columns=COLUMNS)


def _in_turn(queues: list[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the first line of each list, then the second of each, and so on."""
    for lines in zip_longest(*queues):
        yield from (line for line in lines if line is not None)


def _lines(result: Contrast) -> Iterator[dict[str, Any]]:
    for side, found in result.sides.items():
        sentences = result.in_words(found)
        for line, sentence in zip(found.to_dict("records"), sentences, strict=True):
            yield {
                "column": result.about.get("column"),
                "side": side,
                "feature": line["feature"],
                "label": line["label"],
                "sentence": sentence,
                "strength": line[STRENGTH[result.kind]],
                "q": line["q"],
            }
