"""Words in texts and labels against splitting the texts."""

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis.search import search
from nanosae.analysis.text_index import (
    find_labels,
    find_texts,
    has_index,
    rows_with,
    text_index,
)
from nanosae.codes import Codes, CodesWriter, write_codes


@pytest.fixture(scope="module")
def planted(searched_corpus):
    return searched_corpus


@pytest.fixture
def codes(searched_codes):
    return searched_codes


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
    "text", ["", "!?", '"', "a AND", "NOT", "col:x*", "(", "' OR 1=1 --", "NEAR("]
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


def test_labels_with_more_of_the_words_come_first(codes, planted):
    words = f"{planted.names[4]} {planted.names[9].split()[0]}"
    found = find_labels(codes, words)
    assert found[0] == (4, planted.names[4])
    assert 9 in [j for j, _ in found]
    assert find_labels(codes, "zzz") == []


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
