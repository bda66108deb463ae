"""Fixtures that several test files share."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test downloads; read when the hub's client is imported

from browser import Browser, missing


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
