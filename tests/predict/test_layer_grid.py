"""The grid of a layer over a volume, and the resampling between its positions and voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.dissection.above import find_above
from esegeta.predict import (
    Coverage,
    LayerGrid,
    Pass,
    WindowBlend,
    WindowPlan,
    Windows,
    WindowSum,
    list_passes,
    spread,
    upsample,
)
from esegeta.volume import Grid
from tests.builders import affine_of

PLANS = {
    "2d": (WindowPlan((8, 6)), (13, 11), (4, 3)),
    "2d, odd window": (WindowPlan((7, 5), overlap=0.4), (16, 11), (4, 3)),
    "2d, padded": (WindowPlan((8, 8)), (5, 11), (4, 2)),
    "2d, one position": (WindowPlan((6, 6)), (9, 9), (1, 1)),
    "2d, finer than the voxels": (WindowPlan((4, 4)), (3, 6), (8, 4)),
    "3d": (WindowPlan((8, 6, 4)), (9, 11, 7), (4, 3, 1)),
    "slices": (WindowPlan((8, 6), slice_axis=0), (3, 9, 11), (4, 3)),
    "padded slices": (WindowPlan((8, 6), slice_axis=1), (5, 3, 11), (4, 2)),
}


@pytest.fixture(params=PLANS)
def laid(request: pytest.FixtureRequest) -> tuple[Windows, Tensor]:
    """Windows, and a patch of two units for each of them."""
    plan, shape, layer = PLANS[request.param]
    windows = plan.lay(shape)
    generator = torch.Generator().manual_seed(1)
    return windows, torch.randn((len(windows), 2, *layer), generator=generator).double()


def cells(start: float, positions: int, stride: float) -> list[tuple[float, float]]:
    return [(start + p * stride, start + (p + 1) * stride) for p in range(positions)]


def shared(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def slow_sum(windows: Windows, patches: Tensor, grid: LayerGrid) -> Tensor:
    """Every position goes to the grid's cells by the part of its voxels that lies in them."""
    total = torch.zeros((patches.shape[1], *grid.shape), dtype=patches.dtype)
    thin = windows.slice_axis
    for box, patch in zip(windows.boxes, patches, strict=True):
        patch = patch if thin is None else patch.unsqueeze(thin + 1)
        for place in itertools.product(*(range(n) for n in patch.shape[1:])):
            for cell in itertools.product(*(range(n) for n in grid.shape)):
                part = 1.0
                for axis, stride in enumerate(grid.stride):
                    own = cells(box[axis].start, patch.shape[axis + 1], stride)[place[axis]]
                    there = cells(0.0, grid.shape[axis], stride)[cell[axis]]
                    part *= shared(own, there) / stride
                total[(slice(None), *cell)] += part * patch[(slice(None), *place)]
    return total


def test_sums_on_layer_grids_lie_at_the_positions_and_are_kept(
    laid: tuple[Windows, Tensor],
) -> None:
    windows, patches = laid
    grid = LayerGrid.of(windows, patches)
    placed = WindowSum(grid, patches)
    placed.add(range(len(windows)), patches)
    total = placed.result()[0]
    torch.testing.assert_close(total, slow_sum(windows, patches, grid))
    kept = patches.transpose(0, 1).flatten(1).sum(dim=1)
    torch.testing.assert_close(total.flatten(1).sum(dim=1), kept)


def test_blends_keep_values(laid: tuple[Windows, Tensor]) -> None:
    windows, patches = laid
    grid = LayerGrid.of(windows, patches)
    weights = grid.importance(patches.device, patches.dtype)
    assert weights.shape == patches.shape[2:]
    mean = windows.importance(patches.device, patches.dtype).mean()
    torch.testing.assert_close(weights.mean(), mean)
    blend = WindowBlend(grid, patches)
    blend.add(range(len(windows)), torch.full_like(patches, 2.5))
    total = blend.result()[0]
    torch.testing.assert_close(total, torch.full_like(total, 2.5))
    torch.testing.assert_close(grid.to_voxels(total), torch.full((2, *windows.shape), 2.5).double())


@pytest.mark.parametrize("thin", [None, 1])
@pytest.mark.parametrize("flips", [(), (0,), (0, 1)])
def test_blends_of_a_mirrored_pass_alone_keep_values(
    flips: tuple[int, ...], thin: int | None
) -> None:
    """nnU-Net's importance is not symmetric in even windows; it lies as the volume does."""
    plan = WindowPlan((6, 8), blend="nnunet", slice_axis=thin or 0, passes=(Pass(0, flips),))
    windows = plan.lay((9, 12) if thin is None else (9, 2, 12))
    patches = torch.full((len(windows), 1, 3, 4), 2.5, dtype=torch.float64)
    blend = WindowBlend(LayerGrid.of(windows, patches), patches)
    blend.add(range(len(windows)), patches)
    total = blend.result()
    torch.testing.assert_close(total, torch.full_like(total, 2.5))


def test_importance_is_the_mean_over_the_voxels_of_a_position() -> None:
    windows = WindowPlan((8, 6)).lay((13, 11))
    full = windows.importance(torch.device("cpu"), torch.float64)
    found = LayerGrid(windows, (4, 3)).importance(torch.device("cpu"), torch.float64)
    torch.testing.assert_close(found, F.avg_pool2d(full[None], 2)[0])


def test_one_window_is_resampled_as_by_itself(ndim: int) -> None:
    """The grid's own way to voxels, and that of a single window, are the same."""
    windows = WindowPlan((12, 8, 6)[:ndim]).lay((12, 8, 6)[:ndim])
    patch = torch.randn(1, 2, *(4, 4, 3)[:ndim])
    grid = LayerGrid.of(windows, patch)
    total = grid.zeros(2, patch)
    grid.put(total, 0, patch[0])
    torch.testing.assert_close(total, patch[0])
    torch.testing.assert_close(grid.to_voxels(total), upsample(patch, grid, [0])[0])


def test_spreading_keeps_the_sum_within_the_volume(laid: tuple[Windows, Tensor]) -> None:
    windows, patches = laid
    grid = LayerGrid.of(windows, patches)
    shared = spread(patches, grid, range(len(windows)))
    voxels = windows.crop(shared) if len(windows) == 1 else None
    placed = torch.zeros((2, *windows.padded_shape)).double()
    for window, patch in enumerate(shared):
        windows.put(placed, window, patch)
    inside = windows.crop(placed)
    kept = patches.transpose(0, 1).flatten(1).sum(dim=1)
    torch.testing.assert_close(inside.flatten(1).sum(dim=1), kept)
    if voxels is not None:
        torch.testing.assert_close(voxels[0], inside)


def test_spreading_shares_out_by_linear_interpolation() -> None:
    """Two voxels a position: quarters and three quarters, the edges' ends to the edges."""
    windows = WindowPlan((6, 1)).lay((6, 1))
    expected = torch.tensor(
        [[0.5, 0.375, 0.125, 0, 0, 0], [0, 0.125, 0.375, 0.375, 0.125, 0]],
    )
    for position in range(2):
        patch = torch.zeros(1, 1, 3, 1)
        patch[0, 0, position] = 1
        grid = LayerGrid.of(windows, patch)
        torch.testing.assert_close(spread(patch, grid, [0])[0, 0, :, 0], expected[position])


def test_values_on_padding_go_to_the_nearest_voxels() -> None:
    """Three voxels in a window of eight: two and a half voxels of padding on either side."""
    windows = WindowPlan((8, 1)).lay((3, 1))
    assert windows.padding[0] == (2, 3)
    patch = torch.tensor([1.0, 0.0, 0.0, 10.0]).reshape(1, 1, 4, 1)
    found = windows.crop(spread(patch, LayerGrid.of(windows, patch), [0]))[0, 0, :, 0]
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 10.0]))


def test_a_mirrored_window_has_its_padding_on_the_other_side() -> None:
    windows = WindowPlan((8, 1), passes=list_passes([0])).lay((3, 1))
    patches = torch.randn(2, 1, 4, 1)
    grid = LayerGrid.of(windows, patches)
    assert grid.bounds(0) != grid.bounds(1)
    first, second = spread(patches, grid, [0, 1])
    torch.testing.assert_close(first[None], spread(patches[:1], grid, [0]))
    torch.testing.assert_close(second.flip(1)[None], spread(patches[1:].flip(2), grid, [0]))


@pytest.mark.parametrize("name", PLANS)
def test_the_affine_centres_positions_among_their_voxels(name: str) -> None:
    plan, shape, layer = PLANS[name]
    windows = plan.lay(shape)
    grid = LayerGrid.of(windows, torch.zeros(1, 1, *layer))
    volume = Grid(shape, affine_of("oblique", len(shape)))
    found = grid.grid(volume)
    assert found.shape == grid.shape
    for index in ((0,) * len(shape), tuple(n - 1 for n in grid.shape)):
        voxel = [
            s * i + (s - 1) / 2 - low
            for s, i, (low, _) in zip(grid.stride, index, windows.padding, strict=True)
        ]
        np.testing.assert_allclose(found.to_mm(index), volume.to_mm(voxel), atol=1e-9)
    expected = [a * b for a, b in zip(grid.stride, volume.spacing_mm, strict=True)]
    np.testing.assert_allclose(found.spacing_mm, expected)


@pytest.mark.parametrize("name", ["even", "odd"])
def test_positions_of_central_outputs_are_centred_among_their_voxels(name: str) -> None:
    """A ramp at the positions' centres is a ramp over the voxels, wherever both ends lie inside."""
    size, extent, layer = {"even": (14, 8, 4), "odd": (13, 6, 3)}[name]
    plan = WindowPlan((size, 9), coverage=Coverage((4, 9), (4, 9), {"deep": (extent, 9)}))
    windows = plan.lay((12, 9))
    patch = torch.zeros(1, 1, layer, 9)
    grid = LayerGrid.of(windows, patch, "deep")
    assert grid.stride == (2, 1)
    centres = grid.centres(0)
    ramp = centres[:, None].expand(1, *grid.shape)
    found = grid.to_voxels(ramp)
    voxels = torch.arange(12, dtype=torch.float64).clamp(centres[0], centres[-1])
    torch.testing.assert_close(found[0], voxels[:, None].expand(12, 9))
    affine = grid.grid(Grid((12, 9), np.eye(4))).affine
    assert affine[0, 0] == 2 and affine[0, 3] == float(centres[0])
    # A window that begins at its own stride puts its first position where the grid has one.
    total = grid.zeros(1, patch.double())
    grid.put(total, 0, torch.ones(1, layer, 9).double())
    assert total[0, :layer].eq(1).all()
    first = centres[0] - (grid.stride[0] - 1) / 2  # the first voxel that the position covers
    assert float(first) == (size - extent) // 2 - windows.padding[0][0]
    thresholds = torch.tensor([3.5], dtype=torch.float64)
    above = find_above(ramp.contiguous(), grid, thresholds)
    assert above.counts(1).tolist() == [int((found > 3.5).sum())]
