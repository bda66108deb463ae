"""The explorer's page when the server fails at one endpoint: it says so, and goes on afterwards."""

import pytest

from explorer_page import Page
from nanosae.view import web
from nanosae.view.explorer import server
from nanosae.view.explorer.prepare import Jobs

pytestmark = pytest.mark.slow
VIEWS = {  # an endpoint, and a view that asks it
    "/api/state": {},
    "/api/features": {},
    "/api/texts": {},
    "/api/glance": {},
    "/api/columns": {},
    "/api/points/rows": {},
    "/api/regions/rows": {},
    "/api/card/3": {"open": "feature:3"},
    "/api/topic/0": {"open": "topic:0"},
    "/api/row/5": {"open": "row:5"},
    "/api/steer": {"open": "row:5"},
    "/api/contrast": {"f": [3], "open": "contrast:"},
}
ANSWERS = {  # status, media type, length that is announced, body
    "a defect": (500, b"application/json", 22, b'{"error":"It is gone"}'),
    "busy": (503, b"text/plain", 19, b"Service Unavailable"),
    "cut off": (200, b"application/json", 1000, b'{"lines":['),
}


class Unreliable:
    """A server that answers in another way at one path."""

    def __init__(self, app):
        self.app, self.path, self.answer = app, None, None

    async def __call__(self, scope, receive, send):
        if self.path is None or scope.get("path") != self.path:
            await self.app(scope, receive, send)
            return
        status, media_type, length, body = ANSWERS[self.answer]
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % length)]
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def unreliable(explorer):
    app = Unreliable(server.make_app(explorer))
    with (
        pytest.MonkeyPatch.context() as patch,
        web.listen("127.0.0.1", 0) as listener,
    ):
        patch.setattr(Jobs, "plan", lambda self, codes: None)  # the page tells of jobs
        with web.serving(app, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/", app


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("path", VIEWS)
def test_a_failure_is_said_and_can_be_tried_again(browser, unreliable, path, answer):
    url, app = unreliable
    page = Page(browser, url)
    app.path = None
    page.open(**VIEWS[path])
    whole, ink = page.shown("main"), page.ink()
    app.path, app.answer = path, answer
    page.open(**VIEWS[path])
    assert len(page.shown(".error")) == 1
    noted = page.browser.problems()  # by the browser
    assert len(noted) == 1
    assert "Failed to load resource" in noted[0]
    app.path = None
    page.click(".error button")
    page.settle()
    assert page.shown("main") == whole
    assert page.ink() == ink


@pytest.mark.parametrize("dark", [False, True])
def test_a_failure_can_be_read_and_touched_on_a_phone(browser, unreliable, dark):
    url, app = unreliable
    browser.size(390, 844)
    browser.dark(dark)
    page = Page(browser, url)
    app.path, app.answer = "/api/texts", "busy"
    page.open(pane="rows")
    assert [line for line in browser.contrasts() if line[0] < 4.5] == []
    height = (
        "return document.querySelector('.error button').getBoundingClientRect().height"
    )
    assert page.js(height) >= 40
    assert len(browser.problems()) == 1
