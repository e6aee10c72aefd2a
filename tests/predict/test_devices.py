"""Windows that are dealt out to several devices add up to what one device gives."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import DeviceError
from esegeta.explain import IntegratedGradients
from esegeta.model import resolve_devices
from esegeta.predict import Copies, Predictor
from esegeta.targets import Everywhere, Scene, VoxelTarget
from tests.builders import SHAPES, predictor, unet, volume
from tests.networks import Failing, Smooth

CPU = torch.device("cpu")


class Noting(nn.Module):
    """Notes which thread runs it, and on how many windows."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.threads: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.threads.append(threading.get_ident())
        return self.inner(x)


def spread(model: Predictor, *devices: torch.device) -> Predictor:
    return replace(model, copies=Copies.on(devices, model.network))


@pytest.mark.parametrize("further", [1, 2])
def test_devices_of_one_kind_give_identical_results(ndim: int, further: int) -> None:
    network = Noting(Smooth(ndim))
    one = predictor(network, (8,) * ndim)
    counted: list[int] = []
    several = spread(replace(one, on_windows=counted.append), *[CPU] * further)
    x = torch.randn(2, 1, *SHAPES[ndim])
    slope = torch.randn(1, 2, *SHAPES[ndim])
    assert torch.equal(several.logits(x), one.logits(x))
    expected, found = one.pull_back(x, slope), several.pull_back(x, slope)
    assert torch.equal(found.gradient, expected.gradient)
    assert torch.equal(found.value, expected.value)
    active = range(len(one.windows(x)))
    same = one.contributions(x, slope, active)
    assert torch.equal(several.contributions(x, slope, active), same)
    assert several.copies is not None
    for own in several.copies.modules:
        assert isinstance(own, Noting)
        assert own.threads
        assert threading.get_ident() not in own.threads
    assert sum(counted) == 3 * 2 * len(active)


def test_devices_of_two_kinds_give_close_results(ndim: int, second: torch.device) -> None:
    one = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    several = spread(one, second)
    x = image.batch
    torch.testing.assert_close(several.logits(x), one.logits(x), rtol=0, atol=1e-6)
    slope = torch.randn(1, 2, *SHAPES[ndim])
    expected, found = one.pull_back(x, slope), several.pull_back(x, slope)
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.value, expected.value, rtol=1e-5, atol=1e-6)
    assert found.gradient.device == CPU


def test_copies_follow_the_weights_of_their_network() -> None:
    one = predictor(unet(2), (8, 8))
    several = spread(one, CPU)
    x = torch.randn(1, 1, *SHAPES[2])
    before = several.logits(x)
    with torch.no_grad():
        next(one.network.parameters()).mul_(2)
    after = several.logits(x)
    assert not torch.equal(after, before)
    assert torch.equal(after, one.logits(x))


@pytest.mark.parametrize("why", ["another network", "ensemble", "hook"])
def test_windows_stay_on_one_device_if_copies_would_differ(why: str) -> None:
    network = Noting(unet(2))
    several = spread(predictor(network, (8, 8)), CPU)
    x = torch.randn(1, 1, *SHAPES[2])
    expected = several.logits(x)
    assert several.copies is not None
    (own,) = several.copies.modules
    assert isinstance(own, Noting)
    own.threads.clear()
    if why == "another network":
        several = replace(several, network=Noting(copy.deepcopy(network)))
    elif why == "ensemble":
        several = replace(several, states=(dict(network.state_dict()),))
    else:
        network.register_forward_hook(lambda *given: 2 * given[2])
        expected = 2 * expected
    torch.testing.assert_close(several.logits(x), expected)
    assert not own.threads


def test_an_error_on_a_device_is_raised_and_all_state_restored() -> None:
    one = predictor(Failing(unet(2).train(), nth=2), (8, 8))
    several = spread(one, CPU)
    flags = torch.backends.cudnn.conv.fp32_precision
    with pytest.raises(Failing.BrokenError):
        several.logits(torch.randn(1, 1, *SHAPES[2]))
    assert several.copies is not None
    assert several.network.training
    assert all(own.training for own in several.copies.modules)
    assert torch.backends.cudnn.conv.fp32_precision == flags


def test_several_devices_give_the_same_map_for_a_method_of_many_passes() -> None:
    one, image = predictor(Smooth(2), (8, 8)), volume(SHAPES[2])
    several = spread(one, CPU)
    maps = []
    for model in (one, several):
        target = VoxelTarget("one", over=Everywhere()).freeze(Scene(model, image))
        maps.append(IntegratedGradients(steps=4, baseline="zero").explain(model, image, target))
    assert torch.equal(maps[0].data, maps[1].data)
    assert maps[0].facts.windows_run == maps[1].facts.windows_run


def test_devices_are_named_one_by_one(second: torch.device) -> None:
    assert resolve_devices("cpu") == (CPU,)
    assert resolve_devices(f"{second}, cpu") == (second, CPU)
    with pytest.raises(DeviceError, match="twice"):
        resolve_devices("cpu,cpu")
    with pytest.raises(DeviceError, match='"auto" among several'):
        resolve_devices("auto,cpu")
    with pytest.raises(DeviceError, match='"gpu" is not a device'):
        resolve_devices("cpu,gpu")
