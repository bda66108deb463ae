"""Fixtures that several test files share."""

import os

import pytest

# no test downloads; read when the hub's client is imported
os.environ["HF_HUB_OFFLINE"] = "1"
# commands that the tests start buffer what they print, as those of users do
os.environ.pop("PYTHONUNBUFFERED", None)
# processes that share the cores have one thread each; read when libraries are imported
if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
# where there are more, those that wait for small products sleep instead of spinning
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from browser import Browser, missing


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Let files be written without being synchronised: no test loses power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


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
