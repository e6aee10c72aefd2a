"""Figures of units: which slices they show, and that what is marked is drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from esegeta.dissect import Effect
from esegeta.report import draw_concepts, draw_effects, draw_unit, panels_of
from esegeta.report.unit_figures import CONCEPT_COLOUR, UNIT_COLOUR
from esegeta.volume import volume_from_tensor
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
def test_panels_show_where_unit_and_concept_meet(ndim: int, affine: str) -> None:
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


def test_a_unit_that_marks_nothing_shows_its_concept(ndim: int) -> None:
    volume = volume_from_tensor(torch.randn(1, *SHAPES[ndim]))
    _, concept = marked(ndim)
    panels = panels_of(volume, torch.zeros_like(concept), concept, "a")
    assert all(panel.concept.any() and not panel.unit.any() for panel in panels)


@pytest.mark.parametrize("cases", [1, 3])
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


def test_bars_grow_with_units(tmp_path: Path) -> None:
    blues = []
    for count in (1, 4):
        draw_concepts(tmp_path / "c.png", {"l": {"a": count, "b": 0}, "m": {"a": 4, "b": 0}}, "t")
        blues.append(colours(tmp_path / "c.png", "#0072b2"))
    assert blues[1] > 1.3 * blues[0]


def test_effects_without_a_number_are_drawn(tmp_path: Path) -> None:
    good = Effect(0.9, -0.5, -0.1, -0.4, -0.5, -0.3, 0.1, 2)
    unknown = Effect(0.9, -0.5, *[math.nan] * 5, 2)
    draw_effects(tmp_path / "e.png", [("u", "a", good), ("u", "b", unknown)], "t")
    assert imread(tmp_path / "e.png").std() > 0.05
    draw_effects(tmp_path / "n.png", [("u", "b", unknown)], "t")
