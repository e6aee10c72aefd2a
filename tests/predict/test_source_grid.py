"""The prediction on the scan's grid equals MONAI's Invertd and nnU-Net's order-1 resampling."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Activationsd, AsDiscreted, Compose, Invertd, Orientationd, Spacingd
from scipy import ndimage
from skimage.transform import resize
from torch import Tensor

from esegeta.model import Labels, Postprocessing
from esegeta.predict import SourceGrid
from esegeta.predict import source_grid as module
from esegeta.volume import (
    Crop,
    Grid,
    Preprocess,
    Source,
    Volume,
    volume_from_tensor,
    write_label_map,
)
from tests.builders import SHAPES, affine_of, labels
from tests.experiments import voxels
from tests.volume.references import nnunet_resample

SPACING = {2: (1.3, 1.1), 3: (1.3, 1.1, 2.2)}
NUM = 4


def moved_case(ndim: int, seed: int = 0) -> Volume:
    """A volume whose axes are turned and resampled on the way to the network."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn((1, *SHAPES[ndim]), generator=generator)
    affine = affine_of("anisotropic", ndim) @ np.diag([-1, 1, 1, 1])
    preprocess = Preprocess("RAS"[:ndim] if ndim == 3 else None, SPACING[ndim])
    return preprocess(volume_from_tensor(data, affine=affine))


def logits_on(volume: Volume, count: int = NUM, seed: int = 1) -> Tensor:
    """Smooth-ish logits of the volume's shape, of three times unit spread."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn((1, count, *volume.grid.shape), generator=generator)


def probability_of(source: SourceGrid, names: list[str]) -> Tensor:
    """Stack what is yielded."""
    found = list(source.probabilities(names))
    assert [name for name, _ in found] == names
    return torch.stack([values for _, values in found])


def inverted(volume: Volume, values: Tensor) -> Tensor:
    """Put `L *S` back on the source's grid by MONAI's own Invertd."""
    source = volume.source.grid
    square = np.ix_([*range(source.ndim), 3], [*range(source.ndim), 3])
    steps: list[Any] = [Spacingd("image", pixdim=SPACING[source.ndim], dtype=torch.float64)]
    if source.ndim == 3:
        steps.insert(0, Orientationd("image", axcodes="RAS", labels=None))
    forward = Compose(steps)
    image = MetaTensor(torch.zeros((1, *source.shape)), affine=torch.tensor(source.affine[square]))
    item = forward({"image": image})
    assert tuple(item["image"].shape[1:]) == volume.grid.shape
    prediction = MetaTensor(values, meta=item["image"].meta)
    prediction.applied_operations = item["image"].applied_operations
    back = Invertd("pred", forward, orig_keys="image", nearest_interp=False)
    return back({**item, "pred": prediction})["pred"].as_tensor()


@pytest.mark.parametrize("ndim", [2, 3])
def test_probabilities_are_resampled_as_in_monai_bundles(ndim: int) -> None:
    volume = moved_case(ndim)
    logits = logits_on(volume)
    source = SourceGrid(logits, volume, labels(NUM), "probabilities")
    activated = Activationsd("pred", softmax=True)({"pred": logits[0]})["pred"]
    expected = inverted(volume, activated)
    found = probability_of(source, ["one", "two", "three"])
    np.testing.assert_allclose(found, expected[1:], atol=1e-6)
    decided = AsDiscreted("pred", argmax=True)({"pred": expected})["pred"][0]
    assert torch.equal(source.label_map, decided.long())
    assert not torch.equal(source.label_map, SourceGrid(logits, volume, labels(NUM)).label_map)


@pytest.mark.parametrize("ndim", [2, 3])
def test_logits_are_inverted_and_then_decided(ndim: int) -> None:
    volume = moved_case(ndim)
    logits = logits_on(volume)
    source = SourceGrid(logits, volume, labels(NUM), "logits")
    expected = inverted(volume, logits[0])
    assert torch.equal(source.label_map, expected.argmax(dim=0))
    probability = expected.softmax(dim=0)
    found = probability_of(source, ["three", "one"])
    np.testing.assert_allclose(found, probability[[3, 1]], atol=1e-6)


def test_every_rule_serves_sigmoid_labels() -> None:
    volume = moved_case(3)
    logits = logits_on(volume, 2)
    known = labels(2, "sigmoid")
    for rule, channels in (
        ("logits", inverted(volume, logits[0]).sigmoid()),
        ("probabilities", inverted(volume, logits[0].sigmoid())),
    ):
        expected = torch.where(channels.amax(0) > 0.5, channels.argmax(0) + 1, 0)
        found = SourceGrid(logits, volume, known, rule).label_map
        assert torch.equal(found, expected), rule


def test_saturated_probabilities_stay_above_every_threshold() -> None:
    """Where the sigmoid is 1 in float64, its logit is infinite, and still above any threshold."""
    volume = moved_case(3)
    logits = torch.full((1, 2, *volume.grid.shape), 80.0)
    logits[:, 1] = -800.0
    found = SourceGrid(logits, volume, labels(2, "sigmoid"), "probabilities")
    assert bool((found.label_map == 1).all())
    torch.testing.assert_close(
        probability_of(found, ["one", "two"])[:, 0, 0, 0], torch.tensor([1.0, 0])
    )


def test_extents_that_are_one_are_resized_as_by_nnunet() -> None:
    """nnU-Net resizes logits by shapes: `skimage.transform.resize`, order 1, mode edge."""
    source, network = (12, 9, 7), (8, 11, 7)
    affine = np.diag([*(a / b for a, b in zip(source, network, strict=True)), 1.0])
    # Both grids begin at the same side of their first voxel.
    affine[:3, 3] = [(a / b - 1) / 2 for a, b in zip(source, network, strict=True)]
    grid = Grid(network, affine)
    volume = Volume(torch.zeros((1, *network)), grid, Source(Grid(source, np.eye(4))))
    logits = logits_on(volume)
    options = {"order": 1, "mode": "edge", "anti_aliasing": False, "clip": True}
    expected = np.stack(
        [resize(channel.double().numpy(), source, **options) for channel in logits[0]]
    )
    found = SourceGrid(logits, volume, labels(NUM))
    probability = torch.from_numpy(expected).softmax(dim=0)
    np.testing.assert_allclose(probability_of(found, ["two"])[0], probability[2], atol=1e-6)
    np.testing.assert_array_equal(found.label_map, expected.argmax(axis=0))


@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("values", [1, 500])
def test_the_size_of_slabs_makes_no_difference(
    rule: Any, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = moved_case(3)
    source = SourceGrid(logits_on(volume), volume, labels(NUM), rule)
    names = ["one", "three"]
    whole, probability = source.label_map, probability_of(source, names)
    monkeypatch.setattr(module, "SLAB_VALUES", values)
    monkeypatch.setattr(module, "HELD_VALUES", values)
    again = SourceGrid(source.logits, volume, labels(NUM), rule)
    assert torch.equal(again.label_map, whole)
    torch.testing.assert_close(probability_of(again, names), probability, rtol=0, atol=1e-6)


def test_labels_are_those_of_the_nearest_voxel(tmp_path: Path) -> None:
    volume = moved_case(3)
    logits = logits_on(volume)
    known = labels(NUM)
    path = tmp_path / "nearest.nii.gz"
    write_label_map(path, known.label_map(logits)[0], volume)
    found = SourceGrid(logits, volume, known, "labels").label_map
    np.testing.assert_array_equal(found, voxels(path))


@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels"])
def test_reorientation_does_not_change_the_decision(rule: Any) -> None:
    data = torch.randn((1, *SHAPES[3]), generator=torch.Generator().manual_seed(0))
    volume = Preprocess("SPL")(volume_from_tensor(data, affine=affine_of("anisotropic")))
    logits = logits_on(volume)
    source = SourceGrid(logits, volume, labels(NUM), rule)
    # R is the last axis there, turned to L; A the second, turned to P; S the first.
    turned = logits.argmax(dim=1)[0].permute(2, 1, 0).flip((0, 1))
    assert torch.equal(source.label_map, turned)


@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("spacing_mm", [None, (0.5, 1.0, 1.0), (2.5, 1.0, 1.0)])
def test_voxels_outside_of_the_crop_are_background(
    spacing_mm: tuple[float, ...] | None, rule: Any
) -> None:
    """The image is not 0 at voxels 2 to 6 of 9 along the first axis, all of them `one`."""
    data = torch.zeros((1, 9, 4, 3))
    data[:, 2:7] = 1.0
    volume = Preprocess(spacing_mm=spacing_mm, crop=Crop())(volume_from_tensor(data))
    logits = torch.zeros((1, 2, *volume.grid.shape))
    logits[:, 1] = 5.0
    source = SourceGrid(logits, volume, labels(2), rule)
    assert torch.equal(source.label_map, data[0].long())
    probability = probability_of(source, ["one"])[0]
    np.testing.assert_allclose(probability, data[0] * torch.tensor(5.0).sigmoid(), atol=1e-6)


@pytest.mark.parametrize("transpose", [None, (2, 0, 1)])
@pytest.mark.parametrize("shape", [(10, 9, 8), (9, 11, 16)])
def test_a_coarse_axis_comes_back_as_by_nnunet(
    shape: tuple[int, ...], transpose: tuple[int, ...] | None
) -> None:
    """nnU-Net resamples logits with order 1 in the slices and order 0 across them."""
    affine = np.diag([0.7, 0.9, 4.0, 1.0])
    data = torch.randn((1, *shape), generator=torch.Generator().manual_seed(0))
    spacing = np.array([1.2, 0.8, 3.0])
    asked = spacing if transpose is None else spacing[list(transpose)]
    preprocess = Preprocess(
        spacing_mm=tuple(asked), order=3, separate_axis="auto", transpose=transpose
    )
    volume = preprocess(volume_from_tensor(data, affine=affine))
    logits = logits_on(volume)
    array = logits[0].double().numpy()
    if transpose is not None:
        array = np.transpose(array, (0, *(1 + np.argsort(transpose))))
    expected = nnunet_resample(array, spacing, (0.7, 0.9, 4.0), order=1)
    found = SourceGrid(logits, volume, labels(NUM))
    probability = torch.from_numpy(expected).softmax(dim=0)
    np.testing.assert_allclose(probability_of(found, ["two"])[0], probability[2], atol=1e-6)
    np.testing.assert_array_equal(found.label_map, expected.argmax(axis=0))


def test_large_integers_are_exact() -> None:
    volume = moved_case(3)
    known = Labels({312782546: "left", 312782550: "right"}, "softmax", 3)
    found = SourceGrid(logits_on(volume, 3), volume, known, "labels").label_map
    assert set(found.unique().tolist()) == {0, 312782546, 312782550}


REGIONS = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}


@pytest.mark.parametrize("rule", ["logits", "probabilities"])
def test_each_label_that_may_overlap_has_a_mask_of_its_own(rule: Any) -> None:
    volume = moved_case(3)
    logits = logits_on(volume, 3)
    known = Labels.of(REGIONS, "sigmoid", 3, threshold={"core": 0.7})
    source = SourceGrid(logits, volume, known, rule)
    on_file = inverted(volume, logits[0] if rule == "logits" else logits[0].sigmoid())
    probability = on_file.sigmoid() if rule == "logits" else on_file
    expected = {
        name: values > level
        for name, values, level in zip(REGIONS, probability, (0.5, 0.7, 0.5), strict=True)
    }
    found = dict(source.masks())
    assert list(found) == list(REGIONS)
    for name, mask in found.items():
        assert torch.equal(mask, expected[name]), name
    painted = torch.zeros(on_file.shape[1:], dtype=torch.long)
    for name, integer in (("whole", 2), ("core", 1), ("enhancing", 4)):
        painted[expected[name]] = integer
    assert torch.equal(source.label_map, painted)


def test_masks_of_labels_that_exclude_each_other_are_those_of_the_label_map() -> None:
    volume = moved_case(3)
    source = SourceGrid(logits_on(volume), volume, labels(NUM))
    for place, (_, mask) in enumerate(source.masks(), start=1):
        assert torch.equal(mask, source.label_map == place)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_postprocessing_is_done_on_the_grid_of_the_image(activation: Any) -> None:
    volume = moved_case(3)
    logits = logits_on(volume, 3)
    names = {1: "one", 2: "two"}
    plain = Labels(names, activation, 3) if activation == "softmax" else None
    plain = plain or Labels({**names, 3: "three"}, activation, 3)
    largest = replace(plain, postprocessing=Postprocessing(keep_largest=("one",)))
    before = dict(SourceGrid(logits, volume, plain).masks())
    source = SourceGrid(logits, volume, largest)
    after = dict(source.masks())
    numbered, count = ndimage.label(before["one"].numpy(), np.ones((3, 3, 3)))
    assert count > 1
    sizes = np.bincount(numbered.ravel())[1:]
    np.testing.assert_array_equal(after["one"], numbered == 1 + sizes.argmax())
    assert torch.equal(after["two"], before["two"])
    shown = source.label_map == 1
    assert not bool((shown & ~after["one"]).any())
    if activation == "softmax":
        assert torch.equal(shown, after["one"])
        assert torch.equal(source.label_map == 2, before["two"])
    else:  # the most probable of the labels that are left
        order = inverted(volume, logits[0])
        first = after["one"] & ~(before["two"] & (order[1] > order[0]))
        first &= ~(before["three"] & (order[2] > order[0]))
        assert torch.equal(shown, first)


def both_devices(device: str, keys: dict[str, Any], rule: Any) -> tuple[SourceGrid, SourceGrid]:
    """The prediction of an image that is not 0 in a box, on the CPU and on a device."""
    data = torch.zeros((1, *SHAPES[3]))
    data[:, 1:-1, 2:] = torch.randn((1, 7, 9, 7), generator=torch.Generator().manual_seed(0))
    image = volume_from_tensor(data, affine=affine_of("anisotropic"))
    volume = Preprocess(**keys)(image)
    known = Labels.of(REGIONS, "sigmoid", 3, postprocessing={"keep_largest": True})
    logits = logits_on(volume, 3)
    here = SourceGrid(logits, volume, known, rule)
    return here, SourceGrid(logits.to(device), volume.to(device), known, rule)


@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("keys", [{}, {"orientation": "SPL"}, {"crop": Crop()}], ids=str)
def test_a_second_device_gives_the_same_label_map(
    rule: Any, keys: dict[str, Any], second: torch.device
) -> None:
    """MONAI's interpolation, which is left out here, does not run on this one."""
    here, there = both_devices(second.type, keys, rule)
    assert there.label_map.device.type == second.type
    assert torch.equal(there.label_map.cpu(), here.label_map)
    for (_, mask), (_, expected) in zip(there.masks(), here.masks(), strict=True):
        assert torch.equal(mask.cpu(), expected)
    found, expected = probability_of(there, ["core"]), probability_of(here, ["core"])
    assert torch.equal(found.cpu(), expected)


SPACED = {"spacing_mm": (1.3, 1.1, 2.2)}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("keys", [{}, {"crop": Crop()}, {"order": 3, "separate_axis": True}])
def test_interpolation_on_cuda(rule: Any, keys: dict[str, Any]) -> None:
    here, there = both_devices("cuda", {**SPACED, **keys}, rule)
    assert there.label_map.is_cuda
    assert (there.label_map.cpu() == here.label_map).double().mean() > 0.99  # but for ties
    found, expected = probability_of(there, ["core"]), probability_of(here, ["core"])
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)
