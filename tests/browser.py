"""A headless Chromium for the tests of pages: what it shows, says and whom it calls."""

import base64
import contextlib
import json
import shutil
import time
from pathlib import Path

FLAGS = [
    "headless=new",
    "no-sandbox",
    "no-first-run",
    "use-angle=swiftshader",
    "enable-unsafe-swiftshader",
    "disable-dev-shm-usage",
    "disable-background-networking",
    "disable-component-update",
    "disable-default-apps",
    "disable-sync",
    "hide-scrollbars",
    "disable-gpu-compositing",
]


def missing():
    """Say what is needed and not there; None if all is."""
    lacking = [
        name for name in ("chromium", "chromedriver") if shutil.which(name) is None
    ]
    return f"{' and '.join(lacking)} not installed" if lacking else None


CONTRASTS = r"""
const rgb = (text) => text.match(/[\d.]+/g).map(Number);
const over = (top, below) => {  // a colour with some opacity above an opaque one
  const alpha = top[3] ?? 1;
  return below.map((value, i) => alpha * top[i] + (1 - alpha) * value);
};
const backgroundOf = (node) => {
  if (!node) return [255, 255, 255];
  return over(rgb(getComputedStyle(node).backgroundColor), backgroundOf(node.parentElement));
};
const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const luminance = (color) => {
  const [r, g, b] = color.map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const isQuiet = ":disabled, .visually-hidden, option, script, style";
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const words = [...node.childNodes].filter((child) => child.nodeType === 3);
  const text = words.map((child) => child.textContent).join("").trim();
  if (!text || !node.checkVisibility() || node.closest(isQuiet)) continue;
  const background = backgroundOf(node);
  const ink = over(rgb(getComputedStyle(node).color), background);
  const [dark, light] = [luminance(ink), luminance(background)].sort((a, b) => a - b);
  found.push([(light + 0.05) / (dark + 0.05), [...text].slice(0, 40).join("")]);
}
return found;
"""

UNDER_WAY = r"""
(() => {
  const LONG = 1000;  // milliseconds: a longer timer repeats something, and is not waited for
  const [later, frame] = [setTimeout, requestAnimationFrame];
  const underWay = new Set();
  const begin = () => {
    const token = {};
    underWay.add(token);
    return () => underWay.delete(token);
  };

  /** A function whose promise is under way until all that follows from it has begun. */
  const counted = (real) => function (...args) {
    const end = begin();
    const promise = real.apply(this, args);
    promise.finally(() => later(end)).catch(() => {});
    return promise;
  };
  window.fetch = counted(fetch);
  for (const read of ["arrayBuffer", "json", "text"]) {
    Response.prototype[read] = counted(Response.prototype[read]);
  }

  /** A timer, or a request for a frame, that is under way until it has run or was cancelled. */
  const awaited = (startName, cancelName, isCounted) => {
    const [start, cancel] = [window[startName], window[cancelName]];
    const ends = new Map();
    window[startName] = (act, ...more) => {
      if (!isCounted(...more)) return start(act, ...more);
      const end = begin();
      const id = start((...args) => { end(); ends.delete(id); act(...args); }, ...more);
      ends.set(id, end);
      return id;
    };
    window[cancelName] = (id) => {
      ends.get(id)?.();
      ends.delete(id);
      cancel(id);
    };
  };
  awaited("setTimeout", "clearTimeout", (wait = 0) => wait < LONG);
  awaited("requestAnimationFrame", "cancelAnimationFrame", () => true);

  for (const step of ["back", "forward"]) {
    const real = history[step];
    history[step] = () => {
      addEventListener("popstate", begin(), { once: true });
      real.call(history);
    };
  }

  /** Call back when nothing is under way, also after frames that tell of new sizes. */
  window.whenSettled = (done) => {
    const look = () => (underWay.size ? later(look, 10) : frame(() => frame(lookAgain)));
    const lookAgain = () => later(() => (underWay.size ? look() : done()));
    look();
  };
})();
"""


class Browser:
    """One window. Requests that leave the machine are refused, and remembered like errors."""

    def __init__(self, profile):
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in FLAGS:
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={profile}")
        options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        options.set_capability(
            "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
        )
        self.driver = Chrome(options, Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(60)
        self.driver.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument", {"source": UNDER_WAY}
        )
        self.size()
        self.dark(False)

    def open(self, page):
        """Load a file (a Path) or a URL, with nothing remembered of the page before."""
        self.driver.get("about:blank")
        self.problems()
        self.driver.get(page.absolute().as_uri() if isinstance(page, Path) else page)

    def size(self, width=1280, height=900):
        """Set the page's width and height in CSS pixels; below 600 it is a phone."""
        metrics = {
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": width < 600,
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def dark(self, on=True):
        """Prefer the dark colour scheme, or the light one."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def js(self, code, *args):
        """Run the body of a function in the page; return what it returns."""
        return self.driver.execute_script(code, *args)

    def find(self, selector):
        """Return the first element of a CSS selector, as Selenium has it."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        """Return all elements of a CSS selector."""
        return self.driver.find_elements("css selector", selector)

    def text(self, selector):
        """Return what an element shows."""
        return self.find(selector).text

    def click(self, selector):
        """Bring an element into view and click it."""
        node = self.find(selector)
        self.js(
            "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", node
        )
        node.click()

    def type(self, selector, words):
        """Replace the value of a field."""
        node = self.find(selector)
        node.clear()
        node.send_keys(words)

    def slide(self, selector, value):
        """Set a range input and tell the page."""
        self.js(
            "const [s, v] = arguments, n = document.querySelector(s); n.value = v;"
            "for (const e of ['input', 'change']) n.dispatchEvent(new Event(e, {bubbles: true}))",
            selector,
            value,
        )

    def wait(self, condition, seconds=20):
        """Wait until the JavaScript expression, or the function of no argument, is true."""
        end, met = time.monotonic() + seconds, None
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                met = (
                    condition()
                    if callable(condition)
                    else self.js(f"return {condition}")
                )
                if met:
                    return met
            time.sleep(0.05)
        raise AssertionError(f"not true within {seconds} s: {condition}")

    def settle(self):
        """Wait until no question, short timer, frame or step in history is under way."""
        self.driver.execute_async_script("whenSettled(arguments[0])")

    def contrasts(self):
        """Return [contrast, text] of all words that are shown, by WCAG's relative luminance."""
        return self.js(CONTRASTS)

    def overflow(self):
        """Return by how many pixels the page is wider than the window."""
        return self.js(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def picture(self, path, whole=True):
        """Save a PNG of the whole page, or of what is in view."""
        options = {"captureBeyondViewport": whole}
        if whole:
            size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})[
                "cssContentSize"
            ]
            options["clip"] = {**size, "height": min(size["height"], 12000), "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def problems(self):
        """Return console errors and requests that leave the machine, since the last call."""
        console = self.driver.get_log("browser")
        found = [entry["message"] for entry in console if entry["level"] == "SEVERE"]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(
                    ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")
                ):
                    found.append(f"request to {url}")
        return found

    def close(self):
        """End the browser."""
        self.driver.quit()
