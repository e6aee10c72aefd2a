"""A map by channel and region: closed forms, shares that add up, volumes in ml."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.errors import GridError
from esegeta.explain import (
    Atlas,
    Attribution,
    ExactShapley,
    Features,
    OverlappingAtlas,
    Saliency,
    aggregate,
)
from tests.builders import affine_of, linear, predictor, volume
from tests.oracles import frozen

SHAPES = {2: (6, 5), 3: (6, 5, 4)}


def attribution_of(data: torch.Tensor, num_channels: int | None = None) -> Attribution:
    """Return a map that is known, on an anisotropic grid."""
    ndim = data.ndim - 1
    channels = num_channels or len(data)
    image = volume(tuple(data.shape[1:]), channels, affine=affine_of("anisotropic", ndim))
    model = predictor(linear(ndim, in_channels=channels), tuple(data.shape[1:]))
    return replace(Saliency().explain(model, image, frozen(model, image)), data=data)


def test_a_map_with_known_sums_by_region(ndim: int) -> None:
    shape = SHAPES[ndim]
    integers = torch.zeros(shape, dtype=torch.int32)
    integers[:2], integers[2:3] = 1, 7
    plane = math.prod(shape[1:])
    data = torch.zeros(2, *shape)
    data[0, :2], data[0, 2:3], data[1, 2:3] = 2.0, -1.0, 3.0
    rows = aggregate(attribution_of(data), Atlas("organs", integers, {1: "liver", 3: "spleen"}))
    voxel_ml = 0.7 * 1.9 * 3.1 / 1000
    found = {(row.atlas, row.region, row.channel): row for row in rows}
    assert list(found) == [
        *(("image", "all", channel) for channel in "01"),
        *(("organs", region, c) for region in ("outside", "liver", "spleen", "7") for c in "01"),
    ]
    total = plane * (2 * 2 + 1 + 3)
    expected = {
        ("image", "all", "0"): (5 * plane, 3 * plane, 6),
        ("image", "all", "1"): (3 * plane, 3 * plane, 6),
        ("organs", "outside", "0"): (0, 0, 3),
        ("organs", "outside", "1"): (0, 0, 3),
        ("organs", "liver", "0"): (4 * plane, 4 * plane, 2),
        ("organs", "liver", "1"): (0, 0, 2),
        ("organs", "7", "0"): (plane, -plane, 1),
        ("organs", "7", "1"): (3 * plane, 3 * plane, 1),
    }
    for key, (magnitude, signed, planes) in expected.items():
        row = found[key]
        volume_ml = planes * plane * voxel_ml
        assert row.share == pytest.approx(magnitude / total)
        assert row.signed_sum == signed
        assert row.volume_ml == pytest.approx(volume_ml)
        assert row.per_ml == pytest.approx(signed / volume_ml)
        assert row.magnitude_per_ml == pytest.approx(magnitude / volume_ml)
    for channel in "01":
        row = found["organs", "spleen", channel]
        assert (row.share, row.signed_sum, row.volume_ml) == (0, 0, 0)
        assert math.isnan(row.per_ml) and math.isnan(row.magnitude_per_ml)


@pytest.mark.parametrize(
    "values", [(0, 1, 2), (0, 3, 999), (5, 6, 7), (-4, 0, 3), (0, 1, 2**40), (0, 254, 255)]
)
def test_sums_are_those_of_a_loop_over_regions(values: tuple[int, ...]) -> None:
    data = torch.randn(2, 6, 5, 4)
    generator = torch.Generator().manual_seed(0)
    integers = torch.tensor(values)[torch.randint(0, 3, (6, 5, 4), generator=generator)]
    if max(values) < 256 and min(values) >= 0:
        integers = integers.to(torch.uint8)
    rows = [r for r in aggregate(attribution_of(data), Atlas("x", integers)) if r.atlas == "x"]
    assert sum(row.share for row in rows) == pytest.approx(1, abs=1e-12)
    array, total = data.double().numpy(), float(data.double().abs().sum())
    expected = [
        (plane[integers.numpy() == value].sum(), np.abs(plane[integers.numpy() == value]).sum())
        for value in values
        for plane in array
    ]
    assert [row.signed_sum for row in rows] == pytest.approx([signed for signed, _ in expected])
    assert [row.share * total for row in rows] == pytest.approx([size for _, size in expected])
    names = ["outside" if value == 0 else str(value) for value in values]
    assert [row.region for row in rows] == [name for name in names for _ in range(2)]


def test_a_map_without_channels_has_one_row_for_all_channels() -> None:
    rows = aggregate(attribution_of(torch.ones(1, 6, 5), num_channels=2))
    assert [(row.region, row.channel, row.share) for row in rows] == [("all", "all", 1.0)]


def test_the_region_zero_may_be_named() -> None:
    atlas = Atlas("x", torch.zeros(6, 5, dtype=torch.int64), {0: "background"})
    assert aggregate(attribution_of(torch.ones(1, 6, 5)), atlas)[-1].region == "background"


def test_an_atlas_on_another_grid_is_refused() -> None:
    atlas = Atlas("lobes", torch.zeros(5, 6, dtype=torch.int64))
    with pytest.raises(GridError, match=r"atlas lobes: \(5, 6\) voxels"):
        aggregate(attribution_of(torch.ones(1, 6, 5)), atlas)


def test_a_shapley_value_is_counted_once_however_many_voxels_it_is_painted_over(ndim: int) -> None:
    image = volume(SHAPES[ndim], 3, affine=affine_of("anisotropic", ndim))
    model = predictor(linear(ndim, in_channels=3, kernel=3), SHAPES[ndim])
    target = frozen(model, image)
    found = ExactShapley(Features("channels"), "mean").explain(model, image, target)
    values = found.facts.more["values"]
    rows = aggregate(found)
    assert [row.channel for row in rows] == list(values)
    total = sum(abs(value) for value in values.values())
    for row in rows:
        worth = values[row.channel]
        assert row.signed_sum == pytest.approx(worth, rel=1e-6)
        assert row.share == pytest.approx(abs(worth) / total, rel=1e-6)
        assert row.per_ml == pytest.approx(worth / row.volume_ml, rel=1e-6)


def test_features_that_cross_a_border_give_each_side_its_part(ndim: int) -> None:
    shape = SHAPES[ndim]
    data = torch.zeros(1, *shape)
    sharing = torch.ones(1, *shape)
    plane = math.prod(shape[1:])
    data[0, :3], sharing[0, :3] = 12.0, 3.0 * plane
    data[0, 3:], sharing[0, 3:] = -5.0, 3.0 * plane
    integers = torch.zeros(shape, dtype=torch.int32)
    integers[2:] = 1  # one of three planes of the first feature, and all of the second
    map_ = replace(attribution_of(data), sharing=sharing)
    rows = {row.region: row for row in aggregate(map_, Atlas("halves", integers, {1: "far"}))}
    assert rows["all"].signed_sum == pytest.approx(7.0)
    assert rows["outside"].signed_sum == pytest.approx(8.0)
    assert rows["far"].signed_sum == pytest.approx(-1.0)
    assert rows["far"].share == pytest.approx(9.0 / 17.0)


def test_regions_that_overlap_each_hold_all_of_theirs(ndim: int) -> None:
    shape = SHAPES[ndim]
    data = torch.randn(2, *shape)
    outer, inner = (torch.zeros(shape, dtype=torch.bool) for _ in range(2))
    outer[1:5], inner[2:4] = True, True
    map_ = attribution_of(data)
    rows = aggregate(map_, OverlappingAtlas("tumour", {"outer": outer, "inner": inner}))[2:]
    assert [(row.region, row.channel) for row in rows] == [
        (region, channel) for region in ("outer", "inner") for channel in "01"
    ]
    magnitude = float(data.double().abs().sum())
    for row in rows:
        mask = outer if row.region == "outer" else inner
        own = data[int(row.channel)][mask].double()
        assert row.signed_sum == pytest.approx(float(own.sum()))
        assert row.share == pytest.approx(float(own.abs().sum()) / magnitude)
        assert row.volume_ml == pytest.approx(int(mask.sum()) * map_.volume.grid.voxel_volume_ml)
    with pytest.raises(GridError, match="atlas tumour"):
        aggregate(map_, OverlappingAtlas("tumour", {"outer": outer[1:]}))
