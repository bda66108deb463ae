"""The pages in a real browser: they work from disk, alone, with any text, at any width."""

import pytest

from nanosae.view import pages

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "</script><img src=x onerror=\"document.title = 'owned'\">",
    "<!-- \" ' & &amp; `${1}` \\u003c",
    "שלום עולם ‮ abc",
    "👩‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿 \u2028 \u2029 \x00",
    "https://example.com/x.png?<b>",
]


class TestPolicy:
    def test_texts_survive_embedding(self):
        import json

        assert json.loads(pages.to_json(HOSTILE)) == HOSTILE
        assert "<" not in pages.to_json(HOSTILE)
        assert "\u2028" not in pages.to_json(HOSTILE)

    def test_numbers_become_json(self):
        import numpy as np

        value = {"a": np.float32(0.5), "b": np.arange(2), "c": [1.0, float("nan"), np.inf]}
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
        path.write_text(pages.page("<i>t", "<ul id=out></ul>", data={"texts": HOSTILE}), "utf-8")
        browser.open(path)
        browser.js(
            "for (const t of nano.data('texts')) nano.$('#out').append(nano.el('li', {}, t))"
        )
        shown = browser.js("return [...document.querySelectorAll('li')].map(n => n.textContent)")
        assert shown == HOSTILE
        assert browser.driver.title == "<i>t"

    def test_injected_script_does_not_run_and_nothing_is_loaded(self, browser, tmp_path):
        path = tmp_path / "page.html"
        attack = "<script>document.title = 'owned'</script><img src=https://example.com/a.png>"
        path.write_text(pages.page("t", attack), "utf-8")
        browser.open(path)
        assert browser.driver.title == "t"
        refused = browser.problems()  # said by the policy: the browser would have obeyed
        assert len(refused) >= 2
        assert all("Content Security Policy" in line for line in refused if "request" not in line)

    def test_without_the_policy_the_attack_works(self, browser, tmp_path):
        path = tmp_path / "page.html"
        path.write_text("<title>t</title><script>document.title = 'owned'</script>", "utf-8")
        browser.open(path)
        assert browser.driver.title == "owned"

    def test_plotly_draws_under_the_policy(self, browser, tmp_path):
        path = tmp_path / "page.html"
        text = pages.page("t", "<div id=f class=plot></div>", plotly=True)
        path.write_text(text, "utf-8")
        browser.open(path)
        browser.js("nano.plot(nano.$('#f'), () => ({data: [{y: [1, 3, 2]}], layout: {}}))")
        browser.wait("document.querySelectorAll('#f .scatterlayer path.js-line').length === 1")
