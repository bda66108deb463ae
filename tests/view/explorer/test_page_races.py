"""The explorer's page while answers are late, lost, old, or of another server."""

import json

import pytest
from selenium.webdriver import Keys
from starlette.testclient import TestClient

from explored import post
from explorer_page import CARD, Page
from nanosae.runs import annotations
from nanosae.view import web
from nanosae.view.explorer import server
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.prepare import Jobs
from nanosae.view.explorer.selections import select_rows

pytestmark = pytest.mark.slow
ROWS = "return [...document.querySelectorAll('[data-row]')].map(n => +n.dataset.row)"
PROBLEM = "document.querySelector('#detail .problem').textContent"


def answer_with(page, kind, status, text, media_type="text/plain"):
    """Let questions of a kind be answered so; `restore()` in the page ends it."""
    page.js(
        "const [kind, status, body, type] = arguments, real = window.fetch;"
        "window.restore = () => { window.fetch = real; };"
        "window.fetch = (url, options = {}) => url.includes(kind) || options.method === kind"
        " ? Promise.resolve(new Response(body, {status, headers: {'content-type': type}}))"
        " : real(url, options)",
        kind,
        status,
        text,
        media_type,
    )


def lose(page, kind):
    """Let answers of a kind be lost; `restore()` in the page ends it."""
    page.js(
        "const [kind] = arguments, real = window.fetch;"
        "window.restore = () => { window.fetch = real; };"
        "window.fetch = (url, options = {}) => url.includes(kind) || options.method === kind"
        " ? Promise.reject(new TypeError('Failed to fetch')) : real(url, options)",
        kind,
    )


# ── answers in another order, and old ones ──


@pytest.mark.parametrize(
    ("kind", "change", "more", "lines"),
    [
        ("/api/texts", {"value": ["group", "B"]}, "#row-list .more", "[data-row]"),
        ("/api/features", {"sort": "name"}, "#feature-list .more", "[data-feature]"),
    ],
)
def test_more_lines_are_not_put_behind_those_of_another_list(
    page, explorer, kind, change, more, lines
):
    page.open()
    page.hold(kind)
    page.go(**change)
    page.wait_held()
    page.click(more)  # of the list that is no longer asked for
    page.let_go()
    assert len(page.shown(lines)) == 40
    if "value" in change:
        assert page.js(ROWS) == select_rows(explorer, change)[:40].tolist()
    page.click(more)
    page.settle()
    assert len(page.shown(lines)) > 40


def test_a_feature_that_is_added_does_not_take_the_place_of_another(page):
    page.open(open="row:5")
    page.hold("/api/features")
    field = page.browser.find("#detail input[list]")
    for number in ("12", "13"):
        field.send_keys(number, Keys.ENTER)
    page.let_go()
    moved = json.loads(page.view()["edit"])
    assert {"12", "13"} <= moved.keys()


def test_a_list_that_was_asked_for_before_a_bookmark_shows_it(page):
    page.open(sort="rows")
    star = page.browser.find("[data-feature] .star")
    label = star.get_attribute("aria-label")
    page.hold("/api/features")
    page.go(sort="name")
    page.wait_held()  # the server has answered
    star.click()
    page.settle()
    page.let_go()
    again = page.browser.find(f'[aria-label="{label}"]')
    assert again.get_attribute("aria-pressed") == "true"


def test_sentences_of_another_feature_are_not_marked(page):
    page.open(open="row:6")
    found = {"sentences": [["One. ", 0.9], ["Two.", 0.1]]}
    answer_with(page, "/api/sentences", 200, json.dumps(found), "application/json")
    page.hold("/api/sentences")
    page.click("#detail .marking button")
    page.wait_held()
    page.js(
        "const choice = document.querySelector('.marking select');"
        "choice.selectedIndex = 1; choice.dispatchEvent(new Event('change'))"
    )
    page.let_go()
    assert page.shown("#detail .whole .much") == []
    page.click("#detail .marking button")
    page.settle()
    assert page.shown("#detail .whole .much") == ["One. "]


def test_what_is_selected_is_drawn_before_it_is_compared(page, explorer):
    page.open()
    drawn = page.js(
        "return import('/static/explore-page.js').then(m => m.page.state.map.id)"
    )
    before = page.ink()
    page.hold("/api/contrast")
    corners = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]
    page.go(lasso=corners, drawn=drawn, open="contrast:")
    page.wait_held()
    page.settle()
    assert page.ink() != before
    page.let_go()


def test_awaited_details_are_marked_and_the_last_click_counts(page):
    page.open()
    page.hold("card/")
    busy = "document.querySelector('#detail').ariaBusy"
    assert page.js(f"return {busy}") == "false"
    for line in (1, 2):
        page.click(f"[data-feature]:nth-child({line}) .main")
        assert page.js(f"return {busy}") == "true"
    page.let_go()
    assert page.js(f"return {busy}") == "false"
    chosen = "[data-feature]:nth-child(2)"
    number = page.browser.find(chosen).get_attribute("data-feature")
    assert page.browser.text("#detail .kicker").startswith(f"Feature {number}\n")


def test_a_query_stays_in_its_field_while_it_is_open(page):
    page.open()
    page.hold("steer", asked=False)
    page.browser.type("#words", "small trees")
    page.click("#meaning")
    page.wait("document.querySelector('#detail .busy')")
    words = "return document.querySelector('#words').value"
    assert page.js(words) == "small trees"
    page.click("#glance")  # before the server is asked
    assert page.js(words) == ""


def test_a_change_is_not_cancelled_by_the_next_one(page, explorer):
    page.open(open="row:5")
    page.wait("document.querySelector('#detail .actions input')")
    page.hold("/api/tag")
    for tag in ("one", "two"):
        page.browser.type("#detail .actions input", tag)
        page.browser.find("#detail .actions input").send_keys(Keys.ENTER)
    page.wait_held()
    page.let_go()
    assert page.shown("#detail .chips .chip > span") == ["one", "two"]
    assert annotations.tags_of(explorer.run, "default", 5, explorer.codes.data) == [
        "one",
        "two",
    ]


def test_a_name_that_is_stored_late_opens_nothing(page, explorer):
    page.open(open="feature:3", q="3")
    page.wait("document.querySelector('#detail form input')")
    page.hold("/api/rename")
    page.browser.type("#detail form input", "late")
    page.browser.find("#detail form input").send_keys(Keys.ENTER)
    page.wait_held()
    page.js("location.hash = 'open=feature:5'")
    page.let_go()
    assert "late" in page.browser.text("#feature-list")
    assert page.browser.text("#detail .kicker").startswith("Feature 5")
    assert annotations.names(explorer.run) == {3: "late"}


def test_a_feature_is_added_although_suggestions_are_asked_for(page):
    page.open(open="row:5")
    page.wait("document.querySelector('#detail input[list]')")
    page.hold("words=")
    field = page.browser.find("#detail input[list]")
    field.send_keys("12")
    page.wait_held()  # suggestions
    field.send_keys(Keys.ENTER)
    page.wait_held(2)
    page.let_go()
    assert len(page.shown('[data-slider="12"]')) == 1
    n_sliders = len(page.shown("#detail .steer"))
    field.send_keys("  ", Keys.ENTER)
    field.send_keys("qqqq", Keys.ENTER)
    page.wait("document.querySelector('#detail .adding + p').textContent")
    assert page.browser.text("#detail .adding + p") == "No feature matches."
    assert len(page.shown("#detail .steer")) == n_sliders


def test_what_is_exported_are_the_texts_of_the_view(page):
    page.open(f=[5])
    page.hold("/api/texts")
    page.js("location.hash = 'f=[6]'")
    page.wait_held()
    where = "new URL(document.querySelector('#export').href).searchParams.get('where')"
    assert page.js(f"return {where}") == '{"features":[6]}'  # before the list is there
    page.let_go()


def test_regions_are_named_although_the_points_are_asked_for_again(page):
    page.open()
    page.hold("/api/points")
    page.click('[data-map="features"]')
    page.js(
        "const color = document.querySelector('#color'); color.value = 'feature';"
        "color.dispatchEvent(new Event('change'))"
    )
    page.settle()
    asked = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert page.js(f"return {asked}.some((name) => name.includes('regions/features'))")
    page.let_go()


def test_the_page_goes_on_watching_a_server_that_did_not_answer(page):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "states", lambda self: {"index": "working"})
        page.open()
        page.js(
            "window.real = fetch; window.fetch = (url, options) =>"
            " String(url).startsWith('/api/state')"
            " ? Promise.reject(new TypeError('Failed to fetch')) : real(url, options)"
        )
        adds = "document.querySelector('#adds').textContent"
        page.wait(f"{adds}.includes('does not answer. If its command')")
        patch.setattr(Jobs, "states", lambda self: {})
        page.js("window.fetch = real")
        page.wait(f"!{adds}.includes('does not answer')")


# ── what failed ──


def test_an_answer_that_is_no_json_is_said_in_a_sentence_and_asked_for_again(page):
    page.open()
    answer_with(page, "/api/card", 503, "Service Unavailable")
    page.click("[data-feature] .main")
    page.settle()
    said = "The server's answer cannot be read (status 503)."
    assert said in page.browser.text("#detail .error")
    page.js("restore()")
    page.click("#detail .error button")
    page.wait(CARD)


@pytest.mark.parametrize("kind", ["rename", "tag"])
def test_a_change_that_fails_leaves_the_details_and_is_tried_again(
    page, explorer, kind
):
    page.open(open="feature:3" if kind == "rename" else "row:5")
    title = page.shown("#detail .kicker")
    lose(page, "POST")
    page.browser.type("#detail .actions input", "mine")
    page.browser.find("#detail .actions input").send_keys(Keys.ENTER)
    page.settle()
    assert page.shown("#detail .kicker") == title
    assert "does not answer" in page.js(f"return {PROBLEM}")
    page.js("restore()")
    page.click("#detail .problem button")
    page.settle()
    assert page.js(f"return {PROBLEM}") == ""
    if kind == "rename":
        assert annotations.names(explorer.run) == {3: "mine"}
    else:
        data = explorer.codes.data
        assert annotations.tags_of(explorer.run, "default", 5, data) == ["mine"]


def test_lines_that_cannot_be_added_leave_the_list_and_are_asked_for_again(page):
    page.open()
    lose(page, "/api/texts")
    page.click("#row-list .more")
    page.settle()
    assert len(page.shown("[data-row]")) == 40
    assert "does not answer" in page.browser.text("#row-list .rest")
    page.js("restore()")
    page.click("#row-list .rest button")
    page.settle()
    assert len(page.shown("[data-row]")) == 80
    assert len(page.shown("#row-list .rest")) == 1


def test_a_list_that_fails_says_no_number_of_another_one(page):
    page.open(f=[5])
    assert page.count() < 900
    lose(page, "/api/texts")
    page.go(f=[6])
    page.settle()
    assert page.browser.text("#rows-title") == "Texts"
    assert not page.browser.find("#tag-all").is_enabled()


# ── another server, and another map ──


@pytest.fixture
def two_runs(explorer, finished):
    """The address of a server, and what lets the server of another run take its place."""
    apps = {
        name: server.make_app(OpenCorpus(run))
        for name, run in (("first", explorer.run), ("second", finished))
    }
    current = ["first"]

    async def app(scope, receive, send):
        await apps[current[0]](scope, receive, send)

    with web.listen("127.0.0.1", 0) as listener, web.serving(app, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        yield url, lambda: current.__setitem__(0, "second")


def test_a_page_of_another_run_changes_nothing_in_this_one(
    browser, explorer, finished, two_runs
):
    url, restart = two_runs
    page = Page(browser, url)
    page.open(open="feature:3")
    restart()
    page.browser.type("#detail .actions input", "mine")
    page.browser.find("#detail .actions input").send_keys(Keys.ENTER)
    page.settle()
    said = "Another run is served here now: reload this page."
    assert page.js(f"return {PROBLEM}").strip() == said
    page.click("[data-feature]:nth-child(2) .main")
    page.settle()
    assert said in page.browser.text("#detail-body")
    for run in (explorer.run, finished):
        assert annotations.names(run) == {}
    refused = page.browser.problems()
    assert refused
    assert all("409" in line for line in refused)


def test_a_change_of_another_corpus_is_refused(client, corpus):
    change = {"feature": 3, "name": "mine"}
    refused = post(client, "/api/rename", change | {"corpus": "another"})
    assert refused.status_code == 409
    assert annotations.names(corpus.run) == {}
    assert post(client, "/api/rename", change | {"corpus": corpus.id}).is_success
    assert annotations.names(corpus.run) == {3: "mine"}


def test_each_corpus_has_an_id_of_its_own(corpus, explorer):
    again = OpenCorpus(corpus.run)
    assert again.id == corpus.id != explorer.id
    with TestClient(server.make_app(again), base_url="http://127.0.0.1") as client:
        assert client.get("/api/state").json()["id"] == corpus.id


def test_what_a_job_does_not_change_stays_as_it_is(page):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "states", lambda self: {"index": "working"})
        page.open()
        page.js("window.option = document.querySelector('#color').lastChild")
        page.hold("/api/state")
        page.wait_held()
        patch.setattr(Jobs, "states", lambda self: {})
        page.let_go()
    assert page.js("return option.isConnected")
