"""The findings of comparisons in plain words, the most informative first.

The strongest differences come first, but no column, side, topic or feature may fill the page: the
weight of a finding decreases with every earlier finding on the same subject. It is also reduced as
far as its effect is uncertain, as in small groups, and if the label merely repeats the name of the
group, or is doubtful.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.comparisons.findings import (
    FALSE_DISCOVERY_RATE,
    Contrast,
    is_about_topic,
)
from nanosae.analysis.comparisons.sentences import (
    Comparison,
    Line,
    as_comparison,
    column_words,
    finding_lines,
    findings_table,
    group_words,
)
from nanosae.text.tokens import split_words, stem

# factor of a finding's weight for each earlier one with the same column, side, feature or topic
DISCOUNTS = {"column": 0.75, "side": 0.5, "feature": 0.5, "topic": 0.5, "text": 0.5}
SAME = 0.5  # ratio of differences from which on a topic and its feature say the same
UNCERTAIN_WEIGHT = 0.1  # of a finding whose effect may be 0, or nearly 0
OBVIOUS_WEIGHT = 0.5  # of a finding whose label repeats the name of its group
DOUBTFUL_WEIGHT = 0.5  # of a finding whose label is doubtful
ADJUSTED_ONLY = "Differences appear only at equal covariates"
NUMBERED = re.compile(r"feature \d+")  # the name of a feature without a label
MIN_WORD = 4  # letters of a prefix that counts as the same word


def findings(results: Iterable[Contrast | Mapping[str, Any]]) -> pd.DataFrame:
    """Write the findings of comparisons in plain words, the most informative first.

    Args:
        results: Results of `contrast`, `over_time` and `explain`, or their `to_dict()`.

    Returns:
        One row per finding: `column`, `side` (the group, or whether it rises or falls), `feature`
        or `topic` (the other is missing), `label`, `sentence`, `strength` (the difference in
        shares; for numbers the correlation); and the numbers behind it: `share`, `other_share`,
        `effect` with its 95 % interval `low` to `high` (log-odds ratio; for numbers the
        difference), `n_active` and `q` (false discovery rate). Each feature or topic appears at
        most once per column, and a topic not beside a feature that says the same. Findings that
        this number of comparisons would yield by chance are left out, and features without a label
        if others have one.
    """
    comparisons = _selected([as_comparison(result) for result in results])
    of_groups = [
        comparison for comparison in comparisons if comparison.kind == "groups"
    ]
    # texts that are repeated are a further comparison of a column
    of_features = [result for result in of_groups if not result.about.get("copies")]
    return _ordered(comparisons, names_column=len(of_features) > 1)


def findings_of_each(
    results: Iterable[Contrast | Mapping[str, Any]], most: int | None = None
) -> list[pd.DataFrame]:
    """Write the findings of each comparison in plain words; see `findings`.

    Findings that this number of comparisons would yield by chance are left out of each.

    Args:
        results: As for `findings`.
        most: Maximum number of findings of each comparison; all by default.
    """
    comparisons = _selected([as_comparison(result) for result in results])
    return [_ordered([comparison], False, most) for comparison in comparisons]


def _ordered(
    comparisons: list[Comparison], names_column: bool, most: int | None = None
) -> pd.DataFrame:
    """Return the sentences of comparisons, the most informative first."""
    found: list[Line] = []
    for comparison in comparisons:
        lines = finding_lines(comparison, names_column)
        strongest_first = sorted(lines, key=lambda line: -abs(line["strength"]))
        found += _without_repeats(strongest_first)
    labelled = [line for line in found if not NUMBERED.fullmatch(line["label"])]
    shown = labelled or found
    ordered = list(itertools.islice(_most_informative_first(shown), most))
    table = findings_table(ordered)
    is_text = np.array([line["is_text"] for line in ordered], dtype=bool)
    is_about_feature = table["feature"] >= 0
    table["feature"] = table["feature"].where(is_about_feature)
    table["topic"] = table["topic"].where(~is_about_feature & ~is_text)
    return table


def _selected(comparisons: list[Comparison]) -> list[Comparison]:
    """Return the comparisons with the findings that hold given the number of comparisons.

    If R of m comparisons have findings, these are tested at R ÷ m of the false discovery rate; the
    false discovery proportion, averaged over the R, is then controlled at the full rate (Benjamini
    and Bogomolov, J. R. Stat. Soc. B 76 (2014) 297).
    """
    n_with_findings = sum(len(comparison.findings) > 0 for comparison in comparisons)
    highest_q = FALSE_DISCOVERY_RATE * n_with_findings / max(len(comparisons), 1)
    selected = []
    for comparison in comparisons:
        lines = comparison.findings
        kept = lines.loc[lines["q"] <= highest_q] if len(lines) else lines
        selected.append(comparison._replace(findings=kept))
    return selected


def of_comparisons(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that come from `findings`, not from `overview`, which tests nothing.

    Args:
        found: Rows of `findings`, of `overview`, or of both.
    """
    return found.loc[found["q"].notna()]


def _without_repeats(strongest_first: list[Line]) -> Iterator[Line]:
    """Yield the lines of one comparison that repeat no stronger one.

    On one side, a topic and a feature that share most texts of either say the same if the smaller
    difference is at least half of the larger, and so do two features with the same label.
    """
    seen: set[tuple[Any, ...]] = set()
    largest: dict[tuple[Any, ...], float] = {}
    for line in strongest_first:
        feature, topic, side = line["feature"], line["topic"], line["side"]
        is_topic = is_about_topic(line)
        subject = (feature, topic if is_topic else -1)
        label_of_side = (side, line["label"])
        size = abs(line["strength"])
        other_size = largest.get((topic, side, not is_topic), np.inf)
        repeats_other = topic >= 0 and size >= SAME * other_size
        if repeats_other or subject in seen or label_of_side in seen:
            continue
        seen |= {subject, label_of_side}
        largest.setdefault((topic, side, is_topic), size)
        yield line


def _most_informative_first(lines: list[Line]) -> Iterator[Line]:
    """Yield, again and again, the line with the largest weight given those before it.

    Weights only decrease (lazy greedy selection): a line whose updated weight is still at least as
    large as the outdated weights of all others is the next.
    """
    subjects_of = [_subjects(line) for line in lines]
    n_earlier: Counter[tuple[str, Any]] = Counter()
    initial = [_initial_weight(line) for line in lines]
    queue = [(-weight, place) for place, weight in enumerate(initial)]
    heapify(queue)
    while queue:
        _, place = heappop(queue)
        subjects = subjects_of[place]
        weight = initial[place] * _discount(subjects, n_earlier)
        updated = (-weight, place)
        if queue and updated > queue[0]:
            heappush(queue, updated)
            continue
        n_earlier.update(subjects)
        yield lines[place]


def _initial_weight(line: Line) -> float:
    weight = abs(line["strength"]) * max(line["certainty"], UNCERTAIN_WEIGHT)
    if repeats_name(line["label"], line["side"]):
        weight *= OBVIOUS_WEIGHT
    if line["is_doubtful"]:
        weight *= DOUBTFUL_WEIGHT
    return weight


def _discount(
    subjects: list[tuple[str, Any]], n_earlier: Mapping[tuple[str, Any], int]
) -> float:
    """Return the factor of a finding's weight, given earlier findings on its subjects."""
    discount = 1.0
    for subject in subjects:
        kind, _ = subject
        discount *= DISCOUNTS[kind] ** n_earlier[subject]
    return discount


def _subjects(line: Line) -> list[tuple[str, Any]]:
    """Return the column, side, feature and topic of a finding, each with its kind."""
    column = line["column"]
    subjects = [("column", column), ("side", (column, line["side"]))]
    if not is_about_topic(line):
        subjects.append(("feature", line["feature"]))
    if line["topic"] >= 0:
        kind = "text" if line["is_text"] else "topic"
        subjects.append((kind, line["topic"]))
    return subjects


def repeats_name(label: str, name: str) -> bool:
    """Return whether a label repeats a word of a group's name, up to inflection.

    Example:
        >>> repeats_name("fonts, glyphs", "font"), repeats_name("game", "gameplaying")
        (True, True)
        >>> repeats_name("animal, fishes", "noun.animal"), repeats_name("tax, credit", "money")
        (True, False)
    """
    pairs = itertools.product(_words(label), _words(name))
    return any(_is_same_word(word, other) for word, other in pairs)


def _words(text: str) -> list[str]:
    return split_words(text.replace("_", " "))


def _is_same_word(word: str, other: str) -> bool:
    if word == other or (stem(word) and stem(word) == stem(other)):
        return True
    return len(word) >= MIN_WORD and other.startswith(word)


def lines(
    found: Contrast, n: int, *, statistics: bool = False, model: bool = False
) -> list[str]:
    """Format a comparison for the terminal: its joint models, the findings of each side, its notes.

    Args:
        found: A result of `contrast`, `over_time` or `explain`.
        n: Number of findings to show in total, but at least two of each side.
        statistics: Give effects, intervals and q-values instead of plain words.
        model: Include the joint models and their scores.
    """
    sides = found.sides
    written = found.model_sentences()[:n] if model else []
    n_per_side = max(n // max(len(sides), 1), 2)
    for side, table in sides.items():
        if statistics:
            sentences = found.sentences(lines=table)
        else:
            only_side = replace(found, table=table)
            sentences = findings([only_side])["sentence"].tolist()
        if not sentences:
            continue
        heading = _heading(found.kind, side, table, found.about)
        written.append(f"{heading}:")
        written += [f"  {sentence}" for sentence in sentences[:n_per_side]]
        n_further = len(sentences) - n_per_side
        if n_further > 0:
            written.append(f"  … and {n_further:,} more")
    if not sides:
        written.append("Nothing differs by more than chance would explain.")
    elif not written:
        written.append(f"{ADJUSTED_ONLY}; --stats shows them.")
    return written + found.about["notes"]


def _heading(
    kind: str, side: str, table: pd.DataFrame, about: Mapping[str, Any]
) -> str:
    """Return the heading above the findings of a side."""
    if kind == "trend":
        direction = "More" if side == "rises" else "Less"
        return f"{direction} frequent over time"
    if kind == "numeric":
        name = column_words(about["column"] or "target")
        return f"{side.capitalize()} {name}"
    column = about.get("column")
    group = str(table["target"].iloc[0])
    if side in (group, about.get("b")):
        return f"More in {group_words(side, column)}"
    return f"Less in {group_words(group, column)}"
