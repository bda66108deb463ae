"""Log-odds, typical terms and how much terms say about their texts."""

import math

import numpy as np
import pytest

from nanosae.analysis.names.keywords import feature_words, informativeness, log_odds
from nanosae.text.words import Words
from small_corpora import NOISE, corpus


def monroe(y, n, y0, n0, share, prior):
    """Two Dirichlet posteriors over (has, has not): difference of logits ÷ its standard error."""
    cells = [
        (k + prior * share, m - k + prior * (1 - share)) for k, m in ((y, n), (y0, n0))
    ]
    logits = [math.log(has / has_not) for has, has_not in cells]
    return (logits[0] - logits[1]) / math.sqrt(
        sum(1 / x for cell in cells for x in cell)
    )


def test_log_odds_are_those_of_two_dirichlet_posteriors():
    y, y0 = np.array([3.5, 0.0, 10.0]), np.array([1.0, 40.0, 0.0])
    share = np.array([0.2, 0.5, 0.01])
    delta, mine = log_odds(y, 12.5, y0, 50, share)
    args = list(zip(y, y0, share, strict=True))
    assert mine == pytest.approx([monroe(a, 12.5, b, 50, p, 20.0) for a, b, p in args])
    assert mine != pytest.approx(
        [monroe(a, 12.5, b, 50, 0.5, 20.0) for a, b, p in args]
    )
    assert delta[1] == pytest.approx(math.log(10 / 22.5) - math.log(50 / 20))


def test_log_odds_of_a_word_that_is_everywhere_are_noise():
    rng = np.random.default_rng(0)
    share = np.full(2000, 0.8)
    z = log_odds(
        rng.binomial(40, 0.8, 2000), 40, rng.binomial(400, 0.8, 2000), 400, share
    )[1]
    assert 0.6 < z.std() < 1.1  # shrunk by the prior


def test_a_word_of_all_texts_is_no_term_and_no_warning():
    """All 290 seen texts have it; less the 9 unseen ones, more seem left than there are."""
    texts = np.array([f"everywhere {NOISE[i % 60]} word{i % 7}" for i in range(300)])
    texts[0] = "nowhere"
    rows = np.arange(10)
    words = Words(texts, np.arange(300) >= 10)
    found = feature_words(words, rows, np.ones(10), np.arange(20, 30), 5)
    assert np.isfinite(found.z).all()
    assert np.isfinite(found.keyword_weights).all()
    assert "everywhere" not in words.terms[found.terms]


@pytest.mark.slow
def test_a_word_is_informative_if_texts_with_it_are_alike(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((600, 60))
    for i in range(600):
        k = i % 30
        texts.append(
            f"der topic{k}x {'und' if rng.random() < 0.5 else 'oder'} {NOISE[i % 60]}"
        )
        active[i, [k, 30 + rng.integers(30)]] = 1
    codes = corpus(tmp_path / "c", active, texts)
    words = Words(codes.texts(), np.ones(600, bool))
    rows = np.arange(600)
    sense = dict(zip(words.terms, informativeness(codes, words, rows), strict=True))
    assert sense["der"] == sense["und"] == sense["oder"] == 0
    assert sense["topic3x"] > 2
    with_it = np.flatnonzero(
        words.presence[:, words.terms.tolist().index("topic3x")].toarray()
    )
    alike = {"topic3x": with_it, "und": [i for i in rows if "und" in texts[i].split()]}
    every = rare_overlap(active, rows)
    assert rare_overlap(active, alike["topic3x"]) > 2 * every
    assert rare_overlap(active, alike["und"]) < 2 * every


def rare_overlap(active, rows):
    """Mean over pairs of rows of the features in common, each worth 1 / its frequency."""
    on = (active > 0) / np.sqrt(np.maximum((active > 0).sum(0), 1))
    pairs = [on[a] @ on[b] for a in rows for b in rows if a < b]
    return np.mean(pairs)


@pytest.fixture
def counted():
    """Words of 300 texts, a feature's rows with activations, and hard inactive rows."""
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(NOISE[:20], 4)) for _ in range(300)]
    rows = np.arange(0, 80, 2)
    for i in rows:
        texts[i] += " subject" + (" own" if i % 3 else "")
    texts[2] += " rare"
    texts[4] += " rare"
    texts[6] += " rare"
    for i in range(300):
        if rng.random() < (0.7 if i in rows else 0.4):
            texts[i] += " often"
    hard = np.arange(1, 81, 2)
    for i in hard:
        texts[i] += " subject"
    activations = rng.gamma(2, 1, len(rows)).astype(np.float32)
    words = Words(np.array(texts, dtype=object), np.arange(300) < 250)
    return words, texts, rows, activations, hard


def test_typical_terms_have_the_mean_z_against_all_texts_and_hard_inactive_ones(
    counted,
):
    words, texts, rows, activations, hard = counted
    found = feature_words(words, rows, activations, hard, 500)
    weights = activations * activations.sum() / (activations**2).sum()
    order = np.argsort(-activations)
    assert found.rows.tolist() == rows[order].tolist()
    assert found.activations.tolist() == activations[order].tolist()
    assert found.n_texts == pytest.approx(weights.sum())
    expected = {}
    for term, share in zip(words.terms, words.share, strict=True):
        has = np.array([f" {term} " in f" {text} " for text in texts])
        if has[rows].sum() < 2:
            continue
        y, elsewhere = weights[has[rows]].sum(), max(250 * share - has[rows].sum(), 0)
        against_all = monroe(y, weights.sum(), elsewhere, 250 - len(rows), share, 20.0)
        against_hard = monroe(y, weights.sum(), has[hard].sum(), len(hard), share, 20.0)
        if against_all + against_hard > 0:
            expected[term] = (against_all + against_hard) / 2
    mine = dict(zip(words.terms[found.terms], found.z, strict=True))
    assert mine == pytest.approx(expected, rel=1e-4)
    assert (np.diff(found.z) <= 0).all()


def test_a_term_that_hard_inactive_texts_have_too_is_no_label(counted):
    words, _, rows, activations, hard = counted
    first = words.terms[feature_words(words, rows, activations, hard, 500).terms]
    assert first[0] == "own"
    far = np.arange(201, 241)  # texts of something else: the subject is typical
    assert (
        words.terms[feature_words(words, rows, activations, far, 500).terms][0]
        == "subject"
    )


def test_keywords_are_single_words_by_what_they_add_to_the_query(counted):
    words, texts, rows, activations, hard = counted
    found = feature_words(words, rows, activations, hard, 3)
    gains = {}
    for term, share in zip(words.terms, words.share, strict=True):
        has = np.array([term in text.split() for text in texts])
        y, n, n_other = has[rows].sum(), len(rows), 250 - len(rows)
        elsewhere = max(250 * share - y, 0)
        both = ((y, n), (elsewhere, n_other))
        cells = [(k + 20 * share) / (m + 20 * (1 - share) - k) for k, m in both]
        delta = math.log(cells[0] / cells[1])
        if y and delta > 0:
            gains[term] = (delta * (y / n - elsewhere / n_other), delta)
    best = sorted(gains, key=lambda term: -gains[term][0])[:3]
    assert words.terms[found.keywords].tolist() == best
    assert found.keyword_weights == pytest.approx([gains[term][1] for term in best])
    every = words.terms[feature_words(words, rows, activations, hard, 500).keywords]
    assert sorted(every) == sorted(gains)
    assert (np.diff([gains[term][0] for term in every]) < 1e-9).all()
    # not by log-odds alone
    assert not (np.diff([gains[term][1] for term in every]) < 1e-9).all()


def test_a_feature_with_one_text_has_all_its_words(counted):
    words, texts, _, _, hard = counted
    found = feature_words(words, np.array([2]), np.ones(1), hard, 500)
    assert "own" in words.terms[found.terms]
    assert set(words.terms[found.keywords]) <= set(texts[2].split())


def test_informativeness_is_the_logarithm_of_how_alike_texts_are(tmp_path):
    rng = np.random.default_rng(0)
    active = (rng.random((90, 12)) < 0.3).astype(float)
    texts = [
        " ".join(np.array(NOISE)[[rng.integers(9), 20 + k // 10]]) for k in range(90)
    ]
    active[:10, 0] = 1  # texts of the first block are alike
    active[10:, 0] = 0
    codes = corpus(tmp_path / "c", active, texts)
    words, rows = Words(np.array(texts, dtype=object), np.ones(90, bool)), np.arange(90)
    found = dict(zip(words.terms, informativeness(codes, words, rows), strict=True))
    every = rare_overlap(active, rows)
    n_between = 0
    for term, value in found.items():
        with_it = [i for i in rows if f" {term} " in f" {texts[i]} "]
        if len(with_it) < 5:
            assert value == 1
            continue
        if words.is_stop_word(term):
            assert value == 0
            continue
        ratio = rare_overlap(active, with_it) / every
        of_specific = min(2, (90 / len(with_it)) ** 0.25)
        expected = max(math.log(ratio) / math.log(of_specific), 0)
        assert value == pytest.approx(expected, abs=1e-4)
        n_between += 0 < expected < 1
    assert n_between


@pytest.mark.parametrize(("n_begun", "forms"), [(8, ["un-"]), (5, [])])
def test_forms_are_in_a_third_of_the_strongest_texts_if_half_have_none(n_begun, forms):
    begun = ["under red", "unfit sea", "unit sky", "unto red"] * 5
    others = ["alpha", "beta", "gamma", "delta"] * 5
    texts = begun[:n_begun] + others[n_begun:] + ["blue sea", "sky"] * 200
    words = Words(
        np.array(texts, dtype=object), np.ones(len(texts), bool), with_spellings=True
    )
    own = feature_words(words, np.arange(20), np.ones(20), np.arange(20, 60), 10)
    assert words.terms[own.forms].tolist() == forms


def test_forms_are_in_half_of_the_strongest_texts_and_not_everywhere():
    texts = ["under red", "unfit red", "unit the", "blue the over"] * 5
    texts += ["blue the sea", "the sky"] * 200 + ["would"] * 20
    words = Words(
        np.array(texts, dtype=object), np.ones(len(texts), bool), with_spellings=True
    )
    rows = np.arange(20)
    own = feature_words(words, rows, np.ones(20), np.arange(20, 60), 10)
    assert words.terms[own.forms].tolist() == ["un-"]  # not "the", in half, too
    weak = np.where(rows < 12, 1.0, 0.1)
    rows = np.concatenate([rows, np.arange(420, 440)])  # "would" in the strongest
    activations = np.concatenate([weak, np.full(20, 2.0)])
    own = feature_words(words, rows, activations, np.arange(20, 60), 10)
    assert words.terms[own.forms].tolist()[0] == "would"
    assert "un-" not in words.terms[own.forms]
