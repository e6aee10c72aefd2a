"""Score-CAM and Ablation-CAM, step by step: methods that watch the target fall and rise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import MapError
from esegeta.explain import AblationCam, Baseline, ScoreCam
from esegeta.targets import BoxRegion, VoxelTarget
from tests.builders import linear, pointwise, predictor, volume
from tests.explain.whole_graph import Setting
from tests.networks import Smooth
from tests.oracles import frozen, monai_prediction, relative_gap

TOLERANCE = 2e-5
BLUR = Baseline("blur", sigma_mm=2.0)


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


def test_ablation_cam_runs_only_windows_that_the_target_touches() -> None:
    model, image = predictor(Smooth(2), (8, 8)), volume((32, 32))
    target = frozen(model, image, VoxelTarget("one", "logit", BoxRegion((0, 0), (3, 3)), "sum"))
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
