"""Parts of overlapping concepts, and tallies by them: against plain masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from esegeta.dissection.above import Above
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import CircularShift, draw_seed
from esegeta.dissection.curves import count_at
from esegeta.dissection.tally import ConceptParts, OverlapTally, tally
from tests.dissection.bodies import above_of
from tests.dissection.drawn import overlaps


def some_masks(num: int, shape: tuple[int, ...] = (7, 6, 5)) -> list[torch.Tensor]:
    return [torch.rand(shape) < (place + 1) / (num + 1) for place in range(num)]


@pytest.mark.parametrize("num", [1, 2, 11, 12, 13, 30])
def test_every_part_lists_the_concepts_of_its_voxels(num: int) -> None:
    masks = some_masks(num)
    partition = ConceptParts.of(masks)
    for place, mask in enumerate(masks):
        found = partition.members[partition.parts.long(), place].reshape(mask.shape)
        assert torch.equal(found, mask)
    assert partition.sizes.tolist() == [int(mask.sum()) for mask in masks]
    assert partition.num_parts == len(torch.unique(torch.stack(masks).flatten(1).T, dim=0))


@pytest.mark.parametrize("num", [1, 5, 20])
def test_tallies_equal_plain_masks(num: int) -> None:
    concepts = torch.stack([*some_masks(num), torch.zeros(7, 6, 5, dtype=torch.bool)])
    units = torch.stack([*some_masks(3), torch.zeros(7, 6, 5, dtype=torch.bool)])
    found = tally(above_of(units), ConceptParts.of(list(concepts)), 4)
    u, c = units.flatten(1).numpy()[:, None], concepts.flatten(1).numpy()[None]
    both, union = (u & c).sum(2), (u | c).sum(2)
    np.testing.assert_array_equal(found.both.numpy(), both)
    np.testing.assert_array_equal(found.union.numpy(), union)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found.iou().numpy(), both / union)
        np.testing.assert_allclose(found.dice().numpy(), 2 * both / (u.sum(2) + c.sum(2)))
        sizes = np.minimum(u.sum(2), c.sum(2)) / np.maximum(u.sum(2), c.sum(2))
        np.testing.assert_allclose(found.ceiling().numpy(), sizes)
    assert (found.ceiling().nan_to_num() >= found.iou().nan_to_num()).all()


def test_iou_and_dice_of_two_empty_masks_are_nan() -> None:
    empty = torch.zeros(1, 4, 4, dtype=torch.bool)
    found = tally(above_of(empty), ConceptParts.of([empty[0], ~empty[0]]), 1)
    assert found.iou()[0].isnan().tolist() == [True, False]
    assert found.dice()[0].isnan().tolist() == [True, False]
    assert found.ceiling()[0].isnan().tolist() == [True, False]
    assert found.iou()[0, 1] == 0


def test_information_quality_is_mutual_information_by_joint_entropy() -> None:
    units, concepts = torch.stack(some_masks(3)), torch.stack(some_masks(4))
    found = tally(above_of(units), ConceptParts.of(list(concepts)), 3).information_quality()
    for u, unit in enumerate(units.flatten(1).numpy()):
        for c, concept in enumerate(concepts.flatten(1).numpy()):
            _, counts = np.unique(2 * unit + concept, return_counts=True)
            shares = counts / counts.sum()
            expected = mutual_info_score(unit, concept) / -(shares * np.log(shares)).sum()
            assert float(found[u, c]) == pytest.approx(expected, abs=1e-12)


def test_information_quality_is_one_for_equal_and_zero_for_independent_masks() -> None:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:2] = True
    other = torch.zeros(4, 4, dtype=torch.bool)
    other[:, :2] = True
    found = tally(above_of(mask[None]), ConceptParts.of([mask, ~mask, other]), 1)
    assert found.information_quality()[0].tolist() == pytest.approx([1, 1, 0])


def test_tallies_of_cases_add_up() -> None:
    one, two = torch.stack(some_masks(3)), torch.stack(some_masks(3))
    concepts = torch.stack(some_masks(4)), torch.stack(some_masks(4))
    sums = tally(above_of(one), ConceptParts.of(list(concepts[0])), 3) + tally(
        above_of(two), ConceptParts.of(list(concepts[1])), 3
    )
    whole = tally(
        above_of(torch.cat([one, two], dim=1)),
        ConceptParts.of(list(torch.cat(concepts, dim=1))),
        3,
    )
    assert torch.equal(sums.iou(), whole.iou())
    assert sums.num_voxels == whole.num_voxels


@pytest.mark.slow
def test_counts_are_exact_beyond_the_integers_of_float32() -> None:
    """2^24 + 3 voxels of one concept; in float32 adding one to 2^24 changes nothing."""
    count = 2**24 + 3
    everywhere = torch.ones(count, dtype=torch.bool)
    above = Above(torch.zeros(count, dtype=torch.int64), torch.arange(count))
    found = tally(above, ConceptParts.of([everywhere]), 1)
    assert found.both.item() == found.units.item() == found.concepts.item() == count
    many = OverlapTally(found.both * 2**20, found.units * 2**20, found.concepts, 2**60) + found
    assert many.both.item() == count * 2**20 + count


@pytest.mark.parametrize("num", [1, 5, 13])
def test_ignored_voxels_count_as_cut_out(num: int) -> None:
    masks, units = some_masks(num), torch.stack(some_masks(3))
    known = torch.rand(7, 6, 5) < 0.6
    whole = ConceptParts.of(masks, known)
    cut = ConceptParts.of([mask[known] for mask in masks])
    found = tally(above_of(units), whole, 3)
    expected = tally(above_of(units[:, known]), cut, 3)
    assert found.num_voxels == expected.num_voxels == int(known.sum())
    for name in ("both", "units", "concepts"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    values, thresholds = torch.randn(3, 7, 6, 5), torch.randn(3, num)
    for one, other in zip(
        count_at(values.flatten(1), thresholds, whole),
        count_at(values[:, known], thresholds, cut),
        strict=True,
    ):
        assert torch.equal(one, other)


def space(number: int) -> CaseSpace:
    return CaseSpace(number, (7, 6, 5), torch.ones(210, dtype=torch.bool))


def test_overlaps_by_chance_leave_out_ignored_voxels() -> None:
    concept, units = some_masks(1)[0], torch.stack(some_masks(2))
    known = torch.rand(7, 6, 5) < 0.6
    partition = ConceptParts.of([concept], known)
    above = partition.within(above_of(units))
    drawn = overlaps(CircularShift(samples=200, seed=1), above, partition, 2, space(0))[:, :, 0]
    generator = torch.Generator().manual_seed(draw_seed(1, 0))
    shifts = torch.randint(known.numel(), (200, 1), generator=generator)[:, 0]
    counted = (concept & known).flatten()
    for unit in range(2):
        own = (units[unit] & known).flatten()
        expected = [int((own & counted.roll(-int(shift))).sum()) for shift in shifts]
        assert drawn[:, unit].tolist() == expected
