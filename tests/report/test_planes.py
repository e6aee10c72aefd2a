"""Planes of a volume: shown as radiologists look at them, and only where they have an area."""

import pytest

from esegeta.report.planes import PLANES_3D, planes_of


def test_planes_are_shown_as_radiologists_look_at_them() -> None:
    letters = {plane.title: (plane.ends, plane.mirrored) for plane in PLANES_3D}
    assert letters["axial"] == letters["coronal"] == (("R", "L"), True)
    assert letters["sagittal"] == (("P", "A"), False)


@pytest.mark.parametrize(
    ("shape", "titles"),
    [
        ((9, 8, 7), ["axial", "coronal", "sagittal"]),
        ((9, 8, 1), ["axial"]),
        ((1, 8, 7), ["sagittal"]),
        ((9, 8), [""]),
    ],
)
def test_planes_have_an_area(shape: tuple[int, ...], titles: list[str]) -> None:
    assert [plane.title for plane in planes_of(shape)] == titles
