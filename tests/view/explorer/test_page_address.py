"""Addresses of the explorer's page, and steps in the history of the browser."""

import pytest

from explorer_page import CARD, two_together
from nanosae.view.explorer.rows import show_row
from nanosae.view.explorer.selections import select_rows

pytestmark = pytest.mark.slow


def test_an_address_restores_the_whole_view(page, explorer):
    a, b = two_together(explorer)
    row = int(select_rows(explorer, {"features": [a, b]})[0])
    j = show_row(explorer, row)["features"][0][0]
    parts = {"f": [a, b], "open": f"row:{row}", "edit": {str(j): 0.01}, "sort": "name"}
    page.open(
        **parts, color="column:year", look=[0.1, 0.05, 0.7], value=["channel", "long"]
    )
    page.wait("document.querySelectorAll('#ranking [data-hit]').length > 2")
    page.settle()
    seen = (
        "return [...document.querySelectorAll('#rows-title, #chips, #row-list, #feature-list,"
        " #legend, #ranking, #detail .steer output')].map(n => n.textContent).join()"
    )
    before, ink, address = page.js(seen), page.ink(), page.js("return location.href")
    page.browser.open(address)
    page.wait("document.querySelectorAll('#ranking [data-hit]').length > 2")
    page.settle()
    assert page.js(seen) == before
    assert page.ink() == ink
    assert page.js("return location.href") == address
    page.click("[data-feature] .main")
    page.wait(CARD)
    page.js("history.back()")
    page.wait("document.querySelectorAll('#ranking [data-hit]').length > 2")
    assert page.js("return location.href") == address


def test_a_damaged_address_shows_what_it_can(page):
    page.open(
        f="[1",
        edit="{",
        look="x",
        open="feature:99999",
        color="column:nosuch",
        nonsense="1",
    )
    page.wait("document.querySelector('#detail .error')")
    assert page.count() == 900
    assert "0 … 47" in page.browser.text("#detail .error")
    assert "nosuch" in page.browser.text("#legend .error")
    refused = page.browser.problems()  # the browser notes both refusals
    assert len(refused) == 2
    assert all("400" in line for line in refused)


@pytest.mark.parametrize(
    "view",
    [
        {"f": {}},
        {"f": ["x"], "value": [1], "edit": [1], "look": [1, "x"], "map": "planets"},
        {"lasso": "x", "led": [[1]], "drawn": "another", "sort": "size", "pane": "no"},
        {"lasso": [[-9, -9], [9, -9], [9, 9]], "drawn": "first-of-other-codes"},
        {"f": "[" * 9000, "look": [0, 0, -1]},
        {"open": "feature:../state", "look": [1e12, 0, 1], "edit": {"3": 1e300}},
        {"q": "x" * 501, "open": "query:" + "x" * 501, "f": [2**31]},
        {"open": "planet:3", "look": [0, 0, 1e-12], "marked": "x", "topic": -1},
    ],
)
def test_nonsense_in_an_address_is_as_if_it_were_not_there(page, view):
    page.open(**view)
    assert page.count() == 900
    assert page.shown("#chips .chip") == []
    assert page.browser.text("#detail h2") == "At a glance"
    page.wait(lambda: page.ink()[0] > 2000)
    assert page.browser.problems() == []


def test_the_history_leads_back_to_the_whole_map(page):
    page.open()
    label = "return document.querySelector('#plane canvas').getAttribute('aria-label')"
    assert ", 900 in view" in page.js(label)
    canvas = page.browser.find("#plane canvas")
    for _ in range(6):
        canvas.send_keys("+")
    page.settle()
    assert "look" in page.view()
    page.click("[data-feature] .main")
    page.wait(CARD)
    canvas.send_keys("0")
    page.settle()
    assert "look" not in page.view()
    for step, is_whole in (("back", False), ("forward", True), ("back", False)):
        page.step(step)
        assert is_whole == ("look" not in page.view())
        assert (", 900 in view" in page.js(label)) == is_whole


def test_the_whole_map_is_asked_for_before_it_is_drawn(page):
    page.open(look=[0, 0, 0.1])
    label = "return document.querySelector('#plane canvas').getAttribute('aria-label')"
    assert ", 900 in view" not in page.js(label)
    page.js("window.requestAnimationFrame = () => 0")  # a frame that is late
    page.js("location.hash = ''")
    page.settle()
    page.go(color="column:group")  # asks for the points again
    page.settle()
    assert ", 900 in view" in page.js(label)


def test_a_step_in_history_moves_the_map_although_its_points_are_asked_for_twice(page):
    page.open()
    for _ in range(6):
        page.browser.find("#plane canvas").send_keys("+")
    page.settle()
    assert "look" in page.view()
    page.click("[data-feature] .main")  # colours the map
    page.wait(CARD)
    page.browser.find("#plane canvas").send_keys("0")
    page.settle()
    assert "look" not in page.view()
    label = "return document.querySelector('#plane canvas').getAttribute('aria-label')"
    for step, is_whole in (("back", False), ("forward", True)):
        page.hold("/api/points", asked=False)
        page.step(step)
        page.let_go()
        assert (", 900 in view" in page.js(label)) == is_whole
