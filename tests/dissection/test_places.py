"""Places that trails are sampled at: in the image, where networks put out something, mirrored."""

from __future__ import annotations

import pytest
import torch

from esegeta.dissection import draw_places
from esegeta.dissection.places import Covered
from esegeta.predict import Coverage, WindowPlan, list_passes

SHAPES = {2: (13, 5), 3: (9, 5, 11)}


@pytest.mark.parametrize("margin", [0, 2])
def test_places_are_voxels_of_the_image_at_outputs_of_windows(ndim: int, margin: int) -> None:
    size = (8,) * ndim
    extent = tuple(length - 2 * margin for length in size)
    coverage = Coverage(extent, extent, {}) if margin else None
    plan = WindowPlan(size, coverage=coverage, passes=list_passes([0, 1]))
    windows = plan.lay(SHAPES[ndim])
    # Each voxel of the image is known by its number; what is not of it is 0.
    numbers = torch.arange(1.0, 1 + torch.Size(SHAPES[ndim]).numel()).reshape(1, 1, *SHAPES[ndim])
    drawn = draw_places({"a": windows}, windows=99, samples=99 * 20, permutations=3, seed=1)["a"]
    assert {windows.pass_of(place.window) for place in drawn} == {0, 1, 2, 3}
    middle = tuple(slice(margin, margin + length) for length in extent)
    for place in drawn:
        crop = windows.cut(windows.pad(numbers), [place.window])[0, 0]
        seen = crop[tuple(place.voxels.T)]
        assert (seen > 0).all()
        # A layer that hands on the middle of its window, and one of half its resolution.
        output = crop[middle]
        positions = place.positions(Covered(size, extent), extent)
        assert torch.equal(output.flatten()[positions], seen)
        moved = place.shifted_positions(Covered(size, extent), extent)
        assert (output.flatten()[moved] > 0).all()
        assert moved.sort().values.unique(dim=-1).shape[-1] > 1
        coarse = tuple(length // 2 for length in extent)
        half = torch.stack(
            torch.unravel_index(place.positions(Covered(size, extent), coarse), coarse), dim=1
        )
        assert torch.equal(half, (place.voxels - margin) // 2)


def test_places_lie_in_the_body_and_draws_mark_those_that_stay(ndim: int) -> None:
    plan = WindowPlan((8,) * ndim, passes=list_passes([0]))
    windows = plan.lay(SHAPES[ndim])
    body = torch.zeros(SHAPES[ndim], dtype=torch.bool)
    body[2:11, 1:4] = True
    drawn = draw_places(
        {"a": windows}, windows=99, samples=99 * 20, permutations=5, seed=1, bodies={"a": body}
    )["a"]
    padded = windows.pad(body[None, None].float())
    for place in drawn:
        crop = windows.cut(padded, [place.window])[0, 0] > 0
        inner = tuple(slice(f, f + n) for f, n in zip(place.first, place.shape, strict=True))
        if not crop[inner].any():
            assert place.body.all()
            continue
        assert crop[tuple(place.voxels.T)].all()
        flat = place.shifted_positions(Covered((8,) * ndim, (8,) * ndim), (8,) * ndim)
        assert torch.equal(place.stay(), crop.flatten()[flat])


def test_places_in_slices_have_two_axes() -> None:
    """A 2D network goes along the second axis: its places are those of the slice's body."""
    body = torch.zeros(9, 4, 11, dtype=torch.bool)
    body[2:6, 1:, 3:10] = True
    windows = WindowPlan((8, 6), slice_axis=1).lay(tuple(body.shape))
    drawn = draw_places(
        {"a": windows}, windows=99, samples=99 * 20, permutations=3, seed=1, bodies={"a": body}
    )["a"]
    padded, alone = windows.pad(body[None, None].float()), 0
    for place in drawn:
        seen = windows.cut(padded, [place.window])[0, 0].reshape(8, 6) > 0
        inner = tuple(slice(f, f + n) for f, n in zip(place.first, place.shape, strict=True))
        assert place.voxels.shape[1] == 2
        assert place.shifts.shape == (3, 2)
        if seen[inner].any():
            assert torch.equal(place.body, seen[inner])
            assert seen[tuple(place.voxels.T)].all()
            alone += 1
    assert 0 < alone < len(drawn)
