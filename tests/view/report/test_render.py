"""A report is written whole, with its scripts and no others; texts stay data."""

import json
import re
import shutil

import pytest

from finished import HOSTILE
from nanosae.view.report.render import SCRIPTS, report
from reported import Page


def test_texts_stay_data(page, run):
    tags = {tag for tag, _ in page.elements}
    assert "img" not in tags
    assert all(not key.startswith("on") for _, attrs in page.elements for key in attrs)
    cards, texts = page.cards()
    first = [texts[str(row)] for row, _ in cards[0]["top"]][: len(HOSTILE)]
    assert all(
        text.startswith(hostile) for text, hostile in zip(first, HOSTILE, strict=True)
    )


def test_only_our_scripts_and_no_address_of_another_machine(page, run):
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert len(re.findall("'sha256-", policy)) == len(page.code) == 2 + len(SCRIPTS)
    assert not [
        a for _, a in page.elements if a.get("src") or "http" in a.get("href", "")
    ]


def test_a_parser_sees_markup_that_is_not_escaped():
    naive = (
        f"<script type='application/json' id='data-x'>{json.dumps(HOSTILE[1])}</script>"
    )
    with pytest.raises(ValueError, match="Unterminated"):
        Page(naive)


def test_no_run_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match="nanosae train"):
        report(tmp_path)


def test_a_damaged_file_is_named(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "families.json").write_text("{")
    with pytest.raises(ValueError, match=r"families\.json is damaged"):
        report(copy)


def test_an_old_report_stays_when_the_new_one_cannot_be_written(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    before = report(copy).read_bytes()
    (copy / "families.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        report(copy)
    assert (copy / "report.html").read_bytes() == before


def test_the_page_s_files_are_in_the_package():
    from importlib.resources import files

    names = {path.name for path in (files("nanosae.view") / "static").iterdir()}
    assert {
        "base.css",
        "nano.js",
        "report.html",
        "report.js",
        "live.js",
        "training.js",
    } <= names
