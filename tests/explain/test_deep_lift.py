"""DeepLIFT of the whole prediction: closed forms, captum, one slow blend, and what adds up."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ConfigError, DataError
from esegeta.explain import Baseline, DeepLift, DeepLiftShap, Saliency
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, convolution, linear, predictor, randomise_norms, unet, volume
from tests.explain.lifting import BLUR, Pooling, Value, weighed
from tests.oracles import (
    disguised,
    frozen,
    gradient_of,
    linear_weights,
    monai_prediction,
    relative_gap,
    with_coefficients,
)
from tests.pairwise import pairwise

TOLERANCE = 2e-5
KINDS = ["relu_batch", "prelu_batch", "relu_instance"]


def test_contributions_to_a_linear_network_are_exact(ndim: int) -> None:
    model = predictor(linear(ndim, 2, kernel=3), (8,) * ndim)
    image = volume((6, 7, 5)[:ndim], 2)
    target = weighed(model, image, "logit")
    found = DeepLift(baseline="mean").explain(model, image, target)
    change = image.data - Baseline("mean").of(image)
    assert relative_gap(found.data, linear_weights(model, target) * change) < TOLERANCE
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < TOLERANCE


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.PReLU(), nn.GELU(), nn.Tanh()])
def test_one_hidden_layer_in_closed_form(ndim: int, activation: nn.Module) -> None:
    """a_c = sum_h V_h (f(z_h) - f(z'_h)) / (z_h - z'_h) W_hc (x_c - x'_c)."""
    torch.manual_seed(1)
    conv = convolution(ndim)
    network = nn.Sequential(conv(2, 6, 1), activation, conv(6, 2, 1))
    image = volume(SHAPES[ndim], 2)
    model = predictor(network, (4,) * ndim)
    found = DeepLift(baseline=BLUR).explain(model, image, frozen(model, image)).data
    start = BLUR.of(image)
    with torch.no_grad():
        z, z_start = (network[0](it[None])[0].double() for it in (image.data, start))
        module = copy.deepcopy(activation).double()
        slope = (module(z.clone()) - module(z_start.clone())) / (z - z_start)
    first, second = network[0].weight.flatten(1), network[2].weight.flatten(1)[1]
    expected = torch.einsum("hc,h...,h->c...", first, slope.float(), second).detach()
    assert relative_gap(found, expected * (image.data - start)) < TOLERANCE


@pairwise(
    ndim=[2, 3], kind=KINDS, of=["logit", "log_probability"], baseline=["blur", "zero", "mean"]
)
def test_the_map_adds_up(ndim: int, kind: str, of: str, baseline: str) -> None:
    model = predictor(unet(ndim, kind, num_res_units=1), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = weighed(model, image, of)
    found = DeepLift(baseline=baseline).explain(model, image, target)
    start = Baseline(baseline).of(image)
    ends = [target.value(model.logits(it[None]))[0] for it in (image.data, start)]
    change = float(ends[0] - ends[1])
    assert float(found.data.double().sum()) == pytest.approx(change, rel=1e-4)
    assert found.facts.completeness_delta == pytest.approx(0, abs=1e-4 * abs(change))
    assert not found.warnings


class SlowLift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, z_start: Tensor, inner: nn.Module) -> Tensor:
        rise, run = inner(z.double()) - inner(z_start.double()), z.double() - z_start.double()
        ctx.save_for_backward(torch.where(run == 0, 0.0, rise / run).float())
        return inner(z.double()).float()

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None, None]:
        return arriving * ctx.saved_tensors[0], None, None


class SlowModule(nn.Module):
    """Stands in for an activation: first it hears the baseline's windows, then it lifts."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = copy.deepcopy(inner).double()
        self.inner.inplace = False
        self.inputs: list[Tensor] = []
        self.listens = True

    def forward(self, z: Tensor) -> Tensor:
        if self.listens:
            self.inputs.append(z.detach())
            return self.inner(z.double()).float()
        return SlowLift.apply(z, self.inputs.pop(0), self.inner)


def slow_deep_lift(model: Predictor, image: Volume, target: FrozenTarget, start: Tensor) -> Tensor:
    """Return the map by MONAI's blend of the whole, with the modules of a copy replaced."""
    network = copy.deepcopy(model.network)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.ReLU, nn.PReLU)):
                setattr(parent, name, SlowModule(child))
    slow = replace(model, network=network)
    with torch.no_grad():
        before = monai_prediction(slow, start[None])
    after = monai_prediction(model, image.batch).detach()
    for module in network.modules():
        if isinstance(module, SlowModule):
            module.listens = False
    num_nodes = 2000
    slopes = [
        gradient_of(target.value, before + (node + 0.5) / num_nodes * (after - before))
        for node in range(num_nodes if target.coefficients is None else 1)
    ]
    cotangent = torch.stack(slopes).mean(dim=0)
    return (
        image.data * 0
        + (image.data - start)
        * gradient_of(lambda x: (monai_prediction(slow, x) * cotangent).sum()[None], image.batch)[0]
    )


@pairwise(ndim=[2, 3], kind=["relu_batch", "prelu_batch"], of=["logit", "log_probability"])
def test_windows_equal_one_graph_of_the_blended_prediction(ndim: int, kind: str, of: str) -> None:
    model = predictor(unet(ndim, kind, num_res_units=1), (8,) * ndim)
    image = volume((11, 9) if ndim == 2 else (9, 8, 7))
    target = weighed(model, image, of)
    found = DeepLift(baseline=BLUR).explain(model, image, target).data
    expected = slow_deep_lift(model, image, target, BLUR.of(image))
    assert relative_gap(found, expected) < 1e-4
    plain = Saliency().explain(model, image, target).data * (image.data - BLUR.of(image))
    assert relative_gap(found, plain) > 0.05


def test_captum_where_one_window_is_the_volume(ndim: int) -> None:
    """In float64: captum's secants of float32 are rounding where little changes.

    No pooling right behind an activation: captum's hooks then miss its multiplier, and its map of
    ReLU and max pooling does not add up (`test_pooling_behind_an_activation_adds_up`).
    """
    shape = (8, 10, 6)[:ndim]
    network = Pooling(ndim)
    image = volume(shape, 2)
    model = predictor(network, shape)
    target = weighed(model, image, "logit")
    words = ("zero", "mean", "blur")
    starts = torch.stack([Baseline(word).of(image) for word in words]).double()
    value, x = Value(copy.deepcopy(network).double(), target), image.batch.double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = captum.attr.DeepLift(value).attribute(x, starts[:1], target=0)[0]
        many = captum.attr.DeepLiftShap(value).attribute(x, starts, target=0)[0]
    found = DeepLift(baseline="zero").explain(model, image, target).data
    assert relative_gap(found, one.detach()) < 1e-4
    found = DeepLiftShap(baselines=words).explain(model, image, target).data
    assert relative_gap(found, many.detach()) < 1e-4


def test_pooling_behind_an_activation_adds_up(ndim: int) -> None:
    network = Pooling(ndim)
    pool = network.deep[1]
    network.deep[1] = nn.Sequential(nn.ReLU(), pool)
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    found = DeepLift(baseline=BLUR).explain(model, image, weighed(model, image, "logit"))
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < 1e-4


def test_under_autocast_the_map_nearly_adds_up() -> None:
    from monai.networks.nets import AttentionUnet

    torch.manual_seed(0)
    network = randomise_norms(AttentionUnet(2, 1, 2, channels=(4, 8), strides=(2,))).eval()
    image = volume(SHAPES[2])
    model = predictor(network, (8, 8))
    full = DeepLift().explain(model, image, weighed(model, image, "logit"))
    half = replace(model, precision="bf16")
    found = DeepLift(tolerance=1.0).explain(half, image, weighed(half, image, "logit"))
    assert relative_gap(found.data, full.data) < 0.05


def test_deep_lift_shap_is_the_mean_of_maps_over_baselines(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = weighed(model, image, "log_probability")
    baselines = ("zero", "mean", BLUR)
    maps = [DeepLift(baseline=it).explain(model, image, target).data for it in baselines]
    found = DeepLiftShap(baselines=baselines).explain(model, image, target)
    assert relative_gap(found.data, torch.stack(maps).mean(dim=0)) < TOLERANCE
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < 1e-4


def without_bias(ndim: int, depth: int = 6) -> nn.Module:
    """Return a chain of convolutions without bias and instance norms, as DynUNet is made of."""
    torch.manual_seed(0)
    conv = convolution(ndim)
    norm = nn.InstanceNorm2d if ndim == 2 else nn.InstanceNorm3d
    layers: list[nn.Module] = []
    for place in range(depth):
        layers += [
            conv(4 if place else 1, 4, 3, padding=1, bias=False),
            norm(4, affine=True),
            nn.LeakyReLU(0.01),
        ]
    return nn.Sequential(*layers, conv(4, 2, 1)).eval()


@pytest.mark.parametrize("baseline", ["zero", "minimum"])
def test_a_constant_baseline_is_stable_for_instance_norms_without_bias(
    ndim: int, baseline: str
) -> None:
    """The variance is zero at every norm, where the slopes of six in a row once made 1e8."""
    model, image = predictor(without_bias(ndim), (8,) * ndim), volume((8,) * ndim)
    target = frozen(model, image)
    found = DeepLift(baseline=baseline).explain(model, image, target)
    with torch.no_grad():
        start = Baseline(baseline).of(image)
        change = [float(target.value(model.network(one[None]))) for one in (image.data, start)]
    rounding = 1e-6 * float(found.data.abs().sum())
    assert float(found.data.double().sum()) == pytest.approx(change[0] - change[1], abs=rounding)
    assert found.warnings == ()
    slope = Saliency().explain(model, image, target).data
    # Nothing is blown up: the multipliers are of the size of the slopes at the image.
    assert found.data.abs().sum() < 5 * (slope * (image.data - start)).abs().sum()


def test_the_default_baselines_of_deep_lift_shap_serve_norms_without_bias(ndim: int) -> None:
    model, image = predictor(without_bias(ndim), (8,) * ndim), volume((8,) * ndim)
    found = DeepLiftShap().explain(model, image, frozen(model, image))
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < 1e-4
    assert found.data.abs().max() < 100


@pytest.mark.parametrize("is_linear", [True, False])
def test_only_windows_that_the_target_touches_are_run(is_linear: bool) -> None:
    model = predictor(unet(2), (8, 8))
    image = volume((24, 12))
    coefficients = torch.zeros(2, 24, 12)
    coefficients[1, 0, 0] = 1.0
    target = with_coefficients(frozen(model, image), coefficients)
    found = DeepLift().explain(model, image, target if is_linear else disguised(target))
    assert found.facts.active_windows == 1 < found.facts.num_windows
    assert found.facts.windows_run == (2 if is_linear else 3)


def test_faults_are_refused() -> None:
    with pytest.raises(ConfigError, match="baselines: at least one"):
        DeepLiftShap(baselines=())
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    method = DeepLift(baseline=Baseline("file", file="gone.nii"))
    with pytest.raises(DataError, match=r"gone.nii"):
        method.explain(model, image, frozen(model, image))
