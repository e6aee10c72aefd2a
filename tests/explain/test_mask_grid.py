"""Masks on cells: spreading is linear and symmetric, gathering its transpose, slopes are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError
from esegeta.explain import MeaningfulPerturbation, MiSuRe, Objective
from esegeta.explain.perturbation.mask_grid import (
    BaselineBlend,
    Descent,
    MaskGrid,
    cell_in_voxels,
    total_variation,
    value_and_gradient,
    value_and_slope,
)
from tests.builders import SHAPES, affine_of, predictor, volume
from tests.networks import Smooth
from tests.oracles import disguised, frozen, monai_prediction, relative_gap


def grid_over(ndim: int, cell: int = 3) -> MaskGrid:
    return MaskGrid.over(volume(SHAPES[ndim]).data, (cell,) * ndim)


def test_spreading_keeps_constants_and_ramps(ndim: int) -> None:
    grid = grid_over(ndim)
    assert torch.allclose(grid.spread(torch.full(grid.num_cells, 0.3)), torch.tensor(0.3))
    n, k = grid.shape[0], grid.num_cells[0]
    ramp = torch.arange(float(k)).reshape(-1, *[1] * (ndim - 1)).expand(grid.num_cells)
    expected = ((torch.arange(n) + 0.5) * k / n - 0.5).clamp(0, k - 1)
    found = grid.spread(ramp)
    assert torch.allclose(found, expected.reshape(-1, *[1] * (ndim - 1)).expand(grid.shape))


def test_spreading_equals_interpolation_of_torch(ndim: int) -> None:
    grid = grid_over(ndim)
    cells = torch.rand(grid.num_cells)
    mode = "bilinear" if ndim == 2 else "trilinear"
    expected = torch.nn.functional.interpolate(cells[None, None], size=grid.shape, mode=mode)[0, 0]
    assert relative_gap(grid.spread(cells), expected) < 1e-6


def test_gathering_is_the_transpose_of_spreading(ndim: int) -> None:
    grid = grid_over(ndim)
    cells, voxels = torch.rand(grid.num_cells).double(), torch.rand(grid.shape).double()
    left = (grid.spread(cells) * voxels).sum()
    assert torch.allclose(left, (cells * grid.gather(voxels)).sum())


def test_cells_holding_a_mask_are_one_over_the_whole_mask(ndim: int) -> None:
    grid = grid_over(ndim)
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[1, 2:5] = True
    held = grid.spread(grid.holding(mask))
    assert held[mask].min() > 1 - 1e-6
    assert held.min() < 0.5


def test_a_cell_of_one_voxel_is_the_voxel(ndim: int) -> None:
    grid = grid_over(ndim, cell=1)
    cells = torch.rand(grid.shape)
    assert torch.equal(grid.spread(cells), cells)
    assert torch.equal(grid.gather(cells), cells)


def test_total_variation_by_hand() -> None:
    cells = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert float(total_variation(cells)) == pytest.approx(1.0 + 0.0 + 0.125 + 0.125)


@pytest.mark.slow
def test_adam_is_torchs_within_the_bounds() -> None:
    torch.manual_seed(1)
    start, ceiling = torch.rand(7), torch.ones(7)
    leaf = start.clone().requires_grad_(True)
    theirs = torch.optim.Adam([leaf], lr=0.01, betas=(0.9, 0.99), eps=1e-12)
    ours = Descent(start, ceiling=ceiling, rate=0.01)
    for _ in range(5):
        slope = torch.randn(7)
        leaf.grad = slope
        theirs.step()
        with torch.no_grad():
            leaf.clamp_(0, 1)
        ours.step(slope)
    assert torch.allclose(ours.mask, leaf.detach(), atol=1e-6)
    tight = Descent(start, ceiling=start, rate=0.5)
    tight.step(torch.tensor([-1.0, 1.0] * 3 + [1.0]))
    assert torch.equal(tight.mask[0::2][:3], start[0::2][:3])
    assert (tight.mask >= 0).all() and (tight.mask[1::2] < start[1::2]).all()


@pytest.mark.parametrize("linear", [True, False])
def test_the_slope_of_a_mask_by_finite_differences(ndim: int, linear: bool) -> None:
    """In float64, through windows, blending and cells, at once with the regulariser."""
    model = predictor(Smooth(ndim).double(), (4,) * ndim)
    image = volume((6, 5, 4)[:ndim])
    image = image.with_data(image.data.double())
    target = frozen(model, image)
    objective = Objective.of(model, target if linear else disguised(target), image)
    grid = MaskGrid.over(image.data, (2,) * ndim)
    baseline = torch.zeros_like(image.data)
    blend = BaselineBlend(image.data, baseline, grid)
    cells = torch.rand(grid.num_cells).double()

    def loss(mask: torch.Tensor) -> float:
        m = grid.spread(mask)
        value = target.value(monai_prediction(model, (m * image.data)[None]).detach())
        return float(value[0] + total_variation(mask))

    value, gradient = value_and_gradient(objective.at(blend(cells)))
    price, slope = value_and_slope(total_variation, cells)
    assert value + price == pytest.approx(loss(cells), rel=1e-10)
    slope = slope + blend.slope(gradient)
    for index in np.ndindex(*grid.num_cells):
        nudge = torch.zeros_like(cells)
        nudge[index] = 1e-5
        numeric = (loss(cells + nudge) - loss(cells - nudge)) / 2e-5
        assert float(slope[index]) == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def test_cells_are_in_voxels_or_millimetres() -> None:
    model = predictor(Smooth(3), (8, 8, 4))
    image = volume((9, 11, 7), affine=affine_of("anisotropic"))
    objective = Objective.of(model, frozen(model, image), image)
    assert cell_in_voxels(None, None, objective, fraction=4) == (2, 2, 1)
    assert cell_in_voxels((2.0, 3.0, 1.0), None, objective, fraction=4) == (2, 3, 1)
    assert cell_in_voxels(None, 6.0, objective, fraction=4) == (9, 3, 2)
    with pytest.raises(ConfigError, match="for a 3D image"):
        cell_in_voxels((2.0, 2.0), None, objective, fraction=4)


@pytest.mark.parametrize("method", [MeaningfulPerturbation, MiSuRe])
def test_impossible_parameters_are_refused(method: type) -> None:
    with pytest.raises(ConfigError, match="give cell or cell_mm, not both"):
        method(cell=2, cell_mm=2)
    for name in ("cell", "cell_mm", "steps", "rate"):
        with pytest.raises(ConfigError, match=f"{name}: 0 must be above zero"):
            method(**{name: 0})
    with pytest.raises(ConfigError, match="tau: 1 is not between"):
        MiSuRe(tau=1)
