"""The explorer's page when the server fails at one endpoint: it says so, and goes on afterwards."""

import pytest

from explorer_page import Page
from nanosae.view import web
from nanosae.view.explorer import server

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
    with web.listen("127.0.0.1", 0) as listener, web.serving(app, listener):
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
