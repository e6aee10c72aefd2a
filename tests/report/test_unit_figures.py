"""Figures of units: which slices they show, and that what is marked is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from esegeta.report import draw_unit, panels_of, telling_channel
from esegeta.report.planes import Letters
from esegeta.report.unit_figures import CONCEPT_COLOUR, UNIT_COLOUR, unit_figure
from esegeta.volume import Case, Reading, Volume, read_volume, volume_from_tensor
from tests.builders import affine_of

SHAPES = {2: (20, 16), 3: (20, 16, 12)}


def colours(path: Path, colour: str) -> int:
    """Return the number of pixels near a colour."""
    picture = imread(path)[..., :3]
    wanted = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return int((np.abs(picture - wanted).max(axis=2) < 0.15).sum())


def marked(ndim: int) -> tuple[torch.Tensor, torch.Tensor]:
    unit, concept = (torch.zeros(SHAPES[ndim], dtype=torch.bool) for _ in range(2))
    unit[4:9, 3:8] = True
    concept[6:14, 5:12] = True
    if ndim == 3:
        unit[..., :7] = False
        concept[..., 9:] = False
    return unit, concept


@pytest.mark.parametrize("affine", ["anisotropic", "flipped"])
def test_panels_show_unit_and_concept_at_their_overlap(ndim: int, affine: str) -> None:
    volume = volume_from_tensor(torch.randn(1, *SHAPES[ndim]), affine=affine_of(affine, ndim))
    unit, concept = marked(ndim)
    panels = panels_of(volume, unit, concept, "a")
    assert len(panels) == (1 if ndim == 2 else 3)
    for panel in panels:
        assert (panel.unit & panel.concept).any()
        assert panel.image.shape == panel.unit.shape
        assert panel.title.startswith("a")
    flat = panels[0]
    spacing = volume.grid.spacing_mm
    assert flat.size_mm == pytest.approx((20 * spacing[0], 16 * spacing[1]))
    expected = unit if ndim == 2 else unit[..., 7]
    turned = expected.flip(0) if affine == "flipped" else expected
    np.testing.assert_array_equal(flat.unit, turned.numpy().T)


def test_an_empty_unit_shows_its_concept(ndim: int) -> None:
    volume = volume_from_tensor(torch.randn(1, *SHAPES[ndim]))
    _, concept = marked(ndim)
    panels = panels_of(volume, torch.zeros_like(concept), concept, "a")
    assert all(panel.concept.any() and not panel.unit.any() for panel in panels)


@pytest.mark.parametrize("cases", [1, 3])
@pytest.mark.slow
def test_both_outlines_are_drawn(ndim: int, cases: int, tmp_path: Path) -> None:
    volume = volume_from_tensor(torch.randn(1, *SHAPES[ndim]))
    unit, concept = marked(ndim)
    rows = [panels_of(volume, unit, concept, str(case)) for case in range(cases)]
    draw_unit(tmp_path / "u.png", "title", ("unit 1", "liver"), rows)
    drawn = colours(tmp_path / "u.png", UNIT_COLOUR), colours(tmp_path / "u.png", CONCEPT_COLOUR)
    nothing = torch.zeros_like(unit)
    rows = [panels_of(volume, nothing, nothing, str(case)) for case in range(cases)]
    draw_unit(tmp_path / "n.png", "title", ("unit 1", "liver"), rows)
    legend = colours(tmp_path / "n.png", UNIT_COLOUR), colours(tmp_path / "n.png", CONCEPT_COLOUR)
    assert drawn[0] > legend[0] + 30 * cases
    assert drawn[1] > legend[1] + 30 * cases


def letters(figure: Figure) -> list[tuple[str, ...]]:
    """Return the letters of each panel, as they stand from left to right."""
    axes = [axis for axis in figure.axes if axis.images]
    texts = [sorted(axis.texts, key=lambda text: text.get_position()[0]) for axis in axes]
    return [tuple(text.get_text() for text in found) for found in texts]


def test_panels_carry_the_sides_of_the_patient() -> None:
    volume = volume_from_tensor(torch.randn(1, *SHAPES[3]), affine=affine_of("flipped", 3))
    figure = unit_figure("t", ("u", "c"), [panels_of(volume, *marked(3), "a")])
    assert letters(figure) == [("R", "P", "A", "L"), ("R", "I", "S", "L"), ("P", "I", "S", "A")]


UPRIGHT = {
    "axial": ([[2.0, 0, 0], [0, 3.0, 0], [0, 0, 1]], ("R", "L")),
    "axial, turned round": ([[-2.0, 0, 0], [0, -3.0, 0], [0, 0, 1]], ("R", "L")),
    "axial, front first": ([[0, 2.0, 0], [-3.0, 0, 0], [0, 0, 1]], ("R", "L")),
    "coronal": ([[2.0, 0, 0], [0, 0, 1], [0, 2.0, 0]], ("R", "L")),
    "coronal, from the left": ([[-2.0, 0.1, 0], [0, 0, 1], [0, 2.0, 0]], ("L", "R")),
    "sagittal": ([[0, 0, 1], [2.0, 0, 0], [0, 2.0, 0]], ("A", "P")),
    "sagittal, from the front": ([[0, 0, 1], [-2.0, 0, 0], [0, 2.0, 0]], ("P", "A")),
}


@pytest.mark.parametrize("case", UPRIGHT)
def test_a_slice_shows_the_sides_given_by_its_grid(case: str) -> None:
    axes, expected = UPRIGHT[case]
    affine = np.eye(4)
    affine[:3, :3] = axes
    volume = volume_from_tensor(torch.randn(1, *SHAPES[2]), affine=affine)
    (panel,) = panels_of(volume, *marked(2), "a")
    assert (panel.letters.left, panel.letters.right) == expected
    # What is drawn at the left edge lies further to the side that the letter there names.
    first = panel.image[:, 0] if not panel.mirrored else panel.image[:, -1]
    last = panel.image[:, -1] if not panel.mirrored else panel.image[:, 0]
    places = [
        np.argwhere(np.isin(volume.data[0].numpy(), column)).mean(axis=0)
        for column in (first, last)
    ]
    left, right = (np.asarray(volume.grid.to_mm(list(place))) for place in places)
    row, side = "RAS".find(expected[0]), 1
    if row < 0:
        row, side = "LPI".index(expected[0]), -1
    assert side * (left - right)[row] > 0


def test_a_picture_has_no_sides(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 20), np.uint8)).save(tmp_path / "a.png")
    volume = read_volume(Case("a", (tmp_path / "a.png",)), Reading(1, 2))
    (panel,) = panels_of(volume, *marked(2), "a")
    assert panel.letters == Letters()


CHANNELS = ("t1", "t2", "flair")


def scan(ndim: int, unit: torch.Tensor, told: int | None) -> Volume:
    """Return three channels of noise; one of them is a little brighter in the unit's mask."""
    data = torch.randn(3, *SHAPES[ndim], generator=torch.Generator().manual_seed(0))
    data *= torch.tensor([1.0, 100.0, 0.01]).reshape(3, *[1] * ndim)
    if told is not None:
        data[told] -= 2 * data[told].std() * unit
    return volume_from_tensor(data, channels=CHANNELS)


@pytest.mark.parametrize("told", [0, 1, 2])
def test_the_channel_with_the_largest_contrast_over_a_mask_is_chosen(ndim: int, told: int) -> None:
    unit, _ = marked(ndim)
    volume = scan(ndim, unit, told)
    assert telling_channel(volume, unit) == told
    image, inside = volume.data.double().numpy(), unit.numpy()
    ratios = [abs(one[inside].mean() - one[~inside].mean()) / one.std() for one in image]
    assert int(np.argmax(ratios)) == told


def test_the_first_channel_is_chosen_for_an_empty_or_full_mask(ndim: int) -> None:
    unit, _ = marked(ndim)
    volume = scan(ndim, unit, 2)
    for mask in (torch.zeros_like(unit), torch.ones_like(unit)):
        assert telling_channel(volume, mask) == 0
    flat = volume_from_tensor(torch.ones(3, *SHAPES[ndim]))
    assert telling_channel(flat, unit) == 0


def test_titles_name_the_channel_where_there_are_several(ndim: int) -> None:
    unit, concept = marked(ndim)
    volume = scan(ndim, unit, None)
    panels = panels_of(volume, unit, concept, "torso", channel=2)
    planes = [" axial", " coronal", " sagittal"] if ndim == 3 else [""]
    assert [panel.title for panel in panels] == [f"torso{plane}, flair" for plane in planes]
    unnamed = volume_from_tensor(volume.data)
    panels = panels_of(unnamed, unit, concept, "torso", channel=2)
    assert panels[0].title == f"torso{planes[0]}, channel 2"
    alone = volume_from_tensor(volume.data[2:], channels=("flair",))
    single = panels_of(alone, unit, concept, "torso")
    assert [panel.title for panel in single] == [f"torso{plane}" for plane in planes]
    for several, one in zip(panels, single, strict=True):
        np.testing.assert_array_equal(several.image, one.image)


@pytest.mark.parametrize("shape", [(20, 80), (80, 20), (40, 40), (80, 20, 10)])
@pytest.mark.parametrize("cases", [1, 3, 6])
def test_the_figure_fits_its_panels(shape: tuple[int, ...], cases: int) -> None:
    volume = volume_from_tensor(torch.randn(1, *shape))
    mask = torch.zeros(shape, dtype=torch.bool)
    rows = [panels_of(volume, mask, mask, f"a case with a long name {k}") for k in range(cases)]
    figure = unit_figure("layer, unit 1: liver\nIoU 0.1", ("u", "c"), rows)
    figure.canvas.draw()
    height = figure.get_size_inches()[1]
    filled: dict[int, float] = {}
    for axis in figure.axes:
        if axis.images:
            row, box = axis.get_subplotspec().rowspan.start, axis.get_position()
            filled[row] = max(filled.get(row, 0.0), box.height * height)
    # Titles and legend take what is left; no band of a row's height is empty.
    assert height - sum(filled.values()) < 0.9 + 0.6 * len(filled)
