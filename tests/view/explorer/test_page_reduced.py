"""The explorer's page of runs that have next to nothing."""

import numpy as np
import pytest

from explorer_page import Page
from nanosae.codes import write_codes
from nanosae.view import web
from nanosae.view.explorer import server
from nanosae.view.explorer.corpus import OpenCorpus

pytestmark = pytest.mark.slow
ONE = np.ones((1, 1), np.float32)
SOME = np.eye(6, 4, dtype=np.float32) + 0.5 * np.eye(6, 4, 1, dtype=np.float32)
RUNS = {
    "one row of one feature": (ONE, {"texts": ["only"]}),
    "one row without text": (ONE, {}),
    "nothing is active": (np.zeros((3, 2), np.float32), {"texts": ["a", "b", "c"]}),
    "empty texts": (SOME, {"texts": [""] * 6}),
    "columns of nothing": (
        SOME,
        {"metadata": {"none": [None] * 6, "same": ["x"] * 6, "gap": [1.5, None] * 3}},
    ),
}
VIEWS = [
    {},
    {"open": "feature:0"},
    {"open": "row:0"},
    {"f": [0], "open": "contrast:"},
    {"map": "features", "color": "feature", "open": "feature:0"},
    {"marked": "true", "q": "only"},
]


@pytest.fixture(params=RUNS)
def reduced(request, browser, tmp_path):
    """The page of a run without model, labels and topics."""
    activations, more = RUNS[request.param]
    write_codes(tmp_path / "run" / "codes" / "default", activations, **more)
    app = server.make_app(OpenCorpus(tmp_path / "run"))
    with web.listen("127.0.0.1", 0) as listener, web.serving(app, listener):
        yield Page(browser, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        browser.driver.get("about:blank")


def test_every_view_is_shown_or_says_why_not(reduced):
    for view in VIEWS:
        reduced.open(**view)
        wrong = [
            text
            for text in reduced.shown("main, #facts")
            if {"undefined", "NaN", "null", "[object"} & {*text.split()}
        ]
        assert wrong == []
        errors = reduced.shown(".error")
        refused = reduced.browser.problems()  # which the browser notes
        assert len(refused) == len(errors)
        assert all("400" in line for line in refused)
