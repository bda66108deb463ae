"""A finished run and its report."""

import sys

import pytest

from finished import finished_run
from nanosae.view.report.render import report
from reported import Page


@pytest.fixture(scope="session")
def no_umap():
    """PCA instead: the map's own tests are elsewhere, and UMAP takes long to start."""
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, "umap", None)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def run(tmp_path_factory, no_umap):
    return finished_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def page(run):
    return Page(report(run).read_text("utf-8"))
