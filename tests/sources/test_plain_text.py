"""Texts of mails and web pages, without what their readers would skip."""

import pyarrow as pa
import pytest

from nanosae.sources.mail_text import without_replies
from nanosae.sources.plain_text import as_plain_text


def own_words(mail):
    (text,) = without_replies(pa.chunked_array([[mail]], pa.string()))[0].to_pylist()
    return text


@pytest.mark.parametrize(
    ("mail", "own"),
    [
        ("Yes.\n\nOn 3 March, Ann <a@b.org> wrote:\n> Please?\n> Ann", "Yes."),
        ("Yes.\r\n\r\nAm 3.3. schrieb Max:\r\n> Bitte?\r\n", "Yes."),
        ("On Mon, Ann\n<a@b.org> wrote:\n\n> one\n>\n> two\n\nYes.", "Yes."),
        ("Le lundi, Ann a écrit :\n> un\nOui.", "Oui."),
        ("Yes.\n-----Original Message-----\nFrom: Ann\n\nPlease?", "Yes."),
    ],
)
def test_quoted_replies_go(mail, own):
    assert own_words(mail) == own


@pytest.mark.parametrize(
    "text",
    [
        "Run this:\n> ls\n> cd",
        "He wrote: yes",
        "> a saying\n\nBeautiful.",
        "Ann wrote:\n> nothing of my own",
        "a ---- b",
        "",
    ],
)
def test_what_is_no_reply_stays(text):
    assert own_words(text) == text


def test_missing_texts_stay_missing():
    assert own_words(None) is None


def test_what_was_changed_is_said():
    mail = "Yes.\nAnn wrote:\n> Please?"
    texts = pa.chunked_array([["a &lt; b", "<p>c</p>", mail, *["d"] * 9]])
    plain, notes = as_plain_text(texts)
    assert plain.to_pylist()[:3] == ["a < b", "c", "Yes."]
    assert notes == [
        "Entities such as &amp; were replaced in 1 text.",
        "1 text is HTML: tags and quoted replies were removed.",
        "Quoted replies were removed from 1 text.",
    ]
    assert as_plain_text(pa.chunked_array([["d"] * 9]))[1] == []
