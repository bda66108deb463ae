"""The few terms that make a label."""

import numpy as np
import pytest

from nanosae.analysis.labels import label
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
