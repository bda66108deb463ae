"""Chats and subtitles out of files of lines."""

import pytest

from nanosae.sources.texts import read_texts
from nanosae.sources.transcripts import read_transcript

STYLES = {
    "WhatsApp, Android": "{day:02}/02/2024, 09:05 - {author}: {text}",
    "WhatsApp, iPhone": "[{day:02}.02.24, 09:05:11] {author}: {text}",
    "WhatsApp, am": "2/{day}/24, 9:05\u202fAM - {author}: {text}",
    "Discord": "[2024-02-{day:02} 09:05] {author}: {text}",
}


@pytest.mark.parametrize("style", STYLES)
def test_messages_have_authors_and_times(style):
    lines = [STYLES[style].format(day=1, author="x", text="x").rsplit("x: x")[0] + "Hi"]
    for day in range(1, 13):
        author = ["Ann", "Bob B."][day % 2]
        line = STYLES[style].format(day=day, author=author, text=f"see: {day}")
        lines += [line, "and more"] if day == 7 else [line]
    lines[3] = lines[3].replace("see: 3", "<Media omitted>")
    table = read_transcript(lines, "text")
    assert table.column_names == ["text", "author", "sent"]
    texts = [f"see: {day}" for day in range(1, 13)]
    texts[6] += "\nand more"
    texts[2] = ""
    assert table["text"].to_pylist() == texts
    assert table["author"].to_pylist() == ["Bob B.", "Ann"] * 6
    assert "9:05" in table["sent"][4].as_py()


@pytest.mark.parametrize("sign", [",", "."])
def test_captions_have_minutes(sign, tmp_path):
    cues = [
        f"{i}\n00:{i:02}:30{sign}000 --> 00:{i:02}:31{sign}000\nline {i}\nends\n"
        for i in range(9)
    ]
    path = tmp_path / "talk.vtt"
    path.write_text("WEBVTT\n\n" + "\n".join(cues))
    table = read_texts(path)
    assert table["text"].to_pylist() == [f"line {i} ends" for i in range(9)]
    assert table["minute"].to_pylist() == [i + 0.5 for i in range(9)]


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("{i}\n00:0{i}:30,000 --> 00:0{i}:31,000\nline {i}\nends\n", "line {i} ends"),
        ("{i}\n00:0{i}:30,000 --> 00:0{i}:31,000\nline\n\nends\n\n", "line ends"),
        ("{i}\n00:0{i}:30,000 --> 00:0{i}:31,000\n<i>1</i>\n{{\\an8}}2\n\n", "1 2"),
        ("cue {i}\n0{i}:30.000 --> 0{i}:31.000 align:start\n<v Ann>a <3\n\n", "a <3"),
        ("0{i}:30.000 --> 0{i}:31.000\na<00:01.000><c.red> b</c>\n\n", "a b"),
        ("0{i}:30.000 --> 0{i}:31.000\na\n\nNOTE b\nc\n\n", "a"),
        ("0{i}:30.000 --> 0{i}:31.000\nline {i}\n", "line {i}"),
        ("0{i}:30.000 --> 0{i}:31.000\n\n", ""),
    ],
)
def test_captions_are_their_words(caption, text):
    lines = "".join(caption.format(i=i) for i in range(1, 9)).split("\n")
    table = read_transcript(lines, "text")
    assert table["text"].to_pylist() == [text.format(i=i) for i in range(1, 9)]
    assert table["minute"].to_pylist() == [i + 0.5 for i in range(1, 9)]


def test_other_lines_are_lines():
    assert read_transcript(["12:30 lunch", "note: this", ""] * 9, "text") is None
    assert read_transcript(["2024-02-01 9:00 we met: all of us"], "text") is None
    assert read_transcript([], "text") is None
