"""The explorer's page in long use: its field, its map, its address, and what it holds."""

import json

import pytest
from selenium.webdriver import ActionChains, Keys

from explorer_page import CARD
from nanosae.view.explorer.selections import select_rows

pytestmark = pytest.mark.slow
CANVAS = "document.querySelector('#plane canvas')"


def test_words_stay_in_the_field_until_they_are_searched_for(page):
    page.open()
    page.browser.type("#words", "not yet")
    page.browser.find("#plane canvas").send_keys("+")
    page.settle()
    page.click("[data-feature] .main")
    page.wait(CARD)
    words = "return document.querySelector('#words').value"
    assert page.js(words) == "not yet"
    page.step("back")
    assert page.js(words) == "not yet"
    page.go(q="tree")
    assert page.js(words) == "tree"


def test_the_address_is_not_replaced_more_often_than_browsers_allow(page):
    page.open(open="row:5")
    page.js(
        "window.replaced = 0; const real = history.replaceState;"
        "history.replaceState = (...args) => { replaced += 1; real.apply(history, args); }"
    )
    page.js(
        "const slider = document.querySelector('[data-slider]');"
        "for (let i = 0; i < 300; i++) {"
        "  slider.value = slider.max * (i % 7) / 10; slider.dispatchEvent(new Event('input')); }"
    )
    page.settle()
    assert page.js("return replaced") <= 3
    slider = page.browser.find("[data-slider]")
    number = slider.get_attribute("data-slider")
    value = float(slider.get_attribute("value"))
    assert json.loads(page.view()["edit"])[number] == pytest.approx(value)


def test_a_step_in_history_ends_a_move_of_the_map(page):
    page.open()
    look = [0.1, 0.1, 0.5]
    page.hold("/api/points")
    page.js(
        f"const key = new KeyboardEvent('keydown', {{key: '+'}}); {CANVAS}.dispatchEvent(key);"
        "history.replaceState(null, '', `#look=${JSON.stringify(arguments[0])}`);"
        "dispatchEvent(new PopStateEvent('popstate'))",  # before the move has settled
        look,
    )
    page.settle()
    page.let_go()
    assert json.loads(page.view()["look"]) == look


def mouse(page, kind, x, y, button="left", buttons=0):
    """Do something with the mouse, so many pixels from the middle of the map."""
    middle_x, middle_y = page.js(
        f"const box = {CANVAS}.getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]"
    )
    page.browser.driver.execute_cdp_cmd(
        "Input.dispatchMouseEvent",
        {
            "type": kind,
            "x": middle_x + x,
            "y": middle_y + y,
            "button": button,
            "buttons": buttons,
            "clickCount": int(kind != "mouseMoved"),
        },
    )


def test_the_map_does_not_stick_to_a_pointer_that_opened_a_menu(page):
    page.open()
    page.js("addEventListener('contextmenu', (event) => event.preventDefault())")
    mouse(page, "mousePressed", 0, 0, "right", 2)
    mouse(page, "mouseMoved", 40, 40, "none")  # the menu has swallowed the release
    mouse(page, "mouseMoved", 80, 40, "none")
    mouse(page, "mouseReleased", 80, 40, "right")
    page.settle()
    assert "look" not in page.view()
    assert "open" not in page.view()


@pytest.mark.parametrize("draws", [True, False])
def test_a_stroke_ends_when_another_map_comes(page, draws):
    page.open()
    if draws:
        page.click("#lasso")
    mouse(page, "mousePressed", -60, -60, buttons=1)
    for x, y in ((60, -60), (60, 60)):
        mouse(page, "mouseMoved", x, y, buttons=1)
    page.go(map="features")
    page.settle()
    mouse(page, "mouseMoved", -60, 60, buttons=1)
    mouse(page, "mouseReleased", -60, -60)
    page.settle()
    assert page.shown("#chips .chip") == []
    assert not {"look", "open"} & page.view().keys()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_map_that_grows_asks_for_the_points_that_it_lacks(page, width):
    page.browser.size(width, 400 if width == 1280 else 844)
    page.open(look=[0, 0, 0.3], pane="map")
    page.browser.find("#plane canvas").send_keys("+")
    page.settle()
    if width == 1280:
        page.browser.size(width, 2000)
    else:  # a phone, which hides the map meanwhile
        page.click("[data-pane=features]")
        page.click("[data-feature] .main")
        page.wait(CARD)
        page.settle()
        page.click("[data-pane=map]")
    page.settle()
    lacks = page.js(
        "return import('/static/explore-page.js').then(({page: {map}}) => {"
        "  const [x0, y0, x1, y1] = map.box(), [left, low, right, high] = map.points.box;"
        "  return x0 < left || y0 < low || x1 > right || y1 > high; })"
    )
    assert not lacks


def test_the_form_for_a_tag_ends_with_the_selection(page):
    page.open(f=[5])
    page.click("#tag-all")
    page.click("#chips .drop")
    page.settle()
    assert not page.browser.find("#tag-form").is_displayed()
    assert page.shown("#chips .chip") == []


def test_a_text_that_is_open_shows_a_tag_of_all(page, explorer):
    row = int(select_rows(explorer, {"features": [5]})[0])
    page.open(f=[5], open=f"row:{row}")
    page.click("#tag-all")
    page.browser.type("#tag-name", "mine")
    page.click("#tag-form button")
    page.settle()
    assert page.shown("#detail .chips .chip > span") == ["mine"]


def kept(page):
    """How many nodes and listeners the page holds."""
    cdp = page.browser.driver.execute_cdp_cmd
    cdp("HeapProfiler.collectGarbage", {})
    cdp("Performance.enable", {})
    found = {
        line["name"]: line["value"]
        for line in cdp("Performance.getMetrics", {})["metrics"]
    }
    return found["Nodes"], found["JSEventListeners"]


def press(page, *keys):
    """Press keys where the focus is, and wait for what follows."""
    ActionChains(page.browser.driver, duration=0).send_keys(*keys).perform()
    page.settle()


def focus(page, selector):
    """Move the focus as the Tab key does, however many keys lie between."""
    page.js("document.querySelector(arguments[0]).focus()", selector)


def walk(page):
    """Go once through the page of a phone by keyboard, and back to where it began."""
    focus(page, "[data-pane=features]")
    press(page, Keys.ENTER)
    assert page.js("return document.activeElement.id") == "features"
    focus(page, "#feature-list .main")
    press(page, Keys.ARROW_DOWN, Keys.ENTER)
    assert page.js("return document.activeElement.id") == "detail"
    focus(page, "#detail .actions button")
    press(page, Keys.ENTER)  # its texts
    assert page.js("return document.activeElement.id") == "rows"
    focus(page, "#row-list .main")
    press(page, Keys.ENTER)
    focus(page, "[data-pane=map]")
    press(page, Keys.ENTER)
    focus(page, "#plane canvas")
    press(page, "+", Keys.ARROW_LEFT, "0")
    focus(page, "[data-pane=detail]")
    press(page, Keys.ENTER)
    press(page, Keys.ESCAPE)
    focus(page, "[data-pane=rows]")
    press(page, Keys.ENTER)
    focus(page, "#chips .drop")
    press(page, Keys.ENTER)


def test_a_phone_that_is_used_long_by_keyboard_holds_no_more_than_before(page):
    page.browser.size(390, 844)
    page.open()
    for _ in range(2):
        walk(page)
    before = kept(page)
    for _ in range(4):
        walk(page)
    assert kept(page) == before
    assert page.shown("#chips .chip") == []
    assert page.browser.text("#rows-title") == "900 texts"


def test_what_is_said_of_a_point_goes_when_the_map_moves(page):
    page.open()
    x, y = page.js(
        "return import('/static/explore-page.js').then(({page: {map}}) => {"
        "  const [x0, y0, x1, y1] = map.box(), [x, y] = map.points.xy;"
        f"  const {{width, height}} = {CANVAS}.getBoundingClientRect();"
        "  return [width * ((x - x0) / (x1 - x0) - 0.5), height * ((y1 - y) / (y1 - y0) - 0.5)]; })"
    )
    mouse(page, "mouseMoved", x, y, "none")
    page.settle()
    assert page.shown(".tip:not([hidden])") != []
    page.browser.find("#plane canvas").send_keys("+")
    assert page.shown(".tip:not([hidden])") == []


def test_a_selection_is_on_the_map_before_it_is_compared(page, explorer):
    page.open()
    page.hold("/api/contrast")
    page.go(f=[5], open="contrast:")
    page.wait_held()
    page.settle()
    marked = (
        "return import('/static/explore-page.js').then(m => m.page.map.points.marked)"
    )
    assert page.js(marked) == explorer.codes.counts[5]
    page.let_go()


def test_a_part_of_another_map_is_not_taken_from_an_address(page):
    page.open()
    page.browser.find("#plane canvas").send_keys("+")
    page.settle()
    look, drawn = page.view()["look"], page.view()["drawn"]
    page.open(look=look, drawn=drawn)
    assert page.view()["look"] == look
    whole = "return document.querySelector('#plane canvas').getAttribute('aria-label')"
    page.open(look="[99, 99, 0.1]", drawn=drawn)
    assert ", 0 in view" in page.js(whole)
    page.open(look="[99, 99, 0.1]", drawn="another")
    assert ", 900 in view" in page.js(whole)
    page.open(look=look, drawn=drawn)
    page.browser.find("#plane canvas").send_keys("0")
    page.settle()
    assert not {"look", "drawn"} & page.view().keys()
