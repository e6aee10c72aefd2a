"""Layer activations, Grad-CAM++, Seg-XRes-CAM, Score-CAM and Ablation-CAM, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from skimage.measure import block_reduce
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.errors import ConfigError, LayerError, MapError
from esegeta.explain import (
    AblationCam,
    Baseline,
    GradCam,
    GradCamPP,
    HiResCam,
    LayerActivation,
    ScoreCam,
    XResCam,
)
from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.fields import LayerFields
from esegeta.explain.layer.xres_cam import expand_pooled
from esegeta.explain.objective import Objective
from esegeta.model import find_layer
from esegeta.predict import Predictor, WindowPlan
from esegeta.target import Box, FrozenTarget, VoxelTarget
from esegeta.volume import Volume
from tests.builders import labels, linear, pointwise, predictor, unet, volume
from tests.explain.whole_graph import WholeGraph, on_layer_grid, to_voxels
from tests.networks import Smooth
from tests.oracles import everywhere, frozen, monai_prediction, relative_gap, with_coefficients

TOLERANCE = 2e-5
BLUR = Baseline("blur", sigma_mm=2.0)


@dataclass(frozen=True)
class Setting:
    """A layer whose windows start at multiples of its stride, and one graph of all windows."""

    model: Predictor
    image: Volume
    target: FrozenTarget
    graph: WholeGraph

    def blended(self) -> Tensor:
        """Return the activations on the layer's grid, `K *G`."""
        activations, _ = self.graph.slopes(self.image.data)
        return on_layer_grid(self.graph.windows, [one[0] for one in activations], blend=True)

    def summed(self) -> Tensor:
        """Return the slopes on the layer's grid, `K *G`."""
        _, slopes = self.graph.slopes(self.image.data)
        return on_layer_grid(self.graph.windows, [one[0] for one in slopes], blend=False)

    def on_voxels(self, data: Tensor) -> Tensor:
        """Resample `*G`, whose stride divides the volume, `1 *S`."""
        mode = "bilinear" if data.ndim == 2 else "trilinear"
        return F.interpolate(data[None, None], size=self.image.grid.shape, mode=mode)[0]


@pytest.fixture(params=["down", "skip"])
def layer(request: pytest.FixtureRequest) -> str:
    """Half the resolution, and all of it."""
    return request.param


@pytest.fixture(params=["logit", "log_probability"])
def setting(request: pytest.FixtureRequest, ndim: int, layer: str) -> Setting:
    """A smooth network over overlapping windows, behind a ReLU at the layer."""
    network = Smooth(ndim)
    setattr(network, layer, nn.Sequential(getattr(network, layer), nn.ReLU()))
    shape = (16, 12, 8)[:ndim]
    model, image = predictor(network, (8,) * ndim), volume(shape)
    target = frozen(model, image, everywhere(of=request.param))
    if request.param == "logit":
        generator = torch.Generator().manual_seed(4)
        target = with_coefficients(target, torch.randn((2, *shape), generator=generator))
    return Setting(model, image, target, WholeGraph(model, target, find_layer(network, layer)))


def test_grad_cam_pp_step_by_step(setting: Setting, layer: str) -> None:
    activations, slopes = setting.blended(), setting.summed()
    sums = activations.flatten(1).sum(dim=1)
    total = torch.zeros(activations.shape[1:])
    for k in range(len(activations)):
        alpha = slopes[k] ** 2 / (2 * slopes[k] ** 2 + sums[k] * slopes[k] ** 3)
        alpha = torch.where(slopes[k] == 0, 0, alpha)
        total += (alpha * slopes[k].clamp(min=0)).sum() * activations[k]
    found = GradCamPP(layer=layer).explain(setting.model, setting.image, setting.target)
    assert relative_gap(found.data, setting.on_voxels(total).clamp(min=0)) < TOLERANCE
    assert relative_gap(found.layer_maps[0].data, total[None].clamp(min=0)) < TOLERANCE
    assert not found.warnings


def test_grad_cam_pp_is_the_papers_ratio_of_derivatives() -> None:
    """Equation 10 with the score exp(R) by nested autograd; all weights share the factor exp(R)."""
    shape, units = (3, 2), 2
    network = nn.Sequential(linear(2, out_channels=units), nn.ReLU(), linear(2, units, seed=1))
    model, image = predictor(network, shape), volume(shape)
    target = frozen(model, image)
    leaf = network[:2](image.batch).detach().double().requires_grad_(True)
    tail = network[2].weight[1].double()
    score = torch.exp((tail[None] * leaf).sum())
    (first,) = torch.autograd.grad(score, leaf, create_graph=True)
    total = torch.zeros(shape).double()
    for k in range(units):
        weight = 0.0
        for place in np.ndindex(shape):
            index = (0, k, *place)
            (second,) = torch.autograd.grad(first[index], leaf, create_graph=True)
            (third,) = torch.autograd.grad(second[index], leaf, retain_graph=True)
            denominator = 2 * second[index] + leaf[0, k].sum() * third[index]
            weight = weight + second[index] / denominator * first[index].clamp(min=0)
        total += (weight / score * leaf[0, k]).detach()
    found = GradCamPP(layer="1").explain(model, image, target).data
    assert relative_gap(found, total.clamp(min=0).float()[None]) < TOLERANCE


def test_grad_cam_pp_warns_of_poles(ndim: int) -> None:
    """Behind a tanh activations have both signs."""
    model, image = predictor(pointwise(ndim), (4,) * ndim), volume((9, 6, 7)[:ndim])
    found = GradCamPP(layer="1").explain(model, image, frozen(model, image))
    assert "behind a ReLU" in found.warnings[0]


@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize("pool", [1, 2])
def test_xres_cam_step_by_step(setting: Setting, layer: str, pool: int, mode: str) -> None:
    activations, slopes = setting.blended(), setting.summed()
    reduce = np.max if mode == "max" else np.mean
    pooled = block_reduce(slopes.numpy(), (1, *[pool] * (slopes.ndim - 1)), reduce)
    for axis in range(1, slopes.ndim):
        pooled = np.repeat(pooled, pool, axis=axis)
    total = (torch.from_numpy(pooled) * activations).sum(dim=0)
    method = XResCam(layer=layer, pool=pool, mode=mode)
    found = method.explain(setting.model, setting.image, setting.target)
    assert relative_gap(found.data, setting.on_voxels(total).clamp(min=0)) < TOLERANCE
    assert relative_gap(found.layer_maps[0].data, total[None].clamp(min=0)) < TOLERANCE


def test_xres_cam_without_pooling_is_hires_cam_with_a_relu(ndim: int) -> None:
    shape = (8, 6, 4)[:ndim]
    model, image = predictor(Smooth(ndim), shape), volume(shape)
    target = frozen(model, image)
    found = XResCam(layer="down", pool=1).explain(model, image, target).data
    expected = HiResCam(layer="down").explain(model, image, target).data.relu()
    assert relative_gap(found, expected) < TOLERANCE


@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize("sides", [(2, 3), (4, 1), (9, 9)])
def test_blocks_at_the_end_are_smaller(sides: tuple[int, int], mode: str) -> None:
    """Also where all values are below zero, which padding would show up against."""
    data = -torch.rand(2, 7, 5) - 1
    found = expand_pooled(data, list(sides), mode)
    for x in range(7):
        for y in range(5):
            starts = [n // side * side for n, side in zip((x, y), sides, strict=True)]
            block = data[:, starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]
            expected = block.flatten(1).amax(dim=1) if mode == "max" else block.mean(dim=(1, 2))
            torch.testing.assert_close(found[:, x, y], expected)


def test_xres_cam_does_not_pool_slices_together() -> None:
    network = Smooth(2)
    model = Predictor(network, WindowPlan((8, 8), slice_axis=0), labels(), batch_size=3)
    image = volume((3, 8, 8))
    target = frozen(model, image)
    found = XResCam(layer="down").explain(model, image, target).data
    for place in range(3):
        one = volume((8, 8)).with_data(image.data[:, place].clone())
        flat = replace(model, plan=WindowPlan((8, 8)))
        alone = XResCam(layer="down").explain(flat, one, frozen(flat, one)).data
        assert relative_gap(found[:, place], alone) < TOLERANCE


def test_score_cam_step_by_step(setting: Setting, layer: str) -> None:
    activations, start = setting.blended(), BLUR.of(setting.image)

    def value(x: Tensor) -> float:
        return float(setting.target.value(monai_prediction(setting.model, x[None])))

    total = torch.zeros(activations.shape[1:]).double()
    with torch.no_grad():
        for one in activations:
            seen = setting.on_voxels((one - one.min()) / (one.max() - one.min()))
            mixed = seen * setting.image.data + (1 - seen) * start
            total += (value(mixed) - value(start)) * one
    method = ScoreCam(layer=layer, baseline=BLUR)
    found = method.explain(setting.model, setting.image, setting.target)
    assert relative_gap(found.data, setting.on_voxels(total.float())) < 10 * TOLERANCE
    assert found.facts.more["channels_used"] == len(activations)


def test_score_cam_of_few_channels_takes_those_that_vary_most(ndim: int) -> None:
    """Only channels that vary count, and the first hardly does."""
    network = pointwise(ndim)
    network[0].weight.data[0] *= 1e-3
    model, image = predictor(network, (4,) * ndim), volume((9, 6, 7)[:ndim])
    target = frozen(model, image)
    spreads = network[:2](image.batch)[0].flatten(1).std(dim=1)
    order = spreads.argsort(descending=True).tolist()
    assert order[-1] == 0
    few = ScoreCam(layer="1", baseline=BLUR, max_channels=2).explain(model, image, target)
    assert few.facts.more["channels_used"] == 2
    assert few.facts.more["num_channels"] == 5
    activations = network[:2](image.batch)[0].detach()
    expected = torch.zeros(image.grid.shape)
    with torch.no_grad():
        for k in order[:2]:
            low, high = activations[k].aminmax()
            mixed = torch.lerp(BLUR.of(image), image.data, (activations[k] - low) / (high - low))
            ends = [target.value(network(x[None]))[0] for x in (mixed, BLUR.of(image))]
            expected += float(ends[0] - ends[1]) * activations[k]
    assert relative_gap(few.data, expected[None]) < 10 * TOLERANCE
    every = ScoreCam(layer="1", baseline=BLUR).explain(model, image, target)
    assert relative_gap(every.data, few.data) > 1e-2


def test_score_cam_leaves_flat_channels_out(ndim: int) -> None:
    network = pointwise(ndim)
    network[0].weight.data[2] = 0
    model, image = predictor(network, (4,) * ndim), volume((9, 6, 7)[:ndim])
    target = frozen(model, image)
    found = ScoreCam(layer="1", baseline=BLUR).explain(model, image, target)
    network[0].bias.data[2] = 0
    unlike = ScoreCam(layer="1", baseline=BLUR).explain(model, image, target)
    assert relative_gap(found.data, unlike.data) < TOLERANCE


def test_ablation_cam_step_by_step(setting: Setting, layer: str) -> None:
    activations, x = setting.blended(), setting.image.data
    total = torch.zeros(activations.shape[1:]).double()
    with torch.no_grad():
        value, own = setting.graph(x)
        for k in range(len(activations)):
            without = [one.clone() for one in own]
            for one in without:
                one[:, k] = 0
            fall = (value - setting.graph(x, without)[0]) / value.abs()
            total += fall * activations[k]
    found = AblationCam(layer=layer).explain(setting.model, setting.image, setting.target)
    own_map = found.layer_maps[0].data
    assert relative_gap(own_map, total.float()[None].clamp(min=0)) < 10 * TOLERANCE
    assert found.facts.more["num_channels"] == len(activations)


def test_ablation_cam_of_a_linear_tail_is_grad_cam_on_every_position(ndim: int) -> None:
    """R falls by sum_i g_k A_ki, so that w_k |R| = g_k sum A_k."""
    shape = (9, 6, 7)[:ndim]
    network = nn.Sequential(linear(ndim, 1, 3), nn.ReLU(), linear(ndim, 3, 2, seed=1))
    model, image = predictor(network, (4,) * ndim), volume(shape)
    target = frozen(model, image)
    activations = network[:2](image.batch)[0].detach()
    falls = network[2].weight[1].flatten().detach() * activations.flatten(1).sum(dim=1)
    value = float(target.value(network(image.batch).detach())[0])
    expected = torch.einsum("k,k...->...", falls / abs(value), activations).clamp(min=0)
    found = AblationCam(layer="1").explain(model, image, target).data
    assert relative_gap(found, expected[None]) < TOLERANCE


def test_ablation_cam_runs_only_what_the_target_touches() -> None:
    model, image = predictor(Smooth(2), (8, 8)), volume((32, 32))
    target = frozen(model, image, VoxelTarget("one", "logit", Box((0, 0), (3, 3)), "sum"))
    found = AblationCam(layer="down").explain(model, image, target)
    units = found.facts.more["num_channels"]
    active, everything = found.facts.active_windows, found.facts.num_windows
    assert 0 < active < everything / 10
    assert found.facts.windows_run == (units + 1) * active + everything + 1


def test_ablation_cam_of_a_target_of_zero_is_refused() -> None:
    network = linear(2)
    model, image = predictor(network, (4, 4)), volume((8, 8))
    image = image.with_data(torch.zeros_like(image.data))
    nested = replace(model, network=nn.Sequential(network, nn.Identity()))
    with pytest.raises(MapError, match="target is zero"):
        AblationCam(layer="0").explain(nested, image, frozen(nested, image))


@pytest.mark.parametrize("channel", [None, 2])
def test_layer_activation_is_blended_as_the_logits_are(
    setting: Setting, layer: str, channel: int | None
) -> None:
    windows = setting.graph.windows
    weights = windows.importance(torch.device("cpu"), torch.float32)
    numerator, denominator = torch.zeros(windows.shape), torch.zeros(windows.shape)
    activations, _ = setting.graph.slopes(setting.image.data)
    for box, one in zip(windows.boxes, activations, strict=True):
        plane = one[0].mean(dim=0) if channel is None else one[0, channel]
        numerator[box] += to_voxels(plane, windows) * weights
        denominator[box] += weights
    method = LayerActivation(layer=layer, channel=channel)
    found = method.explain(setting.model, setting.image, setting.target)
    assert relative_gap(found.data, (numerator / denominator)[None]) < TOLERANCE
    blended = setting.blended()
    own = blended.mean(dim=0) if channel is None else blended[channel]
    assert relative_gap(found.layer_maps[0].data, own[None]) < TOLERANCE
    assert found.unit == "activation"


def test_layer_activation_does_not_read_the_target(ndim: int) -> None:
    model, image = predictor(unet(ndim), (8,) * ndim), volume((9, 8, 11)[:ndim])
    found = [
        LayerActivation().explain(model, image, frozen(model, image, everywhere(of=of)))
        for of in ("logit", "probability")
    ]
    assert torch.equal(found[0].data, found[1].data)
    assert "target plays no part" in found[0].describe()["sign"]
    other = HiResCam().explain(model, image, frozen(model, image))
    assert other.describe()["sign"] == "positive values raise the target"


def test_layer_activation_refuses_a_channel_that_is_not_there() -> None:
    model, image = predictor(Smooth(2), (8, 8)), volume((8, 8))
    with pytest.raises(LayerError, match=r'"down" has 4 channels, none 4.*0 to 3'):
        LayerActivation(layer="down", channel=4).explain(model, image, frozen(model, image))


@pytest.mark.parametrize("method", [GradCamPP, XResCam, ScoreCam])
def test_units_may_be_held_one_at_a_time(
    ndim: int, method: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all units would take too much room the windows are run again."""
    model, image = predictor(Smooth(ndim), (8,) * ndim), volume((12, 8, 8)[:ndim])
    target = frozen(model, image)
    monkeypatch.setattr("esegeta.explain.layer.fields.PART_OF_A_VOLUME", 100.0)
    at_once = method(layer="down").explain(model, image, target)
    monkeypatch.setattr("esegeta.explain.layer.fields.PART_OF_A_VOLUME", 0.0)
    one_by_one = method(layer="down").explain(model, image, target)
    assert relative_gap(one_by_one.data, at_once.data) < TOLERANCE
    assert one_by_one.facts.windows_run > at_once.facts.windows_run


def test_fields_hold_no_more_than_part_of_a_volume() -> None:
    model, image = predictor(Smooth(2), (8, 8)), volume((32, 32))
    objective = Objective.of(model, frozen(model, image), image)
    for layer, expected in (("down", [1] * 4), ("skip", [1] * 4)):
        site_fields = LayerFields.of(objective, site_of(model, layer))
        assert [len(units) for units in site_fields.groups()] == expected
    wide = replace(
        model, network=nn.Sequential(nn.AvgPool2d(8), nn.Upsample(scale_factor=8), linear(2))
    )
    coarse = LayerFields.of(Objective.of(wide, frozen(wide, image), image), site_of(wide, "0"))
    assert coarse.grid.shape == (4, 4)
    assert [units.tolist() for units in coarse.groups([0] * 20)] == [[0] * 16, [0] * 4]


def site_of(model: Predictor, name: str) -> Site:
    return Site(name, find_layer(model.network, name))


@pytest.mark.parametrize("method", [GradCam, GradCamPP, XResCam, ScoreCam, AblationCam])
def test_both_kinds_of_target_agree_over_a_list_of_layers(method: type) -> None:
    """A target as it is, and looking as if it were not linear."""
    model, image = predictor(unet(2), (8, 8)), volume((13, 11))
    target = frozen(model, image)
    names = ("model.0", "model.2")
    found = method(layer=names).explain(model, image, target)
    hidden = method(layer=names).explain(model, image, replace(target, coefficients=None))
    assert relative_gap(hidden.data, found.data) < 1e-4
    assert [one.layer for one in found.layer_maps] == list(names)


@pytest.mark.parametrize(
    ("kind", "faults", "message"),
    [
        (XResCam, {"pool": 0}, "pool: 0"),
        (ScoreCam, {"max_channels": 0}, "max_channels: 0"),
        (LayerActivation, {"channel": -1}, "below zero"),
    ],
)
def test_faults_are_refused(kind: type, faults: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**faults)
