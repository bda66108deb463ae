"""Folding, splitting and typing errors against hand-made cases and brute force."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanosae.text.tokens import characters, edits, fold, split_words, words_of_letters

SAME = [
    ("Straße", "STRASSE"),
    ("İstanbul", "istanbul"),
    ("ISPARTA", "ısparta"),
    ("ﬁne", "FINE"),
    ("ＡＢＣ", "abc"),
    ("ΑΘΉΝΑ", "αθηνα"),
    ("cafe\u0301", "CAFÉ"),
    ("ｶﾞ", "ガ"),
]
DIFFERENT = [("が", "か"), ("мой", "мои"), ("हिन्दी", "हन्द"), ("ผู้", "ผ")]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_word_are_folded_alike(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_marks_that_make_another_word_stay(one, other):
    assert fold(one) != fold(other)


@given(st.text())
def test_folding_is_done_once(text):
    assert split_words(fold(text)) == split_words(text)


def test_words_of_every_script_are_split():
    text = "Don't panic: 我喜欢苹果, リンゴを食べる! ภาษาไทย हिन्दी का_x 東京tower"
    expected = "don t panic 我喜欢苹果 リンゴを食べる ภาษาไทย हिन्दी का_x 東京 tower"
    assert split_words(text) == expected.split()


def test_characters_carry_their_marks():
    assert characters("ภาษาไทย") == list("ภาษาไทย")
    assert "".join(characters("မြန်မာ")) == "မြန်မာ"
    assert len(characters("မြန်မာ")) == 3


def one_edit_away(word):
    """All words one edit away, by making each of them."""
    letters = string.ascii_lowercase[:4]
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    made = {a + b[1:] for a, b in cuts if b}
    made |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    made |= {a + c + b[1:] for a, b in cuts if b for c in letters}
    made |= {a + c + b for a, b in cuts for c in letters}
    return made - {word}


words = st.text(string.ascii_lowercase[:4], max_size=5)


@given(words)
def test_edits_against_all_words_one_edit_away(word):
    near = one_edit_away(word)
    assert {edits(word, other, 2) for other in near} <= {1}
    assert edits(word, word, 2) == 0


@given(words, words)
def test_one_edit_is_found_by_making_it(word, other):
    assert (edits(word, other, 3) == 1) == (other in one_edit_away(word))
    assert edits(word, other, 3) == edits(other, word, 3)


def test_invisible_letters_do_not_divide_words():
    hidden = "Daten\u00adbank und \u092a\u094d\u200d\u092f\u093e\u0930"
    visible = hidden.replace("\u00ad", "").replace("\u200d", "")
    assert split_words(hidden) == split_words(visible)
    assert len(split_words(hidden)) == 3
    assert words_of_letters(hidden) == words_of_letters(visible)


def test_a_repeated_character_of_japanese_belongs_to_its_run():
    assert split_words("佐々木さんと人々") == ["佐々木さんと人々"]
