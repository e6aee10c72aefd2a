"""The page in a browser, from file://: what is clicked is what is shown, where it belongs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from esegeta.compare.pages import write_report
from esegeta.report import TaskFiles
from esegeta.volume import Grid
from esegeta.volume.nifti import write_nifti
from esegeta.volume.volume import Source
from tests.browser import another, opened, started, wait_until
from tests.builders import affine_of
from tests.compare.pages.results import ABOVE, BELOW, PEAK, SHAPE, FakeResults, signed_map

pytestmark = pytest.mark.slow

NOWHERE = (12, 17, 14)
"""In none of its three planes is anything of the blobs."""

METHODS = {"saliency": "saliency", "hires_cam": "hires_cam", "noise": "random_map"}
SCORES = {
    ("torso", "liver", "saliency", "deletion"): 0.4,
    ("torso", "liver", "hires_cam", "deletion"): 0.2,
    ("torso", "liver", "noise", "deletion"): 0.3,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    root = FakeResults(methods=METHODS, scores=SCORES, affine=affine_of("oblique")).write(folder)
    return write_report([root], folder / "out")


@pytest.fixture
def tab(browser: Any, report: Path) -> Iterator[Any]:
    with opened(browser, report) as page:
        yield page


def go(tab: Any, voxel: tuple[int, int, int], affine: np.ndarray) -> None:
    place = (affine @ [*voxel, 1.0])[:3].tolist()
    tab.evaluate("(mm) => window.esegeta.go(mm)", place)
    tab.wait_for_timeout(150)


def shot(tab: Any) -> np.ndarray:
    """Return the canvas as numbers: rows x columns x (red, green, blue)."""
    content = tab.locator("#left canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def reds(picture: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (red - green > 60) & (red - blue > 60)


def num_red(picture: np.ndarray) -> int:
    return int(reds(picture).sum())


def num_blue(picture: np.ndarray) -> int:
    red, _, blue = np.moveaxis(picture, -1, 0)
    return int((blue - red > 60).sum())


SHOWN = "document.body.dataset.shown === document.body.dataset.map"


def method(tab: Any) -> str:
    return str(tab.locator("#method option:checked").inner_text())


def state(tab: Any, name: str) -> str:
    return str(tab.evaluate("(name) => document.body.dataset[name]", name))


def test_the_first_picture_comes_by_itself(tab: Any) -> None:
    assert state(tab, "shown") == state(tab, "map")
    assert shot(tab).std() > 10
    assert tab.locator("#value").inner_text().startswith("+8")
    assert tab.locator("#meaning").inner_text() == "raises the liver score"
    assert tab.locator("#label-value").inner_text() == "liver"


def test_red_is_above_zero_and_blue_below_where_the_map_is_so_in_an_oblique_scan(tab: Any) -> None:
    tab.select_option("#outline", "none")
    for voxel, is_above in ((ABOVE, True), (BELOW, False)):
        go(tab, voxel, affine_of("oblique"))
        assert tab.locator("#value").get_attribute("data-sign") == (
            "above" if is_above else "below"
        )
        assert value(tab) == pytest.approx(PEAK if is_above else -0.9 * PEAK, rel=1e-3)
        picture = shot(tab)
        red, blue = num_red(picture), num_blue(picture)
        assert (red > 4 * blue, blue > 4 * red) == (is_above, not is_above), (red, blue)
        assert max(red, blue) > 200
    # Between the blobs there is dust, and nothing of it is seen.
    go(tab, NOWHERE, affine_of("oblique"))
    assert num_red(shot(tab)) == num_blue(shot(tab)) == 0
    assert tab.locator("#meaning").inner_text() == "close to zero"


def value(tab: Any) -> float:
    return float(tab.locator("#value").inner_text().split()[0].replace("−", "-"))


def test_a_click_on_a_row_shows_its_map(tab: Any) -> None:
    go(tab, ABOVE, affine_of("oblique"))
    assert num_red(shot(tab)) > 200
    row = tab.locator("#scores tbody tr", has_text="hires_cam")
    row.click()
    wait_until(tab, SHOWN)
    assert method(tab) == "hires_cam"
    assert row.get_attribute("aria-selected") == "true"
    # Its map is the other's with the sign turned, and the cross-hair stays.
    tab.wait_for_timeout(150)
    assert value(tab) == pytest.approx(-PEAK, rel=1e-3)
    assert tab.locator("#meaning").inner_text() == "lowers it (red: raises the liver score)"
    assert num_blue(shot(tab)) > 200


def test_rows_and_buttons_answer_to_keys(tab: Any) -> None:
    row = tab.locator("#scores tbody tr").nth(1)
    row.focus()
    tab.keyboard.press("Enter")
    wait_until(tab, SHOWN)
    assert row.get_attribute("aria-selected") == "true"
    tab.keyboard.press("n")
    tab.wait_for_function(
        "document.querySelector('#method option:checked').textContent === 'noise'"
    )
    tab.keyboard.press("p")
    tab.wait_for_function(
        "document.querySelector('#method option:checked').textContent !== 'noise'"
    )
    tab.locator("#left canvas").focus()
    before = tab.evaluate("window.esegeta.viewer().position()")
    tab.keyboard.press("PageUp")
    after = tab.evaluate("window.esegeta.viewer().position()")
    assert not np.allclose(before, after)


def test_sliders_change_what_is_coloured(tab: Any) -> None:
    tab.select_option("#outline", "none")
    go(tab, ABOVE, affine_of("oblique"))
    tab.uncheck("#fade")
    first, high = num_red(shot(tab)), float(state(tab, "high"))
    slide(tab, "#high", 1000)
    assert float(state(tab, "high")) == pytest.approx(2 * high)
    slide(tab, "#low", 110)  # above the blob's 0.8 of the peak
    assert float(state(tab, "low")) == pytest.approx(1.1 * high)
    assert 0 < num_red(shot(tab)) < first / 3
    tab.check("#fade")
    slide(tab, "#low", 110)
    tab.wait_for_timeout(200)
    assert first / 3 < num_red(shot(tab))  # the same values are faint now, not gone
    tab.click("#reset")
    slide(tab, "#high", 0)
    assert float(state(tab, "high")) == pytest.approx(high / 50)
    assert tab.locator("#high-text").inner_text() != ""
    tab.click("#reset")
    slide(tab, "#opacity", 0)
    assert num_red(shot(tab)) == 0


def slide(tab: Any, name: str, place: int) -> None:
    tab.locator(name).evaluate(
        "(input, place) => { input.value = place; input.dispatchEvent(new Event('input')); }", place
    )
    tab.wait_for_timeout(200)


def test_the_strongest_voxel_and_the_next_component_are_found(tab: Any) -> None:
    go(tab, NOWHERE, affine_of("oblique"))
    tab.click("#strongest")
    assert voxel(tab) == pytest.approx(ABOVE, abs=0.01)
    slide(tab, "#low", 100)
    found = []
    for _ in range(3):
        tab.click("#component")
        found.append(tuple(np.round(voxel(tab)).astype(int)))
    assert found == [ABOVE, BELOW, ABOVE]
    assert tab.locator("#component-text").inner_text() == "1 of 2"


def voxel(tab: Any) -> np.ndarray:
    place = tab.evaluate("window.esegeta.viewer().position()")
    return (np.linalg.inv(affine_of("oblique")) @ [*place, 1.0])[:3]


def test_two_methods_stand_side_by_side_with_one_cross_hair(tab: Any) -> None:
    tab.select_option("#other", label="hires_cam")
    tab.wait_for_selector("#right:not([hidden])")
    wait_until(tab, "document.querySelector('#viewer').getAttribute('aria-busy') === 'false'")
    go(tab, BELOW, affine_of("oblique"))
    places = tab.evaluate("[window.esegeta.viewer().position(), window.esegeta.other().position()]")
    assert places[0] == pytest.approx(places[1], abs=0.01)
    assert tab.locator("#beside-value").inner_text().startswith("+7.2")
    assert tab.locator("#value").inner_text().startswith("−7.2")
    box = tab.locator("#right canvas").bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    tab.wait_for_timeout(300)
    places = tab.evaluate("[window.esegeta.viewer().position(), window.esegeta.other().position()]")
    assert places[0] == pytest.approx(places[1], abs=0.01)
    assert not np.allclose(places[0], (affine_of("oblique") @ [*BELOW, 1.0])[:3])


def test_heads_sort_and_null_rows_and_daggers_are_marked(tab: Any) -> None:
    head = tab.locator("#scores th", has_text="deletion")
    assert names(tab) == ["saliency", "hires_cam", "noise"]
    head.locator("button").click()
    assert (names(tab), head.get_attribute("aria-sort")) == (
        ["hires_cam", "noise", "saliency"],
        "ascending",
    )
    head.locator("button").click()
    assert names(tab) == ["saliency", "noise", "hires_cam"]
    null = tab.locator("#scores tr.null td").first
    assert null.evaluate("(cell) => getComputedStyle(cell).fontStyle") == "italic"
    assert tab.locator("#scores td", has_text="†").all_inner_texts() == ["0.4 †"]


def names(tab: Any) -> list[str]:
    return list(tab.locator("#scores tbody tr td:nth-child(3)").all_inner_texts())


def test_left_is_the_patient_s_right_until_it_is_said_otherwise(tab: Any) -> None:
    tab.select_option("#outline", "none")
    go(tab, ABOVE, affine_of("oblique"))
    first = shot(tab)
    tab.uncheck("#radiological")
    tab.wait_for_timeout(200)
    assert centre_of_red(first) != pytest.approx(centre_of_red(shot(tab)), abs=20)


def centre_of_red(picture: np.ndarray) -> float:
    return float(np.nonzero(reds(picture))[1].min())


def test_nothing_scrolls_sideways_on_a_tablet_or_in_the_dark(browser: Any, report: Path) -> None:
    for width, height, scheme in ((768, 1024, "light"), (1920, 1080, "dark")):
        options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
        with opened(browser, report, **options) as tab:
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert shot(tab).std() > 10


def test_one_file_works_as_the_folder_does(browser: Any, tmp_path: Path) -> None:
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


def test_every_selector_leads_to_what_it_names(browser: Any, tmp_path: Path) -> None:
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


def test_a_map_of_nothing_says_so_and_one_below_zero_is_blue(browser: Any, tmp_path: Path) -> None:
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


def test_pictures_are_left_for_later_where_volumes_are_shown(browser: Any, tmp_path: Path) -> None:
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
