"""A missing extra is named with its pip command; any other missing module by its own name."""

import sys

import pytest

from nanosae.errors import ExtraError
from nanosae.extras import extra, require_extra


@pytest.fixture
def packages(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def package(name, text):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(text)
        (folder / "part.py").write_text("")

    yield package
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("wanted", "module"),
    [
        (extra, "not_there_at_all"),
        (extra, "not_there_at_all.part"),
        (require_extra, "not_there_at_all"),
    ],
)
def test_what_is_not_installed_comes_with_its_command(wanted, module):
    with pytest.raises(ExtraError) as caught:
        wanted("hub", module, "the hub")
    assert str(caught.value) == 'the hub needs pip install "nanosae[hub]"'


def test_what_is_required_is_not_imported(packages):
    packages("not_imported", "raise ValueError")
    require_extra("hub", "not_imported", "the hub")
    assert "not_imported" not in sys.modules


def test_what_an_installed_package_lacks_is_named_instead(packages):
    packages("half_there", "import lacking_dependency.part")
    with pytest.raises(ExtraError) as caught:
        extra("hub", "half_there.part", "the hub")
    said = str(caught.value)
    assert "half_there, which is installed" in said
    assert said.endswith("Install lacking_dependency.")
    assert "nanosae[" not in said


def test_a_version_that_does_not_fit_is_not_called_missing(packages):
    packages("misfit", "from json import no_such_name")
    with pytest.raises(ExtraError, match=r"no_such_name.*compatible versions"):
        extra("hub", "misfit", "the hub")


def test_what_is_there_is_imported(packages):
    packages("whole", "")
    assert extra("hub", "whole.part", "the hub").__name__ == "whole.part"
