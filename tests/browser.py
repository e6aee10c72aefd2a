"""A browser for tests of the report: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader"]
"""Root may run it, and WebGL 2 is there without a graphics card."""

READY = "body[data-ready]"
PATIENCE_MS, POLL_MS = 60_000, 50


def chromium() -> str:
    """Return the browser's path, or skip the test."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no chromium on this machine; `apt-get install chromium` runs this test")
    return path


@contextmanager
def started() -> Iterator[Any]:
    """Yield a browser, or skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def another(browser: Any, *arguments: str) -> Iterator[Any]:
    """Yield a second browser, started with further arguments."""
    kind = browser.browser_type
    second = kind.launch(executable_path=chromium(), args=[*ARGUMENTS, *arguments])
    try:
        yield second
    finally:
        second.close()


def wait_until(tab: Any, condition: str) -> None:
    """Wait for a condition of the page, whose policy lets no text be run as a script."""
    for _ in range(PATIENCE_MS // POLL_MS):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(POLL_MS)
    raise AssertionError(f"never: {condition}")


@contextmanager
def opened(browser: Any, page: Path, **options: Any) -> Iterator[Any]:
    """Yield a report's page once it can be used; nothing may be asked of any network."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()
    tab.requested, tab.faults = [], []
    tab.on("request", lambda request: tab.requested.append(request.url))
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.on("console", lambda message: _note(tab.faults, message))
    try:
        tab.goto(page.resolve().as_uri(), wait_until="commit")
        tab.wait_for_selector(READY, state="attached")
        yield tab
        assert not tab.faults, tab.faults
        foreign = [url for url in tab.requested if not url.startswith(("file:", "data:", "blob:"))]
        assert not foreign, foreign
    finally:
        context.close()


def _note(faults: list[str], message: Any) -> None:
    if message.type == "error":
        faults.append(message.text)
