"""The workflows test and publish what pyproject.toml says."""

import re
import tomllib

import pytest

from pages import ROOT

yaml = pytest.importorskip("yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]


def workflow(name):
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    return yaml.safe_load(text)


def test_every_python_of_the_classifiers_is_tested():
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    matrix = workflow("tests.yml")["jobs"]["python"]["strategy"]["matrix"]
    assert matrix["python"] == versions
    assert PROJECT["requires-python"] == f">={versions[0]}"


def test_lowest_and_newest_dependencies_are_tested():
    matrix = workflow("tests.yml")["jobs"]["dependencies"]["strategy"]["matrix"]
    assert matrix["resolution"] == ["lowest-direct", "highest"]
    unbounded = [line for line in PROJECT["dependencies"] if ">=" not in line]
    assert unbounded == []  # the lowest would be the first release ever


def test_publishing_needs_the_checks_and_no_token():
    jobs = workflow("release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert "password" not in text
    assert "secrets." not in text


def test_package_and_citation_name_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {PROJECT['version']}\n" in citation
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {PROJECT['version']} (" in changes


def test_type_checkers_read_the_package():
    assert "Typing :: Typed" in PROJECT["classifiers"]
    assert (ROOT / "src" / "nanosae" / "py.typed").is_file()


def test_links_of_the_readme_can_be_made_absolute():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = re.findall(r"\]\((?!http|#)([^)]+)\)", text)
    assert relative
    for link in relative:  # the patterns of release.yml
        assert re.fullmatch(r"docs/gallery/.+|(docs/|[A-Z])[^):]+", link), link
