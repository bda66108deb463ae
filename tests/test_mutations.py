"""The list of mutations keeps up with the source: each text stands once, each test exists."""

import shlex
from pathlib import Path

from mutation_list import MUTATIONS
from mutations import pattern_of

ROOT = Path(__file__).parents[1]


def occurrences(mutation):
    source = (ROOT / mutation.file).read_text(encoding="utf-8")
    return len(pattern_of(mutation.old).findall(source))


def test_every_text_stands_once_in_its_file():
    assert {m.name: n for m in MUTATIONS if (n := occurrences(m)) != 1} == {}


def test_every_test_exists():
    files = {
        word.partition("::")[0]
        for mutation in MUTATIONS
        for word in shlex.split(mutation.tests)
        if word.startswith("tests/")
    }
    assert files
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []
