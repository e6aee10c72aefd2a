"""Take the pictures of the report that the docs show, from the demo's results.

python scripts/report_pictures.py results/demo docs/images
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from esegeta.compare.pages import report_place, write_report

SIZE = {"width": 1280, "height": 860}
PICTURES = (("report", "light", ""), ("report_compare", "dark", "hires_cam"))
"""Name, colours, and the method beside the first."""


def choose(tab: Any, name: str, label: str) -> None:
    """Choose an entry of a selector, and wait until it is shown."""
    tab.select_option(name, label=label)
    tab.wait_for_selector("#viewer[aria-busy=false]")
    tab.wait_for_timeout(1000)


def take(page: Path, folder: Path) -> None:
    """Write report.png, one map, and report_compare.png, two of them in the dark."""
    chromium = shutil.which("chromium")
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        for name, scheme, other in (
            ("report", "light", ""),
            ("report_compare", "dark", "hires_cam"),
        ):
            tab = browser.new_page(viewport=SIZE, color_scheme=scheme)
            tab.goto(page.resolve().as_uri(), wait_until="commit")
            tab.wait_for_selector("body[data-ready]", state="attached", timeout=120_000)
            choose(tab, "#method", "integrated_gradients")
            if other:
                choose(tab, "#other", other)
            tab.screenshot(path=folder / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    run, images = Path(sys.argv[1]), Path(sys.argv[2])
    take(write_report([run], report_place([run])), images)
