"""Rates of error of comparisons in small simulations; bench/inference.py has the large ones."""

import numpy as np
import pytest

from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.summary import findings
from nanosae.analysis.splits import held_out
from small_corpora import active_with_target

N, M, PLANTED, ROUNDS = 1500, 200, 40, 8


def planted_round(tmp_path, seed):
    """Groups with 40 true odds ratios of 1.5 to 2.5 among 200 features, and the truth."""
    rng = np.random.default_rng(seed)
    y = rng.random(N) < 0.5
    truth = np.zeros(M)
    truth[:PLANTED] = rng.choice([-1, 1], PLANTED) * np.log(
        np.linspace(1.5, 2.5, PLANTED)
    )
    base = np.log(rng.uniform(0.03, 0.2, M))
    chance = 1 / (1 + np.exp(-(base + np.outer(y - 0.5, truth))))
    active = rng.random((N, M)) < chance
    return active_with_target(tmp_path / str(seed), active, y), active, y, truth


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """Findings of each round beside the truth, and how many there could be."""
    folder = tmp_path_factory.mktemp("inference")
    lines = []
    for seed in range(ROUNDS):
        codes, _, _, truth = planted_round(folder, seed)
        found = contrast(codes, True, by="y").findings
        lines.append(found.assign(truth=truth[found["feature"]]))
    return lines


@pytest.mark.slow
def test_false_discoveries_stay_below_the_rate(rounds):
    false = sum((lines["truth"] == 0).sum() for lines in rounds)
    n_found = sum(map(len, rounds))
    assert n_found > 100
    assert false / n_found < 0.05 + 2 * np.sqrt(0.05 * 0.95 / n_found)


def test_intervals_of_findings_cover_and_their_effects_are_not_too_large(rounds):
    inside, excess, raw_excess = [], [], []
    for lines in rounds:
        truth = lines["truth"]
        inside += ((lines["low"] <= truth) & (truth <= lines["high"])).tolist()
        error = lines["raw_effect"] - truth
        sign = np.sign(lines["raw_effect"])
        excess += (sign * (lines["effect"] - truth)).tolist()
        raw_excess += (sign * error).tolist()
    assert np.mean(inside) > 0.95 - 2 * np.sqrt(0.05 * 0.95 / len(inside))
    assert np.mean(raw_excess) > 0.05  # the winner's curse, without the adjustment
    assert np.mean(excess) < 0.02


def test_a_rare_feature_of_one_group_is_not_said_to_be_of_the_other(tmp_path):
    """The standard error of a log-odds ratio with an empty cell exceeds effect ÷ score."""
    n_rows, n_features, n_planted, n_active = 1000, 1000, 8, 12
    in_group = np.arange(n_rows) < n_rows // 2
    active = np.zeros((n_rows, n_features), bool)
    for feature in range(n_features):
        first = 7 * feature % 400
        active[first : first + n_active, feature] = True
        if feature >= n_planted:
            active[500 + first : 500 + first + n_active, feature] = True
    codes = active_with_target(tmp_path, active, in_group)
    result = contrast(codes, True, by="y")
    found = result.findings
    assert sorted(found["feature"]) == list(range(n_planted))
    # the least score that was reported lies just below theirs
    beyond_zero = found["raw_effect"] - 3.5 * found["error"]
    assert (beyond_zero < -1).all()  # what the usual shrinkage would report
    assert (found["effect"] > 0).all()
    assert (found["effect"] < found["raw_effect"]).all()
    assert (found["low"] <= found["effect"]).all()
    assert (found["effect"] <= found["high"]).all()
    assert list(result.sides) == ["True"]
    sentences = findings([result])["sentence"].tolist()
    assert len(sentences) == n_planted
    assert all("2.4 % of the texts where y is True" in line for line in sentences)


@pytest.mark.slow
def test_all_rows_find_more_than_a_choice_on_one_half_and_a_test_on_the_other(
    rounds, tmp_path
):
    """The twin: two halves, with Fisher's exact test on each."""
    from scipy.stats import false_discovery_control, fisher_exact

    n_both, n_halves = 0, 0
    for seed in range(3):
        _, active, y, truth = planted_round(tmp_path, seed)
        held = held_out(np.arange(N), 0.5, 0)
        p = np.ones((2, M))
        for part, rows in enumerate((~held, held)):
            for j in range(M):
                x, group = active[rows, j], y[rows]
                table = [[(x & group).sum(), (x & ~group).sum()]]
                table.append([(~x & group).sum(), (~x & ~group).sum()])
                p[part, j] = fisher_exact(table).pvalue
        chosen = np.flatnonzero(p[0] <= 0.05)
        q = false_discovery_control(p[1, chosen])
        n_halves += (truth[chosen[q <= 0.05]] != 0).sum()
        n_both += (rounds[seed]["truth"] != 0).sum()
    assert n_both > 1.2 * n_halves


@pytest.mark.slow
def test_intervals_of_numbers_cover_where_variances_are_unequal(tmp_path):
    """Usual least squares, which takes variances for equal, covers the same effects too rarely."""
    rng = np.random.default_rng(0)
    active = rng.random((N, 60)) < 0.05
    truth = clipped_difference(rng)
    codes = active_with_target(tmp_path, active, np.zeros(N))
    inside, usual_inside = 0, 0
    for feature in range(60):
        x = active[:, feature]
        y = number(x, rng)
        line = explain(codes, y).table.set_index("feature").loc[feature]
        inside += line["low"] <= truth <= line["high"]
        clipped = np.clip(y, *np.quantile(y, [0.01, 0.99]))
        pooled = np.sqrt(
            (0.95 * clipped[~x].var() + 0.05 * clipped[x].var()) / (0.05 * N)
        )
        usual_inside += abs(line["raw_effect"] - truth) <= 1.96 * pooled
    assert inside >= 54  # 57 expected; fewer than 54 in 1 of 40 such tests
    assert usual_inside < 48


def number(x, rng):
    """A number whose mean and spread are larger where x is true."""
    return 4.0 * x + np.where(x, 4.0, 1.0) * rng.uniform(-1.7, 1.7, len(x))


def clipped_difference(rng):
    """The difference of means that is left after winsorising, in very many rows."""
    x = rng.random(2_000_000) < 0.05
    y = number(x, rng)
    clipped = np.clip(y, *np.quantile(y, [0.01, 0.99]))
    return clipped[x].mean() - clipped[~x].mean()
