"""Where maps are looked at: through the target, the same for all methods; what lines are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.explain import Attribution
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.report.overlay import overlay_figure
from esegeta.report.view import largest_part, outlines_of, view_of, voxel_within
from esegeta.targets import FrozenTarget, Scene
from esegeta.volume import Volume, volume_from_tensor
from tests.builders import affine_of, scene

SHAPE = (12, 10, 8)


def mask_of(*boxes: tuple[slice, ...]) -> torch.Tensor:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    for box in boxes:
        mask[box] = True
    return mask


SMALL = (slice(1, 3), slice(1, 3), slice(1, 3))
LARGE = (slice(6, 11), slice(4, 9), slice(2, 7))


def target_on(volume: Volume, mask: torch.Tensor, **more: object) -> FrozenTarget:
    seen = more.pop("scene", None) or scene(torch.zeros((1, 2, *mask.shape)))
    return FrozenTarget(lambda y: y.sum(), mask, "logit", "a target", seen, **more)  # type: ignore[arg-type]


def attribution_of(
    mask: torch.Tensor, map_: torch.Tensor, affine: np.ndarray | None = None
) -> Attribution:
    volume = volume_from_tensor(torch.rand(1, *SHAPE), affine=affine)
    target = target_on(volume, mask)
    return Attribution(map_[None], CONTRIBUTION, "m", {}, volume, target)


def test_all_methods_show_the_same_slices() -> None:
    mask = mask_of(SMALL, LARGE)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(SHAPE, generator=generator) for _ in range(2)]
    maps += [torch.zeros(SHAPE), torch.zeros(SHAPE)]
    maps[3][0, 0, 0] = 5.0
    views = [view_of(attribution_of(mask, map_)) for map_ in maps]
    assert {view.voxel for view in views} == {(8, 6, 4)}
    assert {view.place for view in views} == {"voxel (8, 6, 4) = (8.0, 6.0, 4.0) mm"}
    shown = [
        [np.asarray(axis.images[0].get_array()) for axis in overlay_figure(one, "t").axes[:3]]
        for one in (attribution_of(mask, map_) for map_ in maps[2:])
    ]
    assert [array.shape for array in shown[0]] == [(10, 12), (8, 12), (8, 10)]


def test_the_slice_is_that_of_the_voxel() -> None:
    image = torch.arange(12 * 10 * 8, dtype=torch.float32).reshape(SHAPE)
    attribution = attribution_of(mask_of(LARGE), torch.ones(SHAPE))
    volume = replace(attribution.volume, data=image[None])
    figure = overlay_figure(replace(attribution, volume=volume), "title")
    axial, coronal, sagittal = (np.asarray(axis.images[0].get_array()) for axis in figure.axes[:3])
    np.testing.assert_array_equal(axial, image[:, :, 4].T)
    np.testing.assert_array_equal(coronal, image[:, 6].T)
    np.testing.assert_array_equal(sagittal, image[8].T)
    text = "\n".join(item.get_text() for item in figure.texts)
    assert "voxel (8, 6, 4) = (8.0, 6.0, 4.0) mm" in text


@pytest.mark.parametrize("kind", ["anisotropic", "flipped", "oblique"])
def test_the_voxel_is_named_by_its_index_in_the_file(kind: str) -> None:
    affine = affine_of(kind)
    volume = volume_from_tensor(torch.rand(1, *SHAPE), affine=affine)
    mask = mask_of(LARGE)
    attribution = attribution_of(mask, torch.ones(SHAPE), affine)
    mm = ", ".join(f"{value:.1f}" for value in volume.grid.to_mm((8, 6, 4)))
    assert view_of(attribution).place == f"voxel (8, 6, 4) = ({mm}) mm"


def test_the_voxel_lies_in_the_target_where_its_centre_does_not() -> None:
    ring = np.zeros((9, 9, 1), bool)
    ring[1:8, 1:8] = True
    ring[2:7, 2:7] = False
    voxel = voxel_within(ring, (1.0, 1.0, 1.0))
    assert ring[voxel]
    assert voxel in {(1, 4, 0), (4, 1, 0), (7, 4, 0), (4, 7, 0)}
    # Millimetres count: along the axis of small voxels the edge is nearer.
    assert voxel_within(ring, (5.0, 1.0, 1.0)) in {(4, 1, 0), (4, 7, 0)}
    assert voxel_within(np.zeros((5, 9)), (1.0, 1.0)) == (2, 4)


def test_the_largest_part_of_a_mask_is_found() -> None:
    part = largest_part(mask_of(SMALL, LARGE))
    assert torch.equal(part, mask_of(LARGE))
    for trivial in (torch.zeros(SHAPE).bool(), torch.ones(SHAPE).bool()):
        assert torch.equal(largest_part(trivial), trivial)


def labelled(truth: torch.Tensor | None, predicted: torch.Tensor) -> Scene:
    logits = torch.stack([torch.zeros(SHAPE), torch.where(predicted, 1.0, -1.0)])[None]
    return replace(scene(logits), truth=None if truth is None else truth.long())


def words(mask: torch.Tensor, truth: torch.Tensor | None, predicted: torch.Tensor) -> list[str]:
    volume = volume_from_tensor(torch.rand(1, *SHAPE))
    seen = labelled(truth, predicted)
    return [one.words for one in outlines_of(target_on(volume, mask, scene=seen, label=1), volume)]


def test_outlines_are_named_in_the_legend() -> None:
    predicted, truth = mask_of(LARGE), mask_of((slice(5, 10), slice(4, 9), slice(2, 7)))
    assert words(predicted, None, predicted) == ["target voxels = segmentation"]
    assert words(mask_of(SMALL), truth, predicted) == [
        "target voxels",
        "segmentation",
        "ground truth",
    ]
    assert words(predicted & ~truth, truth, predicted)[0].endswith(
        "segmented but not in the ground truth"
    )
    assert words(truth & ~predicted, truth, predicted)[0].endswith(
        "in the ground truth but not segmented"
    )
    everything = torch.ones(SHAPE, dtype=torch.bool)
    assert words(everything, None, predicted) == ["segmentation"]


def test_a_target_over_everything_is_cut_through_its_label() -> None:
    predicted = mask_of(LARGE)
    everything = torch.ones(SHAPE, dtype=torch.bool)
    volume = volume_from_tensor(torch.rand(1, *SHAPE))
    target = target_on(volume, everything, scene=labelled(None, predicted), label=1)
    attribution = Attribution(torch.ones(1, *SHAPE), CONTRIBUTION, "m", {}, volume, target)
    assert view_of(attribution).voxel == (8, 6, 4)


def test_the_channel_with_the_most_contrast_at_the_target_is_drawn() -> None:
    mask = mask_of(LARGE)
    data = torch.stack([torch.rand(SHAPE), mask.float() + 0.1 * torch.rand(SHAPE)])
    volume = volume_from_tensor(data, channels=("t1", "flair"))
    target = target_on(volume, mask)
    attribution = Attribution(data, CONTRIBUTION, "m", {}, volume, target)
    view = view_of(attribution)
    assert view.channel == "flair"
    assert "on flair" in "\n".join(t.get_text() for t in overlay_figure(attribution, "t").texts)
