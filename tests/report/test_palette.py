"""Colours of maps: they hold on bright and on dark tissue, and for colour-blind eyes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from esegeta.report.palette import OPACITY, colours_of, draw_bar_in, over_grey, widest_tick
from esegeta.report.style import new_figure
from esegeta.volume import Display

SIGNED, STRENGTH = Display(0.02, 2.0, is_signed=True), Display(0.02, 2.0, is_signed=False)

DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
"""On linear RGB. Source: Machado, Oliveira and Fernandes, 2009, severity 1."""

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab_seen_by_deuteranopes(colour: np.ndarray) -> np.ndarray:
    """Return CIELAB of an sRGB colour in 0..1 as deuteranopes see it."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    seen = TO_XYZ @ np.clip(DEUTERANOPIA @ linear, 0, 1) / (TO_XYZ @ np.ones(3))
    f = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the difference of two colours to deuteranopes (CIE 1976; 2.3 can just be seen)."""
    return float(np.linalg.norm(lab_seen_by_deuteranopes(one) - lab_seen_by_deuteranopes(other)))


def seen(value: float, display: Display, grey: float) -> np.ndarray:
    """Return what a renderer paints of one value over a grey, sampled from its pixels."""
    figure = new_figure((0.4, 0.4), layout=None)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.imshow(np.full((1, 1), grey), cmap="gray", vmin=0, vmax=1)
    axis.imshow(colours_of(np.full((1, 1), value), display))
    return pixel(figure)


def pixel(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    array = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    return array[array.shape[0] // 2, array.shape[1] // 2, :3] / 255


@pytest.mark.parametrize("grey", [0.0, 0.35, 0.7, 1.0])
def test_red_and_blue_are_distinct_on_every_grey(grey: float) -> None:
    tissue = np.full(3, grey)
    for strength in (1.0, 2.0):
        red, blue = (seen(sign * strength, SIGNED, grey) for sign in (1, -1))
        assert apart(red, blue) > 40
        assert min(apart(red, tissue), apart(blue, tissue)) > 15
        assert apart(seen(strength, STRENGTH, grey), tissue) > 15


def test_painted_colours_equal_the_colour_map() -> None:
    for value in (-1.5, 0.4, 2.0):
        expected = over_grey(colours_of(np.array([value]), SIGNED), 0.7)[0]
        np.testing.assert_allclose(seen(value, SIGNED, 0.7), expected, atol=0.012)


@pytest.mark.parametrize("display", [SIGNED, STRENGTH])
def test_opacity_rises_with_the_magnitude_and_dust_is_clear(display: Display) -> None:
    values = np.array([0.0, 0.019, 0.021, 0.1, 0.5, 1.0, 2.0, 50.0])
    opacity = colours_of(values, display)[:, 3]
    assert opacity[:2].tolist() == [0.0, 0.0]
    assert (np.diff(opacity[1:-1]) > 0).all()
    assert opacity[-2] == opacity[-1] == OPACITY
    # (|v| / high)^0.7, by hand at a quarter: 0.85 * 0.25^0.7
    assert opacity[4] == pytest.approx(0.3221, abs=1e-4)


def test_signed_maps_use_no_white() -> None:
    for value in np.linspace(-2, 2, 41):
        assert colours_of(np.array([value]), SIGNED)[0, :3].min() < 0.2


def test_a_map_of_zeros_is_transparent() -> None:
    nothing = Display(0.0, 0.0, is_signed=True)
    assert not colours_of(np.zeros((2, 3)), nothing)[..., 3].any()


@pytest.mark.parametrize(("display", "ticks"), [(SIGNED, ["−2", "0", "2"]), (STRENGTH, ["0", "2"])])
def test_the_bar_has_two_sides_only_for_signed_maps(display: Display, ticks: list[str]) -> None:
    axis = new_figure((1, 2)).add_subplot()
    draw_bar_in(axis, display)
    assert [text.get_text() for text in axis.get_yticklabels()] == ticks
    bar = np.asarray(axis.images[0].get_array())
    top = over_grey(colours_of(np.array([2.0]), display), 0.92)[0]
    np.testing.assert_allclose(bar[-1, 1], top)


def test_room_beside_a_bar_is_for_its_longest_number() -> None:
    assert widest_tick(SIGNED) == len("−2")
    assert widest_tick(STRENGTH) == 1
    assert widest_tick(Display(0.0, 1.22e-4, is_signed=True)) == len("−1.22e−4")
