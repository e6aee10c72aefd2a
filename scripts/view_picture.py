"""Take the picture of the live page that the docs show, from the shipped CT.

python scripts/view_picture.py docs/images
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.view_rows import CONFIG, TOKEN, served
from esegeta.config import load_config
from esegeta.view import open_session
from esegeta.workflow import Silence, build_predictions

SIZE = {"width": 1280, "height": 860}
ACROSS, DOWN = 0.22, 0.5
"""Where the picture is clicked, within the canvas: the liver."""


def take(folder: Path) -> None:
    """Write view.png: a click into the liver, explained."""
    with tempfile.TemporaryDirectory() as kept:
        experiment = build_predictions(load_config(CONFIG, []), output=Path(kept))
        session = open_session(experiment, Silence())
        with served(session) as address, sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--enable-unsafe-swiftshader"],
            )
            tab = browser.new_page(viewport=SIZE)
            tab.goto(f"{address}/?token={TOKEN}", wait_until="commit")
            tab.wait_for_selector("body[data-live][data-shown=none]", state="attached")
            box = tab.locator("#left canvas").bounding_box()
            tab.mouse.click(box["x"] + ACROSS * box["width"], box["y"] + DOWN * box["height"])
            tab.wait_for_selector("body[data-shown=a1][data-work=false]", state="attached")
            tab.evaluate("window.scrollTo(0, 0)")
            tab.wait_for_timeout(500)
            tab.screenshot(path=folder / "view.png")
            browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
