"""The explorer's page in a real browser: what a person does with it, at a desk and on a phone."""

import json

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import Keys

from explored import HOSTILE
from explorer_page import ATTACK, CARD, dense, two_together
from nanosae.analysis.search.search import search
from nanosae.runs.tables import save_features
from nanosae.view.explorer.comparisons import contrast_selection, steer
from nanosae.view.explorer.rows import show_row
from nanosae.view.explorer.selections import inside_polygon, select_rows

pytestmark = pytest.mark.slow


def test_the_first_screen_has_lists_map_and_legend(page, explorer):
    page.open()
    assert page.browser.driver.title == "planted · nanoSAE explorer"
    assert page.browser.text("#facts") == "900 texts · 48 features"
    assert len(page.shown("[data-feature]")) == len(page.shown("[data-row]")) == 40
    page.wait(lambda: page.ink()[0] > 2000)
    assert "topic" in page.browser.text("#legend")
    page.click("#row-list .more")
    page.wait("document.querySelectorAll('[data-row]').length === 80")
    page.click("[data-map=features]")
    page.wait(lambda: page.ink()[0] > 200)


def test_points_have_the_colours_of_the_legend(page):
    page.open()
    entries = [
        {"name": "others", "color": "#0077bb"},  # a value that is called so
        {"name": "b", "color": "#dd6600"},
        {"name": "others", "color": "#808590", "rest": True},
    ]
    points = {
        "legend": {"kind": "groups", "entries": entries},
        "values": [0, 1, 2, -1],
        "marks": [0] * 4,
    }
    packed, order = page.js(
        "const { packed, order } = nano.paint.colours(arguments[0], false);"
        "return [[...packed], [...order]]",
        points,
    )
    shades = [f"#{c & 255:02x}{c >> 8 & 255:02x}{c >> 16 & 255:02x}" for c in packed]
    assert shades[:3] == ["#0077bb", "#dd6600", "#808590"]
    assert shades[3] not in shades[:3]  # no value
    assert order[:2] == [3, 2]  # drawn below the groups that have colours


def test_a_search_looks_in_texts_and_labels(page, explorer):
    page.open()
    word = explorer.labels[5].split()[0]
    page.browser.type("#words", word)
    page.browser.find("#words").send_keys(Keys.ENTER)
    page.wait("document.querySelector('#features-title').textContent !== 'Features'")
    page.settle()
    assert page.shown("#feature-list .name")[0] == explorer.labels[5]
    assert page.count() == len(select_rows(explorer, {"words": word}))
    assert all(word in text for text in page.shown("#row-list .text"))
    page.click("#chips .drop")
    page.wait("document.querySelectorAll('[data-feature]').length === 40")
    assert page.count() == 900
    page.browser.type("#words", "nosuchwordatall")
    page.browser.find("#words").send_keys(Keys.ENTER)
    page.wait(
        "document.querySelector('#row-list').textContent.includes('No text contains')"
    )


def test_a_feature_opens_its_card_and_two_filter(page, explorer):
    a, b = two_together(explorer)
    page.open(sort="rows")
    page.wait(f"document.querySelector('[data-feature=\"{a}\"]')")
    before = page.ink()
    page.click(f'[data-feature="{a}"] .main')
    page.wait(CARD)
    assert page.browser.text("#detail h2") == explorer.labels[a]
    page.settle()
    assert page.ink() != before
    assert "activation of" in page.browser.text("#legend")
    strongest = page.shown("#detail .plain .example .text")[0]
    assert strongest == explorer.codes.texts([explorer.codes.top(a, 1)[0][0]])[0]
    page.click("#detail .actions button.primary")
    page.wait("document.querySelectorAll('#chips .chip').length === 1")
    assert page.count() == explorer.codes.counts[a]
    page.click(f'[data-feature="{b}"] .main')
    page.wait(
        f"document.querySelector('#detail h2').textContent === '{explorer.labels[b]}'"
    )
    page.click("#detail .actions button.primary")
    page.wait("document.querySelectorAll('#chips .chip').length === 2")
    both = np.count_nonzero((dense(explorer)[:, [a, b]] > 0).all(axis=1))
    assert page.count() == both < explorer.codes.counts[a]
    assert page.view()["f"] == json.dumps([a, b]).replace(" ", "")


def test_a_slider_changes_the_ranking(page, explorer):
    row = int(np.count_nonzero(dense(explorer), axis=1).argmax())
    page.open(open=f"row:{row}")
    page.wait("document.querySelectorAll('#ranking [data-hit]').length === 20")
    hits = "return [...document.querySelectorAll('#ranking [data-hit]')].map(n => +n.dataset.hit)"
    before = page.js(hits)
    assert before == [
        hit.row for hit in search(explorer.codes, row=row, n=100).hits[:20]
    ]
    j = show_row(explorer, row)["features"][0][0]
    page.browser.slide(f'[data-slider="{j}"]', 0)
    page.wait("document.querySelector('#ranking .rank span')")
    page.settle()
    assert page.js(hits) == [
        h["row"] for h in steer(explorer, row, edit={j: 0})["hits"][:20]
    ]
    assert page.js(hits) != before
    assert {"▲", "▼", "n"} & {
        text.split()[1][0]
        for text in page.shown("#ranking .rank")
        if len(text.split()) > 1
    }
    assert json.loads(page.view()["edit"]) == {str(j): 0}
    page.browser.type("#detail input[list]", "12")
    page.browser.find("#detail input[list]").send_keys(Keys.ENTER)
    page.wait("document.querySelector('[data-slider=\"12\"]')")
    page.wait(lambda: "12" in json.loads(page.view()["edit"]))


def test_a_lasso_selects_and_says_what_distinguishes(page, explorer):
    page.open()
    page.click("#lasso")
    page.drag([(-5, -90), (200, -90), (200, 90), (-5, 90), (-5, -80)])
    page.wait(
        "document.querySelector('#detail h2')?.textContent.startsWith('What distinguishes')"
    )
    corners = json.loads(page.view()["lasso"])
    wanted = np.count_nonzero(inside_polygon(explorer.map["rows"], corners))
    assert page.count() == wanted
    assert 100 < wanted < 800
    assert page.browser.text("#detail h2") == f"What distinguishes {wanted} texts"
    assert (
        page.js("return document.querySelector('#lasso').getAttribute('aria-pressed')")
        == "false"
    )
    page.click("[data-map=features]")
    page.settle()
    page.click("#in-view")
    page.wait("document.querySelectorAll('#chips .chip').length === 2")


TOPIC = "document.querySelector('#detail .kicker')?.textContent === 'Topic'"


def test_a_topic_leads_to_its_texts_and_features_and_back(page, explorer):
    page.open()
    page.click("#detail .counted")  # the biggest one
    page.wait(TOPIC)
    assert page.browser.text("#detail h2") == "other, rows"
    assert "600 texts (66.7 %)" in page.browser.text("#detail")
    page.click("#detail .actions button")
    page.wait("document.querySelectorAll('#chips .chip').length === 1")
    assert page.shown("#chips .chip span") == ["topic: other, rows"]
    assert page.count() == 600
    lines = "return [...document.querySelectorAll('[data-row]')].map(n => +n.dataset.row % 3)"
    assert 0 not in page.js(lines)
    page.click("#detail .pair .link")  # its only feature
    page.wait(CARD)
    assert page.browser.text("#detail h2") == explorer.labels[1]
    page.js("history.back()")
    page.wait(TOPIC)
    assert page.count() == 600
    page.js("history.back()")
    page.wait("!document.querySelector('#chips .chip')")
    assert page.count() == 900
    page.browser.find("body").send_keys(Keys.ESCAPE)
    page.wait("document.querySelector('#detail h2').textContent === 'At a glance'")


def test_a_topic_is_reached_by_its_address_the_map_and_a_text(page):
    page.open(open="topic:0", topic=0)
    page.wait(TOPIC)
    assert page.browser.text("#detail h2") == "third, rows"
    assert page.count() == 300
    page.click("#detail .example")  # a text, which names its topic
    page.wait(
        "document.querySelector('#detail .kicker').textContent.startsWith('Text')"
    )
    assert "Topic: third, rows" in page.browser.text("#detail")
    page.open(color="topic")
    page.click("#legend .key")
    page.wait(TOPIC)
    assert page.browser.text("#detail h2") == "other, rows"  # the biggest one
    page.click("#glance")
    page.wait("document.querySelector('#detail h2').textContent === 'At a glance'")


def test_two_groups_of_a_column_are_compared(page, explorer):
    page.open()
    selector = "#detail [title='Only B']"
    page.wait(f"document.querySelector({json.dumps(selector)})")
    page.click(selector)
    n = np.count_nonzero(explorer.codes.column("group") == "B")
    assert page.count() == n
    page.click("#compare")
    page.wait("document.querySelector('#detail .odds')")
    assert page.browser.text("#detail h2") == f"What distinguishes {n} texts"
    wanted = contrast_selection(explorer, {"value": ["group", "B"]})["findings"]
    assert page.shown("#detail .pair > :first-child") == [
        line["label"] if line["feature"] >= 0 else f"Topic “{line['label']}”"
        for line in wanted
    ]
    first = wanted[0]
    shares = page.shown("#detail li:first-child .odds span")
    told = [float(text.split()[0]) / 100 for text in shares]
    assert told == pytest.approx([first["share"], first["share_rest"]], rel=0.01)


def test_the_corpus_at_a_glance_stands_where_nothing_is_open(page):
    page.open()
    assert page.browser.text("#detail h2") == "At a glance"
    tiles = page.browser.text("#detail .tiles").split("\n")
    assert tiles[:4] == ["900", "texts", "48", "features"]
    lines = page.browser.text("#detail").split("\n")
    assert {"Biggest topics", "Findings"} & {*lines}
    assert "null" not in lines


def test_a_first_map_says_that_a_better_one_is_coming(page, explorer):
    path = explorer.codes.path / "map.npz"
    stored = path.read_bytes()
    path.unlink()
    try:
        page.open()
        page.wait(lambda: page.ink()[0] > 2000)
        working = {"map": "working"}
        page.js(
            "return Promise.all([import('/static/explore-page.js'),"
            " import('/static/explore-map.js')]).then(([{page}, {showMapState}]) => {"
            " Object.assign(page.state, {jobs: arguments[0],"
            " progress: {map: 'placing the others: 40%'}}); showMapState(); })",
            working,
        )
        assert "placing the others: 40%" in page.browser.text("#map-note")
        assert not page.browser.find("#lasso").is_enabled()
        assert not page.browser.find("#in-view").is_enabled()
        assert "better map" in page.browser.find("#lasso").get_attribute("title")
    finally:
        path.write_bytes(stored)
    page.open()
    assert page.browser.find("#lasso").is_enabled()
    assert not page.browser.find("#map-note").is_displayed()


def test_words_of_a_feature_are_marked_and_long_texts_fold(page, explorer):
    long_row = max(range(900), key=lambda i: len(explorer.codes.texts([i])[0]))
    j = show_row(explorer, long_row)["features"][0][0]
    page.open(open=f"feature:{j}")
    page.wait(CARD)
    words = {*explorer.labels[j].casefold().split(), explorer.labels[j].casefold()}
    marked = {text.casefold() for text in page.shown("#detail .example mark")}
    assert marked
    assert marked <= words
    page.click("#detail .example")
    page.wait("document.querySelector('#detail .whole')")
    assert {text.casefold() for text in page.shown("#detail .whole mark")} <= words
    assert not page.browser.all("#detail .marking button")  # a single sentence


def test_an_embedder_that_is_not_there_is_said(page):
    page.open(open="row:6")
    page.wait("document.querySelector('#detail .marking button')")
    page.click("#detail .marking button")
    page.wait("document.querySelector('#detail .error')")
    assert "embedder" in page.browser.text("#detail .error")
    (refused,) = page.browser.problems()
    assert "400" in refused


def test_hostile_texts_are_shown_as_they_are(page, explorer):
    page.open(color="column:group")
    for row, text in (
        (1, ATTACK),
        (0, HOSTILE),
        (2, "‮ שלום עולם مرحبا"),
        (3, explorer.codes.texts([3])[0]),
    ):
        page.click(f'[data-row="{row}"] .main')
        page.wait(
            f"document.querySelector('#detail .kicker').textContent === 'Text {row}'"
        )
        assert (
            page.js("return document.querySelector('#detail .whole').textContent")
            == text
        )
    assert ATTACK in page.shown("#detail dd")
    assert ATTACK in page.shown("#legend .key span")
    page.open(open="feature:47")
    page.wait(CARD)
    assert (
        page.browser.js("return document.querySelector('#detail h2').textContent")
        == explorer.labels[47]
    )
    assert (
        page.js("return document.querySelectorAll('main img, main script').length") == 0
    )
    assert page.browser.driver.title == "planted · nanoSAE explorer"


def test_the_map_pans_zooms_picks_and_tells(page, explorer):
    page.open()
    before = page.ink()
    page.drag([(0, 0), (60, 30)])
    page.wait(lambda: "look" in page.view())
    assert page.ink() != before
    canvas = page.browser.find("#plane canvas")
    page.js(
        "document.querySelector('#plane canvas').dispatchEvent(new WheelEvent('wheel',"
        " {deltaY: -600, bubbles: true, cancelable: true, clientX: 600, clientY: 300}))"
    )
    page.wait(
        lambda: (
            json.loads(page.view()["look"])[2]
            < 0.6 * np.ptp(explorer.map["rows"][:, 0])
        )
    )
    page.click("[aria-label='Show the whole map']")
    page.wait(lambda: "look" not in page.view())
    page.settle()
    page.js("document.querySelector('#plane canvas').focus()")
    canvas.send_keys(Keys.ENTER)
    page.wait(
        "document.querySelector('#detail .kicker')?.textContent.startsWith('Text')"
    )
    canvas.send_keys("+", Keys.ARROW_LEFT)
    page.wait(lambda: "look" in page.view())
    canvas.send_keys("0")
    page.wait(lambda: "look" not in page.view())


def test_a_number_in_front_is_that_of_a_suggestion_only(page):
    page.open(open="row:5")
    page.wait("document.querySelector('#detail input[list]')")
    field = page.browser.find("#detail input[list]")
    field.send_keys("12 qqqq", Keys.ENTER)
    page.wait("document.querySelector('#detail .adding + p').textContent")
    assert page.browser.text("#detail .adding + p") == "No feature matches."
    assert not page.js("return document.querySelector('[data-slider=\"12\"]')")


def test_labels_that_come_meanwhile_are_shown_after_a_reload(page, explorer):
    path = explorer.run / "features.parquet"
    before = path.read_bytes()
    try:
        another = {"feature": [0], "label": ["quite another"]}
        save_features(explorer.run, pd.DataFrame(another))
        page.open(open="feature:0", sort="name", marked="false")
        page.wait(
            "document.querySelector('#detail h2').textContent === 'quite another'"
        )
        page.browser.type("#words", "another")
        page.browser.find("#words").send_keys(Keys.ENTER)
        first = "document.querySelector('#feature-list .name').textContent"
        page.wait(f"{first} === 'quite another'")
    finally:
        path.write_bytes(before)
