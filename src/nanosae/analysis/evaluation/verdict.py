"""What an evaluation says in plain words: what is good, what is weak, compared with what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nanosae.analysis.comparisons.sentences import percent
from nanosae.analysis.evaluation.evaluate import Evaluation

OURS = "codes"
OTHERS = {
    "dense": "the numbers of the embeddings",
    "pca": "PCA",
    "k-means": "k-means",
    "random": "random directions",
}
FEW_DEAD = 0.05


class _Question(NamedTuple):
    """What is asked of one measure; the others' values stand behind."""

    measure: str
    sentence: str
    lower_is_better: bool = False
    as_percent: bool = False


QUESTIONS = (
    _Question("best_feature_f1", "A single feature finds a known label with F1 {ours}"),
    _Question("probe_f1@20", "Twenty features together find the labels with F1 {ours}"),
    _Question(
        "intruder_words",
        "Among four texts of a feature, a fifth without it is told by its words in {ours} of the "
        "cases, where guessing gives 20 %",
        as_percent=True,
    ),
    _Question(
        "fvu",
        "What the features leave out of the embeddings is {ours} of their variance",
        lower_is_better=True,
        as_percent=True,
    ),
    _Question(
        "recall@10",
        "Of the ten texts most like a text, {ours} stay so when only the features are known",
        as_percent=True,
    ),
)


def verdict(result: Evaluation) -> list[str]:
    """Say what is good and what is weak about the features.

    A measure is good if its 95 % interval lies beyond that of the best other method, weak if it
    lies on the other side, and fair else.

    Args:
        result: What `evaluate` returned.

    Returns:
        Sentences, the good ones first, each with what it is compared with.
    """
    by_measure: dict[str, dict[str, dict[str, Any]]] = {}
    for line in result.table.to_dict("records"):
        if _is_unknown(line["value"]):
            continue
        of_measure = by_measure.setdefault(line["measure"], {})
        of_measure[line["representation"]] = line
    found = [
        _judge(question, by_measure[question.measure])
        for question in QUESTIONS
        if OURS in by_measure.get(question.measure, {})
    ]
    if OURS in by_measure.get("dead", {}):
        found.append(_judge_dead(by_measure["dead"][OURS]["value"]))
    order = ("good", "fair", "weak")
    found.sort(key=lambda judged: order.index(judged[0]))
    return [f"{grade}: {sentence}" for grade, sentence in found]


def _judge(question: _Question, lines: Mapping[str, Any]) -> tuple[str, str]:
    """Compare our value with the best of the others."""
    ours = lines[OURS]
    others = [lines[name] for name in OTHERS if name in lines]
    said = question.sentence.format(ours=_written(question, ours["value"]))
    if not others:
        return "fair", f"{said}; nothing was measured beside it."
    best = _best(others, question.lower_is_better)
    value = _written(question, best["value"])
    compared = (
        f"{said}; {OTHERS[best['representation']]}, the best of the others: {value}."
    )
    (low, high), (other_low, other_high) = _interval(ours), _interval(best)
    is_above, is_below = low > other_high, high < other_low
    if question.lower_is_better:
        is_above, is_below = is_below, is_above
    if is_above:
        return "good", compared
    return ("weak" if is_below else "fair"), compared


def _best(lines: Iterable[Mapping[str, Any]], lower_is_better: bool) -> Any:
    choose = min if lower_is_better else max
    return choose(lines, key=lambda line: line["value"])


def _interval(line: Mapping[str, Any]) -> tuple[float, float]:
    """Return the 95 % interval of a value, or the value itself where there is none."""
    ends = line["low"], line["high"]
    if any(_is_unknown(end) for end in ends):
        return line["value"], line["value"]
    return ends


def _is_unknown(number: float | None) -> bool:
    return number is None or math.isnan(number)


def _judge_dead(share: float) -> tuple[str, str]:
    grade = "good" if share <= FEW_DEAD else "weak"
    return grade, f"{percent(share)} of the features are in no text."


def _written(question: _Question, value: float) -> str:
    return percent(value) if question.as_percent else f"{value:.2f}"
