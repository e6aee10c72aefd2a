"""MONAI's transforms one by one: the same numbers from our keys, or words that say why not."""

from __future__ import annotations

from typing import Any

import monai.transforms
import numpy as np
import pytest
import torch

from esegeta.config.bundle_space import take
from esegeta.config.bundle_steps import Steps
from esegeta.model.bundle import BundleComponent
from esegeta.volume import Preprocess, intensity_of, volume_from_tensor
from tests.experiments import noise

Transform = tuple[str, dict[str, Any]]


def taken(
    *chain: Transform, num_channels: int = 1, channels: list[int] | None = None, place: int = 0
) -> Steps:
    """Return the steps that transforms for dictionaries stand for."""
    steps = Steps(3, num_channels)
    for name, args in chain:
        take(steps, BundleComponent(name, f"{name}d", args), channels, place=place)
    return steps


PERCENTILES = {"lower": 5, "upper": 95, "b_min": 0, "b_max": 1, "clip": True}
SAME: dict[str, Transform] = {
    "percentiles to 0 and 1": (
        "ScaleIntensityRangePercentiles",
        {**PERCENTILES, "channel_wise": True},
    ),
    "percentiles to other bounds": (
        "ScaleIntensityRangePercentiles",
        {**PERCENTILES, "b_min": -1, "b_max": 3, "channel_wise": True},
    ),
    "a mean and a deviation of each channel": (
        "NormalizeIntensity",
        {"subtrahend": [0.5, -1.0], "divisor": [2.0, 4.0], "channel_wise": True},
    ),
    "the same of each channel": (
        "NormalizeIntensity",
        {"subtrahend": [0.5, 0.5], "divisor": [2.0, 2.0], "channel_wise": True},
    ),
    "a deviation of zero": (
        "NormalizeIntensity",
        {"subtrahend": [0.5, -1.0], "divisor": [2.0, 0.0], "channel_wise": True},
    ),
    "a range cut off below": (
        "ScaleIntensityRange",
        {"a_min": -1, "a_max": 1, "b_min": 0, "b_max": None, "clip": True},
    ),
    "a range cut off above": (
        "ScaleIntensityRange",
        {"a_min": -1, "a_max": 1, "b_min": None, "b_max": 0.75, "clip": True},
    ),
    "scaled with one bound of none, which MONAI takes for 0 to 1": (
        "ScaleIntensity",
        {"minv": None, "maxv": 7.0, "factor": 0.5, "channel_wise": True},
    ),
    "scaled by a factor alone": ("ScaleIntensity", {"minv": None, "maxv": None, "factor": 0.5}),
    "one deviation of zero for all": ("NormalizeIntensity", {"subtrahend": 0.5, "divisor": 0.0}),
}


@pytest.mark.parametrize("name", SAME)
def test_mapped_intensity_steps_equal_monai(name: str) -> None:
    image = torch.from_numpy(3 * noise((2, 6, 5, 4)))
    kind, args = SAME[name]
    wanted = getattr(monai.transforms, kind)(**args)(image.clone())  # which it may change
    steps = taken((kind, args), num_channels=2)
    assert steps.unmapped == []
    own = Preprocess(intensity=intensity_of(steps.keys["intensity"]))
    found = own(volume_from_tensor(image)).data
    np.testing.assert_allclose(found.numpy(), np.asarray(wanted), rtol=1e-5, atol=1e-5)


def test_per_channel_numbers_follow_the_order_of_the_channels_read() -> None:
    args = {"subtrahend": [1.0, 2.0], "divisor": [2.0, 4.0], "channel_wise": True}
    steps = taken(("NormalizeIntensity", args), num_channels=3, channels=[2, 0])
    rules = [(rule["channels"], rule["rescale"]["offset"]) for rule in steps.keys["intensity"]]
    assert rules == [([2], -0.5), ([0], -0.5)]


def test_more_values_than_channels_that_are_read_are_refused() -> None:
    args = {"subtrahend": [1.0, 2.0, 3.0], "divisor": 2.0, "channel_wise": True}
    steps = taken(("NormalizeIntensity", args), num_channels=3, channels=[1, 2])
    assert steps.unmapped == ["NormalizeIntensityd (3 values for 2 channels)"]


RANGE: dict[str, Any] = {"a_min": 0, "a_max": 2, "b_min": 0, "b_max": 1, "clip": True}
CROP: dict[str, Any] = {"source_key": "image"}
CUT = "depends on the image; esegeta crops first"
UNMAPPED: dict[str, tuple[list[Transform], str]] = {
    "range of no width": (
        [("ScaleIntensityRange", {**RANGE, "a_max": 0})],
        "ScaleIntensityRanged (a_min equals a_max)",
    ),
    "range that is cut off nowhere": (
        [("ScaleIntensityRange", {"a_min": 0, "a_max": 2, "clip": True})],
        "ScaleIntensityRanged (clip: true, without b_min and b_max)",
    ),
    "range the wrong way round": (
        [("ScaleIntensityRange", {**RANGE, "b_min": 2})],
        "ScaleIntensityRanged (clip: true, with b_min above b_max)",
    ),
    "more values than channels": (
        [("NormalizeIntensity", {"subtrahend": [1.0, 2.0], "divisor": 2.0, "channel_wise": True})],
        "NormalizeIntensityd (2 values for 1 channel)",
    ),
    "no value at all": (
        [("NormalizeIntensity", {"subtrahend": [], "divisor": [], "channel_wise": True})],
        "NormalizeIntensityd (0 values for 1 channel)",
    ),
    "percentiles cut off on one side": (
        [("ScaleIntensityRangePercentiles", {**PERCENTILES, "b_max": None})],
        "ScaleIntensityRangePercentilesd (clip: true, without b_min and b_max)",
    ),
    "open percentiles": (
        [("ScaleIntensityRangePercentiles", {**PERCENTILES, "clip": False})],
        "ScaleIntensityRangePercentilesd (without clip: true)",
    ),
    "fixed mean, own deviation": (
        [("NormalizeIntensity", {"subtrahend": 3.0})],
        "NormalizeIntensityd (subtrahend and divisor with a statistic of the image)",
    ),
    "an image to subtract": (
        [("NormalizeIntensity", {"subtrahend": [1.0, 2.0], "divisor": 1.0})],
        "NormalizeIntensityd (subtrahend of each voxel)",
    ),
    "another value than the threshold": (
        [("ThresholdIntensity", {"threshold": 3, "cval": 0.5})],
        "ThresholdIntensityd (cval: 0.5, which is not the threshold)",
    ),
    "behind padding": (
        [("ScaleIntensity", {}), ("SpatialPad", {"spatial_size": 8}), ("ScaleIntensity", {})],
        "ScaleIntensityd (comes after SpatialPad, but windows pad after all other steps)",
    ),
    "margins by axis": (
        [("CropForeground", {**CROP, "margin": [1, 2, 1], "allow_smaller": True})],
        "CropForegroundd (margin: [1, 2, 1])",
    ),
    "crop behind a window above zero": (
        [
            ("ScaleIntensityRange", RANGE),
            ("ShiftIntensity", {"offset": -2.0}),
            ("CropForeground", CROP),
        ],
        f"CropForegroundd (comes after an intensity step that {CUT})",
    ),
    "crop behind a clip above zero": (
        [("ThresholdIntensity", {"threshold": 1, "cval": 1}), ("CropForeground", CROP)],
        f"CropForegroundd (comes after an intensity step that {CUT})",
    ),
    "padding with another value": (
        [("ScaleIntensity", {}), ("SpatialPad", {"spatial_size": 8, "value": -1})],
        "SpatialPadd (value: -1; windows pad with 0)",
    ),
    "padding with an older word": (
        [("ScaleIntensity", {}), ("SpatialPad", {"spatial_size": 8, "constant_values": 2})],
        "SpatialPadd (value: 2; windows pad with 0)",
    ),
    "padding before the values are scaled": (
        [("SpatialPad", {"spatial_size": 8})],
        "SpatialPadd (pads before the intensity steps)",
    ),
    "padding with the edge": (
        [("ResizeWithPadOrCrop", {"spatial_size": 8, "mode": "edge"})],
        "ResizeWithPadOrCropd (mode: edge)",
    ),
    "a size that keeps an axis": (
        [("ResizeWithPadOrCrop", {"spatial_size": [8, -1, 8]})],
        "ResizeWithPadOrCropd (spatial_size: [8, -1, 8], which keeps an axis)",
    ),
    "an argument of another version": (
        [("Spacing", {"pixdim": 2.0, "smooth": True})],
        "Spacingd (smooth: True)",
    ),
}


@pytest.mark.parametrize("name", UNMAPPED)
def test_transforms_without_a_counterpart_have_a_reason(name: str) -> None:
    chain, said = UNMAPPED[name]
    assert taken(*chain).unmapped == [said]


@pytest.mark.parametrize("kind", ["ScaleIntensity", "NormalizeIntensity"])
def test_statistics_of_all_channels_together_are_refused(kind: str) -> None:
    said = f"{kind}d (over all channels at once, without channel_wise: true)"
    assert taken((kind, {}), num_channels=2).unmapped == [said]
    assert taken((kind, {"channel_wise": True}), num_channels=2).unmapped == []
    assert taken((kind, {}), num_channels=2, channels=[1]).unmapped == []


def test_resampling_only_some_channels_is_refused() -> None:
    steps = taken(("Spacing", {"pixdim": 2.0}), num_channels=2, channels=[1])
    assert steps.unmapped == ["Spacingd (changes the space of only some channels)"]


def test_a_crop_behind_a_step_of_one_channel_is_refused() -> None:
    steps = taken(("ScaleIntensityRange", RANGE), num_channels=2, channels=[1])
    take(steps, BundleComponent("CropForeground", "CropForegroundd", CROP), None)
    said = "CropForegroundd (comes after an intensity step of only some channels)"
    assert steps.unmapped == [said]


@pytest.mark.parametrize(("place", "order"), [(0, 0), (1, None), (2, None)])
def test_an_argument_by_key_is_that_of_the_image(place: int, order: int | None) -> None:
    """The last one holds for all keys behind it."""
    args = {"pixdim": 2.0, "mode": ["nearest", "bilinear"]}
    assert taken(("Spacing", args), place=place).keys.get("order") == order
