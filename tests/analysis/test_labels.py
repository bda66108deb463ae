"""Labels without a language model: split, words, log-odds, scores, names."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import f1_score, roc_auc_score

from nanosae.analysis import labels as labels_module
from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.keywords import informativeness, log_odds
from nanosae.analysis.labels import label
from nanosae.analysis.scoring import auc_interval
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.codes import write_codes
from nanosae.text.words import Words
from planted import planted_corpus

NOISE = [a + b + c for a in "bdfg" for b in "aeiou" for c in "lmn"]


def split(codes, share=0.5, groups=None, seed=0):
    return held_out(duplicate_groups(codes, groups=groups), share, seed)


def corpus(path, active, texts, **more):
    return write_codes(path, sp.csr_array(np.asarray(active, np.float32)), texts=texts, **more)


@pytest.fixture(scope="module")
def planted():
    return planted_corpus()


@pytest.fixture(scope="module")
def codes(planted, tmp_path_factory):
    return write_codes(
        tmp_path_factory.mktemp("labels") / "codes",
        planted.activations,
        texts=planted.texts.tolist(),
        metadata=planted.columns,
        vectors=planted.embeddings,
    )


@pytest.fixture(scope="module")
def found(codes):
    return label(codes)


def test_labels_of_tokens_begin_with_the_token_that_a_feature_is_for(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for t in range(300):
        words = rng.choice(["cat", "dog", "tree", "river", "Old", "new"], 6)
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        text = " ".join(words)
        rows += [(text, t, e - len(w), e, w) for w, e in zip(words, ends, strict=True)]
    texts, *place, words = (np.array(x) for x in zip(*rows, strict=True))
    names = ("text_index", "start", "end")
    active = [
        (words == "Old") + 0.4 * (words == "new"),
        words == "cat",
        np.isin(words, ["cat", "dog", "tree"]),
    ]
    active.append((np.roll(words, 1) == "tree") & (np.roll(place[0], 1) == place[0]))
    metadata = dict(zip(names, place, strict=True))
    codes = corpus(tmp_path, np.array(active, float).T, texts.tolist(), metadata=metadata)
    frame = label(codes)
    labels = frame["label"].tolist()
    assert labels[0].startswith("«old» ")
    assert labels[1].startswith("«cat» ")
    assert "«" not in labels[2] + labels[3]  # three tokens; whatever stands after "tree"
    assert all("«" in text for text in frame["typical_text"])
    assert "«cat»" in frame["typical_text"][1]


# ── words ──


def test_words_and_phrases_are_counted_as_by_sklearn():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["alpha", "beta", "gamma", "delta"], 12)) for _ in range(30)]
    words = Words(np.array(texts, dtype=object), np.ones(30, bool))
    counter = CountVectorizer(ngram_range=(1, 3), binary=True, min_df=2).fit(texts)
    order = [counter.vocabulary_[term] for term in words.terms]
    assert sorted(order) == list(range(len(counter.vocabulary_)))
    assert np.array_equal(words.presence.toarray(), counter.transform(texts).toarray()[:, order])


def test_phrases_do_not_cross_punctuation_and_words_keep_marks():
    words = Words(
        np.array(
            ["don't stop. हिन्दी भाषा, node.js", "Don't STOP; हिन्दी भाषा node.js"], dtype=object
        ),
        np.ones(2, bool),
    )
    assert set(words.terms) == {"don't", "stop", "don't stop", "हिन्दी", "भाषा", "हिन्दी भाषा"} | {
        "node",
        "js",
        "node js",
    }


def test_scripts_without_spaces_give_runs_of_characters():
    texts = np.array(["自然言語処理の本", "自然言語処理を読む", "犬と猫"], dtype=object)
    words = Words(texts, np.ones(3, bool))
    assert {"自然", "言語", "処理", "自然言語処理"} <= set(words.terms)
    assert all(" " not in term for term in words.terms)


def saturated(texts, term):
    """BM25's term frequency of one word, straight from its definition, ÷ √ of relative length."""
    docs = [text.lower().split() for text in texts]
    mean, scores = sum(map(len, docs)) / len(docs), []
    for doc in docs:
        tf = doc.count(term)
        tf *= 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(doc) / mean))
        scores.append(tf / math.sqrt(0.3 + len(doc) / mean))
    return np.array(scores)


def test_weights_are_bm25s_and_shares_those_of_the_seen_texts():
    texts = np.array(["red red car", "big red bus", "car car car park", "bus bus"], dtype=object)
    words = Words(texts, np.array([True, True, True, False]))
    for term, has in (("red", 2), ("car", 2), ("bus", 1)):
        place = words.terms.tolist().index(term)
        mine = words.weight[:, place].toarray()
        np.testing.assert_allclose(mine, saturated(texts, term), rtol=1e-5)
        assert not np.allclose(mine, saturated(texts[:3], term)[:1], rtol=1e-5)
        assert words.share[place] == (has + 0.5) / 4


def test_no_words_at_all():
    words = Words(np.array(["", "?", "1 2"], dtype=object), np.ones(3, bool))
    assert words.presence.shape == words.weight.shape == (3, 0)


# ── statistics ──


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


def pairwise_auc(active, silent):
    """AUC and DeLong's variance from the matrix of all pairs."""
    wins = (active[:, None] > silent) + 0.5 * (active[:, None] == silent)
    variance = wins.mean(1).var(ddof=1) / len(active) + wins.mean(0).var(ddof=1) / len(silent)
    return wins.mean(), variance


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_its_interval_agree_with_all_pairs(ties):
    rng = np.random.default_rng(0)
    active, silent = rng.gamma(2, 2, 23), rng.gamma(2, 1, 57)
    if ties:
        active, silent = active.round(), silent.round()
    auc, low, high = auc_interval(active, silent)
    expected, variance = pairwise_auc(active, silent)
    truth = np.r_[np.ones(23), np.zeros(57)]
    assert auc == pytest.approx(expected)
    assert auc == pytest.approx(roc_auc_score(truth, np.r_[active, silent]))
    # Wilson's bounds p are where (auc - p)² = z² p (1 - p) / n
    n = auc * (1 - auc) / variance
    for p in (low, high):
        assert (auc - p) ** 2 == pytest.approx(1.96**2 * p * (1 - p) / n)
    if ties:
        assert np.mean(active[:, None] > silent) != pytest.approx(auc)  # ties as losses


def test_zeros_may_be_given_as_a_number():
    active, silent = np.array([0.0, 1.0, 2.0, 0.5]), np.array([1.0, 0.2])
    assert auc_interval(active, silent, 7) == pytest.approx(
        auc_interval(active, np.append(silent, np.zeros(7)))
    )


def test_a_perfect_ranking_of_few_texts_is_not_certain():
    auc, low, high = auc_interval(np.full(5, 2.0), np.zeros(0), 100)
    assert (auc, high) == (1, pytest.approx(1))
    assert 0.5 < low < 0.7


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.5 * (1 + math.erf(1.2 / 2))  # of two normals, 1.2 apart
    inside = 0
    for _ in range(400):
        x, y = np.exp(rng.normal(1.2, 1, 15)), np.exp(rng.normal(0, 1, 60))
        _, low, high = auc_interval(x, y)
        inside += low < truth < high
    assert 0.92 < inside / 400 < 0.985


# ── hard negatives ──


def test_hard_silent_rows_are_the_nearest_by_brute_force(planted, codes):
    rows = np.arange(0, codes.n_rows, 2)
    features = np.array([3, 11])
    x = planted.embeddings.astype(np.float16).astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    dense = planted.activations.toarray()
    for j, mine in zip(features, hard_inactive(codes, features, rows, 10), strict=True):
        acts = dense[rows, j]
        top = np.argsort(-acts, kind="stable")[: min(50, (acts > 0).sum())]
        near = x[rows] @ (acts[top] @ x[rows[top]])
        near[acts > 0] = -np.inf
        assert set(mine) == set(rows[np.argsort(-near)[:10]])
        assert not dense[mine, j].any()


def test_without_vectors_hard_silent_rows_share_other_features(tmp_path):
    active = np.zeros((60, 9))
    active[:10, 0] = active[:10, 1] = active[:10, 2] = 1  # the feature and its company
    active[10:20, 1] = active[10:20, 2] = 1  # company without the feature
    active[20:, 3] = 1
    codes = corpus(tmp_path / "c", active, ["x"] * 60)
    (mine,) = hard_inactive(codes, np.array([0]), np.arange(60), 10)
    assert set(mine) == set(range(10, 20))


# ── labels ──


def test_planted_words_are_named(planted, found):
    own = []
    for row in found.itertuples():
        words = row.label.replace(",", "").split()
        own.append(np.mean([word in planted.words[row.feature] for word in words]))
    assert np.mean(np.array(own) > 0) > 0.97
    assert np.mean(own) > 0.85
    assert found.label.is_unique


def test_planted_words_find_unseen_texts(planted, found):
    assert found.label_auc.mean() > 0.95
    assert found.label_f1.mean() > 0.8
    assert (found.label_auc_low <= found.label_auc).all()
    assert (found.label_auc <= found.label_auc_high + 1e-9).all()


def test_shuffled_texts_have_nothing_to_say(planted, tmp_path):
    texts = np.random.default_rng(0).permutation(planted.texts).tolist()
    frame = label(write_codes(tmp_path / "c", planted.activations, texts=texts))
    assert abs(frame.label_auc.mean() - 0.5) < 0.02


def powers(texts, truth, seen):
    """Log-odds of each word in the texts of a feature against all others, by counting."""
    has = {}
    for text, on in zip(texts[seen], truth[seen], strict=True):
        for word in set(text.lower().split()):
            has.setdefault(word, [0, 0])[0 if on else 1] += 1
    n, rest = truth[seen].sum(), (~truth)[seen].sum()
    result = {}
    for word, (y, others) in has.items():
        prior = 20 * (y + others + 0.5) / (n + rest + 1)
        others = max((n + rest) * prior / 20 - y, 0)  # the share is kept off 0 and 1
        odds = [(k + prior) / (m + 20 - k - prior) for k, m in ((y, n), (others, rest))]
        result[word] = math.log(odds[0] / odds[1]) if y else 0
    return result


def test_scores_are_those_of_the_keywords_on_the_held_out_half(planted, codes):
    held, found = split(codes), label(codes, n_keywords=30)
    hardest = found[found.label_n >= 20].nsmallest(1, "label_auc")
    row = next(hardest.itertuples())
    truth = planted.activations.toarray()[:, row.feature] > 0
    power, keywords = powers(planted.texts, truth, ~held), row.keywords.split(", ")
    assert all(power[word] > 0 for word in keywords)
    score = np.sum([saturated(planted.texts, w) * power[w] for w in keywords], axis=0)
    plain = np.sum([saturated(planted.texts, w) for w in keywords], axis=0)
    truth = planted.activations.toarray()[:, row.feature] > 0
    assert row.label_n == truth[held].sum()
    # equal scores may differ by rounding, hence the tolerance
    assert row.label_auc == pytest.approx(roc_auc_score(truth[held], score[held]), abs=3e-4)
    assert row.label_auc != pytest.approx(roc_auc_score(truth[~held], score[~held]), abs=3e-4)
    assert row.label_auc != pytest.approx(roc_auc_score(truth[held], plain[held]), abs=3e-4)
    limits = np.unique(score[~held & truth])
    on_seen = [f1_score(truth[~held], score[~held] >= x) for x in limits]
    limit = max(zip(on_seen, limits, strict=True))[1]
    assert row.label_f1 == pytest.approx(f1_score(truth[held], score[held] >= limit - 1e-5))


def test_held_out_texts_decide_the_score_and_not_the_name(planted, codes, found, tmp_path):
    held = split(codes)
    texts = np.where(held, "nothing of interest here", planted.texts).tolist()
    part = held.astype(int)  # the same halves, though the texts are all alike now
    blind = corpus(tmp_path / "c", planted.activations.toarray(), texts, metadata={"half": part})
    monkey = pytest.MonkeyPatch()
    monkey.setattr(labels_module, "held_out", lambda *a: held)
    frame = label(blind)
    monkey.undo()
    scored = frame.label_n >= 5
    assert frame.label_auc[scored].max() < 0.51
    same = [
        a.split(", ")[0] == b.split(", ")[0] for a, b in zip(frame.label, found.label, strict=True)
    ]
    assert np.mean(same) > 0.8  # negatives differ: there are no vectors here


def test_a_rare_feature_is_named_but_not_scored(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["one", "two", "three", "four"], 5)) for _ in range(100)]
    active = np.zeros((100, 3))
    active[:40, 0] = 1
    active[[3, 50, 70], 1] = 1
    for i in (3, 50, 70):
        texts[i] += " zebra " + NOISE[i % 60]
    frame = label(corpus(tmp_path / "c", active, texts), [0, 1, 2])
    assert frame.feature.tolist() == [0, 1, 2]
    assert frame.label[1] == "zebra"
    assert math.isnan(frame.label_auc[1])
    assert frame.label_n[1] in (0, 1, 2, 3)
    assert (frame.label[2], frame.keywords[2], frame.typical_text[2]) == ("", "", "")
    assert frame.label_n[2] == 0
    assert len(label(corpus(tmp_path / "d", active, texts))) == 2  # the dead one is left out


def test_strong_texts_weigh_more(tmp_path):
    rng = np.random.default_rng(1)
    texts, active = [], np.zeros((240, 1))
    for i in range(240):
        noise = " ".join(rng.choice(NOISE, 6))
        word = ("strong" if i < 40 else "weak") if i < 80 else ""
        texts.append(f"{noise} {word}")
        active[i] = 10 if i < 40 else 0.1 if i < 80 else 0
    assert label(corpus(tmp_path / "a", active, texts)).label[0].startswith("strong")
    flipped = np.where(active == 10, 0.1, np.where(active > 0, 10, 0))
    assert label(corpus(tmp_path / "b", flipped, texts)).label[0].startswith("weak")


def siblings(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((900, 2))
    for i in range(900):
        noise = " ".join(rng.choice(NOISE, 5))
        sort = i % 3
        topic = " perl module cpan" if sort < 2 else ""
        own = [" xml", " http", ""][sort] if rng.random() < 0.8 else ""
        texts.append(noise + topic + own)
        if sort < 2:
            active[i, sort] = 1 + rng.random()
            if rng.random() < 0.7:
                active[i, 1 - sort] = 0.5
    return corpus(tmp_path / "c", active, texts)


def test_siblings_get_names_that_tell_them_apart(tmp_path):
    codes = siblings(tmp_path)
    first, second = label(codes).label
    assert "xml" in first
    assert "http" not in first
    assert "http" in second
    assert "xml" not in second
    alone = label(codes, [0]).label[0]  # nobody to be told apart from
    assert alone.split(", ")[0] in ("perl module cpan", "perl", "module", "cpan")


def test_names_keep_the_usual_spelling(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(NOISE, 6)) for _ in range(200)]
    active = np.zeros((200, 1))
    for i in range(60):
        texts[i] += " Bank of America" if i % 5 else " bank of america"
        active[i] = 1
    assert label(corpus(tmp_path / "c", active, texts)).label[0] == "Bank of America"


@pytest.mark.parametrize(
    ("phrase", "filler"),
    [
        ("機械学習", "今日本語文章天気良東京都駅前新聞電話車道海山川"),
        ("מכונת כביסה", ["שלום", "בית", "ילד", "ספר", "מים", "לחם", "עץ"]),
        ("भाषा विज्ञान", ["घर", "पानी", "किताब", "लड़का", "दिन", "रात"]),
        ("обработка текста", ["дом", "река", "город", "книга", "день", "ночь"]),
    ],
)
def test_any_script_is_named(tmp_path, phrase, filler):
    rng = np.random.default_rng(0)
    glue = "" if isinstance(filler, str) else " "
    texts = [glue.join(rng.choice(list(filler), 8)) for _ in range(200)]
    active = np.zeros((200, 1))
    for i in range(60):
        texts[i] = f"{texts[i]}{glue}{phrase}{glue}{texts[-i - 1]}"
        active[i] = 1
    frame = label(corpus(tmp_path / "c", active, texts))
    assert frame.label[0].split(", ")[0] == phrase
    assert frame.label_auc[0] > 0.9


def test_common_words_without_meaning_are_not_named(tmp_path):
    rng = np.random.default_rng(0)
    topics = [f"topic{k}x" for k in range(30)]
    texts, active = [], np.zeros((1500, 30))
    for i in range(1500):
        k = i % 30
        texts.append(f"a note of the {topics[k]} for {rng.choice(['you', 'me', 'us'])}")
        active[i, k] = 1
    frame = label(corpus(tmp_path / "c", active, texts))
    assert frame.label.tolist() == topics


def test_a_word_has_sense_if_texts_with_it_are_alike(tmp_path):
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


def test_features_of_form_are_named_by_phrases_never_by_lone_stop_words(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((400, 21))
    for i in range(400):
        ask = i % 4 == 0
        start = "how do i" if ask else rng.choice(["we", "you", "they"]) + " and i do"
        topic = rng.integers(20)
        texts.append(f"{start} {rng.choice(['the', 'a', 'any'])} {NOISE[topic]}")
        active[i, 1 + topic] = 1
        active[i, 0] = ask
    assert label(corpus(tmp_path / "c", active, texts), [0]).label[0] in ("how do i", "how do")


def test_no_two_words_of_a_name_are_forms_of_one(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((300, 12))
    for i in range(300):
        word = rng.choice(["flower", "flowers", "shrub"]) if i % 12 == 0 else f"topic{i % 12}"
        texts.append(f"{word} {rng.choice(NOISE)} {rng.choice(NOISE)}")
        active[i, i % 12] = 1
    name = label(corpus(tmp_path / "c", active, texts), [0]).label[0]
    assert name.startswith(("flower", "shrub"))
    assert not ("flower," in name and "flowers" in name)


def test_two_runs_agree(codes, found):
    assert label(codes).equals(found)


def test_a_corpus_without_texts_is_refused(tmp_path):
    codes = write_codes(tmp_path / "c", sp.csr_array(np.eye(4, dtype=np.float32)))
    with pytest.raises(ValueError, match="no column 'text'"):
        label(codes)
