"""What an evaluation says in plain words, from hand-made tables."""

import json

import pandas as pd

from nanosae.analysis.evaluation.evaluate import Evaluation
from nanosae.analysis.evaluation.verdict import verdict


def line(representation, measure, value, low=None, high=None):
    names = ("representation", "measure", "value", "low", "high", "n")
    return dict(zip(names, (representation, measure, value, low, high, 9), strict=True))


def evaluation(lines):
    return Evaluation(pd.DataFrame(lines), pd.DataFrame(), {})


def test_good_fair_and_weak_by_intervals():
    table = [
        line("codes", "best_feature_f1", 0.6, 0.55, 0.65),
        line("pca", "best_feature_f1", 0.4, 0.35, 0.45),
        line("random", "best_feature_f1", 0.2, 0.1, 0.3),
        line("codes", "probe_f1@20", 0.60, 0.5, 0.7),
        line("dense", "probe_f1@20", 0.65, 0.55, 0.75),
        line("codes", "intruder_words", 0.3, 0.28, 0.32),
        line("k-means", "intruder_words", 0.8, 0.75, 0.85),
        line("codes", "dead", 0.2),
    ]
    assert verdict(evaluation(table)) == [
        "good: A single feature predicts a known class with F1 0.60; the best baseline, PCA, has "
        "0.40.",
        "fair: Twenty features together predict a class with F1 0.60; the best baseline, the "
        "embedding dimensions, has 0.65.",
        "weak: Among four texts of a feature and one without it, the words give the odd one away "
        "in 30 % of the cases (chance: 20 %); the best baseline, k-means, has 80 %.",
        "weak: 20 % of the features are active in no text.",
    ]


def test_where_less_is_better_less_is_good():
    def grade(ours, other):
        table = [line("codes", "fvu", ours, ours, ours), line("pca", "fvu", other)]
        return verdict(evaluation(table))[0].split(":")[0]

    assert grade(0.1, 0.5) == "good"
    assert grade(0.5, 0.1) == "weak"
    assert grade(0.3, 0.3) == "fair"


def test_an_evaluation_and_its_json_say_the_same():
    nan = float("nan")
    table = pd.DataFrame(
        [line("codes", "dead", 0.01, nan, nan), line("codes", "fvu", 0.1, nan, nan)]
    )
    result = Evaluation(table, pd.DataFrame(), {})
    again = Evaluation.from_dict(json.loads(json.dumps(result.to_dict())))
    assert verdict(result) == verdict(again)
    assert verdict(result) == [
        "good: 1 % of the features are active in no text.",
        "fair: The features leave 10 % of the embeddings' variance unexplained; no baseline was "
        "measured.",
    ]


def test_what_was_not_measured_is_not_judged():
    table = [
        line("codes", "intruder_words", None),
        line("codes", "best_feature_f1", 0.6, 0.5, 0.7),
        line("pca", "best_feature_f1", float("nan")),
        line("codes", "dead", None),
    ]
    (sentence,) = verdict(evaluation(table))
    assert sentence.startswith("fair: A single feature predicts")
    assert sentence.endswith("no baseline was measured.")
