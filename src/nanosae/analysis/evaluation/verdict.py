"""An evaluation in plain words: what is good and what is weak, compared with baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from nanosae.analysis.comparisons.sentences import percent
from nanosae.analysis.evaluation.evaluate import Evaluation

OURS = "codes"
BASELINES = {
    "dense": "the embedding dimensions",
    "pca": "PCA",
    "k-means": "k-means",
    "random": "random directions",
}
FEW_DEAD = 0.05


class _Criterion(NamedTuple):
    """A measure, and the sentence that states its value."""

    measure: str
    sentence: str
    lower_is_better: bool = False
    as_percent: bool = False


CRITERIA = (
    _Criterion(
        "best_feature_f1", "A single feature predicts a known class with F1 {ours}"
    ),
    _Criterion(
        "probe_f1@20", "Twenty features together predict a class with F1 {ours}"
    ),
    _Criterion(
        "intruder_words",
        "Among four texts of a feature and one without it, the words give the odd one away in "
        "{ours} of the cases (chance: 20 %)",
        as_percent=True,
    ),
    _Criterion(
        "fvu",
        "The features leave {ours} of the embeddings' variance unexplained",
        lower_is_better=True,
        as_percent=True,
    ),
    _Criterion(
        "recall@10",
        "The features preserve {ours} of each text's ten nearest neighbours",
        as_percent=True,
    ),
)


def verdict(result: Evaluation) -> list[str]:
    """Say what is good and what is weak about the features.

    A measure is good if its 95 % interval lies entirely above that of the best baseline, weak if it
    lies entirely below (the other way round where lower is better), and otherwise fair.

    Args:
        result: The result of `evaluate`.

    Returns:
        Sentences, the good ones first, each with the best baseline.
    """
    by_measure: dict[str, dict[str, dict[str, Any]]] = {}
    for line in result.table.to_dict("records"):
        if _is_unknown(line["value"]):
            continue
        lines = by_measure.setdefault(line["measure"], {})
        lines[line["representation"]] = line
    judged = [
        _judge(criterion, by_measure[criterion.measure])
        for criterion in CRITERIA
        if OURS in by_measure.get(criterion.measure, {})
    ]
    if OURS in by_measure.get("dead", {}):
        judged.append(_judge_dead(by_measure["dead"][OURS]["value"]))
    order = ("good", "fair", "weak")
    judged.sort(key=lambda grade_and_sentence: order.index(grade_and_sentence[0]))
    return [f"{grade}: {sentence}" for grade, sentence in judged]


def _judge(criterion: _Criterion, lines: Mapping[str, Any]) -> tuple[str, str]:
    """Return the grade of our value and a sentence that compares it with the best baseline."""
    ours = lines[OURS]
    baselines = [lines[name] for name in BASELINES if name in lines]
    statement = criterion.sentence.format(ours=_written(criterion, ours["value"]))
    if not baselines:
        return "fair", f"{statement}; no baseline was measured."
    choose_best = min if criterion.lower_is_better else max
    best = choose_best(baselines, key=lambda line: line["value"])
    name = BASELINES[best["representation"]]
    value = _written(criterion, best["value"])
    compared = f"{statement}; the best baseline, {name}, has {value}."
    low, high = _interval(ours)
    other_low, other_high = _interval(best)
    is_above = low > other_high
    is_below = high < other_low
    if criterion.lower_is_better:
        is_above, is_below = is_below, is_above
    if is_above:
        return "good", compared
    return ("weak" if is_below else "fair"), compared


def _interval(line: Mapping[str, Any]) -> tuple[float, float]:
    """Return the 95 % interval of a value, or the value twice if it has none."""
    ends = line["low"], line["high"]
    if any(_is_unknown(end) for end in ends):
        return line["value"], line["value"]
    return ends


def _is_unknown(number: float | None) -> bool:
    return number is None or math.isnan(number)


def _judge_dead(share: float) -> tuple[str, str]:
    grade = "good" if share <= FEW_DEAD else "weak"
    return grade, f"{percent(share)} of the features are active in no text."


def _written(criterion: _Criterion, value: float) -> str:
    return percent(value) if criterion.as_percent else f"{value:.2f}"
