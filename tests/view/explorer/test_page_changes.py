"""Names, bookmarks and tags that a person gives on the explorer's page."""

import csv
import io

import pytest
from selenium.webdriver import Keys

from explorer_page import ATTACK, CARD, two_together
from nanosae.runs import annotations

pytestmark = pytest.mark.slow


def test_names_and_bookmarks_outlive_a_reload(page, explorer):
    page.open(open="feature:3")
    page.wait("document.querySelector('#detail form input')")
    page.browser.type("#detail form input", ATTACK)
    page.click("#detail form button")
    page.wait("document.querySelector('#detail .kicker .chip')")
    page.click("#detail .star")
    page.wait(
        "document.querySelector('#detail .star').getAttribute('aria-pressed') === 'true'"
    )
    page.settle()
    assert annotations.names(explorer.run) == {3: " ".join(ATTACK.split())}
    assert annotations.bookmarks(explorer.run) == [3]
    page.open(open="feature:3", marked="true")
    page.wait(CARD)
    assert page.shown("#feature-list .name") == [ATTACK]
    assert page.browser.text("#detail h2") == ATTACK
    assert page.browser.driver.title != "owned"
    page.click("#detail .actions > button:nth-of-type(2)")
    page.wait(
        f"document.querySelector('#detail h2').textContent === '{explorer.table['label'][3]}'"
    )
    assert annotations.names(explorer.run) == {}


def test_tags_are_put_on_filtered_by_and_exported(page, explorer):
    a, b = two_together(explorer)
    page.open(f=[a, b])
    n = page.count()
    page.click("#tag-all")
    page.browser.type("#tag-name", f"my {ATTACK}"[:80])
    page.click("#tag-form button")
    page.wait("!document.querySelector('#tags').hidden")
    tag = f"my {ATTACK}"[:80]
    assert annotations.tags(explorer.run, "default") == {tag: n}
    page.open()
    page.js(
        "const t = document.querySelector('#tags'); t.selectedIndex = 1;"
        "t.dispatchEvent(new Event('change'))"
    )
    page.wait("document.querySelectorAll('#chips .chip').length === 1")
    assert page.count() == n
    text = page.js(
        "return fetch(document.querySelector('#export').href).then(r => r.text())"
    )
    assert len(list(csv.reader(io.StringIO(text)))) == n + 1
    page.click("#row-list .main")
    page.wait("document.querySelector('#detail .chip .drop')")
    page.click("#detail .chip .drop")
    page.wait("!document.querySelector('#detail .chip')")
    assert annotations.tags(explorer.run, "default") == {tag: n - 1}


def test_a_text_that_loses_the_tag_of_the_view_leaves_the_list(page, explorer):
    annotations.tag(explorer.run, "default", "mine", [5, 6], data=explorer.codes.data)
    page.open(tag="mine", open="row:5")
    assert page.count() == 2
    page.click("#detail .chips .drop")
    page.wait("!document.querySelector('[data-row=\"5\"]')")
    assert page.count() == 1


def listed_features(page):
    """Return the numbers of the features in the list."""
    items = "document.querySelectorAll('[data-feature]')"
    return page.js(f"return [...{items}].map((item) => Number(item.dataset.feature))")


def test_a_new_name_is_shown_everywhere(page):
    page.open()
    feature = listed_features(page)[1]
    page.open(f=[feature], open=f"feature:{feature}")
    page.wait("document.querySelector('#detail form input')")
    page.browser.type("#detail form input", "other name")
    page.browser.find("#detail form input").send_keys(Keys.ENTER)
    for place in ("#detail h2", "#feature-list", "#chips", "#row-list", "#legend b"):
        page.wait(
            f"document.querySelector('{place}').textContent.includes('other name')"
        )


def test_lists_stay_where_they_are_when_a_feature_is_named(page):
    page.open()
    page.click("#feature-list .more")
    page.settle()
    feature = listed_features(page)[-1]
    page.click(
        "[data-feature]:nth-last-child(1) .main, [data-feature]:has(+ .rest) .main"
    )
    page.wait(CARD)
    page.click("#row-list .more")
    page.settle()
    n_lines = [len(page.shown(f"[data-{kind}]")) for kind in ("feature", "row")]
    page.js(
        "for (const list of document.querySelectorAll('.list')) list.scrollTop = 1000"
    )
    places = (
        "return [...document.querySelectorAll('.list')].map((list) => list.scrollTop)"
    )
    before = page.js(places)
    page.browser.type("#detail form input", "other name")
    page.browser.find("#detail form input").send_keys(Keys.ENTER)
    page.settle()
    line = page.browser.text(f'[data-feature="{feature}"]')
    assert line.startswith("other name")
    assert "label score" not in line
    assert page.js(places) == before
    assert [len(page.shown(f"[data-{kind}]")) for kind in ("feature", "row")] == n_lines


def test_regions_of_the_map_have_new_names(page, explorer):
    page.open(map="features", open="feature:5")
    page.wait(CARD)
    page.settle()
    asked = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    n_asked = (
        f"return {asked}.filter((name) => name.includes('regions/features')).length"
    )
    before = page.js(n_asked)
    page.browser.type("#detail form input", "other name")
    page.browser.find("#detail form input").send_keys(Keys.ENTER)
    page.settle()
    assert page.js(n_asked) == before + 1


def test_a_tag_of_spaces_is_none(page, explorer):
    page.open(f=[3])
    page.click("#tag-all")
    page.browser.type("#tag-name", "  ")
    page.click("#tag-form button")
    page.settle()
    assert len(page.shown("#chips .chip")) == 1
    assert annotations.tags(explorer.run, "default", explorer.codes.data) == {}
