"""Planes of a volume: shown as radiologists look at them, and only where they have an area."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from esegeta.report.planes import Letters, canonical, draw_letters, letters_of, planes_of
from esegeta.volume import volume_from_tensor

LETTERS = {
    "as RAS": np.diag([2.0, 2.0, 2.0, 1.0]),
    "as LPS": np.diag([-2.0, -2.0, 2.0, 1.0]),
    "slices from front to back": np.eye(4)[[0, 2, 1, 3]],
}


def turned(affine: np.ndarray, shape: tuple[int, ...] = (4, 5, 6)) -> list[Letters]:
    volume = volume_from_tensor(torch.zeros(1, *shape), affine=affine)
    _, grid = canonical(volume.data[0], volume)
    return [letters_of(plane, volume, grid) for plane in planes_of(grid.shape)]


@pytest.mark.parametrize("affine", LETTERS.values(), ids=LETTERS)
def test_planes_follow_the_radiological_convention(affine: np.ndarray) -> None:
    axial, coronal, sagittal = turned(affine)
    assert axial == Letters("R", "L", "P", "A")
    assert coronal == Letters("R", "L", "I", "S")
    assert sagittal == Letters("P", "A", "I", "S")


def about_z(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


def test_oblique_planes_have_a_second_letter() -> None:
    axial, coronal, _ = turned(about_z(30))
    # The first axis leads to the right and, by half of that, to the front.
    assert axial == Letters("RA", "LP", "PR", "AL")
    assert coronal == Letters("RA", "LP", "I", "S")
    assert turned(about_z(10))[0] == Letters("R", "L", "P", "A")
    assert turned(about_z(-30))[0] == Letters("RP", "LA", "PL", "AR")


def test_2d_slices_have_the_letters_of_their_grid() -> None:
    coronal = np.array([[2.0, 0, 0, 5], [0, 0, 1, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    assert turned(coronal, (4, 5)) == [Letters("R", "L", "I", "S")]


@pytest.mark.parametrize(
    ("shape", "titles"),
    [
        ((9, 8, 7), ["axial", "coronal", "sagittal"]),
        ((9, 8, 1), ["axial"]),
        ((1, 8, 7), ["sagittal"]),
        ((9, 8), [""]),
    ],
)
def test_axes_of_length_one_give_no_plane(shape: tuple[int, ...], titles: list[str]) -> None:
    assert [plane.title for plane in planes_of(shape)] == titles


def test_the_letter_l_is_legible_at_every_position() -> None:
    """Left would read as inferior: at some heights the foot was rounded to no pixel at all."""
    for step in range(6):
        figure = Figure((2, 2 + 0.013 * (6 + step)), dpi=100, facecolor="black")
        canvas = FigureCanvasAgg(figure)
        axis = figure.add_axes((0.01 * (6 + step) / 3, 0.05, 0.9, 0.9))
        axis.set_axis_off()
        draw_letters(axis, Letters(right="L"))
        canvas.draw()
        columns = np.nonzero(np.asarray(canvas.buffer_rgba())[..., 0] > 90)[1]
        assert np.ptp(columns) >= 3
