"""The explorer's page in a real browser: what a person does with it, at a desk and on a phone."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import Keys

from explored import HOSTILE
from explorer_page import ATTACK, CARD
from nanosae.analysis.search.search import search
from nanosae.runs import annotations
from nanosae.runs.tables import save_features
from nanosae.view.explorer.comparisons import contrast_selection, steer
from nanosae.view.explorer.prepare import Jobs
from nanosae.view.explorer.rows import show_row
from nanosae.view.explorer.selections import inside_polygon, select_rows

pytestmark = pytest.mark.slow


def dense(explorer):
    return explorer.codes.rows(0, explorer.codes.n_rows).toarray()


def two_together(explorer):
    on = (dense(explorer) > 0).astype(int)
    both = np.triu(on.T @ on, 1)
    both[(both >= on.sum(0)) | (both >= on.sum(0)[:, None])] = (
        0  # neither implies the other
    )
    return [int(j) for j in np.unravel_index(both.argmax(), both.shape)]


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
    page.slow_down("POST")
    for tag in ("one", "two"):
        page.browser.type("#detail .actions input", tag)
        page.browser.find("#detail .actions input").send_keys(Keys.ENTER)
    page.wait("document.querySelectorAll('#detail .chips .chip').length === 2")
    assert annotations.tags_of(explorer.run, "default", 5, explorer.codes.data) == [
        "one",
        "two",
    ]


def test_a_name_that_is_stored_late_opens_nothing(page, explorer):
    page.open(open="feature:3")
    page.wait("document.querySelector('#detail form input')")
    page.slow_down("POST")
    page.browser.type("#detail form input", "late")
    page.browser.find("#detail form input").send_keys(Keys.ENTER)
    page.js("location.hash = 'open=feature:5'")
    page.wait("document.querySelector('#feature-list').textContent.includes('late')")
    page.settle()
    assert page.browser.text("#detail .kicker").startswith("Feature 5")
    assert annotations.names(explorer.run) == {3: "late"}


def test_a_feature_is_added_although_suggestions_are_asked_for(page):
    page.open(open="row:5")
    page.wait("document.querySelector('#detail input[list]')")
    page.slow_down("words=")
    field = page.browser.find("#detail input[list]")
    field.send_keys("12", Keys.ENTER)
    page.wait("document.querySelector('[data-slider=\"12\"]')")
    n_sliders = len(page.shown("#detail .steer"))
    field.send_keys("  ", Keys.ENTER)
    field.send_keys("qqqq", Keys.ENTER)
    page.wait("document.querySelector('#detail .adding + p').textContent")
    assert page.browser.text("#detail .adding + p") == "No feature matches."
    assert len(page.shown("#detail .steer")) == n_sliders


def test_a_number_in_front_is_that_of_a_suggestion_only(page):
    page.open(open="row:5")
    page.wait("document.querySelector('#detail input[list]')")
    field = page.browser.find("#detail input[list]")
    field.send_keys("12 qqqq", Keys.ENTER)
    page.wait("document.querySelector('#detail .adding + p').textContent")
    assert page.browser.text("#detail .adding + p") == "No feature matches."
    assert not page.js("return document.querySelector('[data-slider=\"12\"]')")


def test_what_is_exported_are_the_texts_of_the_view(page):
    page.open(f=[5])
    page.slow_down("/api/texts")
    page.js("location.hash = 'f=[6]'")
    page.wait("document.querySelector('#chips').textContent.includes('feature 6')")
    where = "new URL(document.querySelector('#export').href).searchParams.get('where')"
    assert page.js(f"return {where}") == '{"features":[6]}'  # before the list is there


def test_regions_are_named_although_the_points_are_asked_for_again(page):
    page.open()
    page.slow_down("/api/points")
    page.click('[data-map="features"]')
    page.js(
        "const color = document.querySelector('#color'); color.value = 'feature';"
        "color.dispatchEvent(new Event('change'))"
    )
    page.settle()
    asked = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert page.js(f"return {asked}.some((name) => name.includes('regions/features'))")


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
    page.slow_down("/api/points")
    label = "document.querySelector('#plane canvas').getAttribute('aria-label')"
    page.js("history.back()")
    page.wait(f"!{label}.includes(', 900 in view')")
    page.js("history.forward()")
    page.wait(f"{label}.includes(', 900 in view')")


def test_a_text_that_loses_the_tag_of_the_view_leaves_the_list(page, explorer):
    annotations.tag(explorer.run, "default", "mine", [5, 6], data=explorer.codes.data)
    page.open(tag="mine", open="row:5")
    assert page.count() == 2
    page.click("#detail .chips .drop")
    page.wait("!document.querySelector('[data-row=\"5\"]')")
    assert page.count() == 1


def test_a_new_name_is_shown_everywhere(page):
    page.open(f=[5], open="feature:5")
    page.wait("document.querySelector('#detail form input')")
    page.browser.type("#detail form input", "other name")
    page.browser.find("#detail form input").send_keys(Keys.ENTER)
    for place in ("#detail h2", "#feature-list", "#chips", "#row-list", "#legend b"):
        page.wait(
            f"document.querySelector('{place}').textContent.includes('other name')"
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


def test_a_tag_of_spaces_is_none(page, explorer):
    page.open(f=[3])
    page.click("#tag-all")
    page.browser.type("#tag-name", "  ")
    page.click("#tag-form button")
    page.settle()
    assert len(page.shown("#chips .chip")) == 1
    assert annotations.tags(explorer.run, "default", explorer.codes.data) == {}


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
