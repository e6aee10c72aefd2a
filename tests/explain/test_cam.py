"""Grad-CAM and HiResCAM of the whole prediction, against one graph of all windows at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import LayerError, MapError
from esegeta.explain import GradCam, HiResCam
from esegeta.model import find_layer
from esegeta.predict import Predictor, WindowPlan, Windows
from tests.builders import SHAPES, labels, linear, pointwise, predictor, unet, volume
from tests.explain.whole_graph import tapped_windows, to_voxels
from tests.networks import Smooth
from tests.oracles import disguised, everywhere, frozen, relative_gap, with_coefficients

TOLERANCE = 2e-5


def slow_grad_cam(windows: Windows, activations: list[Tensor], slopes: list[Tensor]) -> Tensor:
    """Grad-CAM with channel weights over the whole volume, every step written out."""
    per_voxel = activations[0][0, 0].numel() / torch.Size(windows.size).numel()
    positions = per_voxel * torch.Size(windows.shape).numel()
    alphas = sum(slope.double().sum(dim=(0, *range(2, slope.ndim))) for slope in slopes) / positions
    weights = windows.importance(torch.device("cpu"), torch.float32)
    numerator = torch.zeros(windows.padded_shape)
    denominator = torch.zeros(windows.padded_shape)
    for box, activation in zip(windows.boxes, activations, strict=True):
        weighted = sum(a * plane for a, plane in zip(alphas, activation[0].double(), strict=True))
        numerator[box] += to_voxels(weighted.float(), windows) * weights
        denominator[box] += weights
    return windows.crop(numerator / denominator).clamp(min=0)[None]


def slow_hires_cam(windows: Windows, activations: list[Tensor], slopes: list[Tensor]) -> Tensor:
    total = torch.zeros(windows.padded_shape)
    for box, activation, slope in zip(windows.boxes, activations, slopes, strict=True):
        total[box] += to_voxels((activation * slope)[0].sum(dim=0), windows)
    return windows.crop(total)[None]


SLOW = {GradCam: slow_grad_cam, HiResCam: slow_hires_cam}
CASES = {
    "2d, bottleneck": (Smooth(2), "down", (13, 11), (8, 6)),
    "2d, full resolution": (Smooth(2), "skip", (13, 11), (8, 6)),
    "2d, smaller than the window": (Smooth(2), "down", (5, 11), (8, 8)),
    "3d, bottleneck": (Smooth(3), "down", (9, 11, 7), (8, 6, 4)),
    "3d, u-net": (unet(3), "model.0", (9, 5, 11), (8, 8, 8)),
}


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", [GradCam, HiResCam])
def test_equals_the_slow_rewrite(method: type, case: str, of: str) -> None:
    network, layer, shape, window = CASES[case]
    model = predictor(network, window)
    image = volume(shape)
    signs = torch.randn(2, *shape).sign()
    target = frozen(model, image, everywhere(of=of))
    if of == "logit":
        target = with_coefficients(target, signs)
    found = method(layer=layer).explain(model, image, target).data
    tapped = tapped_windows(model, target, find_layer(network, layer))
    assert relative_gap(found, SLOW[method](model.windows(image.batch), *tapped)) < TOLERANCE


@pytest.mark.parametrize("method", [GradCam, HiResCam])
def test_a_2d_network_over_slices_equals_the_slow_rewrite(method: type) -> None:
    network = Smooth(2)
    model = Predictor(network, WindowPlan((8, 6), slice_axis=0), labels(), batch_size=3)
    image = volume((3, 9, 11))
    target = frozen(model, image)
    found = method(layer="down").explain(model, image, target).data
    tapped = tapped_windows(model, target, network.down)
    assert relative_gap(found, SLOW[method](model.windows(image.batch), *tapped)) < TOLERANCE


def test_channel_weights_are_averaged_over_all_windows() -> None:
    """Windows by themselves, averaged, are what others do: another map."""
    network = Smooth(2)
    model = predictor(network, (8, 8))
    image = volume((24, 24))
    target = with_coefficients(frozen(model, image), torch.randn(2, 24, 24))
    found = GradCam(layer="down").explain(model, image, target).data
    windows = model.windows(image.batch)
    total, count = torch.zeros(24, 24), torch.zeros(24, 24)
    for index, box in enumerate(windows.boxes):
        activations, slopes = tapped_windows(model, target, network.down)
        alphas = slopes[index].mean(dim=(0, 2, 3))
        local = (alphas[:, None, None] * activations[index][0]).sum(dim=0).relu()
        total[box] += to_voxels(local, windows)
        count[box] += 1
        if index == 3:
            break
    seen = count > 0
    assert relative_gap(found[0][seen], (total / count)[seen]) > 0.1


@pytest.mark.parametrize("method", [GradCam, HiResCam])
def test_windowed_is_whole_for_a_pointwise_network(ndim: int, method: type) -> None:
    network = pointwise(ndim)
    image = volume(SHAPES[ndim])
    maps = []
    for window in ((4, 6, 2)[:ndim], SHAPES[ndim]):
        model = predictor(network, window, overlap=0.6)
        maps.append(method(layer="1").explain(model, image, frozen(model, image)).data)
    assert relative_gap(maps[0], maps[1]) < TOLERANCE


def test_hires_cam_is_exact_before_a_linear_tail(ndim: int) -> None:
    """The layer is the network: at each voxel the map is that voxel's part of the target."""
    network = nn.Sequential(linear(ndim, in_channels=2), nn.Identity())
    model = predictor(network, (4,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = with_coefficients(frozen(model, image), torch.randn(2, *SHAPES[ndim]))
    found = HiResCam(layer="0").explain(model, image, target).data
    expected = (target.coefficients * network(image.batch)[0]).sum(dim=0, keepdim=True)
    assert relative_gap(found, expected) < TOLERANCE
    value = target.value(model.logits(image.batch))[0]
    torch.testing.assert_close(found.double().sum(), value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [GradCam, HiResCam])
def test_the_deepest_layer_is_the_default(ndim: int, method: type) -> None:
    network = Smooth(ndim)
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim])
    found = method().explain(model, image, frozen(model, image))
    assert found.facts.more["layer"] == "down"
    named = method(layer="down").explain(model, image, frozen(model, image))
    assert torch.equal(found.data, named.data)


@pytest.mark.parametrize("method", [GradCam, HiResCam])
def test_both_routes_agree(ndim: int, method: type) -> None:
    model = predictor(Smooth(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    linear_route = method().explain(model, image, target).data
    other_route = method().explain(model, image, disguised(target)).data
    assert relative_gap(linear_route, other_route) < TOLERANCE


@pytest.mark.parametrize("method", [GradCam, HiResCam])
def test_an_in_place_activation_behind_the_layer_changes_nothing(ndim: int, method: type) -> None:
    network = unet(ndim)
    image = volume(SHAPES[ndim])
    name = next(n for n, m in network.named_modules() if "Norm" in type(m).__name__)
    model = predictor(network, (8,) * ndim)
    expected = method(layer=name).explain(model, image, frozen(model, image)).data
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    found = method(layer=name).explain(model, image, frozen(model, image)).data
    assert relative_gap(found, expected) < TOLERANCE


class Sidelong(nn.Module):
    """Has layers that cannot serve: flat, unused, of no tensor, and beside the output."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Conv2d(1, 2, 1)
        self.flat = nn.Linear(8, 8)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.unused = nn.Conv2d(1, 1, 1)
        self.beside = nn.Conv2d(1, 1, 1)
        self.pair = Pair()
        self.words = Words()

    def forward(self, x: Tensor) -> Tensor:
        self.beside(x)
        self.pair(x)
        self.words(x)
        return self.main(x) + self.pool(x)[..., None, None]


class Pair(nn.Module):
    """Returns two tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Words(nn.Module):
    """Returns no tensor."""

    def forward(self, x: Tensor) -> str:
        return "words"


@pytest.mark.parametrize("method", [GradCam, HiResCam])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("pool.1", "no 2 spatial axes"),
        ("unused", '"unused" did not run'),
        ("beside", "does not depend on this layer"),
        ("pair", "does not depend on this layer"),
        ("words", 'layer "words" returns a str, not a tensor'),
        ("mian", 'did you mean "main"'),
    ],
)
def test_layers_that_cannot_serve_are_refused(method: type, layer: str, message: str) -> None:
    model = predictor(Sidelong().eval(), (8, 8))
    image = volume((8, 8))
    with pytest.raises(LayerError, match=message):
        method(layer=layer).explain(model, image, frozen(model, image))


def test_a_map_emptied_by_relu_is_refused_with_advice(ndim: int) -> None:
    """Activations of one sign that lower the target everywhere."""
    network = linear(ndim)
    network.weight.data.fill_(1.0)
    image = volume(SHAPES[ndim])
    image = image.with_data(image.data.abs() + 0.1)
    model = predictor(nn.Sequential(network, nn.Identity()), (4,) * ndim)
    target = frozen(model, image)
    negative = with_coefficients(target, -torch.ones(2, *SHAPES[ndim]))
    with pytest.raises(MapError, match=r"grad_cam.*choose another `layer`"):
        GradCam(layer="0").explain(model, image, negative)
    assert (HiResCam(layer="0").explain(model, image, negative).data < 0).all()


@pytest.mark.parametrize("method", [GradCam, HiResCam])
def test_half_precision_stays_near(method: type) -> None:
    model = predictor(Smooth(2), (8, 8))
    image = volume((13, 11))
    target = frozen(model, image, everywhere(reduce="mean"))
    full = method(layer="down").explain(model, image, target).data
    half = method(layer="down").explain(replace(model, precision="fp16"), image, target).data
    assert 0 < relative_gap(half, full) < 1e-2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_slopes_that_cancel_before_a_norm_are_refused(ndim: int, precision: str) -> None:
    """A constant added to a channel is taken out again: its mean slope is zero but for rounding."""
    norm = nn.InstanceNorm2d if ndim == 2 else nn.InstanceNorm3d
    first, last = linear(ndim, out_channels=3, kernel=3), linear(ndim, 3, kernel=3, seed=1)
    network = nn.Sequential(first, norm(3), nn.ReLU(), last).eval()
    image = volume((8, 8, 8)[:ndim])
    model = replace(predictor(network, (8,) * ndim), precision=precision)
    target = frozen(model, image)
    with pytest.raises(MapError, match=r"layer 0 cancel.*after the norm"):
        GradCam(layer="0").explain(model, image, target)
    assert GradCam(layer="1").explain(model, image, target).data.any()
    assert HiResCam(layer="0").explain(model, image, target).data.any()
