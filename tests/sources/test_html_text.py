"""Texts that were written as HTML."""

import pyarrow as pa
import pytest

from nanosae.sources.html_text import (
    plain_texts,
    which_are_html,
    without_entities,
    without_html,
)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("<p>Hello,</p><p>it&#39;s <b>late</b></p>", "Hello,\nit's late"),
        ('<div dir="ltr">one<br/>two</div>', "one\ntwo"),
        ("a <script>if (1 < 2) {}</script><!-- no --> b", "a b"),
        ('Thanks!<blockquote type="cite"><p>On Monday</p></blockquote>', "Thanks!"),
        ('Yes<blockquote class="gmail_quote">you wrote</blockquote> no', "Yes no"),
        ("<blockquote>a saying</blockquote>", "a saying"),
        ("List<String> x; 1 < 2 > 0; a<b", "List<String> x; 1 < 2 > 0; a<b"),
        ("R&D at&t &nbsp;x", "R&D at&t x"),
        ("<P>&lt;p&gt; is a tag</P>", "<p> is a tag"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>", "a b\nc"),
        ('<a title="a > b" href=x>see</a> <a title=it\'s>it</a>', "see it"),
        (None, None),
        ("", ""),
    ],
)
def test_tags_go_and_texts_stay(written, plain):
    assert plain_texts(pa.chunked_array([[written]], pa.string())).to_pylist() == [
        plain
    ]


def test_texts_about_code_are_not_html():
    code = ["use List<String>", "if a<b and c>d", "the <div> element"] + ["no tag"] * 9
    assert html_rows(code) == [False] * len(code)
    many = code + ["<p>yes</p>", "a<br>b", '<a href="x">y</a>'] * 3
    assert html_rows(many) == [True] * len(many)
    assert html_rows([None]) == [False]


def html_rows(texts):
    return which_are_html(pa.chunked_array([texts], pa.string())).to_pylist()


def test_few_texts_in_html_among_others():
    others = ["The <b>bold</b> tag", "a < b > c", None, *["no tag"] * 30]
    written = [" <p>one<br/>&amp; two</p> bye", "Fine.<br />Thanks", "<b>So</b>"]
    texts = pa.chunked_array([others[:9], others[9:] + written])
    plain, note = without_html(texts)
    assert plain.to_pylist() == [*others, "one\n& two\nbye", "Fine.\nThanks", "So"]
    assert note == "3 texts are HTML: tags and quoted replies were removed."
    assert without_html(pa.chunked_array([others])) == (
        pa.chunked_array([others]),
        None,
    )


def test_texts_among_which_many_are_html_are_not_all_called_so():
    texts = pa.chunked_array([["<p>one</p>"] * 3 + ["two"] * 4])
    plain, note = without_html(texts)
    assert plain.to_pylist() == ["one"] * 3 + ["two"] * 4
    assert note == "3 texts are HTML: tags and quoted replies were removed."


@pytest.mark.parametrize(
    ("written", "is_html"),
    [
        ('Staples <a href="http://x.y?a=b">SPLS</a> rose', True),
        ('Scams. <FONT face="arial" size="-2"><B>-AP</B></FONT>', True),
        ("first<br>second", True),
        ("lines = '<br>'.join(rows)", False),
        ("return '<a href=\"%s.html\">%s</a>' % (name, name)", False),
        ("What does <a href> do?", False),
    ],
)
def test_markup_in_a_sentence_is_html_but_not_in_a_program(written, is_html):
    assert html_rows([written, *["no tag"] * 9])[0] == is_html


def entities(*texts):
    plain, n = without_entities(pa.chunked_array([texts], pa.string()))
    return plain.to_pylist(), n


def test_entities_are_characters():
    assert entities("AT&amp;T", None, "it&#39;s", "R&D; ok") == (
        ["AT&T", None, "it's", "R&D; ok"],
        2,
    )
    tagged = "write &lt;b&gt; in a <p>"
    assert entities(tagged) == ([tagged], 0)


def test_entities_that_lost_their_ampersand_are_characters_if_they_are_frequent():
    broken = "Oil #39;s fall to  #36;10,  quot;low quot; Bush #039;s"
    plain, n = entities(broken, *["no entity"] * 50)
    assert (plain[0], n) == ("Oil's fall to $10, \"low\" Bush's", 1)
    assert entities(broken, *["no entity"] * 150)[1] == 0
    commits = ["Fixes #123; see #39, closes #1234;"]
    assert entities(*commits) == (commits, 0)
