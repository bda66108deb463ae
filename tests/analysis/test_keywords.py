"""Log-odds, typical terms and how much terms say about their texts."""

import math

import numpy as np
import pytest

from nanosae.analysis.keywords import informativeness, log_odds
from nanosae.text.words import Words
from small_corpora import NOISE, corpus


def monroe(y, n, y0, n0, share, prior):
    """Two Dirichlet posteriors over (has, has not): difference of logits ÷ its standard error."""
    cells = [(k + prior * share, m - k + prior * (1 - share)) for k, m in ((y, n), (y0, n0))]
    logits = [math.log(has / has_not) for has, has_not in cells]
    return (logits[0] - logits[1]) / math.sqrt(sum(1 / x for cell in cells for x in cell))


def test_log_odds_are_those_of_two_dirichlet_posteriors():
    y, y0 = np.array([3.5, 0.0, 10.0]), np.array([1.0, 40.0, 0.0])
    share = np.array([0.2, 0.5, 0.01])
    delta, mine = log_odds(y, 12.5, y0, 50, share)
    args = list(zip(y, y0, share, strict=True))
    assert mine == pytest.approx([monroe(a, 12.5, b, 50, p, 20.0) for a, b, p in args])
    assert mine != pytest.approx([monroe(a, 12.5, b, 50, 0.5, 20.0) for a, b, p in args])
    assert delta[1] == pytest.approx(math.log(10 / 22.5) - math.log(50 / 20))


def test_log_odds_of_a_word_that_is_everywhere_are_noise():
    rng = np.random.default_rng(0)
    share = np.full(2000, 0.8)
    z = log_odds(rng.binomial(40, 0.8, 2000), 40, rng.binomial(400, 0.8, 2000), 400, share)[1]
    assert 0.6 < z.std() < 1.1  # shrunk by the prior


def test_a_word_is_informative_if_texts_with_it_are_alike(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((600, 60))
    for i in range(600):
        k = i % 30
        texts.append(f"der topic{k}x {'und' if rng.random() < 0.5 else 'oder'} {NOISE[i % 60]}")
        active[i, [k, 30 + rng.integers(30)]] = 1
    codes = corpus(tmp_path / "c", active, texts)
    words = Words(codes.texts(), np.ones(600, bool))
    rows = np.arange(600)
    sense = dict(zip(words.terms, informativeness(codes, words, rows), strict=True))
    assert sense["der"] == sense["und"] == sense["oder"] == 0
    assert sense["topic3x"] == 1.5
    with_it = np.flatnonzero(words.presence[:, words.terms.tolist().index("topic3x")].toarray())
    alike = {"topic3x": with_it, "und": [i for i in rows if "und" in texts[i].split()]}
    every = rare_overlap(active, rows)
    assert rare_overlap(active, alike["topic3x"]) > 2 * every
    assert rare_overlap(active, alike["und"]) < 2 * every


def rare_overlap(active, rows):
    """Mean over pairs of rows of the features in common, each worth 1 / its frequency."""
    on = (active > 0) / np.sqrt(np.maximum((active > 0).sum(0), 1))
    pairs = [on[a] @ on[b] for a in rows for b in rows if a < b]
    return np.mean(pairs)
