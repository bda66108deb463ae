"""What a person sees and does on the explorer's page, for its tests in a browser."""

import json
from itertools import pairwise

import numpy as np
from selenium.webdriver import ActionChains

CARD = "document.querySelector('#detail .kicker .star')"
ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Page:
    """What a person sees and does."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url
        self.js, self.wait, self.click = browser.js, browser.wait, browser.click
        self.settle = browser.settle

    def open(self, **view):
        """Load a view; `view` is what the address holds."""
        parts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in view.items()}
        query = self.js("return `#${new URLSearchParams(arguments[0])}`", parts)
        self.browser.open(self.url + query)
        self.settle()

    def shown(self, selector):
        return self.js(
            "return [...document.querySelectorAll(arguments[0])].map(n => n.textContent)",
            selector,
        )

    def view(self):
        """What the address holds."""
        return self.js(
            "return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"
        )

    def count(self):
        self.settle()
        return int(self.browser.text("#rows-title").split()[0].replace(",", ""))

    def ink(self):
        """How many pixels of the map are not empty, and a number that changes with the picture."""
        return self.js(
            "const c = document.querySelector('#plane canvas'), d = c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data; let n = 0, s = 0;"
            "for (let i = 3; i < d.length; i += 4) if (d[i]) { n++;"
            " s = (s * 31 + d[i - 3] + 7 * d[i - 2] + 13 * d[i - 1] + i) % 1000003; } return [n, s]"
        )

    def drag(self, corners):
        """Draw with the mouse from corner to corner, in pixels from the canvas' middle."""
        canvas = self.browser.find("#plane canvas")
        act = ActionChains(self.browser.driver, duration=20)
        act.move_to_element_with_offset(canvas, *corners[0]).click_and_hold()
        for (a, b), (c, d) in pairwise(corners):
            for step in (0.25, 0.5, 0.75, 1):
                act.move_to_element_with_offset(
                    canvas, int(a + step * (c - a)), int(b + step * (d - b))
                )
        act.release().perform()

    def hold(self, kind, asked=True):
        """Keep back the answers to questions of a kind, or the questions, until `let_go`."""
        self.js(
            "const [kind, asked] = arguments, real = window.fetch;"
            "window.held = [];"
            "window.fetch = async (url, options = {}) => {"
            "  if (!held || !url.includes(kind)) return real(url, options);"
            "  const answer = asked ? await real(url, options) : null;"
            "  return new Promise((done, fail) => {"
            "    const { signal } = options;"
            "    held?.push(() => signal?.aborted || done(answer ?? real(url, options)));"
            "    if (!held) done(answer);"
            "    signal?.addEventListener('abort', () =>"
            "      fail(new DOMException('', 'AbortError'))); }); }",
            kind,
            asked,
        )

    def wait_held(self, n=1):
        """Wait until so many answers are kept back."""
        self.wait(f"held.length === {n}")

    def let_go(self):
        """Hand out the answers that were kept back, and keep back no others."""
        self.js("for (const hand_out of held) hand_out(); window.held = null")
        self.settle()

    def go(self, **changes):
        """Change the view as a click does."""
        self.js(
            "return import('/static/explore-page.js').then(({go}) => go(arguments[0]))",
            changes,
        )

    def step(self, by):
        """Go "back" or "forward" in the history."""
        self.js(f"history.{by}()")
        self.settle()


def dense(explorer):
    return explorer.codes.rows(0, explorer.codes.n_rows).toarray()


def two_together(explorer):
    on = (dense(explorer) > 0).astype(int)
    both = np.triu(on.T @ on, 1)
    both[(both >= on.sum(0)) | (both >= on.sum(0)[:, None])] = (
        0  # neither implies the other
    )
    return [int(j) for j in np.unravel_index(both.argmax(), both.shape)]
