"""Features: what the parts of a volume are, in voxels and in millimetres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError, DataError
from esegeta.explain import Features, Partition, parse_features
from esegeta.volume import volume_from_tensor
from tests.builders import volume


def extents_mm(labels: Tensor, spacing: tuple[float, ...]) -> np.ndarray:
    """Return the standard deviation of each region's voxels along each axis, in mm."""
    found = []
    for region in range(int(labels.max()) + 1):
        places = (labels == region).nonzero().double()
        found.append(places.std(dim=0, correction=0).numpy() * np.array(spacing))
    return np.array(found)


def test_blocks_are_equal_parts_about_as_long_as_asked_for() -> None:
    image = volume_from_tensor(torch.zeros(1, 12, 10, 7), spacing_mm=(1.0, 2.0, 5.0))
    partition = Features("blocks", side_mm=6.0).of(image)
    x = torch.arange(12) // 6
    y = torch.tensor([0] * 3 + [1] * 4 + [2] * 3)  # 20 mm: three parts
    z = torch.tensor([0, 1, 2, 3, 4, 5, 5])[:7]
    expected_parts = (2, 3, 6)
    assert len(partition) == 36
    labels = partition.labels
    for axis, (place, parts) in enumerate(zip((x, y, z), expected_parts, strict=True)):
        along = labels.movedim(axis, 0).flatten(1)
        assert len({tuple(row) for row in along.tolist()}) == parts
        if axis < 2:
            same = (along[:, None] == along[None]).all(dim=2)
            assert torch.equal(same, place[:, None] == place[None])
    assert partition.names[0] == "block 1"


def test_channels_are_features_each() -> None:
    image = volume((5, 4), 3)
    partition = Features("channels").of(image)
    assert partition.names == image.channels
    painted = partition.paint(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert torch.equal(painted, torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand(3, 5, 4))


def test_an_atlas_leaves_its_zeros_in_no_feature() -> None:
    atlas = torch.tensor([[0, 7, 7], [-2, 0, 3]])
    image = volume((2, 3), 2)
    partition = Features(labels=atlas).of(image)
    assert partition.names == ("label -2", "label 3", "label 7")
    assert partition.labels.tolist() == [[-1, 2, 2], [0, -1, 1]]
    painted = partition.paint(torch.tensor([5.0, 6.0, 8.0], dtype=torch.float64))
    assert painted.tolist() == [[[0.0, 8.0, 8.0], [5.0, 0.0, 6.0]]]
    each = Features(labels=atlas, channels="each").of(image)
    assert each.names[:4] == ("0: label -2", "0: label 3", "0: label 7", "1: label -2")
    values = torch.arange(6, dtype=torch.float64)
    assert each.paint(values)[1].tolist() == [[0.0, 5.0, 5.0], [3.0, 0.0, 4.0]]


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 1)])
def test_an_atlas_on_another_grid_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"but the image has \(2, 3\)"):
        Features(labels=torch.ones(shape, dtype=torch.int64)).of(volume((2, 3)))


def test_an_empty_atlas_is_refused() -> None:
    with pytest.raises(DataError, match="not a feature"):
        Features(labels=torch.zeros(2, 3, dtype=torch.int64)).of(volume((2, 3)))


@pytest.mark.parametrize(
    "spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0), (0.5, 3.0, 1.0), (4.0, 1.0)], ids=str
)
def test_supervoxels_are_as_long_in_mm_along_every_axis(spacing: tuple[float, ...]) -> None:
    shape = tuple(round(60 / mm) for mm in spacing)
    image = volume_from_tensor(torch.zeros(1, *shape), spacing_mm=spacing)
    partition = Features(count=27 if len(shape) == 3 else 16).of(image)
    assert 12 <= len(partition) <= 40
    extents = extents_mm(partition.labels, spacing).mean(axis=0)
    assert extents.max() < 1.5 * extents.min()


def test_supervoxels_follow_edges_of_any_channel() -> None:
    """Two halves with a slanted border, seen in a weak channel beside a strong ramp."""
    x, y = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    side = (x + 0.5 * y > 30).float()
    noise = 0.01 * torch.rand((40, 40), generator=torch.Generator().manual_seed(0))
    image = volume_from_tensor(torch.stack([1000 + 500 * x, side + noise]))
    labels = Features(count=30, compactness=0.05).of(image).labels
    for region in range(int(labels.max()) + 1):
        share = float(side[labels == region].mean())
        assert min(share, 1 - share) < 0.1


def test_supervoxels_are_the_same_each_time_and_leave_no_gap() -> None:
    image = volume_from_tensor(volume((20, 18, 8), 3).data, spacing_mm=(1.0, 1.0, 3.0))
    one, two = (Features(count=12, sigma_mm=2.0).of(image).labels for _ in range(2))
    assert torch.equal(one, two)
    assert one.unique().tolist() == list(range(int(one.max()) + 1))
    assert int(one.max()) > 3


def test_the_features_within_a_box_are_found() -> None:
    labels = torch.tensor([[0, 0, 2], [-1, 2, 1]])
    partition = Partition(labels, ("a", "b", "c", "d"), ("t1", "t2"))
    held = partition.held_by(labels[:, :2])
    assert held.tolist() == [True, False, True, False] * 2


def test_features_may_be_given_as_words_or_files() -> None:
    assert parse_features("blocks").kind == "blocks"
    assert parse_features("atlas/{case}.nii.gz") == Features("atlas", file="atlas/{case}.nii.gz")
    assert Features(file="a.nii").kind == "atlas"
    with pytest.raises(ConfigError, match=r'"superpixels" is not known; .*"supervoxels"'):
        parse_features("superpixels")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "atlas"}, "no file is named"),
        ({"side_mm": 0.0}, "side_mm: 0 must be above zero"),
        ({"count": 0}, "count: 0 must be above zero"),
        ({"compactness": -1.0}, "compactness: -1 must be above zero"),
        ({"sigma_mm": -1.0}, "sigma_mm: -1 must be 0 or more"),
    ],
    ids=str,
)
def test_bad_features_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Features(**keys)
