"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

# no test downloads; read when the hub's client is imported
os.environ["HF_HUB_OFFLINE"] = "1"
# processes that share the cores have one thread each; read when libraries are imported
if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from browser import Browser, missing

TESTS = Path(__file__).parent
NUMERIC = (  # files and folders of the marker `numeric`
    "kernels",
    "model",
    "train",
    "trainable",
    "analysis/groups/test_clustering.py",
    "analysis/test_matching.py",
    "analysis/search/test_search.py",
    "analysis/groups/test_topics.py",
    "test_agreement.py",
    "test_distributed.py",
)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items):
    places = [TESTS / name for name in NUMERIC]
    for item in items:
        if any(item.path.is_relative_to(place) for place in places):
            item.add_marker("numeric")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """One browser process for all tests of pages."""
    if reason := missing():
        pytest.skip(f"{reason}: apt-get install chromium chromium-driver")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def browser(chromium):
    """The browser at 1,280 px, light; the test fails if its pages raise errors or call outside."""
    chromium.size()
    chromium.dark(False)
    yield chromium
    assert chromium.problems() == []
    chromium.driver.get("about:blank")
