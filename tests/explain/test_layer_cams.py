"""Layer activations, Grad-CAM++, Seg-XRes-CAM, Score-CAM and Ablation-CAM, step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.measure import block_reduce
from torch import nn

from esegeta.errors import ConfigError, LayerError
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
from esegeta.explain.layer.assemble import LayerFields
from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.position_cams import expand_pooled
from esegeta.explain.objective import Objective
from esegeta.model import find_layer
from esegeta.predict import Predictor, WindowPlan
from tests.builders import labels, linear, predictor, unet, volume
from tests.explain.whole_graph import Setting, to_voxels
from tests.networks import Smooth
from tests.oracles import everywhere, frozen, relative_gap

TOLERANCE = 2e-5
BLUR = Baseline("blur", sigma_mm=2.0)


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


def test_grad_cam_pp_has_no_poles_where_activations_have_both_signs(ndim: int) -> None:
    """A channel whose sum makes `2 + g sum A` zero: the weight stays that of g / 2."""
    shape = (9, 6, 7)[:ndim]
    network = nn.Sequential(linear(ndim), linear(ndim, 2, 2, seed=1))
    network[1].weight.data = network[1].weight.data.abs()
    image = volume(shape)
    model = predictor(network, (4,) * ndim)
    target = frozen(model, image)
    gains = network[1].weight[1].flatten().detach()
    with torch.no_grad():
        shift = -2 / gains[0] - network[0](image.batch)[0, 0].sum()
        network[0].bias = nn.Parameter(torch.tensor([float(shift) / image.data[0].numel(), 0.0]))
        activations = network[0](image.batch)[0]
    assert abs(2 + gains[0] * activations[0].sum()) < 1e-3
    sums = activations.relu().flatten(1).sum(dim=1)
    weights = image.data[0].numel() * gains / (2 + gains * sums)
    expected = torch.einsum("k,k...->...", weights, activations).clamp(min=0)
    found = GradCamPP(layer="0").explain(model, image, target).data
    assert relative_gap(found, expected[None]) < TOLERANCE


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
def test_pooled_blocks_at_the_border_are_smaller(sides: tuple[int, int], mode: str) -> None:
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
    assert "it does not depend on the target" in found[0].describe()["sign"]
    other = HiResCam().explain(model, image, frozen(model, image))
    assert other.describe()["sign"].startswith("positive: the layer's activations")


def test_layer_activation_refuses_a_channel_that_is_not_there() -> None:
    model, image = predictor(Smooth(2), (8, 8)), volume((8, 8))
    with pytest.raises(LayerError, match=r'"down" has 4 channels, but no channel 4.*0 to 3'):
        LayerActivation(layer="down", channel=4).explain(model, image, frozen(model, image))


@pytest.mark.parametrize("method", [GradCamPP, XResCam, ScoreCam])
def test_holding_units_one_at_a_time_changes_nothing(
    ndim: int, method: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all units would take too much room the windows are run again."""
    model, image = predictor(Smooth(ndim), (8,) * ndim), volume((12, 8, 8)[:ndim])
    target = frozen(model, image)
    monkeypatch.setattr("esegeta.explain.layer.assemble.PART_OF_A_VOLUME", 100.0)
    at_once = method(layer="down").explain(model, image, target)
    monkeypatch.setattr("esegeta.explain.layer.assemble.PART_OF_A_VOLUME", 0.0)
    one_by_one = method(layer="down").explain(model, image, target)
    assert relative_gap(one_by_one.data, at_once.data) < TOLERANCE
    assert one_by_one.facts.windows_run > at_once.facts.windows_run


def test_layer_fields_hold_at_most_part_of_a_volume() -> None:
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
    find_layer(model.network, name)
    return Site(name)


@pytest.mark.parametrize("method", [GradCam, GradCamPP, XResCam, ScoreCam, AblationCam])
def test_linear_and_general_targets_agree_over_several_layers(method: type) -> None:
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
        (LayerActivation, {"channel": -1}, "must be 0 or more"),
    ],
)
def test_invalid_parameters_are_refused(kind: type, faults: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**faults)
