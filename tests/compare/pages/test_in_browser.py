"""The page in a browser, from file://: what is clicked is what is shown, where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.browser import wait_until
from tests.builders import affine_of
from tests.compare.pages.results import ABOVE, BELOW, PEAK
from tests.compare.pages.shown import (
    SHOWN,
    go,
    method,
    num_blue,
    num_red,
    reds,
    shot,
    slide,
    state,
    value,
)

pytestmark = pytest.mark.slow

NOWHERE = (12, 17, 14)
"""In none of its three planes is anything of the blobs."""


def test_the_first_map_is_shown_on_opening(tab: Any) -> None:
    assert state(tab, "shown") == state(tab, "map")
    assert shot(tab).std() > 10
    assert tab.locator("#value").inner_text().startswith("+8")
    assert tab.locator("#meaning").inner_text() == "raises the liver score"
    assert tab.locator("#label-value").inner_text() == "liver"


def test_colours_of_an_oblique_scan_match_the_sign_of_the_map(tab: Any) -> None:
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


def test_sliders_change_the_displayed_range(tab: Any) -> None:
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


def test_table_headers_sort_and_null_rows_and_daggers_are_marked(tab: Any) -> None:
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


def test_the_radiological_convention_is_the_default_and_can_be_switched_off(tab: Any) -> None:
    tab.select_option("#outline", "none")
    go(tab, ABOVE, affine_of("oblique"))
    first = shot(tab)
    tab.uncheck("#radiological")
    tab.wait_for_timeout(200)
    assert centre_of_red(first) != pytest.approx(centre_of_red(shot(tab)), abs=20)


def centre_of_red(picture: np.ndarray) -> float:
    return float(np.nonzero(reds(picture))[1].min())
