"""Bars of long loops: one at a time, on a terminal, and only where they are wanted."""

import sys
from itertools import count

import numpy as np
import pytest

from nanosae import progress
from nanosae.cli import main, output
from nanosae.progress import bars, tracked


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)


def test_nothing_is_shown_unless_it_is_wanted(capsys):
    assert list(tracked("abc", "spell")) == ["a", "b", "c"]
    with bars(False):
        assert list(tracked("abc", "spell", unasked=True)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
    with bars(True):
        assert list(tracked("abc", "spell")) == ["a", "b", "c"]
    assert "spell:" in capsys.readouterr().err


def test_a_loop_within_a_loop_has_no_bar_of_its_own(capsys):
    with bars(True):
        for letter in tracked("ab", "outer"):
            assert list(tracked(letter, "inner")) == [letter]
        assert list(tracked("c", "later")) == ["c"]
    shown = capsys.readouterr().err
    assert "outer" in shown
    assert "later" in shown
    assert "inner" not in shown


def test_a_loop_that_is_left_gives_way_to_the_next(capsys):
    with bars(True):
        for number in tracked(count(), "endless"):
            if number == 3:
                break
        broken = map(int, ["1", "one"])
        with pytest.raises(ValueError, match="one"):
            list(tracked(broken, "broken"))
        assert list(tracked("ab", "next")) == ["a", "b"]
    assert "next:" in capsys.readouterr().err


def test_a_loop_may_show_itself_on_a_terminal_where_nobody_has_said(
    capsys, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(tracked("ab", "silent")) == ["a", "b"]
    assert list(tracked("ab", "shown", unasked=True)) == ["a", "b"]
    shown = capsys.readouterr().err
    assert "shown:" in shown
    assert "silent" not in shown


@pytest.fixture
def run(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = tmp_path / "rows.npy"
    np.save(rows, rng.normal(size=(200, 8)).astype(np.float32))
    texts = tmp_path / "texts.csv"
    words = np.array(["red", "green", "blue", "dog", "cat", "tree", "river", "stone"])
    lines = [f"{' '.join(rng.choice(words, 4))},{i % 2}" for i in range(200)]
    texts.write_text("\n".join(["text,side", *lines]))
    folder = tmp_path / "run"
    flags = ["--hidden-size", "16", "--k", "3", "--steps", "6", "--batch-size", "32"]
    assert main(["train", str(rows), "-o", str(folder), *flags]) == 0
    assert main(["encode", str(folder), str(rows), "--texts", str(texts)]) == 0
    capsys.readouterr()
    return folder


def commands(run):
    """Long verbs, and what their bars say."""
    rows, texts = run.parent / "rows.npy", run.parent / "texts.csv"
    lists = ["--hidden-size", "16", "--k", "2,3", "--steps", "6", "--batch-size", "32"]
    yield "step", ["train", rows, "-o", run.parent / "sweep", *lists]
    yield "cache", ["cache", rows, "-o", run.parent / "cached"]
    encoding = ["encode", run, rows, "--texts", texts, "--name", "other"]
    yield "encode", encoding
    corpus = ["--name", "default"]
    yield "count shared rows", ["describe", run, *corpus]
    yield "score labels", ["label", run, *corpus]
    yield "read features", ["families", run, *corpus]
    yield "compare rows", ["topics", run, "-n", "3", *corpus]
    yield "test features", ["contrast", run, "--by", "side", *corpus]
    yield "test features", ["explain", run, "--target", "side", *corpus]
    yield "index texts", ["search", run, "dog", *corpus]
    yield "evaluate", ["evaluate", run, *corpus]
    out = run.parent / "out.jsonl"
    yield "export", ["export", run, "-o", out, "--to", "jsonl", *corpus]


@pytest.mark.slow
def test_long_commands_show_how_far_they_are_on_a_terminal(run, capsys, monkeypatch):
    monkeypatch.setattr(output, "shows_progress", lambda: True)
    monkeypatch.setattr("nanosae.cli.training.shows_progress", lambda: True)
    for what, words in commands(run):
        assert main([str(word) for word in words]) == 0
        assert what in capsys.readouterr().err, words
        assert not progress._is_shown


@pytest.mark.slow
def test_no_command_shows_it_on_a_pipe(run, capsys):
    for _, words in commands(run):
        assert main([str(word) for word in words]) == 0
        assert "%|" not in capsys.readouterr().err, words
