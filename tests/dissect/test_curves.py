"""A unit at all thresholds: scikit-learn's AUROC, exhaustive search for the best cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from esegeta.dissect.curves import (
    Sketch,
    auroc,
    best_thresholds,
    bin_table,
    bins_by_table,
    centre_voxels,
    count_at,
    histograms,
    positions_within,
)
from esegeta.dissect.partition import Partition
from esegeta.predict import LayerGrid, WindowPlan


def counted(
    values: torch.Tensor, edges: torch.Tensor, inside: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return counts by bin of one concept, and of everything."""
    bins = torch.searchsorted(edges, values)
    counts = histograms(bins, edges.shape[1] + 1, inside.long(), 2)
    return counts[:, :, 1:], counts.sum(dim=2)


def test_auroc_equals_scikit_learn_on_values_that_fill_bins_of_their_own() -> None:
    levels = torch.arange(40.0)
    values = levels[torch.randint(40, (3, 2000))]
    inside = torch.rand(2000) < (values[0] + 5) / 60
    found = auroc(*counted(values, levels.expand(3, 40).contiguous(), inside))
    for unit in range(3):
        expected = roc_auc_score(inside.numpy(), values[unit].numpy())
        assert float(found[unit, 0]) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_quantile_bins_is_near() -> None:
    values = torch.randn(4, 30_000)
    inside = values[0] + torch.randn(30_000) > 1.5
    sketch = Sketch(3)
    for part in values.tensor_split(3, dim=1):
        sketch.add(part)
    found = auroc(*counted(values, sketch.edges(), inside))
    for unit in range(4):
        expected = roc_auc_score(inside.numpy(), values[unit].numpy())
        assert float(found[unit, 0]) == pytest.approx(expected, abs=1e-3)


def test_auroc_of_nothing_or_everything_is_not_a_number() -> None:
    values = torch.randn(1, 50)
    for inside in (torch.zeros(50), torch.ones(50)):
        assert auroc(*counted(values, values[:, :9].sort().values, inside)).isnan().all()


def test_the_best_threshold_is_that_of_a_search() -> None:
    values = torch.randn(3, 500)
    inside = values.mean(dim=0) + 0.3 * torch.randn(500) > 0.5
    edges = values[:, :60].sort(dim=1).values
    found = best_thresholds(*counted(values, edges, inside), edges)
    for unit in range(3):
        ious = [
            float(((values[unit] > cut) & inside).sum() / ((values[unit] > cut) | inside).sum())
            for cut in edges[unit]
        ]
        assert float(found[unit, 0]) == float(edges[unit, int(np.argmax(ious))])


@pytest.mark.parametrize("same", [False, True])
def test_counts_at_a_threshold_for_each_pair(same: bool) -> None:
    values = torch.randint(0, 50, (3, 400)).float()
    concepts = torch.rand(5, 400) < 0.3
    thresholds = values[:, :5].clone()
    if same:
        thresholds[:] = thresholds[:, :1]
    both, union = count_at(values, thresholds, Partition.of(list(concepts)))
    above = values[:, None] > thresholds[:, :, None]
    assert torch.equal(both, (above & concepts[None]).sum(dim=2))
    assert torch.equal(union, (above | concepts[None]).sum(dim=2))


def test_edges_are_quantiles_of_all_cases() -> None:
    sketch = Sketch(2)
    sketch.add(torch.arange(0.0, 1000)[None])
    sketch.add(torch.arange(1000.0, 2000)[None])
    edges = sketch.edges()
    assert edges.shape == (1, 255)
    expected = torch.arange(1, 256) / 256 * 1999
    torch.testing.assert_close(edges[0], expected, atol=1.0, rtol=2**-7)


def test_a_table_finds_the_bins_of_a_search() -> None:
    values = torch.cat([torch.randn(3, 500), 1e-3 * torch.randn(3, 500).relu()], dim=1)
    sketch = Sketch(1)
    sketch.add(values)
    edges = sketch.edges()
    assert (edges.diff(dim=1) >= 0).all()
    at = torch.cat([values, edges, torch.nextafter(edges, edges + 1)], dim=1)
    expected = (at[:, None] > edges[:, :, None]).sum(dim=1)
    assert torch.equal(bins_by_table(at, bin_table(edges)).long(), expected)


CENTRES = {
    "even stride": (WindowPlan((8, 6)), (13, 11), (4, 3)),
    "padded": (WindowPlan((8, 6)), (5, 3), (4, 2)),
    "coarse in padding": (WindowPlan((8, 8)), (1, 2), (2, 1)),
    "3d": (WindowPlan((8, 6, 4)), (9, 11, 7), (8, 3, 1)),
    "slices": (WindowPlan((8, 6), slice_axis=0), (3, 9, 11), (4, 3)),
}


@pytest.mark.parametrize("name", CENTRES)
def test_positions_stand_for_the_voxel_at_their_centre(name: str) -> None:
    plan, shape, layer = CENTRES[name]
    grid = LayerGrid.of(plan.lay(shape), torch.zeros(1, 1, *layer))
    box, voxels = centre_voxels(grid, torch.device("cpu"))
    numbers = torch.arange(float(grid.num_positions)).reshape(1, *grid.shape)
    found = positions_within(numbers, box)
    assert found.shape == (1, len(voxels))
    for position, voxel in zip(found[0].long().tolist(), voxels.tolist(), strict=True):
        place = np.unravel_index(position, grid.shape)
        centre = [
            s * (p + 0.5) - 0.5 - low
            for s, p, (low, _) in zip(grid.stride, place, grid.windows.padding, strict=True)
        ]
        near = np.array(np.unravel_index(voxel, shape))
        gap = np.abs(near - np.clip(centre, 0, np.array(shape) - 1))
        assert gap.max() <= 0.5
        if name != "coarse in padding":
            assert np.abs(near - centre).max() <= 0.5


def test_padding_has_no_positions() -> None:
    """Four voxels in a window of eight: the second and third of four positions."""
    grid = LayerGrid(WindowPlan((8, 8)).lay((4, 8)), (4, 4))
    box, _ = centre_voxels(grid, torch.device("cpu"))
    assert box == (slice(1, 3), slice(0, 4))
