"""The few terms that make a label."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.covariance import LedoitWolf

from nanosae.analysis.names import naming, word_forms
from nanosae.analysis.names.keywords import feature_words
from nanosae.analysis.names.labels import label
from nanosae.analysis.names.meaning import corpus_meaning, terms_by_corpus
from nanosae.text.tokens import is_unspaced
from nanosae.text.words import Words
from small_corpora import NOISE, corpus


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
                active[i, 1 - sort] = 0.9
    return corpus(tmp_path / "c", active, texts)


def test_siblings_get_names_that_tell_them_apart(tmp_path):
    codes = siblings(tmp_path)
    first, second = label(codes).label
    assert "xml" in first
    assert "http" not in first
    assert "http" in second
    assert "xml" not in second
    # what they share comes first
    shared = {text.split(", ")[0] for text in (first, second)}
    assert len(shared) == 1
    assert shared <= {"perl module cpan", "perl", "module", "cpan"}
    alone = label(codes, [0]).label[0]  # nobody to be told apart from
    assert alone.split(", ")[0] in ("perl module cpan", "perl", "module", "cpan")


@pytest.mark.parametrize(
    ("term", "texts", "spelling"),
    [
        ("w", ["my W-2 form", "a W-2.", "the w"], "W-2"),
        ("c", ["in C++, and", "C++", "c"], "C++"),
        ("8", ["1/8", "3/8", "8", "8."], "8"),
        ("x", ["x, y", "X", "x."], "x"),
        ("b", ["nothing"], "b"),
        ("bank of", ["Bank  of", "Bank\nof", "bank of"], "Bank of"),
        ("a.b", ["a+b"], "a.b"),
        ("mcp server", ["MCP) server", "MCP) server", "mcp server"], "MCP server"),
        ("red car", ["the red (car", "Red.\nCar"], "red car"),
        ("node js", ["Node.js: a", "node (js"], "Node.js"),
    ],
)
def test_terms_are_spelled_as_they_mostly_are_in_the_texts(term, texts, spelling):
    assert word_forms.usual_spelling(term, texts) == spelling


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
        ("機械学習", ["新聞", "を", "読む", "電話", "東京", "天気", "駅前"]),
        ("机器学习", ["我们", "喜欢", "苹果", "今天", "天气", "北京", "电话"]),
        ("מכונת כביסה", ["שלום", "בית", "ילד", "ספר", "מים", "לחם", "עץ"]),
        ("भाषा विज्ञान", ["घर", "पानी", "किताब", "लड़का", "दिन", "रात"]),
        ("обработка текста", ["дом", "река", "город", "книга", "день", "ночь"]),
    ],
)
def test_any_script_is_named(tmp_path, phrase, filler):
    rng = np.random.default_rng(0)
    glue = "、" if is_unspaced(phrase) else " "
    texts = [glue.join(rng.choice(filler, 8)) for _ in range(200)]
    active = np.zeros((200, 1))
    for i in range(60):
        texts[i] = f"{texts[i]}{glue}{phrase}{glue}{texts[-i - 1]}"
        active[i] = 1
    frame = label(corpus(tmp_path / "c", active, texts))
    assert frame.label[0].split(", ")[0] == phrase
    assert frame.label_auc[0] > 0.9


@pytest.mark.parametrize(
    ("word", "frames", "others"),
    [
        (
            "ランプ",
            ["新しい{}を買う", "古い{}の色", "{}は明るい"],
            ["ポンプ", "ランチ"],
        ),
        ("データベース", ["この{}を作る", "安い{}の話"], ["ベース", "データ"]),
        ("台灯", ["我的{}的颜色", "那{}是新", "买{}和书", "{}也好"], ["台风", "电灯"]),
    ],
)
def test_unspaced_labels_are_whole_words(tmp_path, word, frames, others):
    rng = np.random.default_rng(0)
    texts = []
    active = np.zeros((300, 1))
    for i in range(300):
        active[i] = i % 5 == 0
        subject = word if active[i] else rng.choice(others)
        noise = "".join(rng.choice(list("今日本文章天気東京駅前新聞電話車道海山川"), 6))
        texts.append(f"{noise}。{rng.choice(frames).format(subject)}")
    assert label(corpus(tmp_path / "c", active, texts)).label[0] == word


def test_labels_of_japanese_sentences_consist_of_words(tmp_path):
    subjects = ["音量", "天気", "予約", "銀行口座", "レシピ", "りんご"]
    frames = ["{}を確認してください", "{}について教えてください", "新しい{}は何ですか"]
    frames += ["明日の{}を知りたいです", "{}が好きです"]
    texts = [frame.format(subject) for subject in subjects for frame in frames * 12]
    active = np.zeros((len(texts), 7))
    for i, text in enumerate(texts):
        for k, subject in enumerate(subjects):
            active[i, k] = subject in text
        active[i, 6] = "ください" in text
    allowed = {*subjects, "銀行", "口座", "確認", "教え", "教えてください", "ください"}
    labels = label(corpus(tmp_path / "c", active, texts)).label
    terms = {term for text in labels for term in text.split(", ")}
    assert terms <= allowed
    assert {"音量", "天気", "予約", "レシピ"} <= terms


def test_particles_are_no_part_of_unspaced_labels(tmp_path):
    rng = np.random.default_rng(0)
    texts = []
    active = np.zeros((300, 1))
    for i in range(300):
        active[i] = i % 5 == 0
        noise = "".join(rng.choice(list("今日本文章天気東京駅前新聞電話車道海山川"), 6))
        other = "の変更" if i % 8 == 1 else ""
        subject = "を変更" if active[i] else other
        texts.append(f"{noise}{subject}{rng.choice(list('後前中時'))}")
    assert label(corpus(tmp_path / "c", active, texts)).label[0] == "変更"


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


def test_a_common_word_names_the_subject_of_a_fifth_of_all_texts(tmp_path):
    rng = np.random.default_rng(0)
    n = 1000
    active = np.zeros((n, 41))
    active[:250, 0] = 1  # on lamps
    texts = []
    for i in range(n):
        others = rng.integers(1, 41, 11)  # on anything
        active[i, others] = 1
        words = [*np.array(NOISE)[others], "the"]
        if rng.random() < (0.7 if i < 250 else 0.05):
            words.append("lamp")
        if rng.random() < (0.45 if i < 250 else 0):
            words.append("brass")
        texts.append(" ".join(rng.permutation(words)))
    assert label(corpus(tmp_path / "c", active, texts), [0]).label[0].startswith("lamp")
    has_lamp = np.array(["lamp" in text for text in texts])
    assert has_lamp.mean() == pytest.approx(0.2, abs=0.02)
    every = rare_overlap(active, np.arange(n))
    # 1.3 would be needed of a rare word
    assert 1.2 < rare_overlap(active, np.flatnonzero(has_lamp)) / every < 1.3


def rare_overlap(active, rows):
    """Mean over pairs of rows of the features in common, each worth 1 / its frequency."""
    on = active[rows] / np.sqrt(np.maximum(active.sum(0), 1))
    products = on @ on.T
    return products[np.triu_indices(len(rows), 1)].mean()


def test_features_of_form_are_named_by_phrases_never_by_one_stop_word_or_two(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((400, 21))
    for i in range(400):
        ask = i % 4 == 0
        start = "how do i" if ask else rng.choice(["we", "you", "they"]) + " and i do"
        topic = rng.integers(20)
        texts.append(f"{start} {rng.choice(['the', 'a', 'any'])} {NOISE[topic]}")
        active[i, 1 + topic] = 1
        active[i, 0] = ask
    assert label(corpus(tmp_path / "c", active, texts), [0]).label[0] == "how do i"


def spelled_corpus(folder, forms, others=("zebra", "quiet", "jumble")):
    """A feature of texts with one of some words, of no common subject."""
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((900, 2))
    for i in range(900):
        active[i] = (i % 12 == 0, i % 12 == 1)
        word = rng.choice(forms if i % 12 == 0 else others)
        noise = " ".join(rng.choice(NOISE, 3))
        texts.append(f"{noise} {word} {rng.choice(NOISE)}")
    return corpus(folder, active, texts)


@pytest.mark.parametrize(
    ("forms", "named"),
    [
        (["overact", "overdo", "overeat", "overrun", "overuse"] * 3, "over-"),
        (["7"], "7"),
        (["x"], "x"),
        (["would"], "would"),
    ],
)
def test_features_of_form_are_named_by_what_their_texts_share(tmp_path, forms, named):
    assert label(spelled_corpus(tmp_path / "c", forms)).label[0] == named


@pytest.mark.parametrize(
    ("forms", "named"),
    [
        (["overact"] * 8 + ["overdo", "overeat", "overrun", "overuse"] * 3, "over-"),
        (["nutrition"] * 9 + ["nutritional"] * 6 + ["nutrient"] * 5, "nutrition"),
    ],
)
def test_a_word_in_several_forms_names_rather_than_its_beginning(
    tmp_path, forms, named
):
    # the beginning finds half as much again as the word
    assert label(spelled_corpus(tmp_path / "c", forms)).label[0] == named


@pytest.mark.parametrize(("elsewhere", "names"), [(6, ["jade"]), (-6, ["ruby"])])
def test_a_form_that_finds_more_must_fit_better_by_words_and_meaning(
    elsewhere, names, tmp_path
):
    rng = np.random.default_rng(0)
    n = 900
    is_active = np.arange(n) < 50
    own = ["ruby, jade"] * 10 + ["jade"] * 40 + [""] * (n - 170) + ["jade"] * 120
    vectors = rng.normal(size=(n, 6))
    vectors[:50, 0] += 6
    vectors[-120:, 0] += elsewhere  # of "jade" in other texts
    texts = [f"{words}, {rng.choice(NOISE)}" for words in own]
    codes = corpus(tmp_path / "c", is_active[:, None] * 1.0, texts, vectors=vectors)
    meaning = corpus_meaning(codes, np.arange(n))
    texts = np.array(texts, dtype=object)
    found, _, _ = named(texts, is_active, meaning, without_content=["jade"])
    assert found == names


def test_phrases_with_a_stop_word_at_an_end_name_what_nothing_else_does():
    rng = np.random.default_rng(0)
    is_active = np.arange(300) < 30
    phrases = ["or relating to"] * 30 + ["relating"] * 6 + [""] * 264
    texts = [f"{rng.choice(NOISE)} {words} {rng.choice(NOISE)}" for words in phrases]
    texts = np.array(texts, dtype=object)
    without_content = ["relating", "or relating", "relating to", "or relating to"]
    found, _, _ = named(texts, is_active, without_content=[*without_content, *NOISE])
    assert found == ["relating"]  # "or relating to" finds the texts better
    texts = np.array([text.replace("relating", "of") for text in texts], dtype=object)
    without_content = ["or of to", *NOISE]
    found, _, _ = named(texts, is_active, without_content=without_content)
    assert found == ["or of to"]


def test_beginnings_of_one_word_name_nothing(tmp_path):
    forms = ["overact"] * 9 + ["overdo"]
    assert label(spelled_corpus(tmp_path / "c", forms)).label[0] == "overact"


def test_no_two_words_of_a_name_are_forms_of_one(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((300, 12))
    for i in range(300):
        word = (
            rng.choice(["flower", "flowers", "shrub"])
            if i % 12 == 0
            else f"topic{i % 12}"
        )
        texts.append(f"{word} {rng.choice(NOISE)} {rng.choice(NOISE)}")
        active[i, i % 12] = 1
    name = label(corpus(tmp_path / "c", active, texts), [0]).label[0]
    assert name.startswith(("flower", "shrub"))
    assert not ("flower," in name and "flowers" in name)


@pytest.mark.parametrize(
    ("word", "other", "same"),
    [
        ("flower", "flowers", True),
        ("flower", "flow", True),
        ("flower", "flo", False),
        ("flowers", "flowering", True),
        ("cat", "cats", True),
        ("cat", "cast", False),
        ("tax", "taxes", True),
        ("running", "run", True),
        ("car's", "car", True),
        ("bodies", "body", True),
        ("rating", "rat", False),
        ("index", "indexes", True),
        ("indexes", "individual", False),
        ("機械学習", "学習", True),
        ("機械", "学習", False),
        ("ファイル名", "ファイル", True),
        ("コーヒー", "コピー", False),  # both end in a long vowel
        ("コンピュータ", "コンサート", False),
        ("โรงเรียน", "ครูโรงเรียน", True),
        ("โรงเรียน", "นักเรียน", False),  # school, pupil
    ],
)
def test_words_with_a_long_common_stem_are_one(word, other, same):
    assert word_forms.same_word(word, other) is same
    assert word_forms.repeats(f"a {word}", f"{other} b") is same


MARKS = (("ruby", 0.5, 0.02), ("opal", 0.4, 0.05), ("jade", 0.3, 0.2))


def planted_words(n=900, seed=0, marks=MARKS):
    """Texts in which three words mark a feature, each in part of its texts and of others."""
    rng = np.random.default_rng(seed)
    is_active = rng.random(n) < 0.2
    texts = []
    for active in is_active:
        words = list(rng.choice(NOISE, 4))
        for word, here, elsewhere in marks:
            if rng.random() < (here if active else elsewhere):
                words.append(word)
        texts.append(" ".join(words))
    return np.array(texts, dtype=object), is_active


def named_together(
    texts,
    activations,
    meaning=None,
    without_content=(),
    generic=(),
    duplicate_group=None,
):
    """The names of features, and all words; all rows are training rows."""
    words = Words(texts, np.ones(len(texts), bool))
    features = []
    for column in np.transpose(activations):
        rows = np.flatnonzero(column)
        inactive = np.flatnonzero(column == 0)[:50]
        strengths = column[rows].astype(float)
        features.append(feature_words(words, rows, strengths, inactive, 10))
    informative = ~np.isin(words.terms, without_content) * 1.0
    informative[np.isin(words.terms, generic)] = 0.5
    term_meaning = None
    if meaning is not None:
        terms = naming.candidate_terms(features)
        term_meaning = terms_by_corpus(meaning, words, terms)
    rows = np.arange(len(texts))
    if duplicate_group is None:
        duplicate_group = rows
    names = naming.choose_names(
        words, informative, features, rows, duplicate_group, meaning, term_meaning
    )
    return names, words


def named(texts, activations, *arguments, **keywords):
    """The terms that one feature is named with, its name, and all words."""
    column = np.asarray(activations)[:, None]
    (name,), words = named_together(texts, column, *arguments, **keywords)
    return words.terms[name.terms].tolist(), name, words


def siblings_named(words_of_features, without_content=NOISE):
    """The terms of two features that are active on the same 80 texts, each stronger on 40."""
    rng = np.random.default_rng(0)
    activations = np.zeros((400, 2))
    activations[:40] = (3, 1)
    activations[40:80] = (1, 3)
    texts = []
    for i in range(400):
        own = words_of_features[i // 40] if i < 80 else [""]
        texts.append(f"{rng.choice(NOISE)} {own[i % len(own)]} {rng.choice(NOISE)}")
    names, words = named_together(
        np.array(texts, dtype=object), activations, without_content=without_content
    )
    return [words.terms[name.terms].tolist() for name in names]


def test_only_the_sibling_that_something_tells_apart_has_a_further_term():
    names = siblings_named([["ruby"], ["ruby", "ruby opal", "opal"]])
    assert names == [["ruby"], ["ruby", "opal"]]


def test_siblings_keep_a_term_without_content():
    few_with_content = ["tom", "tom", "tom", "tom jade"]
    names = siblings_named([["tom"], few_with_content], ["tom", *NOISE])
    assert [name[0] for name in names] == ["tom", "tom"]


@pytest.mark.parametrize(
    ("word", "share", "is_named"),
    [("tom", 0.9, True), ("tom", 0.15, False), ("the", 0.9, False)],
)
def test_a_word_without_content_names_what_nothing_else_finds(word, share, is_named):
    marks = ((word, share, 0.01), ("jade", 0.2, 0.01))
    texts, is_active = planted_words(marks=marks)
    terms, _, _ = named(texts, is_active, without_content=[word, *NOISE])
    assert (terms == [word]) == is_named
    assert ("jade" in terms) != is_named


def test_a_plural_repeats_its_word():
    assert word_forms.repeats("pets", "pet")
    assert word_forms.repeats("cat", "white cats")
    assert not word_forms.repeats("pet", "petal")


def f1_of(terms, texts, is_active):
    terms = set(terms)
    has_term = np.array([not terms.isdisjoint(text.split()) for text in texts])
    n_both = (has_term & is_active).sum()
    return 2 * n_both / (has_term.sum() + is_active.sum())


@pytest.mark.parametrize("seed", range(5))
def test_words_are_added_while_they_find_more(seed):
    texts, is_active = planted_words(seed=seed)
    terms, _, _ = named(texts, is_active)
    single = {
        term: f1_of([term], texts, is_active)
        for term in [*NOISE, "ruby", "opal", "jade"]
    }
    assert terms[0] == max(single, key=single.get)
    pairs = {term: f1_of([terms[0], term], texts, is_active) for term in single}
    assert terms[1] == max(pairs, key=pairs.get)
    assert pairs[terms[1]] > single[terms[0]] + 0.02
    triples = {term: f1_of([*terms[:2], term], texts, is_active) for term in single}
    gain = max(triples.values()) - pairs[terms[1]]
    assert len(terms) == (3 if gain > 0.02 else 2)


def test_whole_phrases_name(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(NOISE, 4)) for _ in range(300)]
    is_active = np.arange(300) % 5 == 0
    for i in range(300):
        if is_active[i]:
            texts[i] += " dark matter"
        elif i % 7 == 0:
            texts[i] += " dark" if i % 2 else " matter"
    assert named(np.array(texts, dtype=object), is_active)[0] == ["dark matter"]


def phrase_in(texts_of_feature, other_texts, every=4, n=400):
    """The name of a feature that is active on every fourth text: noise, then one of those given."""
    rng = np.random.default_rng(0)
    is_active = np.arange(n) % every == 0
    texts = []
    for i in range(n):
        given = texts_of_feature if is_active[i] else other_texts
        noise = " ".join(rng.choice(NOISE, 3))
        texts.append(f"{noise}. {given[i // every % len(given)]}")
    return named(np.array(texts, dtype=object), is_active)[0]


def test_a_phrase_that_always_goes_on_alike_is_no_name():
    goes_on = ["includes a number of", "includes a number of red"]
    elsewhere = ["includes", "number", "a number", "number a"]
    assert phrase_in(goes_on, elsewhere) != ["includes a number"]
    ends = ["includes a number", "includes a number red", "it includes a number, of"]
    assert phrase_in(ends, ["it"]) == ["includes a number"]


def test_a_phrase_behind_the_same_word_with_content_is_no_name():
    elsewhere = ["driven", "software", "software driven", "driven and software"]
    behind_content = ["event driven software", "a event driven software so"] * 2
    behind_content += ["driven software"]  # of all these texts
    assert phrase_in(behind_content, elsewhere) == ["event driven software"]
    behind_article = ["the driven software", "of the driven software so"]
    assert phrase_in(behind_article, elsewhere) == ["driven software"]


def test_words_joined_by_a_stop_word_name_if_they_belong_together():
    together = ["the bank of america", "a bank of america so"]
    assert phrase_in(together, ["bank", "it"]) == ["bank of america"]
    apart = ["bank so america", "america or bank", "of america bank", "a bank, america"]
    assert phrase_in(together, apart, every=8) != ["bank of america"]


@pytest.mark.parametrize(("weak", "names"), [(1, ["ruby"]), (2, ["ruby", "opal"])])
def test_a_further_term_is_in_strongest_texts_that_the_name_does_not_cover(weak, names):
    rng = np.random.default_rng(0)
    activations = np.zeros(300)
    activations[:30] = 2
    activations[30:60] = weak
    own = ["ruby"] * 30 + ["opal"] * 30 + [""] * 240
    texts = [f"{rng.choice(NOISE)} {rng.choice(NOISE)} {word}" for word in own]
    texts = np.array(texts, dtype=object)
    assert named(texts, activations, without_content=NOISE)[0] == names


@pytest.mark.parametrize(("copies", "names"), [(1, ["ruby", "opal"]), (15, ["ruby"])])
def test_copies_of_a_text_count_once_for_a_further_term(copies, names):
    rng = np.random.default_rng(0)
    own = ["ruby"] * 30 + ["opal"] * 30 + [""] * 240
    texts = [f"{rng.choice(NOISE)} {rng.choice(NOISE)} {word}" for word in own]
    texts = np.array(texts, dtype=object)
    group = np.arange(300)
    group[30:60] //= copies
    group[30:60] += 1000
    found, _, _ = named(
        texts, np.arange(300) < 60, without_content=NOISE, duplicate_group=group
    )
    assert found == names


@pytest.mark.parametrize(
    ("generic", "terms"),
    [((), ["ruby", "opal"]), (["ruby"], ["ruby", "opal"]), (["opal"], ["ruby"])],
)
def test_a_generic_word_may_only_begin_a_name(generic, terms):
    texts, is_active = planted_words(marks=[("ruby", 0.7, 0.01), ("opal", 0.5, 0.01)])
    found, _, _ = named(texts, is_active, without_content=NOISE, generic=generic)
    assert found == terms


@pytest.mark.parametrize(("axis", "names"), [(0, ["ruby", "opal"]), (1, ["ruby"])])
def test_a_further_term_means_what_strongest_texts_without_it_mean(
    axis, names, tmp_path
):
    rng = np.random.default_rng(0)
    n = 900
    activations = np.zeros(n)
    activations[:50] = 2
    own = ["opal"] * 15 + ["ruby"] * 35 + [""] * (n - 50)
    vectors = rng.normal(size=(n, 6))
    vectors[:15, axis] += 6  # of "opal"
    vectors[15:50, 0] += 6
    texts = [f"{rng.choice(NOISE)} {rng.choice(NOISE)} {word}" for word in own]
    codes = corpus(tmp_path / "c", activations[:, None], texts, vectors=vectors)
    meaning = corpus_meaning(codes, np.arange(n))
    texts = np.array(texts, dtype=object)
    assert named(texts, activations, meaning, without_content=NOISE)[0] == names


def test_strong_texts_choose_the_first_term():
    rng = np.random.default_rng(0)
    activations = np.zeros(300)
    activations[:20] = 6
    activations[20:60] = 1
    own = ["ruby"] * 20 + ["opal"] * 40 + [""] * 240
    texts = [f"{rng.choice(NOISE)} {rng.choice(NOISE)} {word}" for word in own]
    texts = np.array(texts, dtype=object)
    assert named(texts, activations, without_content=NOISE)[0][0] == "ruby"
    alike = (activations > 0) * 1.0
    assert named(texts, alike, without_content=NOISE)[0][0] == "opal"


def test_a_phrase_that_most_texts_have_names_in_place_of_its_word():
    mostly = ["wells fargo", "a wells fargo", "wells fargo, a"] * 3 + ["wells"]
    assert phrase_in(mostly, ["it"]) == ["wells fargo"]
    seldom = ["wells", "a wells", "wells, a", "wells fargo", "wells fargo"]
    assert phrase_in(seldom, ["it"]) == ["wells"]


@pytest.mark.parametrize(
    ("other_places", "names"),
    [((50, 60), ["ruby"]), ((50, 60, 70, 80), ["ruby", "opal"])],
)
def test_a_further_term_must_add_more_than_two_texts_of_the_feature(
    other_places, names
):
    rng = np.random.default_rng(0)
    is_active = np.arange(100) % 10 == 0
    texts = []
    for i in range(100):
        own = "ruby" if is_active[i] and i < 50 else ""
        other = "opal" if i in other_places else ""
        texts.append(f"{rng.choice(NOISE)} {rng.choice(NOISE)} {own} {other}")
    texts = np.array(texts, dtype=object)
    assert named(texts, is_active, without_content=NOISE)[0] == names
    # both would make the F1 of these very texts better by more than 0.02
    gain = f1_of(["ruby", "opal"], texts, is_active) - f1_of(["ruby"], texts, is_active)
    assert gain > 0.02


def test_inflections_count_as_words_of_the_name():
    rng = np.random.default_rng(0)
    texts, is_active = [], np.arange(300) % 6 == 0
    for i in range(300):
        form = (
            ["planted", "planting", "plants"][i // 6 % 3] if is_active[i] else "stone"
        )
        texts.append(f"{form} {rng.choice(NOISE)} {rng.choice(NOISE)}")
    terms, name, words = named(np.array(texts, dtype=object), is_active)
    assert len(terms) == 1
    assert {words.terms[term] for term in name.matching} == {
        "planted",
        "planting",
        "plants",
    }


def test_no_two_names_are_equal(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((600, 3))
    for i in range(600):
        texts.append(
            f"{'tree' if i % 3 == 0 else 'stone'} {rng.choice(NOISE)} {rng.choice(NOISE)}"
        )
        if i % 3 == 0:
            active[i] = 1 + rng.random(3)
    labels = label(corpus(tmp_path / "c", active, texts)).label
    assert labels.is_unique
    assert all("tree" in text for text in labels)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_term_is_best_by_words_and_meaning_together(seed, tmp_path):
    marks = (("ruby", 0.5, 0.04), ("jade", 0.5, 0.08))
    texts, is_active = planted_words(seed=seed, marks=marks)
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(texts), 6)) + 2
    for axis, word in enumerate(("ruby", "jade")):
        vectors[[word in text.split() for text in texts], axis] += 4
    vectors[is_active, 1] += 1  # the feature means what jade does
    codes = corpus(tmp_path / "c", is_active[:, None], texts.tolist(), vectors=vectors)
    terms, _, _ = named(
        texts, is_active, meaning=corpus_meaning(codes, np.arange(len(texts)))
    )

    centred = codes.vectors() - codes.vectors().mean(0)
    directions = centred / np.linalg.norm(centred, axis=1)[:, None]
    covariance = LedoitWolf().fit(directions.astype(float)).covariance_
    scores, by_words = {}, {}
    for word in (*NOISE, "ruby", "jade"):
        has_word = np.array([word in text.split() for text in texts])
        apart = directions[has_word].mean(0) - directions.mean(0)
        along = directions @ np.linalg.solve(covariance, apart.astype(float))
        by_words[word] = f1_of([word], texts, is_active)
        difference = along[is_active].mean() - along.mean()
        scores[word] = by_words[word] + norm.cdf(
            difference / np.sqrt(2 * (along**2).mean())
        )
    ranked = sorted(scores, key=scores.get)
    assert terms[0] == ranked[-1] == "ruby"
    by_meaning = {word: scores[word] - by_words[word] for word in scores}
    assert by_meaning["jade"] > by_meaning["ruby"]
