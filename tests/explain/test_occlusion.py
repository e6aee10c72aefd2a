"""Occlusion equals brute force on any target, and boxes are in voxels or millimetres."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import Baseline, Occlusion
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import FrozenTarget, Otsu, PointRegion, Predicted, VoxelTarget
from esegeta.volume import Volume, volume_from_tensor
from tests.builders import SHAPES, labels, predictor, unet, volume
from tests.networks import Counting, Smooth
from tests.oracles import everywhere, frozen, monai_prediction, relative_gap
from tests.pairwise import pairwise

TOLERANCE = 2e-5
BLURRED = Baseline("blur", sigma_mm=2.0)


def boxes(shape: tuple[int, ...], box: int, stride: int) -> Iterator[tuple[slice, ...]]:
    """Yield boxes every `stride` voxels, as many as it takes to reach the end of each axis."""
    starts = []
    for length in shape:
        places = [0]
        while places[-1] + min(box, length) < length:
            places.append(places[-1] + stride)
        starts.append(places)
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + box) for start in corner)


def brute_force(
    model: Predictor, image: Volume, target: FrozenTarget, box: int, stride: int, groups: list[list]
) -> Tensor:
    """Replace each box, predict all windows with MONAI, and average over the boxes of a voxel."""
    start = BLURRED.of(image)

    def value(data: Tensor) -> Tensor:
        with torch.no_grad():
            return target.value(monai_prediction(model, data[None]))[0]

    total, count = torch.zeros_like(image.data), torch.zeros_like(image.data)
    before = value(image.data)
    for channels, place in itertools.product(groups, boxes(image.grid.shape, box, stride)):
        moved = image.data.clone()
        for channel in channels:
            moved[(channel, *place)] = start[(channel, *place)]
        fall = before - value(moved)
        for channel in channels:
            total[(channel, *place)] += fall
            count[(channel, *place)] += 1
    return total / count


TARGETS = {
    "logit": everywhere(),
    "a few voxels' logits": VoxelTarget("one", over=Otsu()),
    "margin": everywhere(of="margin"),
    "mean probability": VoxelTarget("one", "probability", reduce="mean"),
    "live mask": VoxelTarget("one", over=Predicted(), live=True),
}


@pairwise(ndim=[2, 3], of=TARGETS, sides=[(4, 4), (5, 3)])
def test_equals_brute_force(ndim: int, sides: tuple[int, int], of: str) -> None:
    box, stride = sides
    shape = {2: (11, 5), 3: (9, 8, 5)}[ndim]
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(shape, 2)
    target = frozen(model, image, TARGETS[of])
    method = Occlusion(box=box, stride=stride, baseline=BLURRED)
    found = method.explain(model, image, target).data
    expected = brute_force(model, image, target, box, stride, [[0], [1]])
    assert relative_gap(found, expected) < TOLERANCE


def test_channels_together_equal_brute_force(ndim: int) -> None:
    model = predictor(Smooth(ndim, in_channels=2), (4,) * ndim)
    image = volume((9, 7, 5)[:ndim], 2)
    target = frozen(model, image)
    method = Occlusion(box=4, stride=3, baseline=BLURRED, channels="together")
    found = method.explain(model, image, target)
    expected = brute_force(model, image, target, 4, 3, [[0, 1]])
    assert found.data.shape == (1, *image.grid.shape)
    assert relative_gap(found.data, expected[:1]) < TOLERANCE
    assert relative_gap(found.total, expected[0]) < TOLERANCE


def test_a_2d_network_over_slices_equals_brute_force() -> None:
    model = Predictor(Smooth(2), WindowPlan((4, 4), slice_axis=1), labels(), batch_size=3)
    image = volume((6, 5, 7))
    target = frozen(model, image)
    found = Occlusion(box=3, stride=2, baseline=BLURRED).explain(model, image, target).data
    assert relative_gap(found, brute_force(model, image, target, 3, 2, [[0]])) < TOLERANCE


def test_only_windows_that_touch_box_and_target_are_run(
    ndim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.predict.locality.PASSES_OF_PROOF", math.inf)
    shape = (24, 12, 8)[:ndim]
    network = Counting(unet(ndim))
    model = predictor(network, (8,) * ndim)
    image = volume(shape)
    target = frozen(model, image, VoxelTarget("one", over=PointRegion((2.0,) * ndim)))
    network.windows = 0
    found = Occlusion(box=4).explain(model, image, target)
    touching = 2**ndim  # boxes of 4 in the one window of 8 that holds the voxel
    assert network.windows == touching + 1 == found.facts.windows_run
    beyond = found.data[0, 8:]
    assert not beyond.any()


@pytest.mark.slow
def test_millimetres_become_voxels_on_anisotropic_grids() -> None:
    image = volume_from_tensor(torch.randn(1, 12, 10, 8), spacing_mm=(0.5, 1.0, 2.5))
    model = predictor(unet(3), (8, 8, 8))
    target = frozen(model, image)
    found = Occlusion(box_mm=4.0, stride_mm=(2.0, 2.0, 2.0)).explain(model, image, target)
    assert found.facts.more["box_vox"] == [8, 4, 2]  # 1.6 voxels are 2
    assert found.facts.more["stride_vox"] == [4, 2, 1]
    same = Occlusion(box=(8, 4, 2), stride=(4, 2, 1)).explain(model, image, target)
    assert torch.equal(found.data, same.data)


@pytest.mark.parametrize(
    ("method", "box", "stride"),
    [
        (Occlusion(), [2, 2], [2, 2]),  # a quarter of the window
        (Occlusion(box=3), [3, 3], [3, 3]),
        (Occlusion(box=(3, 4), stride=2), [3, 4], [2, 2]),
        (Occlusion(box=50, stride=4), [11, 9], [4, 4]),  # no larger than the image
        (Occlusion(box_mm=0.1), [1, 1], [1, 1]),
    ],
)
def test_lengths(method: Occlusion, box: list[int], stride: list[int]) -> None:
    image = volume((11, 9))
    model = predictor(unet(2), (8, 8))
    more = method.explain(model, image, frozen(model, image)).facts.more
    assert (more["box_vox"], more["stride_vox"]) == (box, stride)
    along = (
        len(range(0, n - b + s, s)) for n, b, s in zip(image.grid.shape, box, stride, strict=True)
    )
    assert more["boxes"] == math.prod(along)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"box": 2, "box_mm": 3.0}, "box or box_mm"),
        ({"stride": 2, "stride_mm": 3.0}, "stride or stride_mm"),
        ({"box": 0}, "above zero"),
        ({"stride_mm": (1.0, -1.0)}, "above zero"),
    ],
)
def test_bad_lengths_are_refused(build: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Occlusion(**build)


def test_the_number_of_lengths_must_fit_the_image() -> None:
    image = volume(SHAPES[2])
    model = predictor(unet(2), (8, 8))
    with pytest.raises(ConfigError, match="2D image"):
        Occlusion(box=(2, 2, 2)).explain(model, image, frozen(model, image))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_does_not_matter(ndim: int, batch_size: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    method = Occlusion(box=4, stride=3)
    found = method.explain(replace(model, batch_size=batch_size), image, target).data
    assert relative_gap(found, method.explain(model, image, target).data) < TOLERANCE


def test_a_stride_wider_than_the_box_is_refused() -> None:
    image, model = volume((11, 9)), predictor(unet(2), (8, 8))
    with pytest.raises(ConfigError, match=r"stride \[9, 9\] voxels is wider than the box"):
        Occlusion(box=3, stride=9).explain(model, image, frozen(model, image))
