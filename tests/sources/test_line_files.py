"""Files of plain text: what their lines are."""

import textwrap

import numpy as np
import pytest

from nanosae.sources.front_matter import split_front_matter
from nanosae.sources.logs import read_log
from nanosae.sources.notes import notes_of
from nanosae.sources.paragraphs import split_paragraphs
from nanosae.sources.texts import read_texts
from nanosae.sources.transcripts import read_transcript

WORDS = [
    "the",
    "river",
    "ran",
    "past",
    "a",
    "small",
    "house",
    "where",
    "nobody",
    "had",
    "lived",
    "for",
    "many",
    "years",
]


def sentence(rng, n_words):
    return " ".join(rng.choice(WORDS, n_words)).capitalize() + "."


def paragraphs(n, seed=0):
    rng = np.random.default_rng(seed)
    return [
        " ".join(sentence(rng, rng.integers(4, 20)) for _ in range(rng.integers(2, 9)))
        for _ in range(n)
    ]


def test_broken_lines_are_joined_to_paragraphs(tmp_path):
    written = paragraphs(40)
    lines = ["CHAPTER I.", "", "", *(f"{textwrap.fill(p, 70)}\n" for p in written)]
    path = tmp_path / "book.txt"
    path.write_bytes("\r\n".join("\n".join(lines).split("\n")).encode("utf-8-sig"))
    table = read_texts(path)
    assert table["text"].to_pylist() == ["CHAPTER I.", *written]
    assert notes_of(table) == ["Each block of lines between empty lines is one text."]


def test_verses_keep_their_lines():
    verse = ["Roses are red,", "violets are blue,", "sugar is sweet"]
    lines = [*verse, ""] * 60
    assert split_paragraphs(lines) == ["\n".join(verse)] * 60


@pytest.mark.parametrize("share", [0.03, 0.1, 0.2, 0.4])
def test_lines_of_which_some_are_empty_are_lines(share):
    rng = np.random.default_rng(1)
    written = [sentence(rng, rng.integers(3, 12)) for _ in range(900)]
    for _ in range(20):
        lines = [written[row] for row in rng.permutation(900)]
        for row in np.flatnonzero(rng.random(900) < share):
            lines[row] = ""
        assert split_paragraphs(lines) is None
        assert split_paragraphs([line.strip(".") for line in lines]) is None
    assert split_paragraphs([sentence(rng, 9) for _ in range(99)]) is None
    one_line_each = [line for _ in range(99) for line in (sentence(rng, 30), "")]
    assert split_paragraphs(one_line_each) is None


@pytest.mark.parametrize("sign", ["\t", "|", ";"])
def test_rows_of_a_table_are_rows(sign, tmp_path):
    path = tmp_path / "rows.txt"
    rows = [f"{i % 3}{sign}a text about {i}" for i in range(30)]
    path.write_text("\n".join([f"kind{sign}text", *rows]))
    table = read_texts(path)
    assert table.column_names == ["kind", "text"]
    assert table["kind"].to_pylist() == [i % 3 for i in range(30)]
    assert notes_of(table) == [
        f"The lines were read as rows of a table, separated by {sign!r}."
    ]

    words = [f"word{i}{sign}a long explanation of {i}" for i in range(30)]
    path.write_text("\n".join(words))
    table = read_texts(path)
    assert table.column_names == ["column1", "column2"]  # no row is lost for a header
    assert len(table) == 30
    path.write_text("\n".join([f"term{sign}meaning", *words]))
    assert read_texts(path).column_names == ["term", "meaning"]

    path.write_text("\n".join([*words, "a line without it"]))
    assert read_texts(path).column_names == ["text"]


def test_entries_of_a_log_have_times_and_levels(tmp_path):
    path = tmp_path / "server.log"
    entries = [
        f"2024-03-01T09:00:{i:02}Z [{['INFO', 'WARN'][i % 2]}] disk {i}"
        for i in range(20)
    ]
    entries.insert(10, "Traceback:\n  File x")
    path.write_text("\n".join(["started", *entries]))
    table = read_texts(path)
    assert table["level"].to_pylist() == ["INFO", "WARN"] * 10
    assert table["text"][9].as_py() == "disk 9\nTraceback:\nFile x"
    assert table["time"][3].as_py() == "2024-03-01T09:00:03Z"
    without_level = [f"2024-03-01 09:00:{i:02} info: disk" for i in range(20)]
    assert read_log(without_level, "text").column_names == ["text", "time", "level"]
    without_level = [f"2024-03-01 09:00:{i:02} disk {i}" for i in range(20)]
    assert read_log(without_level, "text").column_names == ["text", "time"]
    assert read_log([f"in 2024-03-01 09:00 disk {i}" for i in range(20)], "t") is None


@pytest.mark.parametrize("time", ["", "[00:{i:02}:30] ", "{i:02}:30 "])
def test_turns_have_speakers(time):
    lines = ["Minutes of the meeting", ""]
    for i in range(30):
        speaker = ["SPEAKER 1", "Ann", "the chair"][i % 3]
        lines += [f"{time.format(i=i)}{speaker}: we said: {i}", ""]
    lines[-1] = "and more"
    table = read_transcript(lines, "text")
    assert table["text"].to_pylist()[:2] == ["we said: 0", "we said: 1"]
    assert table["text"].to_pylist()[-1] == "we said: 29\nand more"
    assert table["speaker"].to_pylist() == ["SPEAKER 1", "Ann", "the chair"] * 10
    if time:
        assert table["minute"].to_pylist() == [i + 0.5 for i in range(30)]
    else:
        assert "minute" not in table.column_names


def test_definitions_are_no_turns():
    lines = [f"{word}{i}: what it means" for i, word in enumerate(WORDS * 9)]
    assert read_transcript(lines, "text") is None


def test_notes_have_fields_and_folders(tmp_path):
    for i in range(8):
        folder = tmp_path / ["sea", "sky"][i % 2] / ["old", "new"][i // 4]
        folder.mkdir(parents=True, exist_ok=True)
        tags = "[a, 'b c']" if i % 2 else "\n  - a\n  - d"
        matter = f'---\ntitle: "Note {i}"\ntags: {tags}\ndate: 2024-01-0{i + 1}\n---\n'
        (folder / f"{i}.md").write_text(f"{matter}text {i}\n")
    (tmp_path / "README.md").write_text("What this is.\n")
    rows = sorted(read_texts(tmp_path).to_pylist(), key=lambda row: row["file"])
    assert rows[5] == {
        "text": "text 5",
        "file": "5.md",
        "folder": "sky",
        "subfolder": "new",
        "title": "Note 5",
        "tags": ["a", "b c"],
        "date": "2024-01-06",
    }
    assert rows[0]["tags"] == ["a", "d"]
    assert len(rows) == 8
    (tmp_path / "own.md").write_text("my own\n")
    assert len(read_texts(tmp_path)) == 9  # with those of the folders in it


@pytest.mark.parametrize("sign", [">", ">-", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_values_of_several_lines_are_joined(sign, end):
    lines = [
        "---",
        f"about: {sign}",
        "  a note:",
        "",
        "  of two",
        "k: v",
        "---",
        "text",
    ]
    fields = {"about": "a note: of two", "k": "v"}
    assert split_front_matter(end.join(lines)) == (fields, "text")


def test_texts_between_two_rules_are_no_front_matter():
    text = "---\nA text that begins with a rule.\n\nNote: more\n\n---\n\nThe end."
    assert split_front_matter(text) == ({}, text)


def test_a_rule_in_a_text_is_no_front_matter():
    assert split_front_matter("a\n---\nb: c\n---\n") == ({}, "a\n---\nb: c\n---")


def test_lines_of_any_length_are_texts(tmp_path):
    path = tmp_path / "books.txt"
    lines = [f"{i} " + "word " * 40_000 for i in range(12)]
    path.write_text("\n".join(lines))
    assert read_texts(path)["text"].to_pylist() == lines


def test_rows_of_a_text_file_have_the_encoding_of_its_lines(tmp_path):
    path = tmp_path / "rows.txt"
    lines = ["text|n", *(f"café number {i}|{i}" for i in range(20))]
    for written, given in (("utf-8", "cp1252"), ("cp1252", "cp1252"), ("utf-16", "x")):
        path.write_text("\n".join(lines), written)
        table = read_texts(path, encoding=given)
        assert table["text"].to_pylist() == [f"café number {i}" for i in range(20)]
        assert table["n"].to_pylist() == list(range(20))
