"""Concepts that are drawn or told by grey values: known voxels, in 2D and 3D."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from esegeta.dissection import Boxes, Bright, Concept, ConceptSources, Points, Textured
from esegeta.dissection.concept import concept_masks
from esegeta.volume import volume_from_tensor
from tests.builders import affine_of

SHAPES = {2: (9, 8), 3: (9, 8, 6)}


def ground(ndim: int, data: torch.Tensor | None = None) -> ConceptSources:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(1, *SHAPES[ndim], generator=generator) if data is None else data
    return ConceptSources(volume_from_tensor(data, affine=affine_of("anisotropic", ndim)))


def one(rule, place: ConceptSources) -> torch.Tensor:
    return concept_masks([Concept("it", rule)], place)[0]


def test_boxes_apply_only_to_their_case(ndim: int) -> None:
    place = ground(ndim)
    low, high = (1,) * ndim, (4, 3, 2)[:ndim]
    rule = Boxes({place.volume.name: ((low, high), ((6,) * ndim, (7,) * ndim))})
    expected = torch.zeros(SHAPES[ndim], dtype=torch.bool)
    expected[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    expected[(6,) * ndim if ndim == 2 else (6, 6, slice(6, 7))] = True
    assert torch.equal(one(rule, place), expected)
    assert not one(Boxes({"another": ((low, high),)}), place).any()


def test_points_mark_voxels_within_their_radius(ndim: int) -> None:
    place = ground(ndim)
    point = (4.2, 3.0, 2.0)[:ndim]
    found = one(Points({place.volume.name: (point,)}, 2.5), place)
    spacing = np.array(place.volume.grid.spacing_mm)
    for voxel in itertools.product(*(range(n) for n in SHAPES[ndim])):
        near = np.linalg.norm((np.array(voxel) - (4, 3, 2)[:ndim]) * spacing) <= 2.5
        assert bool(found[voxel]) == near
    assert not one(Points({"another": (point,)}, 2.5), place).any()


def test_bright_covers_a_share_of_the_body(ndim: int) -> None:
    data = torch.rand(1, *SHAPES[ndim], generator=torch.Generator().manual_seed(1)) + 1
    data[:, :3] = 0  # air, which is no body
    place = ground(ndim, data)
    found = one(Bright(0.1), place)
    inside = data[0, 3:].numpy()
    assert int(found.sum()) == int(0.1 * inside.size)
    assert not found[:3].any()
    least = data[0][found].min()
    assert (data[0, 3:][~found[3:]] <= least).all()


@pytest.mark.parametrize("sigma_mm", [0.0, 3.0])
def test_textured_covers_the_highest_local_variance(ndim: int, sigma_mm: float) -> None:
    place = ground(ndim)
    data = place.volume.data[0].double().numpy()
    spacing = place.volume.grid.spacing_mm
    sigma = [sigma_mm / step if sigma_mm else 1.0 for step in spacing]
    mean = ndimage.gaussian_filter(data, sigma, mode="nearest")
    variance = ndimage.gaussian_filter(data**2, sigma, mode="nearest") - mean**2
    found = one(Textured(0.2, sigma_mm), place).numpy()
    assert found.sum() == int(0.2 * data.size)
    assert variance[found].min() > variance[~found].max()
