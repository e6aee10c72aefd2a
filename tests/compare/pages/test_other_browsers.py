"""Other screens, browsers and reports: nothing of the page is lost where something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.compare.pages import write_report
from esegeta.report import TaskFiles
from esegeta.volume import Grid
from esegeta.volume.nifti import write_nifti
from esegeta.volume.volume import Source
from tests.browser import another, opened, wait_until
from tests.builders import affine_of
from tests.compare.pages.results import PEAK, SHAPE, FakeResults, signed_map
from tests.compare.pages.shown import METHODS, SHOWN, go, num_blue, num_red, shot, slide, value

pytestmark = pytest.mark.slow


def test_nothing_scrolls_sideways_on_a_tablet_or_in_the_dark(browser: Any, report: Path) -> None:
    for width, height, scheme in ((768, 1024, "light"), (1920, 1080, "dark")):
        options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
        with opened(browser, report, **options) as tab:
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert shot(tab).std() > 10


def test_a_single_file_report_works_like_a_folder(browser: Any, tmp_path: Path) -> None:
    root = FakeResults(methods=METHODS).write(tmp_path)
    page = write_report([root], tmp_path / "one.html", single_file=True)
    alone = tmp_path / "elsewhere" / "report.html"
    alone.parent.mkdir()
    page.rename(alone)
    with opened(browser, alone) as tab:
        assert value(tab) == pytest.approx(PEAK, rel=1e-3)
        assert num_red(shot(tab)) > 200
        assert len(tab.requested) == 1 + sum(url.startswith("data:") for url in tab.requested)


def test_without_webgl_2_the_pictures_are_shown(browser: Any, report: Path) -> None:
    with another(browser, "--disable-3d-apis") as blind, opened(blind, report) as tab:
        assert tab.locator("figure.picture:visible img").count() == 1
        assert not tab.locator("#left").is_visible()
        tab.locator("#scores tbody tr").nth(1).click()
        assert "hires_cam" in tab.locator("figure.picture:visible img").get_attribute("alt")


def test_without_scripts_all_pictures_are_shown(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(report.resolve().as_uri(), wait_until="load")
    assert tab.locator("figure.picture:visible").count() == len(METHODS)
    assert tab.locator("#scores tbody tr").count() == len(METHODS)
    context.close()


def test_every_selector_shows_its_choice(browser: Any, tmp_path: Path) -> None:
    failed = {("p2", "spleen", "hires_cam"): "out of memory"}
    results = FakeResults(
        cases=("p1", "p2"), targets=("liver", "spleen"), channels=("t1", "flair"), failed=failed
    )
    page = write_report([results.write(tmp_path)], tmp_path / "out")
    with opened(browser, page) as tab:
        tab.select_option("#scan", label="flair")
        tab.select_option("#case", label="p2")
        wait_until(tab, SHOWN)
        tab.select_option("#target", label="spleen")
        wait_until(tab, SHOWN)
        assert num_red(shot(tab)) > 200
        tab.select_option("#method", label="hires_cam (failed)")
        wait_until(tab, SHOWN)
        assert "No map: out of memory" in tab.locator("#warnings").inner_text()
        assert num_red(shot(tab)) == 0
        assert tab.locator("#value").inner_text() == "–"
        assert shot(tab).std() > 10  # the scan is still there
        # Of no map there is no range to set and no strongest voxel; nor does a slider fail.
        controls = [tab.locator(name) for name in ("#low", "#high", "#strongest", "#component")]
        assert all(control.is_disabled() for control in controls)
        assert tab.locator("#high-text").inner_text() == ""
        slide(tab, "#high", 500)
        tab.keyboard.press("s")
        tab.keyboard.press("c")
        tab.select_option("#case", label="p1")
        wait_until(tab, SHOWN)
        chosen = [tab.locator(f"{name} option:checked").inner_text() for name in SELECTORS]
        assert chosen == ["p1", "spleen", "hires_cam"]
        assert value(tab) == pytest.approx(-PEAK, rel=1e-3)
        assert all(control.is_enabled() for control in controls)


def test_a_map_of_zeros_is_noted_and_a_negative_map_is_blue(browser: Any, tmp_path: Path) -> None:
    root = FakeResults().write(tmp_path)
    source = Source(Grid(SHAPE, FakeResults().affine))
    arrays = {"saliency": 0 * signed_map(), "hires_cam": -np.abs(signed_map())}
    for name, array in arrays.items():
        write_nifti(TaskFiles(root, "torso", "liver", name).map, array, source, intent="estimate")
    with opened(browser, write_report([root], tmp_path / "out")) as tab:
        assert "zero everywhere" in tab.locator("#warnings").inner_text()
        assert tab.locator("#strongest").is_disabled() and tab.locator("#high").is_disabled()
        before = tab.evaluate("window.esegeta.viewer().position()")
        tab.keyboard.press("s")
        tab.keyboard.press("c")
        assert tab.evaluate("window.esegeta.viewer().position()") == before
        tab.select_option("#outline", "none")
        tab.select_option("#method", label="hires_cam")
        wait_until(tab, SHOWN)
        tab.keyboard.press("s")
        tab.wait_for_timeout(150)
        assert value(tab) == pytest.approx(-PEAK, rel=1e-3)
        assert num_blue(shot(tab)) > 200 and num_red(shot(tab)) == 0
        assert "zero everywhere" not in tab.locator("#warnings").inner_text()


SELECTORS = ("#case", "#target", "#method")


def test_the_cross_hair_is_seen_in_small_panels_too(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport={"width": 820, "height": 1180}) as tab:
        tab.select_option("#outline", "none")
        for place in ((12, 17, 14), (5, 16, 13), (9, 15, 12)):
            go(tab, place, affine_of("oblique"))
            picture = shot(tab)
            for tile in tab.evaluate("window.esegeta.viewer().nv.customLayout"):
                part = panel(picture, tile["position"])
                lines = (part[..., 0] > 110) & (part[..., 1] > 110) & (part[..., 2] < 90)
                for axis in (0, 1):
                    assert lines.mean(axis=axis).max() > 0.1, (place, tile, axis)


def panel(picture: np.ndarray, position: list[float]) -> np.ndarray:
    """Return the part of a picture of the canvas at left, top, width and height in parts of it."""
    high, wide = picture.shape[:2]
    left, top = int(position[0] * wide), int(position[1] * high)
    return picture[top : top + int(position[3] * high), left : left + int(position[2] * wide)]


def test_pictures_are_loaded_lazily_if_volumes_are_shown(browser: Any, tmp_path: Path) -> None:
    many = {f"method{number}": "saliency" for number in range(40)}
    root = FakeResults(methods=many).write(tmp_path)
    with opened(browser, write_report([root], tmp_path / "out")) as tab:
        assert sum(url.endswith(".png") for url in tab.requested) < 20


def test_without_scripts_the_pictures_stand_below_each_other(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        tab = context.new_page()
        tab.goto(report.as_uri(), wait_until="commit")
        boxes = [figure.bounding_box() for figure in tab.locator("figure.picture").all()]
        assert len(boxes) == 3
        assert all(box["width"] > 600 for box in boxes)
        assert len({box["y"] for box in boxes}) == 3
    finally:
        context.close()
