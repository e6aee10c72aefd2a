"""Parts of windows give what whole windows give, and only where that is proved."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._device import DeviceContext

from esegeta.explain import Occlusion
from esegeta.model import held_still, is_watched
from esegeta.predict import LinearForm, Predictor, Term, WindowPlan, list_passes
from esegeta.predict.locality import Reach, box_around, narrow_parts, reach_of
from esegeta.targets import BoxRegion, VoxelTarget
from tests.builders import convolution, labels, unet, volume
from tests.networks import Smooth, Strided
from tests.oracles import everywhere, frozen, relative_gap

PROOF = "esegeta.predict.locality.PASSES_OF_PROOF"
SHAPES = {2: (44, 36), 3: (28, 24, 20)}
WINDOWS = {2: (24, 20), 3: (16, 16, 12)}


class Seen(nn.Module):
    """Keeps the sizes of the windows that it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(tuple(x.shape[2:]))
        return self.inner(x)


class FromTheStart(nn.Module):
    """Adds to each voxel how far it is from the beginning of the window."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(x.shape[2]).reshape(-1, *[1] * (x.ndim - 3)).to(x)


class AboutTheMean(nn.Module):
    """Subtracts the mean of the window."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean()


def found_reach(network: nn.Module, size: tuple[int, ...]) -> Reach | None:
    with held_still(network):
        return reach_of(network, network, torch.zeros(1, 1, *size))


def local(shape: tuple[int, ...], corner: tuple[int, ...]) -> LinearForm:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice(start, start + 3) for start in corner)] = True
    return LinearForm((Term(1, mask),), 2, shape, torch.float64)


def model_of(network: nn.Module, ndim: int, **keys: object) -> Predictor:
    plan = WindowPlan(WINDOWS[ndim], overlap=0.5, blend="gaussian", **keys)
    return Predictor(network.double(), plan, labels(), batch_size=2)


def test_the_reach_of_a_network_is_that_of_its_layers(ndim: int) -> None:
    """By hand: a block of two is seen by the strided layer's own and next place, which fill four;
    a convolution of three sees one voxel to each side.
    """
    size = (16, 12, 20)[:ndim]
    expected = Reach(size, (2,) * ndim, (1,) * ndim, (2,) * ndim)
    assert found_reach(Smooth(ndim), size) == expected


def test_parts_contain_all_inputs_that_reach_their_outputs() -> None:
    """Counted block by block."""
    reach = Reach((48,), (4,), (5,), (7,))
    for start in range(48):
        for stop in range(start + 1, 49):
            (part,) = reach.needed((slice(start, stop),))
            held = [
                block for block in range(0, 48, 4) if block - 5 < stop and block + 4 + 7 > start
            ]
            assert part.start <= held[0]
            assert part.stop >= held[-1] + 4
            assert part.start % 4 == part.stop % 4 == 0


@pytest.mark.parametrize("flips", [(), (0,), (0, 1)])
@pytest.mark.parametrize("corner", [(0, 0, 0), (13, 17, 9), (25, 21, 17)])
def test_parts_give_the_gradient_and_value_of_whole_windows(
    ndim: int,
    corner: tuple[int, ...],
    flips: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Seen(Smooth(ndim))
    model = model_of(network, ndim, passes=list_passes(flips))
    x = torch.randn(1, 1, *SHAPES[ndim], dtype=torch.float64)
    form = local(SHAPES[ndim], corner[:ndim])
    monkeypatch.setattr(PROOF, math.inf)
    whole = model.pull_back(x, form)
    monkeypatch.setattr(PROOF, 0)
    model.pull_back(x, form)  # with the proof
    network.sizes.clear()
    parts = model.pull_back(x, form)
    assert WINDOWS[ndim] not in network.sizes
    assert relative_gap(parts.gradient, whole.gradient) < 1e-12
    assert float(parts.value) == pytest.approx(float(whole.value), rel=1e-12)
    network.sizes.clear()
    dense = model.pull_back(x, form.dense()[None])
    assert WINDOWS[ndim] not in network.sizes
    assert relative_gap(dense.gradient, whole.gradient) < 1e-12
    active = model.windows(x).touching(form.support())
    contributions = model.contributions(x, form, active)
    assert float(contributions.sum()) == pytest.approx(float(whole.value), rel=1e-12)


@pytest.mark.parametrize("kind", ["strided", "relu_batch"])
def test_occlusion_of_parts_is_that_of_whole_windows(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Seen(Strided(2, 2) if kind == "strided" else unet(2, kind))
    model = Predictor(network, WindowPlan((48, 48), overlap=0.5), labels(), batch_size=2)
    image = volume((64, 56))
    target = frozen(model, image, VoxelTarget("one", over=BoxRegion((2, 3), (6, 9))))
    maps, seen = [], []
    for passes in (math.inf, 0):
        monkeypatch.setattr(PROOF, passes)
        network.sizes.clear()
        maps.append(Occlusion(box=4).explain(model, image, target).data)
        seen.append(sum(math.prod(size) for size in network.sizes))
    assert relative_gap(maps[1], maps[0]) < 1e-5
    assert seen[1] < 0.6 * seen[0]  # with the proof


@pytest.mark.slow
@pytest.mark.parametrize("flips", [(), (0, 1)])
def test_only_what_an_occlusion_changes_is_run_where_the_target_is_everywhere(
    flips: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Seen(Strided(2, 2))
    plan = WindowPlan((48, 48), overlap=0.5, passes=list_passes(flips))
    model = Predictor(network, plan, labels(), batch_size=2)
    image = volume((64, 56))
    target = frozen(model, image, everywhere())
    maps, seen = [], []
    for passes in (math.inf, 0):
        monkeypatch.setattr(PROOF, passes)
        Occlusion(box=8).explain(model, image, target)  # with the proof
        network.sizes.clear()
        maps.append(Occlusion(box=8).explain(model, image, target).data)
        seen.append(sum(math.prod(size) for size in network.sizes))
    assert relative_gap(maps[1], maps[0]) < 1e-5
    assert seen[1] < 0.6 * seen[0]


def test_an_edit_reaches_the_outputs_that_depend_on_it() -> None:
    """Counted block by block: each holds 4 inputs, and reaches 5 back and 7 on."""
    reach = Reach((48,), (4,), (5,), (7,))
    for start in range(48):
        for stop in range(start + 1, 49):
            (part,) = reach.reached((slice(start, stop),))
            blocks = range(start // 4 * 4, stop, 4)
            held = {one for block in blocks for one in range(block - 5, block + 4 + 7)}
            assert set(range(part.start, part.stop)) == held & set(range(48))


@pytest.mark.parametrize("kind", ["instance norm", "place", "mean", "too near"])
def test_parts_are_refused_where_whole_windows_matter(ndim: int, kind: str) -> None:
    conv = convolution(ndim)(1, 2, 3, padding=1)
    network: nn.Module = {
        "instance norm": unet(ndim, "relu_instance"),
        "place": nn.Sequential(conv, FromTheStart()),
        "mean": nn.Sequential(AboutTheMean(), conv),
        "too near": convolution(ndim)(1, 2, 9, padding=4),
    }[kind]
    size = (8,) * ndim if kind == "too near" else (16,) * ndim
    assert found_reach(network.eval(), size) is None


class Rid(nn.Module):
    """Makes numbers of what is none."""

    def forward(self, x: Tensor) -> Tensor:
        return x.nan_to_num()


def test_windows_are_run_whole_if_layers_do_not_divide_them(ndim: int) -> None:
    convolve, size = convolution(ndim)(1, 2, 3, padding=1), (16,) * ndim
    pool = (nn.AdaptiveAvgPool2d if ndim == 2 else nn.AdaptiveAvgPool3d)(5)
    assert found_reach(nn.Sequential(convolve, Rid()), size) is None
    assert found_reach(nn.Sequential(convolve, pool, nn.Upsample(size)), size) is None


def test_layers_finer_than_the_window_take_no_step(ndim: int) -> None:
    finer, coarser = nn.Upsample(scale_factor=2), nn.AvgPool2d(2) if ndim == 2 else nn.AvgPool3d(2)
    network = nn.Sequential(finer, convolution(ndim)(1, 2, 3, padding=1), coarser)
    size = (12,) * ndim
    assert found_reach(network, size) == Reach(size, (1,) * ndim, (1,) * ndim, (1,) * ndim)


def test_the_reach_of_a_network_is_measured_once() -> None:
    network = Seen(Smooth(2))
    first = found_reach(network, (16, 12))
    assert first is not None and network.sizes
    network.sizes.clear()
    assert found_reach(network, (16, 12)) == first
    assert not network.sizes


def test_a_window_without_wanted_outputs_is_not_narrowed() -> None:
    network, like = Smooth(2), torch.zeros(1, 1, 48, 40)
    wanted = torch.zeros(2, 48, 40, dtype=torch.bool)
    wanted[1, 20:22, 20:22] = True
    with held_still(network), torch.no_grad():
        parts = narrow_parts(network, network, like, {3: wanted[0], 5: wanted[1]}, 1000)
    reach = found_reach(network, (48, 40))
    assert reach is not None
    assert parts == {5: reach.needed((slice(20, 22), slice(20, 22)))}


def test_hooks_on_a_network_see_whole_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROOF, 0)
    network = Seen(Smooth(2))
    model = model_of(network, 2)
    x, form = torch.randn(1, 1, *SHAPES[2], dtype=torch.float64), local(SHAPES[2], (13, 17))
    handle = network.inner.head.register_forward_hook(lambda *_: None)
    assert is_watched(network)
    model.pull_back(x, form)
    assert set(network.sizes) == {WINDOWS[2]}
    handle.remove()
    with DeviceContext("cpu"):  # any mode that torch's functions go through
        assert is_watched(network)
    assert not is_watched(network)
    half = replace(model, network=network.float(), precision="bf16")
    network.sizes.clear()
    half.pull_back(x.float(), replace(form, dtype=torch.float32))
    assert set(network.sizes) == {WINDOWS[2]}


def test_the_bounding_box_of_a_mask(ndim: int) -> None:
    mask = torch.zeros((7, 6, 5)[:ndim], dtype=torch.bool)
    assert box_around(mask) is None
    mask[(1,) * ndim] = mask[(4, 1, 3)[:ndim]] = True
    assert box_around(mask) == (slice(1, 5), slice(1, 2), slice(1, 4))[:ndim]
