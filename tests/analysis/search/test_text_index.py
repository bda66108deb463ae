"""Words in texts and labels against splitting the texts."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis.search.search import search
from nanosae.analysis.search.text_index import (
    _pieces,
    find_texts,
    has_index,
    rows_with,
    text_index,
    word_terms,
)
from nanosae.checked import BLANK, seal_file
from nanosae.codes import Codes, CodesWriter, write_codes
from nanosae.text.tokens import split_words


def words_of(text):
    return set(
        "".join(c if c.isalnum() or c == "_" else " " for c in text.casefold()).split()
    )


def test_full_text_search_finds_the_rows_with_a_word(codes, planted):
    for word in (planted.words[0][0], planted.words[5][1], "日本語", "мир", "ÜBUNG"):
        rows, scores = find_texts(codes, word, 1000)
        expected = {
            i
            for i, text in enumerate(planted.texts)
            if word.casefold() in words_of(text)
        }
        assert set(rows.tolist()) == expected
        assert expected
        assert (np.diff(scores) <= 0).all()
        # BM25 of words in most texts is about 0
        assert (scores > 0).all() or len(expected) > 350
    two = find_texts(codes, f"{planted.words[0][0]} {planted.words[1][0]}", 1000)[0]
    one = find_texts(codes, planted.words[0][0], 1000)[0]
    assert set(one) < set(two)
    assert len(find_texts(codes, planted.words[0][0], 3)[0]) == 3


@pytest.mark.parametrize(
    "text", ["!?", '"', "a AND", "NOT", "col:x*", "(", "' OR 1=1 --", "NEAR("]
)
def test_any_text_is_a_safe_query(codes, text):
    rows, scores = find_texts(codes, text)
    assert len(rows) == len(scores)
    assert isinstance(search(codes, text).note, str)


def test_the_index_is_made_once_and_anew_when_the_corpus_grows(tmp_path):
    path = tmp_path / "c"
    codes = write_codes(path, sp.csr_array(np.eye(2)), texts=["one", None])
    assert not (path / "texts.sqlite").exists()
    assert find_texts(codes, "one")[0].tolist() == [0]
    made = (path / "texts.sqlite").stat().st_mtime_ns
    assert find_texts(codes, "two")[0].tolist() == []
    assert (path / "texts.sqlite").stat().st_mtime_ns == made
    with CodesWriter(path, n_features=2, append=True) as writer:
        writer.append(sp.csr_array(np.eye(2)), table=["two", "one"])
    grown = Codes(path)
    assert find_texts(grown, "two")[0].tolist() == [2]
    assert find_texts(grown, "one")[0].tolist() == [0, 3]
    assert sorted(p.name for p in path.iterdir() if p.is_file()) == [
        "manifest.json",
        "texts.sqlite",
    ]
    (path / "texts.sqlite").write_bytes(
        b"this is no database, and long enough to be read as one"
    )
    assert find_texts(grown, "two")[0].tolist() == [2]


SCRIPTS = [
    "我喜欢吃苹果和香蕉",
    "今天天气很好",
    "リンゴを食べる",
    "東京に住んでいます",
    "ภาษาไทยง่ายมาก",
    "हिन्दी में लिखा",
    "ΑΘΉΝΑ, Straße",
    "plants of İstanbul",
]


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("苹果", [0]),
        ("果", [0]),
        ("天气", [1]),
        ("リンゴ", [2]),
        ("東京", [3]),
        ("果苹", []),
        ("ไทย", [4]),
        ("हिन्दी", [5]),
        ("αθηνα", [6]),
        ("STRASSE", [6]),
        ("istanbul plant", [7]),
        ("我今天很喜欢天气", [0, 1]),
    ],
)
def test_words_of_any_script_are_found(tmp_path, words, rows):
    codes = write_codes(tmp_path, sp.csr_array(np.eye(8)), texts=SCRIPTS)
    assert sorted(find_texts(codes, words)[0].tolist()) == rows


@pytest.mark.parametrize(
    ("query", "pieces"),
    [
        ("将棋のゲーム", ["将棋", "ゲーム"]),  # neither の nor ゲー and ーム
        ("画像変換ツールを", ["画像", "像変", "変換", "ツール"]),
        ("ゲームエンジン", ["ゲーム", "ームエ", "ムエン", "エンジ", "ンジン"]),
        ("機械学習", ["機械学習"]),
        ("これは", ["これは"]),
        ("如何压缩文件", ["如何", "何压", "压缩", "缩文", "文件"]),
        ("ไทยง่าย", ["ไทย", "ทยง่", "ยง่า", "ง่าย"]),
    ],
)
def test_what_stands_for_the_words_of_a_run(query, pieces):
    assert _pieces(query) == pieces


def test_a_rare_word_of_a_japanese_question_counts_more_than_a_frequent_one(tmp_path):
    texts = ["ゲームのゲーム"] * 30 + ["囲碁と将棋"] + ["天気"] * 30
    codes = write_codes(tmp_path / "codes", np.ones((61, 2), np.float32), texts=texts)
    assert find_texts(codes, "将棋のゲーム", 1)[0].tolist() == [30]


@pytest.mark.parametrize(
    "word", ["🚚", "❤", "🫠", "佐々木", "\U0002ceb0", "\U00011d0c"]
)
def test_words_that_sqlite_knows_as_no_letters_are_found(tmp_path, word):
    """Pictures, and letters of later versions of Unicode than SQLite's."""
    texts = ["late again", f"late {word} again", f"late{word}"]
    codes = write_codes(tmp_path, sp.csr_array(np.eye(3)), texts=texts)
    wanted = [1, 2] if split_words(f"late{word}") == ["late", word] else [1]
    assert rows_with(codes, f"late {word}").tolist() == wanted
    assert sorted(find_texts(codes, word)[0].tolist()) == wanted


def test_a_word_stands_for_inflections_else_beginnings_else_misspellings(tmp_path):
    texts = ["planted", "plants", "plane", "planetary", "receive", "cat", "cats"]
    codes = write_codes(tmp_path, sp.csr_array(np.eye(7)), texts=texts)
    found = {
        word.word: (word.terms, word.exact)
        for word in word_terms(codes, "plant planeta recieve cat zz eceive")
    }
    assert found == {
        "plant": (["planted", "plants"], True),
        "planeta": (["planetary"], False),
        "recieve": (["receive"], False),
        "cat": (["cat"], True),
        "zz": ([], False),
        "eceive": (["receive"], False),
    }


def test_misspellings_of_ten_words_are_looked_for(tmp_path):
    codes = write_codes(tmp_path, sp.csr_array(np.eye(1)), texts=["receive"])
    wrong = [f"rec{letter}ive" for letter in "abcdfghjklm"]
    found = word_terms(codes, " ".join(wrong))
    assert [word.terms for word in found] == [["receive"]] * 10 + [[]]


def test_an_index_of_another_format_is_made_anew(tmp_path):
    codes = write_codes(tmp_path, sp.csr_array(np.eye(1)), texts=["word"])
    path = text_index(codes)
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE made_from DROP COLUMN format")
        db.execute("UPDATE made_from SET checksum = ?", (BLANK,))
        db.commit()
    seal_file(path)
    assert not has_index(codes)
    assert find_texts(codes, "word")[0].tolist() == [0]


def test_rows_with_all_the_words_as_by_splitting_the_texts(codes, planted):
    first, second = planted.words[0][:2]
    words = [set(text.casefold().split()) for text in planted.texts]
    both = [i for i, found in enumerate(words) if {first, second} <= found]
    assert len(both) > 3
    assert rows_with(codes, f"{second.upper()}, {first}").tolist() == both
    assert (
        sorted(find_texts(codes, f"{first} {second}", 999, every=True)[0].tolist())
        == both
    )
    assert rows_with(codes, f"{first} nosuchword").tolist() == []
    assert rows_with(codes, "?!").tolist() == []


def test_the_index_is_known_to_be_there(codes):
    assert not has_index(codes)
    text_index(codes)
    assert has_index(codes)
    (codes.path / "texts.sqlite").write_bytes(b"damaged" * 99)
    assert not has_index(codes)
