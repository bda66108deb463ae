"""The pages in a real browser: they work from disk, alone, with any text, at any width."""

import sys

import numpy as np
import pandas as pd
import pytest

from finished import HOSTILE, finished_run, training_files
from nanosae.analysis.describe import describe
from nanosae.codes import Codes, write_codes
from nanosae.config import TrainConfig
from nanosae.runs.tables import save_features
from nanosae.view import pages
from nanosae.view.report.render import report


class TestPolicy:
    def test_texts_survive_embedding(self):
        import json

        assert json.loads(pages.to_json(HOSTILE)) == HOSTILE
        assert "<" not in pages.to_json(HOSTILE)
        assert "\u2028" not in pages.to_json(HOSTILE)

    def test_titles_are_text(self):
        assert "<title>&lt;/title&gt;&lt;b&gt;</title>" in pages.page("</title><b>", "")

    def test_numbers_become_json(self):
        import numpy as np

        value = {
            "a": np.float32(0.5),
            "b": np.arange(2),
            "c": [1.0, float("nan"), np.inf],
        }
        assert pages.to_json(value) == '{"a":0.5,"b":[0,1],"c":[1.0,null,null]}'

    def test_the_policy_names_each_script_by_its_checksum(self):
        import base64
        import hashlib
        import re

        text = pages.page("t", "", scripts=(), plotly=False)
        (code,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in text
        assert "unsafe-eval" not in text


@pytest.mark.slow
class TestBrowser:
    def test_texts_are_shown_as_text(self, browser, tmp_path):
        path = tmp_path / "page.html"
        path.write_text(
            pages.page("<i>t", "<ul id=out></ul>", data={"texts": HOSTILE}), "utf-8"
        )
        browser.open(path)
        browser.js(
            "for (const t of nano.data('texts')) nano.$('#out').append(nano.el('li', {}, t))"
        )
        shown = browser.js(
            "return [...document.querySelectorAll('li')].map(n => n.textContent)"
        )
        assert shown == HOSTILE
        assert browser.driver.title == "<i>t"

    def test_words_from_right_to_left_leave_what_follows_in_its_place(
        self, browser, tmp_path
    ):
        path = tmp_path / "page.html"
        path.write_text(pages.page("t", "<p id=raw></p><p id=out></p>"), "utf-8")
        browser.open(path)
        left_edges = (  # of the last word and of the number behind it
            "const [id, text] = arguments, node = nano.$(id); node.textContent = text;"
            "const [inside] = node.childNodes;"
            "return ['ية', '0'].map((part) => {"
            "  const range = document.createRange(), at = inside.data.indexOf(part);"
            "  range.setStart(inside, at); range.setEnd(inside, at + part.length);"
            "  return range.getBoundingClientRect().left; })"
        )
        sentence = "Texts are rarer in المملكة العربية: 0 %, against 63 % elsewhere."
        word, number = browser.js(left_edges, "#raw", sentence)
        assert number < word  # the fault
        shown = browser.js("return nano.sentence(arguments[0])", sentence)
        word, number = browser.js(left_edges, "#out", shown)
        assert word < number

    def test_injected_script_does_not_run_and_nothing_is_loaded(
        self, browser, tmp_path
    ):
        path = tmp_path / "page.html"
        attack = "<script>document.title = 'owned'</script><img src=https://example.com/a.png>"
        path.write_text(pages.page("t", attack), "utf-8")
        browser.open(path)
        assert browser.driver.title == "t"
        # said by the policy: the browser would have obeyed
        refused = browser.problems()
        assert len(refused) >= 2
        assert all(
            "Content Security Policy" in line
            for line in refused
            if "request" not in line
        )

    def test_without_the_policy_the_attack_works(self, browser, tmp_path):
        path = tmp_path / "page.html"
        path.write_text(
            "<title>t</title><script>document.title = 'owned'</script>", "utf-8"
        )
        browser.open(path)
        assert browser.driver.title == "owned"

    def test_plotly_draws_under_the_policy(self, browser, tmp_path):
        path = tmp_path / "page.html"
        text = pages.page("t", "<div id=f class=plot></div>", plotly=True)
        path.write_text(text, "utf-8")
        browser.open(path)
        browser.js(
            "nano.plot(nano.$('#f'), () => ({data: [{y: [1, 3, 2]}], layout: {}}))"
        )
        browser.wait(
            "document.querySelectorAll('#f .scatterlayer path.js-line').length === 1"
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, "umap", None)  # PCA: UMAP takes long to start
    folder = finished_run(tmp_path_factory.mktemp("pages") / "run")
    report(folder)
    yield folder
    patch.undo()


@pytest.fixture
def shown(run, browser):
    browser.open(run / "report.html")
    return browser


def rows(browser):
    return browser.js(
        "return [...document.querySelectorAll('#table tbody tr')].map(r => r.innerText)"
    )


def column(browser, name):
    """Return what the table shows in a column, as far as it is listed."""
    code = (
        "const [name] = arguments, heads = [...document.querySelectorAll('#table th')];"
        "const i = heads.findIndex(t => t.innerText.trim() === name);"
        "return [...document.querySelectorAll('#table tbody tr')].map(r => r.children[i].innerText)"
    )
    return browser.js(code, name)


def close(browser):
    browser.js("document.querySelector('dialog').close()")
    browser.wait("location.hash === ''")


@pytest.mark.slow
class TestReport:
    def test_it_says_what_was_trained_and_how_well(self, shown):
        assert shown.text("#title") == "run"
        assert shown.text("#what").startswith("800 texts · 48 features found in them")
        trained = shown.text("#trained")
        assert "topk sparse autoencoder · 32 → 48 features · k = 3" in trained
        tiles = shown.text("#tiles")
        assert "0.25\nFVU on held-out rows" in tiles
        assert "12.5 %\ndead features" in tiles
        assert "800\nrows encoded" in tiles
        chapters = [a.text for a in shown.all(".top nav a")]
        assert chapters[:3] == ["Findings", "Terms", "Map"]
        assert chapters.index("Features") < chapters.index("Training")

    def test_search_narrows_the_table_and_sort_orders_it(self, shown):
        everything = len(rows(shown))
        word = column(shown, "Label")[3].split(",")[0].split()[0]
        shown.type("#query", word)
        found = rows(shown)
        assert 0 < len(found) < everything
        shown.type("#query", "no such word")
        assert rows(shown) == []
        assert shown.text("#count").startswith("0 of 48 features")
        shown.js(
            "const q = document.querySelector('#query'); q.value = '';"
            "q.dispatchEvent(new Event('input'))"
        )
        shown.click("#more")
        for _ in range(2):
            shown.click("#table th:nth-child(3) button")
            numbers = [int(n.replace(",", "")) for n in column(shown, "Rows")]
            order = shown.find("#table th:nth-child(3)").get_attribute("aria-sort")
            assert numbers == sorted(numbers, reverse=order == "descending")
        assert order == "ascending"

    def test_a_click_opens_the_card_and_a_chip_the_next_one(self, shown, run):
        codes = Codes.open(run)
        j = int(column(shown, "#")[1])
        shown.click("#table tbody tr:nth-child(2) button")
        shown.wait("document.querySelector('dialog').open")
        top, _ = codes.top(j, 8)
        first = shown.js(
            "return document.querySelector('dialog .texts .text').textContent"
        )
        assert first == codes.texts(top)[0]
        assert f"feature {j}" in shown.text("dialog")
        bars = shown.js(
            "return [...document.querySelectorAll('.bars i')].map(b => +b.title)"
        )
        assert sum(bars) == codes.counts[j]
        shown.click("dialog .chips button")
        shown.wait(f"!location.hash.endsWith('-{j}')")
        shown.js("history.back()")
        shown.wait(lambda: f"feature {j}" in shown.text("dialog"))
        close(shown)
        shown.wait("location.hash === ''")

    def test_the_keyboard_opens_walks_and_closes_cards(self, shown):
        first, second = column(shown, "#")[:2]
        button = shown.find("#table tbody tr button")
        button.send_keys("\n")
        shown.wait(lambda: f"feature {first}\n" in shown.text("dialog"))
        shown.js("document.querySelector('[aria-label=\"Next feature\"]').focus()")
        shown.driver.switch_to.active_element.send_keys("\n")
        shown.wait(lambda: f"feature {second}\n" in shown.text("dialog"))
        shown.driver.switch_to.active_element.send_keys("\ue00c")  # Escape
        shown.wait("!document.querySelector('dialog').open")

    def test_a_deep_link_opens_a_card(self, run, browser):
        browser.open((run / "report.html").as_uri() + "#feature-5")
        browser.wait(lambda: "feature 5\n" in browser.text("dialog"))
        close(browser)

    def test_hostile_texts_and_names_are_text(self, run, browser):
        browser.open((run / "report.html").as_uri() + "#feature-0")
        browser.wait("document.querySelector('dialog').open")
        texts = browser.js(
            "return [...document.querySelectorAll('dialog .text')].map(n => n.textContent)"
        )
        for hostile in HOSTILE:
            assert any(text.startswith(hostile) for text in texts)
        assert browser.text("dialog h2") == HOSTILE[1]
        assert browser.driver.title == "run – nanoSAE report"
        assert browser.all("img") == []
        close(browser)
        browser.type("#query", "owned")
        assert HOSTILE[1] in column(browser, "Label")

    def test_the_map_opens_cards_and_follows_the_search(self, shown, run):
        shown.js("document.querySelector('#map').scrollIntoView()")
        names = shown.js("return nano.data('map').place.length")
        assert names == (Codes.open(run).counts > 0).sum()
        place = (  # of a pixel that one point alone has painted, away from the buttons
            "const c = document.querySelector('#map-points canvas').getContext('2d');"
            "const {width, height} = c.canvas, p = c.getImageData(0, 0, width, height).data;"
            "for (let y = 80; y < height; y++) for (let x = 0; x < width - 80; x++) {"
            "  const alpha = (dx, dy) => p[4 * ((y + dy) * width + x + dx) + 3];"
            "  if ([alpha(0, 0), alpha(1, 0), alpha(0, 1)].every(a => a === 219)) return [x, y];"
            "} return null"
        )
        x, y = shown.wait(lambda: shown.js(place))
        canvas = shown.find("#map-points canvas")
        from selenium.webdriver import ActionChains

        size = canvas.size
        move = ActionChains(shown.driver).move_to_element_with_offset
        move(canvas, x - size["width"] / 2, y - size["height"] / 2 + 2).perform()
        shown.wait("!document.querySelector('.tip').hidden")
        label = shown.text(".tip").split("\n")[0]
        ActionChains(shown.driver).click().perform()
        shown.wait("document.querySelector('dialog').open")
        assert shown.text("dialog h2") == label
        close(shown)
        before = shown.js(
            "return document.querySelector('#map-points canvas').toDataURL()"
        )
        shown.type("#query", "no such word")
        shown.wait(
            lambda: (
                shown.js(
                    "return document.querySelector('#map-points canvas').toDataURL()"
                )
                != before
            )
        )

    def test_the_slider_and_the_button_replay_the_training(self, shown):
        shown.js("document.querySelector('.player').scrollIntoView()")
        assert "step 100" in shown.text(".player output")
        shown.wait("document.querySelector('[aria-label=Throughput]').data")
        rates = "document.querySelector('[aria-label=Throughput]').data[0].y"
        assert shown.js(f"return {rates}") == pytest.approx([1000] * 9)
        shown.slide(".player input", 2)
        assert "step 30" in shown.text(".player output")
        shown.click(".player button")
        shown.wait(lambda: "step 100" in shown.text(".player output"))
        shown.wait(lambda: shown.text(".player button") == "▶ Play")
        shown.wait(
            "document.querySelectorAll('#training .bars path, #training .bars').length >= 6"
        )

    def test_families_and_topics_narrow_the_table(self, shown):
        shown.click("#family-list .link")
        size = int(shown.text("#family-list .family .muted").split()[0])
        found = int(shown.text("#count").split()[0])
        assert 0 < found <= size
        shown.click("#filter button")
        assert shown.text("#count") == "48 of 48 features, the surest labels first"

    def test_topics_stand_at_the_top_and_open_their_texts(self, shown, run):
        table = pd.read_parquet(run / "topics.parquet")
        largest = table.loc[table["Count"].idxmax()]
        name = ", ".join(largest["Representation"][:3])
        assert shown.text("#biggest a") == name
        sizes = [int(chip.text.split()[-2]) for chip in shown.all("#topic-list button")]
        assert sizes == sorted(table["Count"], reverse=True)
        shown.click("#biggest a")
        shown.wait("document.querySelector('dialog').open")
        assert shown.text("dialog h2") == name
        texts = [line.text for line in shown.all("dialog li")]
        assert texts == list(largest["Representative_Docs"])
        shown.js("history.back()")
        shown.wait("!document.querySelector('dialog').open")
        shown.click("#topic-list button")
        shown.wait("document.querySelector('dialog').open")
        shown.click("dialog .link")
        found = shown.text("#count").split()
        assert int(found[0]) == len(largest["Features"])
        assert not shown.js("return document.querySelector('dialog').open")

    @pytest.mark.parametrize(
        ("width", "dark"), [(390, True), (320, False), (768, False)]
    )
    def test_no_width_overflows(self, run, browser, width, dark):
        browser.size(width, 844)
        browser.dark(dark)
        browser.open(run / "report.html")
        for i in range(len(browser.all(".plot"))):
            plot = f"document.querySelectorAll('.plot')[{i}]"
            browser.js(f"{plot}.scrollIntoView()")
            browser.wait(f"{plot}.classList.contains('js-plotly-plot')")
        assert browser.overflow() <= 0
        browser.js("location.hash = '#feature-0'")
        browser.wait("document.querySelector('dialog').open")
        assert (
            browser.js(
                "const d = document.querySelector('dialog'); return d.scrollWidth - d.clientWidth"
            )
            <= 0
        )
        close(browser)

    def test_figures_follow_the_colour_scheme(self, shown):
        shown.js("document.querySelector('#training').scrollIntoView()")
        ink = "getComputedStyle(document.querySelector('#training .xtick text')).fill"
        light = shown.wait(ink)
        shown.dark()
        shown.wait(lambda: shown.js(f"return {ink}") != light)

    def test_no_figure_is_blank_without_scrolling_or_on_paper(self, shown):
        shown.js(
            "document.querySelectorAll('details').forEach(d => { d.open = true; })"
        )
        shown.wait("document.querySelector('#contrast-list .main-svg')")
        shown.wait(
            "[...document.querySelectorAll('.plot')].every(n => n.querySelector('.main-svg'))"
        )
        widths = (
            "return [...document.querySelectorAll('.plot .main-svg:first-of-type')]"
            ".map(n => Math.round(n.getBoundingClientRect().width))"
        )
        wide = shown.js(widths)
        assert max(wide) > 1000
        shown.dark()
        shown.js("dispatchEvent(new Event('beforeprint'))")
        assert max(shown.js(widths)) < 700
        ink = "return getComputedStyle(document.querySelector('#training .xtick text')).fill"
        assert shown.js(ink) == "rgb(26, 32, 39)"
        table, page = shown.js(
            "return ['#table', '#features'].map(id => nano.$(id).getBoundingClientRect().right)"
        )
        assert table <= page
        shown.js("dispatchEvent(new Event('afterprint'))")
        shown.wait(lambda: shown.js(widths) == wide)
        assert shown.js(ink) == "rgb(230, 234, 239)"
        shown.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        shown.js("nano.$('#finding-list').after(nano.el('button', {}, 'Show 9 more'))")
        assert "Show 9 more" not in shown.text("#findings")
        shown.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    def test_the_map_is_coloured_by_what_is_chosen(self, shown):
        seen = "return document.querySelector('#map-points canvas').toDataURL()"
        pictures = set()
        for i in range(len(shown.all("#map-colour option"))):
            shown.js(
                "const s = document.querySelector('#map-colour'); s.selectedIndex = arguments[0];"
                "s.dispatchEvent(new Event('change'))",
                i,
            )
            shown.wait(lambda: shown.js(seen) not in pictures)
            pictures.add(shown.js(seen))
        assert len(pictures) > 3

    def test_a_run_that_has_just_begun_says_what_to_do(self, browser, tmp_path):
        training_files(tmp_path / "run", TrainConfig(k=3, hidden_size=48))
        browser.open(report(tmp_path / "run"))
        assert (
            "Not in this run yet: the trained model, the features of a corpus"
            in browser.text("#missing")
        )
        assert not browser.find("#features").is_displayed()
        browser.click("#missing summary")
        assert "nanosae train" in browser.text("#missing")

    def test_without_labels_the_most_frequent_come_first_and_dead_ones_say_so(
        self, browser, tmp_path
    ):
        activations = np.array([[1, 0, 2], [0, 0, 3], [0, 0, 4]], np.float32)
        codes = write_codes(tmp_path / "run" / "codes" / "default", activations)
        save_features(tmp_path / "run", describe(codes, texts=False), codes)
        browser.open(report(tmp_path / "run"))
        order = "3 of 3 features, the most frequent first"
        assert browser.text("#count") == order
        labels = ["feature 2", "feature 0", "feature 1"]
        assert [link.text for link in browser.all("#table .link")] == labels
        browser.click("#table tr:nth-child(3) .link")
        browser.wait("document.querySelector('dialog').open")
        assert "0 rows (0 %)" in browser.text("dialog")
        assert "nothing in this corpus activates it" in browser.text("dialog")
