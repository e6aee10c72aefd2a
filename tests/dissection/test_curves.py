"""A unit at all thresholds: scikit-learn's AUROC, exhaustive search for the best cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from esegeta.dissection.curves import (
    auroc,
    best_thresholds,
    centre_voxels,
    count_at,
    histograms,
    positions_within,
)
from esegeta.dissection.tally import ConceptParts
from esegeta.predict import LayerGrid, WindowPlan


def counted(
    values: torch.Tensor, bin_edges: torch.Tensor, inside: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return counts by bin of one concept, and of everything."""
    bins = torch.searchsorted(bin_edges, values)
    counts = histograms(bins, bin_edges.shape[1] + 1, inside.long(), 2)
    return counts[:, :, 1:], counts.sum(dim=2)


def test_auroc_equals_scikit_learn_on_values_that_fill_bins_of_their_own() -> None:
    unit_thresholds = torch.arange(40.0)
    values = unit_thresholds[torch.randint(40, (3, 2000))]
    inside = torch.rand(2000) < (values[0] + 5) / 60
    found = auroc(*counted(values, unit_thresholds.expand(3, 40).contiguous(), inside))
    for unit in range(3):
        expected = roc_auc_score(inside.numpy(), values[unit].numpy())
        assert float(found[unit, 0]) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_an_empty_or_full_mask_is_nan() -> None:
    values = torch.randn(1, 50)
    for inside in (torch.zeros(50), torch.ones(50)):
        assert auroc(*counted(values, values[:, :9].sort().values, inside)).isnan().all()


def test_the_best_threshold_equals_a_full_search() -> None:
    values = torch.randn(3, 500)
    inside = values.mean(dim=0) + 0.3 * torch.randn(500) > 0.5
    bin_edges = values[:, :60].sort(dim=1).values
    counts, everything = counted(values, bin_edges, inside)
    found = best_thresholds(counts, everything[:, :, None], bin_edges)
    for unit in range(3):
        ious = np.array(
            [
                float(((values[unit] > cut) & inside).sum() / ((values[unit] > cut) | inside).sum())
                for cut in bin_edges[unit]
            ]
        )
        best = np.flatnonzero(ious == ious.max())
        assert float(found[unit, 0]) == float(bin_edges[unit, best[(len(best) - 1) // 2]])


def test_the_middle_one_of_equally_good_thresholds_is_chosen() -> None:
    """Nothing lies between 0 and 1, where it may be cut anywhere."""
    values = torch.cat([torch.zeros(80), torch.ones(20)])[None]
    bin_edges = torch.linspace(-0.5, 1.5, 21)[None]
    counts, everything = counted(values, bin_edges, values[0] > 0)
    found = best_thresholds(counts, everything[:, :, None], bin_edges)
    assert float(found[0, 0]) == pytest.approx(0.5, abs=0.1)


def test_without_positives_there_is_no_threshold() -> None:
    values = torch.randn(2, 50)
    bin_edges = values[:, :9].sort().values
    counts, everything = counted(values, bin_edges, torch.zeros(50))
    assert best_thresholds(counts, everything[:, :, None], bin_edges).isnan().all()


@pytest.mark.parametrize("same", [False, True])
def test_counts_at_a_threshold_for_each_pair(same: bool) -> None:
    values = torch.randint(0, 50, (3, 400)).float()
    concepts = torch.rand(5, 400) < 0.3
    thresholds = values[:, :5].clone()
    if same:
        thresholds[:] = thresholds[:, :1]
    both, union = count_at(values, thresholds, ConceptParts.of(list(concepts)))
    above = values[:, None] > thresholds[:, :, None]
    assert torch.equal(both, (above & concepts[None]).sum(dim=2))
    assert torch.equal(union, (above | concepts[None]).sum(dim=2))


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
