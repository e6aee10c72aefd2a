"""Steps for some channels, in an order, before or after resampling; and how they are written."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError, StepError
from esegeta.volume import (
    Intensity,
    IntensityStep,
    Preprocess,
    intensity_of,
    step_of,
    volume_from_tensor,
)
from esegeta.volume.intensity_rules import Clip, Ct, Linear, Log, Window
from esegeta.volume.intensity_statistics import Rescale, ZScore
from tests.builders import SHAPES
from tests.volume.files import noise
from tests.volume.references import nnunet_zscore, nonzero_mask

NAMES = ("t1", "t1ce", "flair")


def image(ndim: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.from_numpy(noise((3, *SHAPES[ndim]))) * 50 + 100).to(dtype)


def preprocessed(steps: Any, data: torch.Tensor, names: tuple[str, ...] = NAMES) -> torch.Tensor:
    volume = volume_from_tensor(data, channels=names)
    return Preprocess(intensity=intensity_of(steps))(volume).data


def test_each_step_is_for_its_channels_by_name_or_index(ndim: int) -> None:
    data = image(ndim)
    steps = [
        {"clip": [60, 140], "channels": ["t1", 2]},
        {"zscore": True, "channels": ["t1ce"]},
        {"rescale": {"scale": 0.5, "offset": -3}, "channels": 0},
    ]
    got = preprocessed(steps, data)
    x = data.numpy().astype(np.float64)
    np.testing.assert_allclose(got[0], np.clip(x[0], 60, 140) * 0.5 - 3, rtol=1e-6)
    np.testing.assert_allclose(got[1], (x[1] - x[1].mean()) / x[1].std(), atol=1e-6)
    np.testing.assert_allclose(got[2], np.clip(x[2], 60, 140), rtol=1e-6)
    assert got.dtype == torch.float32


def test_steps_are_taken_in_their_order() -> None:
    data = image()
    clipped_first = preprocessed([{"clip": [80, 120]}, "zscore"], data)
    scaled_first = preprocessed(["zscore", {"clip": [80, 120]}], data)
    x = np.clip(data.numpy().astype(np.float64), 80, 120)
    axes = (1, 2, 3)
    expected = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    np.testing.assert_allclose(clipped_first, expected, atol=1e-6)
    np.testing.assert_array_equal(scaled_first, 80.0)


def test_the_foreground_is_that_of_the_image_before_the_first_step() -> None:
    data = torch.zeros(2, 9, 9, 9)
    data[0, 2:7, 2:7, 2:7] = torch.from_numpy(noise((5, 5, 5))).abs() * 50 + 10
    data[1, 3:8, 3:8, 3:8] = torch.from_numpy(noise((5, 5, 5), 1)).abs() * 9 + 10
    # The first step leaves no zero, and the mask of the second is still the head's.
    steps = [{"rescale": {"offset": 5}}, {"zscore": {"over": "foreground"}}]
    got = preprocessed(steps, data, ("a", "b"))
    inside = nonzero_mask(data.numpy())
    for number in range(2):
        expected = nnunet_zscore(data[number].numpy() + 5, inside)
        np.testing.assert_allclose(got[number], expected, rtol=1e-5, atol=1e-6)


def test_steps_before_and_after_resampling_differ() -> None:
    data = image()
    volume = volume_from_tensor(data, (1.0, 1.0, 2.0))
    results = {}
    for when in ("before_resampling", "after_resampling"):
        step = IntensityStep(Rescale(), when=when)
        results[when] = Preprocess(None, (1.3, 0.7, 1.1), (step,))(volume).data
    moved = Preprocess(None, (1.3, 0.7, 1.1))(volume).data
    low, high = (edge(data, dim=(1, 2, 3), keepdim=True) for edge in (torch.amin, torch.amax))
    before = (moved - low) / (high - low)
    torch.testing.assert_close(results["before_resampling"], before, rtol=1e-5, atol=1e-5)
    low, high = (edge(moved, dim=(1, 2, 3), keepdim=True) for edge in (torch.amin, torch.amax))
    torch.testing.assert_close(results["after_resampling"], (moved - low) / (high - low))
    assert (results["before_resampling"] - results["after_resampling"]).abs().max() > 0.01


@pytest.mark.parametrize("steps", ["zscore", ["zscore"], "minmax", [{"percentile": [1, 99]}]])
def test_a_large_offset_is_normalised_before_the_cast(steps: Any) -> None:
    small = torch.from_numpy(noise((1, 9, 11, 7))).double()
    large = volume_from_tensor(torch.zeros(1, 9, 11, 7)).with_data(small + 1e9)
    got = Preprocess(intensity=intensity_of(steps))(large).data
    assert got.dtype == torch.float32
    expected = preprocessed(steps, small.float(), ("0",))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert got.std() > 0.1


def test_float64_values_that_fit_float32_give_the_same_bits() -> None:
    data = image()
    for rule in (Intensity("zscore"), Intensity("percentile", 1, 99), Intensity("window", 0, 90)):
        chain = Preprocess(None, (1.3, 0.7, 1.1), rule)
        volume = volume_from_tensor(data)
        assert torch.equal(chain(volume.with_data(data.double())).data, chain(volume).data)


def test_values_that_float32_cannot_hold_are_named() -> None:
    volume = volume_from_tensor(torch.zeros(1, 4, 4), name="p7")
    huge = volume.with_data(torch.linspace(0, 1e300, 16, dtype=torch.float64).reshape(1, 4, 4))
    with pytest.raises(StepError, match=r"p7: values reach 1e\+300 .* float32 cannot hold"):
        Preprocess()(huge)
    assert Preprocess(intensity=intensity_of(["minmax"]))(huge).data.max() == 1


WRITTEN: list[tuple[Any, Any]] = [
    ("zscore", Intensity("zscore")),
    ("minmax", Intensity("minmax")),
    ("none", Intensity()),
    ({"window": [-250, 400]}, Intensity("window", -250, 400)),
    ({"percentile": (1, 99)}, Intensity("percentile", 1, 99)),
    ({"zscore": True}, Intensity("zscore")),
    ({"zscore": {"over": "nonzero"}}, (IntensityStep(ZScore("nonzero")),)),
    ({"window": [0, 1], "channels": [0]}, (IntensityStep(Window(0, 1), (0,)),)),
    (["zscore"], (IntensityStep(ZScore()),)),
    ([{"log": True}, "log"], (IntensityStep(Log()), IntensityStep(Log()))),
    ([{"ct": {"clip": [1, 2], "mean": 3, "std": 4}}], (IntensityStep(Ct(1, 2, 3, 4)),)),
    ([{"rescale": [-1, 1]}], (IntensityStep(Rescale(-1, 1)),)),
    ([{"rescale": {"scale": 2}}], (IntensityStep(Linear(2)),)),
    (
        [{"clip": [0, 5], "channels": "t1", "when": "before_resampling"}],
        (IntensityStep(Clip(0, 5), ("t1",), "before_resampling"),),
    ),
    ([Clip(0, 5), IntensityStep(Log())], (IntensityStep(Clip(0, 5)), IntensityStep(Log()))),
    ([], ()),
]


@pytest.mark.parametrize(("written", "meant"), WRITTEN, ids=str)
def test_every_form_of_a_step_is_parsed(written: Any, meant: Any) -> None:
    assert intensity_of(written) == meant


UNKNOWN: list[tuple[Any, str]] = [
    ("zscor", '"zscor" is not a step; did you mean "zscore"?'),
    ({"windw": [0, 1]}, '"windw" is not a step; did you mean "window"?'),
    ({"zscore": True, "chanels": [0]}, '"chanels" is not a step; did you mean "channels"?'),
    ({"zscore": {"ovr": "all"}}, 'unknown key "ovr"; did you mean "over"?'),
    ({"zscore": {"over": "nozero"}}, 'over: "nozero" is not known; did you mean "nonzero"?'),
    ({"zscore": True, "minmax": True}, "a step has one rule"),
    ({"channels": [0]}, "a step has one rule"),
    ("window", r"window needs its numbers; write window: \[-250, 400\]"),
    ("ct", r"ct needs its numbers; write ct: \{clip: "),
    ({"window": 3}, r"window: 3 is not two numbers; write window: \[-250, 400\]"),
    ({"clip": [1, 2, 3]}, r"clip: \[1, 2, 3\] is not two numbers"),
    ({"ct": {"clip": [0, 1], "mean": 3}}, "ct: std is missing"),
    ({"ct": [0, 1]}, "is not a block of clip, mean, std"),
    (
        {"log": True, "when": "befor_resampling"},
        'when: "befor_resampling" is not known; did you mean "before_resam',
    ),
    ({"log": True, "channels": []}, "channels: names none"),
]


@pytest.mark.parametrize(("written", "message"), UNKNOWN, ids=str)
def test_unknown_steps_are_refused_with_the_nearest(written: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        step_of(written)


def test_a_value_that_is_not_a_step_is_refused() -> None:
    as_installed = inspect.unwrap(step_of)  # without the type checks of tests
    with pytest.raises(ConfigError, match="intensity: 5 is not a step; such as zscore"):
        as_installed(5)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("t1c", 'zscore: there is no channel "t1c"; did you mean "t1ce" or "t1"?'),
        (3, "zscore: there is no channel 3; channels are counted from 0 to 2"),
        (-1, "there is no channel -1"),
    ],
)
def test_an_unknown_channel_is_refused(channel: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preprocessed([{"zscore": True, "channels": [channel]}], image())


SPANS: list[tuple[list[Any], tuple[float, float] | None]] = [
    ([], None),
    ([{"window": [-250, 400]}], (0, 1)),
    ([{"clip": [-5, 3]}], (-5, 3)),
    ([{"clip": [-5, float("inf")]}], None),
    ([{"clip": [-5, 3]}, {"clip": [-9, 2]}], (-5, 2)),
    ([{"clip": [0, np.e - 1]}, "log"], (0, 1)),
    (["log"], None),
    ([{"clip": [-1, 3]}, "log"], None),
    ([{"ct": {"clip": [-20, 40], "mean": 10, "std": 5}}], (-6, 6)),
    ([{"ct": {"clip": [-20, float("inf")], "mean": 10, "std": 5}}], None),
]


@pytest.mark.parametrize(("steps", "span"), SPANS, ids=str)
def test_bounds_set_by_steps_are_the_display_range(
    steps: list[Any], span: tuple[float, float] | None
) -> None:
    data = torch.rand(1, 3, 4) * 2
    (found,) = Preprocess(intensity=intensity_of(steps))(volume_from_tensor(data)).spans
    assert found == (span if span is None else pytest.approx(span))


def test_a_refusal_names_the_channel_and_the_step() -> None:
    data = image()
    data[1, 0, 0, 0] = -5
    with pytest.raises(StepError, match=r"intensity log: in channel 1 \(t1ce\) a value is -5") as e:
        preprocessed(["none", {"log": True, "channels": ["t1ce"]}], data)
    assert e.value.step == ("intensity", 1)
