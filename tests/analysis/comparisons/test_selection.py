"""Estimates that are right although only large ones are reported."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from nanosae.analysis.comparisons.selection import given_selected, rejection_cutoff
from nanosae.analysis.statistics import false_discovery


def share_below(z, mean, cutoff):
    """P(Z ≤ z | |Z| > cutoff) by numerical integration of the density."""

    def density(x):
        return math.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi)

    def mass(low, high):
        return quad(density, low, high, epsabs=1e-13)[0]

    tails = mass(-25, -cutoff), mass(cutoff, mean + 25)
    below = tails[0] + mass(cutoff, z)
    return below / sum(tails)


@pytest.mark.parametrize(("z", "cutoff"), [(3.2, 3.0), (4.0, 2.5), (7.0, 3.3)])
def test_estimates_solve_the_equations_of_the_truncated_normal(z, cutoff):
    centre, low, high = given_selected(np.array([z, -z]), cutoff)
    for found, share in ((centre, 0.5), (low, 0.975), (high, 0.025)):
        by_hand = brentq(lambda m, s=share: share_below(z, m, cutoff) - s, z - 9, z + 6)
        assert found[0] == pytest.approx(by_hand, abs=1e-6)
    assert centre[1] == pytest.approx(-centre[0])
    assert (low[1], high[1]) == pytest.approx((-high[0], -low[0]))


def test_intervals_of_reported_scores_cover_and_usual_ones_do_not():
    """Whatever the true mean is; 4,000 reported scores each, with 0.35 % as standard error."""
    rng = np.random.default_rng(0)
    for mean, usual_covers in ((0.5, 0.01), (2.0, 0.9), (3.0, 1), (5.0, 1)):
        z = rng.normal(mean, size=1_500_000 if mean < 1 else 30_000)
        z = z[np.abs(z) > 3][:4000]
        centre, low, high = given_selected(z, 3.0)
        assert np.mean((low <= mean) & (mean <= high)) == pytest.approx(0.95, abs=0.011)
        assert np.mean(centre <= mean) == pytest.approx(0.5, abs=0.025)
        usual = np.mean(np.abs(z - mean) <= 1.959964)
        assert usual <= usual_covers
        if mean <= 2:
            assert np.mean(z <= mean) < 0.3  # the winner's curse


def test_a_score_far_above_the_cutoff_keeps_the_usual_interval():
    centre, low, high = given_selected(np.array([12.0]), 3.0)
    assert [centre[0], low[0], high[0]] == pytest.approx([12, 10.040036, 13.959964])


def test_the_cutoff_is_that_of_the_step_up_procedure():
    """A p just below the cutoff would be rejected, too, and one just above it would not."""
    p = np.random.default_rng(1).random(60) ** 4
    rejected = false_discovery(p) <= 0.05
    cutoff = rejection_cutoff(p, rejected, 60, 0.05)
    place = np.flatnonzero(rejected)[0]
    for shift, expected in ((1e-4, True), (-1e-4, False)):
        other = p.copy()
        other[place] = 2 * norm.sf(cutoff + shift)
        assert (false_discovery(other) <= 0.05)[place] == expected
    assert rejection_cutoff(p, np.zeros(60, bool), 60, 0.05) == np.inf
