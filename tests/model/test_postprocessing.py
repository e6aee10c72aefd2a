"""Small parts go and holes are filled, in this order, in the masks that are named."""

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError
from esegeta.model import (
    DecidedByLogits,
    Labels,
    Postprocessing,
    Segmentation,
    connected_components,
)
from tests.builders import SHAPES

NAMES = ["liver", "lesion"]


def blobs(ndim: int, seed: int, level: float = 0.2) -> torch.Tensor:
    """Return a mask of many parts with holes."""
    shape = tuple(2 * length for length in SHAPES[ndim])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) > level


def neighbours(shape: tuple[int, ...], voxel: tuple[int, ...], *, corners: bool) -> list:
    """Return the voxels beside a voxel, over faces or over corners and edges too."""
    found = []
    for step in np.ndindex(*(3,) * len(shape)):
        move = np.array(step) - 1
        if not move.any() or (not corners and np.abs(move).sum() > 1):
            continue
        place = tuple(np.array(voxel) + move)
        if all(0 <= at < length for at, length in zip(place, shape, strict=True)):
            found.append(place)
    return found


def flooded(mask: np.ndarray, *, corners: bool) -> list[set[tuple[int, ...]]]:
    """Return the connected parts of a mask, by walking from voxel to voxel."""
    left, parts = {tuple(place) for place in np.argwhere(mask)}, []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            voxel = edge.pop()
            part.add(voxel)
            for place in neighbours(mask.shape, voxel, corners=corners):
                if place in left:
                    left.remove(place)
                    edge.append(place)
        parts.append(part)
    return parts


def mask_of(parts: list[set[tuple[int, ...]]], shape: tuple[int, ...]) -> np.ndarray:
    result = np.zeros(shape, bool)
    for part in parts:
        for voxel in part:
            result[voxel] = True
    return result


def walled_in(mask: np.ndarray) -> np.ndarray:
    """Return the voxels outside of a mask that cannot walk over faces to the border."""
    holes = [
        part
        for part in flooded(~mask, corners=False)
        if not any(
            at in (0, length - 1)
            for voxel in part
            for at, length in zip(voxel, mask.shape, strict=True)
        )
    ]
    return mask_of(holes, mask.shape)


def refined(steps: dict, *masks: torch.Tensor, exclusive: bool = False) -> list[np.ndarray]:
    given = dict(zip(NAMES, masks, strict=False))
    found = Postprocessing.of(steps, NAMES).refine(given, voxel_ml=0.01, exclusive=exclusive)
    return [mask.numpy() for mask in found.values()]


def test_the_largest_component_is_kept(ndim: int) -> None:
    one, other = blobs(ndim, 1, 1.2), blobs(ndim, 2, 1.2)
    found = refined({"keep_largest": ["lesion"]}, one, other)
    np.testing.assert_array_equal(found[0], one.numpy())
    parts = flooded(other.numpy(), corners=True)
    largest = max(parts, key=len)
    assert sum(len(part) == len(largest) for part in parts) == 1
    np.testing.assert_array_equal(found[1], mask_of([largest], tuple(other.shape)))


def test_components_below_a_volume_are_removed(ndim: int) -> None:
    mask = blobs(ndim, 3, 1.0)
    parts = flooded(mask.numpy(), corners=True)
    sizes = sorted(len(part) for part in parts)
    least = sizes[len(sizes) // 2] + 1
    kept = [part for part in parts if len(part) >= least]
    assert 0 < len(kept) < len(parts)
    # A part of exactly so many voxels stays.
    (found,) = refined({"min_volume_ml": {"liver": least * 0.01}}, mask)
    np.testing.assert_array_equal(found, mask_of(kept, tuple(mask.shape)))


def test_holes_are_filled_where_no_other_label_is(ndim: int) -> None:
    mask, other = blobs(ndim, 4, -0.8), blobs(ndim, 5, 0.9)
    holes = walled_in(mask.numpy())
    assert holes.any()
    assert (holes & other.numpy()).any()
    found = refined({"fill_holes": ["liver"]}, mask, other)
    np.testing.assert_array_equal(found[0], mask.numpy() | (holes & ~other.numpy()))
    np.testing.assert_array_equal(found[1], other.numpy())


def shells() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a ring and a wider ring around it, which enclose the same hole."""
    inner, outer = torch.zeros(9, 9, dtype=torch.bool), torch.zeros(9, 9, dtype=torch.bool)
    inner[3:6, 3:6] = True
    inner[4, 4] = False
    outer[1:8, 1:8] = True
    outer[3:6, 3:6] = False
    return outer, inner


def test_a_hole_shared_by_two_labels_is_filled_in_both_or_the_first() -> None:
    outer, inner = shells()
    for exclusive in (False, True):
        one, other = refined({"fill_holes": True}, outer, inner, exclusive=exclusive)
        assert one[4, 4]
        assert bool(other[4, 4]) is not exclusive


def test_steps_come_in_their_order() -> None:
    # A speck inside the hole of a ring would keep a voxel of it open, but goes before.
    ring, _ = shells()
    speck = torch.zeros_like(ring)
    speck[4, 4] = True
    steps = {"fill_holes": ["liver"], "min_volume_ml": {"lesion": 0.02}}
    one, other = refined(steps, ring, speck)
    assert one[3:6, 3:6].all()
    assert not other.any()


def test_an_empty_mask_stays_empty() -> None:
    nothing = torch.zeros(4, 5, dtype=torch.bool)
    steps = {"keep_largest": True, "min_volume_ml": 1.0, "fill_holes": True}
    assert not any(mask.any() for mask in refined(steps, nothing, nothing))


def test_the_segmentation_is_painted_from_the_postprocessed_masks() -> None:
    y = torch.full((1, 2, 9, 11), -1.0)
    outer, inner = (torch.nn.functional.pad(mask, (0, 2)) for mask in shells())
    y[0, 0][outer] = 2.0
    y[0, 1][inner] = 3.0
    y[0, 0, 0, 10] = 1.0  # a speck
    given = {1: "liver", 2: "lesion"}
    steps = {"keep_largest": ["liver"], "fill_holes": ["lesion"]}
    labels = Labels.of(given, "sigmoid", 2, postprocessing=steps)
    found = Segmentation(DecidedByLogits(labels, y), voxel_ml=1.0)
    expected = np.where(inner, 2, np.where(outer, 1, 0))
    expected[4, 4] = 2
    np.testing.assert_array_equal(found.label_map.numpy(), expected)
    np.testing.assert_array_equal(found.mask("liver").numpy(), outer.numpy())
    # What the network itself says is left alone.
    assert bool(labels.predicted(y, "liver")[0, 0, 10])
    assert not bool(labels.predicted(y, "lesion")[0, 4, 4])
    assert labels.describe()["postprocessing"] == {
        "keep_largest": ["liver"],
        "fill_holes": ["lesion"],
    }


def test_a_filled_hole_of_softmax_is_painted() -> None:
    outer, inner = shells()
    y = torch.zeros(1, 3, 9, 9)
    y[0, 0][~(outer | inner)] = 5.0
    y[0, 1][outer], y[0, 2][inner] = 5.0, 5.0
    labels = Labels.of({1: "a", 2: "b"}, "softmax", 3, postprocessing={"fill_holes": True})
    found = Segmentation(DecidedByLogits(labels, y), voxel_ml=1.0).label_map
    assert int(found[4, 4]) == 1
    assert int(found[0, 0]) == 0


def test_components_are_ranked_by_size() -> None:
    found = connected_components(torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1]]).bool())
    assert found.tolist() == [[2, 0, 1, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"keep_bigest": True}, 'no step "keep_bigest"; did you mean "keep_largest"'),
        ({"keep_largest": ["livr"]}, 'keep_largest: no label "livr"; did you mean "liver"'),
        ({"keep_largest": 3}, "3 is not a list of labels"),
        ({"min_volume_ml": {"livr": 1}}, 'min_volume_ml: no label "livr"'),
        ({"min_volume_ml": {"liver": 0}}, "0 must be a volume above 0 ml"),
        ({"min_volume_ml": {"liver": float("inf")}}, "inf must be a volume"),
        ({"min_volume_ml": True}, "True is not a volume"),
        ({"min_volume_ml": ["liver"]}, "is not a volume"),
    ],
)
def test_invalid_steps_are_refused(steps: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Postprocessing.of(steps, NAMES)


def test_a_step_may_name_one_label_or_be_true_for_all() -> None:
    assert Postprocessing.of({"keep_largest": "liver"}, NAMES).keep_largest == ("liver",)
    whole = Postprocessing.of({"keep_largest": True, "min_volume_ml": 0.5}, NAMES)
    assert whole.keep_largest == ("liver", "lesion")
    assert whole.min_volume_ml == {"liver": 0.5, "lesion": 0.5}
    assert not Postprocessing.of({"keep_largest": False, "fill_holes": []}, NAMES)
