"""A map by channel and region: closed forms, shares that add up, volumes in ml."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.errors import GridError
from esegeta.explain import Atlas, Attribution, Saliency, aggregate
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


def test_a_map_that_is_known_by_region(ndim: int) -> None:
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


def test_a_map_of_voxels_over_channels_is_of_all() -> None:
    rows = aggregate(attribution_of(torch.ones(1, 6, 5), num_channels=2))
    assert [(row.region, row.channel, row.share) for row in rows] == [("all", "all", 1.0)]


def test_zero_can_have_a_name() -> None:
    atlas = Atlas("x", torch.zeros(6, 5, dtype=torch.int64), {0: "background"})
    assert aggregate(attribution_of(torch.ones(1, 6, 5)), atlas)[-1].region == "background"


def test_an_atlas_on_another_grid_is_refused() -> None:
    atlas = Atlas("lobes", torch.zeros(5, 6, dtype=torch.int64))
    with pytest.raises(GridError, match=r"atlas lobes: \(5, 6\) voxels"):
        aggregate(attribution_of(torch.ones(1, 6, 5)), atlas)
