"""The explorer's page by keyboard, for readers of screens, and on a phone."""

import pytest
from selenium.webdriver import Keys

from explorer_page import CARD
from nanosae.runs import annotations

pytestmark = pytest.mark.slow


def test_it_works_by_keyboard(page, explorer):
    page.open(sort="rows")
    page.browser.find("body").send_keys("/")
    assert page.js("return document.activeElement.id") == "words"
    page.browser.find("#sort").send_keys(Keys.TAB)
    for _ in range(2):  # past the bookmarks filter, to the first feature
        page.browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        if page.js("return document.activeElement.classList.contains('main')"):
            break
    page.browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(CARD)
    assert (
        page.browser.text("#detail h2")
        == explorer.labels[int(explorer.codes.counts.argmax())]
    )
    page.click("#lasso")
    page.browser.find("body").send_keys(Keys.ESCAPE)
    assert (
        page.js("return document.querySelector('#lasso').getAttribute('aria-pressed')")
        == "false"
    )


def test_the_focus_stays_in_a_legend_that_is_drawn_anew(page):
    page.open(color="column:group")
    page.wait("document.querySelector('#legend button')")
    key = page.browser.find("#legend button")
    title = key.get_attribute("title")
    key.send_keys(Keys.ENTER)
    page.wait(lambda: "value" in page.view())
    page.settle()
    assert page.js("return document.activeElement.title") == title
    assert page.js("return document.activeElement.closest('#legend') !== null")


def test_the_focus_is_not_lost(page):
    focused = "return document.activeElement.closest('[data-row], #detail')"
    page.open(open="row:5")
    page.wait("document.querySelector('#detail .steer .link')")
    page.browser.find("#detail .steer .link").send_keys(Keys.ENTER)
    page.wait(CARD)
    assert page.js(f"{focused}?.id") == "detail"
    page.browser.find("#row-list .more").send_keys(Keys.ENTER)
    page.wait("document.querySelectorAll('#row-list [data-row]').length > 40")
    row = page.js("return document.querySelectorAll('#row-list > li')[40].dataset.row")
    assert page.js(f"{focused}?.dataset.row") == row


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_its_place(page, explorer, width):
    long_word = "W" * 80
    annotations.tag(explorer.run, "default", long_word, [5], data=explorer.codes.data)
    page.browser.size(width, 844)
    page.open(open="row:5", tag=long_word, pane="detail")
    page.wait("document.querySelector('#detail dt')")
    page.js(
        "for (const node of document.querySelectorAll('#detail :is(dt, dd)'))"
        "  node.textContent = arguments[0]",
        long_word,
    )
    for pane in ("detail", "rows"):
        page.js(f"location.hash += '&pane={pane}'")
        page.settle()
        wide = page.js(
            "return [...document.querySelectorAll('main :is(.chips, .chip, dl, .list)')]"
            ".filter((node) => node.scrollWidth > node.clientWidth + 4)"
            ".map((node) => node.outerHTML.slice(0, 80))"
        )
        assert wide == []


@pytest.mark.parametrize(
    "view",
    [{}, {"open": "feature:3"}, {"open": "row:5"}, {"f": [3], "open": "contrast:"}],
)
def test_every_control_has_a_name(page, view):
    page.open(**view)
    page.settle()
    tree = page.browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})[
        "nodes"
    ]
    asked = {
        "button",
        "textbox",
        "searchbox",
        "slider",
        "combobox",
        "link",
        "application",
        "MenuListPopup",
    }
    nodes = [
        n
        for n in tree
        if not n.get("ignored") and n.get("role", {}).get("value") in asked
    ]
    unnamed = [n for n in nodes if not n.get("name", {}).get("value", "").strip()]
    assert len(nodes) > 60
    assert [
        n["role"]["value"] for n in unnamed if n["role"]["value"] != "MenuListPopup"
    ] == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_one_pane_at_a_time(page, explorer, dark):
    page.browser.size(390, 844)
    page.browser.dark(dark)
    page.open()
    visible = (
        "return [...document.querySelectorAll('main > section')]"
        ".filter(n => n.offsetHeight).map(n => n.id)"
    )
    longest = "a column whose name is longer than a phone is wide"
    page.js(
        "document.querySelector('#color').append(new Option(arguments[0]))", longest
    )
    clipped = (
        "return [...document.querySelectorAll('.head > *, #legend > *')].filter(n =>"
        " n.getBoundingClientRect().right > n.parentElement.getBoundingClientRect().right)"
        ".map(n => n.outerHTML)"
    )
    for pane in ("features", "map", "rows", "detail"):
        page.click(f"[data-pane={pane}]")
        assert page.js(visible) == [pane]
        assert page.browser.overflow() == 0
        if pane != "map":  # whose legend of topics is scrolled
            assert page.js(clipped) == []
    page.click("[data-pane=features]")
    page.click("[data-feature] .main")
    page.wait(CARD)
    assert page.js(visible) == ["detail"]
    assert page.browser.overflow() == 0
    page.click("[data-pane=map]")
    page.wait("document.querySelector('#legend .ramp')")
    assert page.js(clipped) == []
    page.click("[data-pane=detail]")
    page.click("#detail .example")
    page.wait("document.querySelector('#ranking')")
    page.settle()
    assert page.browser.overflow() == 0
    small = page.js(
        "return [...document.querySelectorAll('button, input, select, a')]"
        ".filter(n => n.offsetHeight && n.getBoundingClientRect().height < 40)"
        ".map(n => n.outerHTML)"
    )
    assert small == []


@pytest.mark.parametrize("dark", [False, True])
def test_all_words_on_a_phone_stand_out_from_what_is_behind(page, dark):
    """At least 4.5 : 1, as WCAG 2.2 asks for (success criterion 1.4.3)."""
    page.browser.size(390, 844)
    page.browser.dark(dark)
    views = [{"pane": pane} for pane in ("features", "map", "rows", "detail")] + [
        {"open": opened, "pane": "detail"}
        for opened in ("feature:3", "topic:0", "row:5", "contrast:")
    ]
    for view in views:
        page.open(f=[3], color="topic", **view)
        page.settle()
        contrasts = page.browser.contrasts()
        assert len(contrasts) > 5
        assert [line for line in contrasts if line[0] < 4.5] == []
    pale = "#555" if dark else "#aaa"  # which is not enough
    page.js(f"document.documentElement.style.setProperty('--muted', '{pale}')")
    assert min(page.browser.contrasts())[0] < 4.5
