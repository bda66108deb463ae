"""The site is built without a warning, and holds every page."""

import os
import re
import subprocess
import sys

import pytest

from needs import needs
from pages import ROOT

libraries = ("mkdocs", "mkdocstrings", "material")
pytestmark = [needs(library, extra="docs") for library in libraries]


def build(folder, out):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )


def swallowed(page):
    """Lines of lists and tables in a paragraph, for want of an empty line before them."""
    paragraphs = re.findall(r"<p>(.*?)</p>", page, re.S)
    lines = [line for paragraph in paragraphs for line in paragraph.splitlines()]
    return [line for line in lines if line.startswith(("- ", "| "))]


def test_swallowed_lines_are_found():
    assert swallowed("<p>One - | two.</p><ul><li>three</li></ul>") == []
    assert swallowed("<p>One.\n- two\n| 3 | 4 |</p>") == ["- two", "| 3 | 4 |"]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    files = {path.parent.name: path for path in (tmp_path / "site").rglob("index.html")}
    assert {"tutorial", "metrics", "changelog", "contributing", "analysis"} <= set(
        files
    )
    for name, path in files.items():
        assert swallowed(path.read_text("utf-8")) == [], name
    recipes = (tmp_path / "site" / "recipes" / "index.html").read_text("utf-8")
    equations = re.findall(r"<math.*?</math>", recipes, re.S)
    assert len(equations) > 30
    assert not any(
        "\\" in equation for equation in equations
    )  # all of it was converted
    for address in re.findall(r"\]\((.+?)\)", (tmp_path / "site/llms.txt").read_text()):
        assert (tmp_path / "site" / address / "index.html").is_file(), address
    training = (tmp_path / "site" / "api" / "training" / "index.html").read_text(
        "utf-8"
    )
    assert "Find the features" not in training
    assert "l1_coefficient" in training


@pytest.mark.slow
def test_a_page_loads_nothing_from_elsewhere(tmp_path):
    build(ROOT, tmp_path / "site")
    text = (tmp_path / "site" / "index.html").read_text("utf-8")
    loaded = [
        part for part in text.split("<") if part.startswith(("script", "link", "img"))
    ]
    assert loaded
    for part in loaded:
        assert 'src="http' not in part, part
        if 'rel="stylesheet"' in part:
            assert 'href="http' not in part, part


@pytest.mark.slow
def test_a_broken_link_would_be_found(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[gone](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text(
        "site_name: x\ntheme: material\nstrict: true\n"
    )
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
