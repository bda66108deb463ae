"""Labels by words: planted words are named, held-out texts decide the score."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.covariance import LedoitWolf
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.names import labels as labels_module
from nanosae.analysis.names.labels import label
from nanosae.analysis.names.scoring import is_doubtful
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.codes import excerpt, sampled_rows, write_codes
from nanosae.errors import ConfigError, DataError
from nanosae.text import static
from small_corpora import NOISE, corpus


@pytest.fixture(scope="module")
def planted(labelled_corpus):
    return labelled_corpus


@pytest.fixture(scope="module")
def codes(labelled_codes):
    return labelled_codes


def split(codes, features=None, seed=0):
    """Hold out a third, divided anew from the ten strongest rows of each live feature."""
    dense = codes.features(np.arange(codes.n_features)).toarray()
    live = np.flatnonzero(dense.any(axis=0)) if features is None else features
    strongest = np.zeros((len(dense), len(live)))
    for place, feature in enumerate(live):
        of_feature = dense[:, feature]
        first = np.lexsort((np.arange(len(dense)), -of_feature))[:10]
        strongest[first[of_feature[first] > 0], place] = 1
    return held_out(duplicate_groups(codes), 1 / 3, seed, sp.csr_array(strongest))


@pytest.fixture(scope="module")
def found(codes):
    return label(codes)


@pytest.mark.slow
def test_a_split_that_is_not_what_was_asked_for_is_noted(tmp_path, found):
    assert found.attrs["notes"] == []
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(NOISE, 5)) for _ in range(300)]
    source = np.where(np.arange(300) < 200, "big", np.arange(300).astype(str))
    acts = rng.random((300, 2))
    codes = corpus(tmp_path, acts, texts, metadata={"source": source})
    (note,) = label(codes, groups="source").attrs["notes"]
    assert note.startswith("11 % of the rows are held out instead of 33 %")


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
    codes = corpus(
        tmp_path, np.array(active, float).T, texts.tolist(), metadata=metadata
    )
    frame = label(codes)
    labels = frame["label"].tolist()
    assert labels[0].startswith("«old» ")
    assert labels[1].startswith("«cat» ")
    # three tokens; whatever stands after "tree"
    assert "«" not in labels[2] + labels[3]
    assert all("«" in text for text in frame["typical_text"])
    assert "«cat»" in frame["typical_text"][1]


@pytest.mark.slow
def test_labels_of_a_sample_are_those_of_its_rows(
    labelled_corpus, codes, tmp_path, monkeypatch
):
    monkeypatch.setattr(labels_module, "MOST_ROWS", 400)
    monkeypatch.setattr("nanosae.codes.sampling.LEAST_ACTIVE", 0)
    sampled = label(codes, seed=3)
    assert (
        "Labels are based on a sample of 400 of 2,000 rows." in sampled.attrs["notes"]
    )
    rows = np.sort(np.random.default_rng(3).permutation(codes.n_rows)[:400])
    alone = write_codes(
        tmp_path / "codes",
        labelled_corpus.activations[rows],
        texts=labelled_corpus.texts[rows].tolist(),
        vectors=labelled_corpus.embeddings[rows],
    )
    expected = label(alone, seed=3)
    assert not any("sample" in note for note in expected.attrs["notes"])
    exact = ["feature", "label", "keywords", "label_n"]
    assert sampled[exact].equals(expected[exact])
    np.testing.assert_allclose(sampled["label_auc"], expected["label_auc"], atol=0.002)
    assert not sampled[exact].equals(label(alone, seed=4)[exact])


def test_rows_added_for_rare_features_are_not_scored_on(codes, monkeypatch):
    monkeypatch.setattr(labels_module, "MOST_ROWS", 200)
    few = label(codes, seed=3)
    total = codes.counts[few["feature"]]
    assert (few["label_n"] < 100).all()
    rows, is_random = sampled_rows(codes, 200, 3)
    assert len(rows) > 200
    part = excerpt(codes, rows)
    held = split(part, seed=3)
    active = part.features(few["feature"].to_numpy()).toarray() > 0
    assert few["label_n"].tolist() == active[held & is_random].sum(0).tolist()
    # with the added rows there would be more
    assert (active[held].sum(0) > few["label_n"]).any()
    assert total.sum() > active.sum()


@pytest.mark.parametrize(("n_train", "is_scored"), [(3, False), (5, True)])
def test_a_label_that_was_chosen_from_held_out_rows_of_a_sample_has_no_score(
    tmp_path, monkeypatch, n_train, is_scored
):
    n_rows, n_active, n_added = 400, 26, 5
    noise = np.random.default_rng(0).choice(NOISE, (n_rows, 5)).tolist()
    row = np.arange(n_rows)
    is_active = row < n_active
    texts = [
        " ".join([*words, "ruby"][: 5 + is_active[i]]) for i, words in enumerate(noise)
    ]
    is_random = (row < n_active - n_added) | (row >= n_active)
    is_held = np.where(is_active, row >= n_train, row % 3 == 0)
    monkeypatch.setattr(labels_module, "sampled_rows", lambda *a: (row, is_random))
    monkeypatch.setattr(labels_module, "held_out", lambda *a: is_held)
    (found,) = label(corpus(tmp_path, is_active[:, None], texts)).itertuples()
    assert found.label == "ruby"
    assert found.label_n == n_active - n_added - n_train >= 5
    assert math.isnan(found.label_auc) != is_scored
    assert math.isnan(found.label_f1) != is_scored
    assert found.label_doubtful != is_scored


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
    assert frame.label_doubtful[frame.label != ""].all()


def test_a_label_is_doubtful_unless_it_surely_finds_its_texts(planted, codes, found):
    lower = [text.lower() for text in planted.texts]
    in_strongest = []
    for row in found.itertuples():
        strongest, _ = codes.top(row.feature, 10)
        terms = row.label.lower().split(", ")
        has_term = [any(term in lower[i] for term in terms) for i in strongest]
        in_strongest.append(np.mean(has_term))
    finds_few = (np.array(in_strongest) < 0.2) & (found.label_f1 < 0.1)
    is_sure = (found.label_auc_low >= 0.7) & (found.label_recall > 0) & ~finds_few
    assert (found.label_doubtful == ~is_sure).all()
    assert found.label_doubtful.mean() < 0.1


def test_a_label_without_a_score_is_doubtful():
    assert is_doubtful(math.nan, math.nan, math.nan, 0.5)
    assert is_doubtful(math.nan, 0.5, 0.5, 0.5)
    assert is_doubtful(0.9, math.nan, 0.5, 0.5)
    assert not is_doubtful(0.9, 0.5, 0.5, 0.5)


@pytest.mark.parametrize("n_strongest_with_word", [1, 2])
def test_a_label_is_doubtful_if_few_texts_have_its_words(
    tmp_path, n_strongest_with_word
):
    rng = np.random.default_rng(0)
    active = (np.arange(1200) % 4 == 0) * 1.0
    active[:40:4] = 5  # the ten strongest
    has_word = np.zeros(1200, dtype=bool)
    has_word[: 4 * n_strongest_with_word : 4] = True
    has_word[800:848:4] = True  # 12 of 290 weak texts
    places = rng.integers(len(NOISE), size=(1200, 4))
    noise = np.array(NOISE)[places]
    texts = [
        " ".join([*words, "ruby"] if has else words)
        for words, has in zip(noise.tolist(), has_word, strict=True)
    ]
    vectors = rng.normal(size=(len(NOISE), 30))[places].sum(axis=1)
    vectors[:, 0] += 9 * (active > 0)
    codes = corpus(tmp_path / "c", active[:, None], texts, vectors=vectors)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(labels_module, "held_out", lambda *a: np.arange(1200) // 4 % 3 == 1)
    (row,) = label(codes).itertuples()
    monkey.undo()
    assert row.label == "ruby"
    assert row.label_auc_low > 0.8
    assert 0 < row.label_f1 < 0.1
    assert row.label_doubtful == (n_strongest_with_word < 2)


def test_a_label_is_doubtful_if_no_unseen_text_of_its_feature_has_its_words(tmp_path):
    rng = np.random.default_rng(0)
    active = (np.arange(400) % 4 == 0) * 1.0
    is_held = np.arange(400) >= 200
    places = rng.integers(len(NOISE), size=(400, 4))
    texts = []
    for i in range(400):
        own = "" if not active[i] else " opal" if is_held[i] else " ruby"
        texts.append(" ".join(np.array(NOISE)[places[i]]) + own)
    vectors = rng.normal(size=(len(NOISE), 30))[places].sum(axis=1)
    vectors[:, 0] += 9 * active  # held-out texts mean the same
    codes = corpus(tmp_path / "c", active[:, None], texts, vectors=vectors)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(labels_module, "held_out", lambda *a: is_held)
    (row,) = label(codes).itertuples()
    texts = [text.replace("opal", "ruby") for text in texts]
    codes = corpus(tmp_path / "d", active[:, None], texts, vectors=vectors)
    (with_word,) = label(codes).itertuples()
    monkey.undo()
    assert row.label == with_word.label == "ruby"
    assert row.label_auc_low > 0.9
    assert row.label_recall == 0
    assert row.label_doubtful
    assert not with_word.label_doubtful


@pytest.mark.slow
def test_scores_are_those_of_the_label_on_held_out_rows(planted, codes):
    held, found = split(codes), label(codes)
    vectors = codes.vectors()
    centred = vectors - vectors[~held].mean(0)
    directions = centred / np.linalg.norm(centred, axis=1)[:, None]
    checked = 0
    for row in found[found.label_n >= 20].itertuples():
        truth = planted.activations.toarray()[:, row.feature] > 0
        assert row.label_n == truth[held].sum()
        terms = row.label.lower().split(", ")
        has_term = [
            np.array([f" {t} " in f" {text.lower()} " for text in planted.texts])
            for t in terms
        ]
        predicted = np.any(has_term, axis=0)
        assert row.label_f1 == pytest.approx(f1_score(truth[held], predicted[held]))
        assert row.label_precision == pytest.approx(
            precision_score(truth[held], predicted[held])
        )
        assert row.label_recall == pytest.approx(
            recall_score(truth[held], predicted[held])
        )
        fitted = LedoitWolf().fit(directions[~held].astype(float))
        of_terms = []
        for has in has_term:
            apart = directions[~held & has].mean(0) - fitted.location_
            discriminant = np.linalg.solve(fitted.covariance_, apart)
            of_terms.append(discriminant / np.linalg.norm(discriminant))
        direction = np.sum(of_terms, axis=0)
        expected = roc_auc_score(truth[held], directions[held] @ direction)
        assert row.label_auc == pytest.approx(expected, abs=3e-3)
        checked += 1
    assert checked > 10


@pytest.mark.slow
def test_with_an_embedder_the_whole_label_is_scored_as_it_reads_it(planted, codes):
    def encode(texts):
        rows = []
        for text in texts:
            seed = sum(text.encode())
            rows.append(
                np.random.default_rng(seed).normal(size=codes.vectors().shape[1])
            )
        return np.array(rows, np.float32)

    held = split(codes, range(6))
    frame = label(codes, range(6), embedder=encode)
    vectors = codes.vectors()
    centre = vectors[~held].mean(0)
    centred = vectors - centre
    directions = centred / np.linalg.norm(centred, axis=1)[:, None]
    for row in frame.itertuples():
        truth = planted.activations.toarray()[held, row.feature] > 0
        along = directions[held] @ (encode([row.label])[0] - centre)
        expected = roc_auc_score(truth, along)
        assert row.label_auc == pytest.approx(expected, abs=3e-3)
    assert frame.label_doubtful.any()  # this embedder knows nothing


@pytest.mark.parametrize("prompt", ["passage: ", "", None])
def test_an_embedder_by_name_reads_terms_like_the_texts_of_the_run(
    run, monkeypatch, prompt
):
    model = run.weights()
    model.cfg["metadata"]["prompt"] = prompt
    model.save(run.run / "model")
    read = []

    def encode(texts):
        read.extend(texts)
        return np.ones((len(texts), run.vectors().shape[1]), np.float32)

    monkeypatch.setattr(static, "encode_static", encode)
    label(run, range(3), embedder=static.NAME)
    named = list(read)
    read.clear()
    label(run, range(3), embedder=encode)  # who gives a function says what it gets
    assert read
    assert named == [f"{prompt or ''}{text}" for text in read]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones(7), "width 7; those of the rows have width 64"),
        (np.full(64, np.nan), "NaN or infinite"),
    ],
)
def test_an_embedder_that_cannot_be_that_of_the_rows_is_refused(codes, rows, message):
    assert codes.vectors([0]).shape == (1, 64)
    with pytest.raises(DataError, match=message):
        label(codes, range(2), embedder=lambda texts: np.tile(rows, (len(texts), 1)))


def test_an_embedder_reads_no_empty_labels(tmp_path):
    texts = ["red car", "red bus"] * 20 + [""] * 40
    acts = np.repeat([[1.0, 0], [0, 1]], 40, axis=0)
    vectors = np.random.default_rng(0).normal(size=(80, 3))

    def encode(texts):
        assert "" not in texts
        return np.random.default_rng(1).normal(size=(len(texts), 3))

    codes = corpus(tmp_path, acts, texts, vectors=vectors)
    assert (label(codes, embedder=encode)["label"] == "").tolist() == [False, True]


def test_held_out_texts_decide_the_score_and_not_the_name(
    planted, codes, found, tmp_path
):
    held = split(codes)
    texts = np.where(held, "nothing of interest here", planted.texts).tolist()
    part = held.astype(int)  # the same sides, though the texts are all alike now
    blind = corpus(
        tmp_path / "c", planted.activations.toarray(), texts, metadata={"half": part}
    )
    monkey = pytest.MonkeyPatch()
    monkey.setattr(labels_module, "held_out", lambda *a: held)
    frame = label(blind)
    monkey.undo()
    scored = frame.label_n >= 5
    assert frame.label_auc[scored].max() < 0.51
    same = [
        a.split(", ")[0] == b.split(", ")[0]
        for a, b in zip(frame.label, found.label, strict=True)
    ]
    assert np.mean(same) > 0.8  # negatives differ: there are no vectors here


def test_most_of_the_strongest_texts_of_each_feature_choose_its_name(codes):
    held = split(codes)
    n_train = []
    for feature in np.flatnonzero(codes.counts >= 20).tolist():
        rows, _ = codes.top(feature, 10)
        n_train.append(int((~held[rows]).sum()))
    assert len(n_train) > 10
    assert min(n_train) >= 5
    assert max(n_train) <= 8  # some are held out, too
    assert np.mean(n_train) == pytest.approx(20 / 3, abs=0.5)


def test_a_rare_feature_is_named_but_not_scored(tmp_path):
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(["one", "two", "three", "four"], 5)) for _ in range(100)
    ]
    active = np.zeros((100, 3))
    active[:40, 0] = 1
    active[[3, 50, 70], 1] = 1
    for i in (3, 50, 70):
        texts[i] += " zebra " + NOISE[i % 60]
    frame = label(corpus(tmp_path / "c", active, texts), [0, 1, 2])
    assert frame.feature.tolist() == [0, 1, 2]
    assert frame.label[1] == "zebra"
    assert math.isnan(frame.label_auc[1])
    assert frame.label_doubtful[1]
    assert frame.label_n[1] in (0, 1, 2, 3)
    assert (frame.label[2], frame.keywords[2], frame.typical_text[2]) == ("", "", "")
    assert frame.label_n[2] == 0
    # the dead one is left out
    assert len(label(corpus(tmp_path / "d", active, texts))) == 2


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


def test_two_runs_agree(codes, found):
    assert label(codes).equals(found)


def test_a_corpus_without_texts_is_refused(tmp_path):
    codes = write_codes(tmp_path / "c", sp.csr_array(np.eye(4, dtype=np.float32)))
    with pytest.raises(ValueError, match="no column 'text'"):
        label(codes)


@pytest.mark.parametrize("with_vectors", [False, True])
def test_no_features_give_a_frame_without_lines(tmp_path, with_vectors):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(NOISE, 5)) for _ in range(30)]
    vectors = rng.normal(size=(30, 3)).astype(np.float32) if with_vectors else None
    codes = corpus(tmp_path / "c", np.zeros((30, 4)), texts, vectors=vectors)
    for features in (None, []):
        assert label(codes, features).columns.tolist() == labels_module.COLUMNS
        assert len(label(codes, features)) == 0


@pytest.mark.parametrize("setting", ["n_keywords", "min_texts"])
def test_settings_out_of_range_are_refused(codes, setting):
    with pytest.raises(ConfigError, match=f"{setting}=0 must be at least 1"):
        label(codes, **{setting: 0})


def test_nothing_held_out_chooses_a_word(codes, monkeypatch):
    given = {}

    def recorded(codes, features, rows, **more):
        given["rows"] = rows
        return hard_inactive(codes, features, rows, **more)

    monkeypatch.setattr(labels_module, "hard_inactive", recorded)
    label(codes, [3])
    assert given["rows"].tolist() == np.flatnonzero(~split(codes, [3])).tolist()


def test_forty_keywords_are_listed(found):
    assert max(len(keywords.split(", ")) for keywords in found.keywords) == 40


def test_the_typical_text_is_strong_and_full_of_keywords(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(NOISE, 6)) for _ in range(200)]
    active = np.zeros((200, 1))
    for i in range(80):
        active[i] = 1
        texts[i] += " xml parser reader" if i % 3 else ""
    active[[31, 33]] = 3  # one with the words, one without them
    codes = corpus(tmp_path / "c", active, texts, metadata={"half": np.arange(200) % 2})
    monkey = pytest.MonkeyPatch()
    monkey.setattr(labels_module, "held_out", lambda *a: np.arange(200) >= 100)
    assert label(codes).typical_text[0] == texts[31]
    monkey.undo()


def test_features_of_a_template_are_told_apart_by_what_little_differs(tmp_path):
    """Three verbs are all the content there is; a copy of a feature has its label."""
    rng = np.random.default_rng(0)
    kind, day = rng.integers(0, 3, 600), rng.integers(1, 7, 600)
    verbs = ["shipped", "delivered", "cancelled"]
    texts = [
        f"Your order {rng.integers(1000, 9999)} was {verbs[k]} on {d} May 2024."
        for k, d in zip(kind, day, strict=True)
    ]
    of_days = [(day == d) & (kind == d % 3) for d in range(1, 7)]
    active = np.array([*(kind == k for k in range(3)), *of_days, kind == 0]).T
    labels = label(corpus(tmp_path / "c", active, texts))["label"].tolist()
    assert labels[:3] == verbs
    assert len(set(labels[:9])) == 9
    assert "" not in labels
