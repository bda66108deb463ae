"""Photograph the explorer and the report of the demo for the README.

    python docs/make_screens.py WORK

WORK keeps the demo's run folder, so that a second call only photographs. Needs chromium,
chromedriver, Pillow and umap-learn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from browser import Browser  # noqa: E402 (found by the line before)

PICTURES = ROOT / "docs" / "gallery"
WIDTH, HEIGHT = 1280, 800
COLOURS = 128
SEARCHED = "music"
SETTLING = 2  # seconds in which the map moves


def made_demo(work: Path) -> Path:
    """Return the demo's run folder, made if it is missing."""
    run = work / "glosses"
    if not (run / "report.html").exists():
        subprocess.run([sys.executable, "-m", "nanosae", "demo", "-o", run], check=True)
    return run


def photograph_explorer(browser: Browser, run: Path, picture: Path) -> None:
    """Show the map of the features with the card of one, found by a search."""
    command = [sys.executable, "-m", "nanosae", "explore", str(run)]
    command += ["--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        try:
            browser.open(url)
            browser.wait("document.querySelector('[data-feature]')", 60)
            browser.wait("!document.body.innerText.includes('is being made')", 300)
            browser.click("[data-map=features]")
            browser.type("#words", SEARCHED)
            browser.find("#words").send_keys("\n")
            browser.wait(
                f"document.querySelector('#feature-list').innerText.includes('{SEARCHED}')"
            )
            time.sleep(SETTLING)  # the list is filled again when labels have come
            browser.click("[data-feature] .main")
            browser.wait("document.querySelector('#detail h2')", 60)
            time.sleep(SETTLING)
            browser.picture(picture, whole=False)
        finally:
            server.terminate()


def photograph_report(browser: Browser, run: Path, picture: Path) -> None:
    """Show the first screen of the report."""
    browser.open(run / "report.html")
    browser.wait("document.readyState === 'complete'", 60)
    browser.picture(picture, whole=False)


def shrink(picture: Path) -> None:
    """Keep few colours."""
    few = Image.open(picture).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    run = made_demo(args.work)
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        browser.size(WIDTH, HEIGHT)
        photograph_explorer(browser, run, PICTURES / "explorer.png")
        photograph_report(browser, run, PICTURES / "report.png")
        browser.close()
    for name in ("explorer.png", "report.png"):
        shrink(PICTURES / name)


if __name__ == "__main__":
    main()
