"""The report in a real browser, as a phone shows it."""

import pytest

from nanosae.view.report import cards, collect
from nanosae.view.report.render import report

pytestmark = pytest.mark.slow

SMALL = """
const inLine = "td .link, a.link";  // its line of the table is what a finger meets
return [...document.querySelectorAll("button, select, input, summary")]
  .filter((node) => node.checkVisibility() && !node.matches(inLine))
  .filter((node) => node.getBoundingClientRect().height < 40)
  .map((node) => node.outerHTML.slice(0, 100));
"""


@pytest.fixture
def phone(browser, run):
    browser.size(390, 844)
    browser.open(report(run))
    browser.wait("document.querySelector('#table tbody tr')")
    return browser


@pytest.mark.parametrize("dark", [False, True])
def test_all_of_it_fits_can_be_read_and_touched(phone, dark):
    phone.dark(dark)
    assert phone.overflow() == 0
    assert [line for line in phone.contrasts() if line[0] < 4.5] == []
    assert phone.js(SMALL) == []
    pale = "#555" if dark else "#aaa"  # which is not enough
    phone.js(f"document.documentElement.style.setProperty('--muted', '{pale}')")
    assert min(phone.contrasts())[0] < 4.5


def test_a_card_opens_and_the_back_button_closes_it(phone):
    phone.click("#table tbody .link")
    phone.wait("document.querySelector('dialog[open] .texts li')")
    assert phone.js("return location.hash").startswith("#feature-")
    assert [line for line in phone.contrasts() if line[0] < 4.5] == []
    phone.js("history.back()")
    phone.wait("!document.querySelector('dialog[open]')")


def test_a_card_that_comes_late_does_not_open(phone):
    phone.js(
        "const real = nano.unpack; nano.unpack = (name) =>"
        " new Promise((done) => { window.give = () => done(real(name)); })"
    )
    phone.click("#table tbody .link")
    phone.wait("typeof give === 'function'")
    phone.js("location.hash = '#top'")
    phone.js("give()")
    phone.settle()
    assert not phone.js("return document.querySelector('dialog[open]') !== null")


UNPACKED_TOGETHER = """
const [delay, a, b, done] = arguments;
const real = nano.unpack, names = ["cards-0", "cards-1"];
const event = () => new Promise((next) => addEventListener("hashchange", next, {once: true}));
const go = async (hash) => { const changed = event(); location.hash = hash; await changed; };
(async () => {
  const blocks = Object.fromEntries(await Promise.all(names.map(async (n) => [n, await real(n)])));
  let open;
  const gate = new Promise((next) => { open = next; });
  nano.unpack = async (name) => {
    await gate;
    for (let i = 0; name === names[1] && i < delay; i++) await null;
    return blocks[name];
  };
  for (const feature of [a, b, a]) await go(`#feature-${feature}`);
  open();
  setTimeout(() => done(Object.values(blocks["cards-0"].texts)));
})();
"""


@pytest.mark.parametrize("delay", range(3))
def test_a_card_shows_its_own_texts_though_another_block_comes_with_it(
    browser, run, monkeypatch, delay
):
    monkeypatch.setattr(collect, "CARDS_PER_BLOCK", 4)
    monkeypatch.setattr(cards, "CARDS_PER_BLOCK", 4)
    browser.open(report(run))
    features = browser.js("return nano.data('features').feature")
    texts = browser.driver.execute_async_script(
        UNPACKED_TOGETHER, delay, features[0], features[4]
    )
    shown = browser.js(
        "return [...document.querySelectorAll('dialog .texts .text')].map(n => n.textContent)"
    )
    assert shown
    assert set(shown) <= set(texts)


def test_the_figure_of_a_comparison_leaves_room_for_its_points(phone):
    phone.js("for (const box of document.querySelectorAll('details')) box.open = true")
    phone.wait("document.querySelector('#contrast-list .plot .xy')")
    plane, figure = phone.js(
        "const {xaxis, width} = document.querySelector('#contrast-list .plot')._fullLayout;"
        "return [xaxis._length, width]"
    )
    assert plane > 0.4 * figure
    assert phone.overflow() == 0


def test_only_all_is_100_percent(browser, run):
    browser.open(report(run))
    shown = browser.js("return [0, 0.25, 0.9949, 0.9997, 1, null].map(nano.percent)")
    assert shown == ["0 %", "25 %", "99.5 %", "over 99.9 %", "100 %", "–"]
    shown = browser.js(
        "const { rows } = nano.report.facts.corpus;"
        "return [0.113, 0.996, 0.9997, 1].map((share) => nano.report.shareOf(share * rows))"
    )
    assert shown == ["11\u00a0%", "99.6\u00a0%", "over 99.9\u00a0%", "100\u00a0%"]


def test_a_column_is_sorted_by_what_it_shows(browser, run):
    browser.open(report(run))
    for column in ("Topic", "Family"):
        browser.js(
            "[...document.querySelectorAll('#table th button')]"
            ".find((head) => head.textContent === arguments[0]).click()",
            column,
        )
        browser.js("document.querySelector('#more').click()")  # all of them
        shown = browser.js(
            "const heads = [...document.querySelectorAll('#table th')];"
            "const place = heads.findIndex((head) => head.textContent === arguments[0]);"
            "return [...document.querySelectorAll('#table tbody tr')]"
            ".map((line) => line.children[place].textContent)",
            column,
        )
        named = [name for name in shown if name != "–"]
        assert len(set(named)) > 1
        assert shown == named + ["–"] * (len(shown) - len(named))  # missing ones last
        in_order = browser.js(
            "return [...arguments[0]].sort((a, b) => a.localeCompare(b))", named
        )
        assert named == in_order
