"""Additive layer methods: against captum on one window, one graph of all windows, closed forms."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ConfigError
from esegeta.explain import (
    Baseline,
    Explainer,
    InternalInfluence,
    LayerConductance,
    LayerGradientShap,
    LayerGradientXActivation,
    LayerIntegratedGradients,
)
from esegeta.explain.explainer import generator_for, standard_deviation
from esegeta.model import find_layer
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import labels, linear, pointwise, predictor, unet, volume
from tests.explain.whole_graph import WholeGraph, on_layer_grid, summed_on_voxels
from tests.networks import Smooth
from tests.oracles import everywhere, frozen, relative_gap, with_coefficients
from tests.pairwise import pairwise

TOLERANCE = 2e-5
BLUR = Baseline("blur", sigma_mm=2.0)
STEPS = 3

PATHS = (LayerIntegratedGradients, LayerConductance, InternalInfluence)
ADDITIVE: dict[str, Explainer] = {
    "layer_gradient_x_activation": LayerGradientXActivation(),
    "layer_integrated_gradients": LayerIntegratedGradients(steps=STEPS, baseline=BLUR),
    "layer_conductance": LayerConductance(steps=STEPS, baseline=BLUR),
    "internal_influence": InternalInfluence(steps=STEPS, baseline=BLUR),
    "layer_gradient_shap": LayerGradientShap(baselines=(BLUR, "mean"), samples=3, noise=0.2),
}


def gauss(steps: int) -> list[tuple[float, float]]:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return [((n + 1) / 2, w / 2) for n, w in zip(nodes.tolist(), weights.tolist(), strict=True)]


def draws(method: LayerGradientShap, image: Volume) -> list[tuple[Tensor, Tensor, float]]:
    """Return baseline, noisy image and alpha of each sample, from the same generator."""
    x = image.data
    generator = generator_for(x, method.seed)
    found = []
    for _ in range(method.samples):
        place, alpha = torch.rand(2, generator=generator).tolist()
        bump = torch.randn(x.shape, generator=generator) if method.noise else torch.zeros(())
        start = method.baselines[int(place * len(method.baselines))]
        assert isinstance(start, Baseline)
        found.append((start.of(image), x + method.noise * standard_deviation(x) * bump, alpha))
    return found


def slow_patches(graph: WholeGraph, method: Explainer, image: Volume) -> list[Tensor]:
    """Return each window's map of the layer, `*layer`, straight from the formulas."""
    x, start = image.data, BLUR.of(image)
    if isinstance(method, LayerGradientXActivation):
        parts = [a * slope for a, slope in zip(*graph.slopes(x), strict=True)]
    elif isinstance(method, LayerIntegratedGradients):
        here, there = graph.slopes(x)[0], graph.slopes(start)[0]
        ends = list(zip(there, here, strict=True))
        parts = [torch.zeros_like(a) for a in here]
        for node, weight in gauss(method.steps):
            _, slopes = graph.slopes(x, [b + node * (a - b) for b, a in ends])
            for part, slope, (b, a) in zip(parts, slopes, ends, strict=True):
                part += weight * slope * (a - b)
    elif isinstance(method, InternalInfluence):
        means = [graph.slopes(start + n * (x - start))[1] for n, _ in gauss(method.steps)]
        weights = [weight for _, weight in gauss(method.steps)]
        parts = [
            sum((w * one for w, one in zip(weights, column, strict=True)), torch.zeros(()))
            for column in zip(*means, strict=True)
        ]
    elif isinstance(method, LayerConductance):
        seen = [graph.slopes(start + n / STEPS * (x - start)) for n in range(STEPS + 1)]
        parts = [torch.zeros_like(a) for a in seen[0][0]]
        for (before, slope), (after, steeper) in itertools.pairwise(seen):
            for t, part in enumerate(parts):
                part += (after[t] - before[t]) * (slope[t] + steeper[t]) / 2
    else:
        assert isinstance(method, LayerGradientShap)
        parts = [torch.zeros(())] * len(graph.windows)
        for one in samples_of(graph, method, image):
            parts = [part + a / method.samples for part, a in zip(parts, one, strict=True)]
    return [part[0].sum(dim=0) for part in parts]


def samples_of(graph: WholeGraph, method: LayerGradientShap, image: Volume) -> list[list[Tensor]]:
    found = []
    for begin, noisy, alpha in draws(method, image):
        before, after = graph.slopes(begin)[0], graph.slopes(noisy)[0]
        _, slopes = graph.slopes(begin + alpha * (noisy - begin))
        found.append([(a - b) * s for a, b, s in zip(after, before, slopes, strict=True)])
    return found


CASES = {
    "2d, bottleneck": (Smooth(2), "down", (13, 11), (8, 6)),
    "2d, full resolution": (Smooth(2), "skip", (13, 11), (8, 6)),
    "2d, instance norm": (unet(2, "relu_instance"), "model.0", (13, 11), (8, 8)),
    "3d, u-net": (unet(3, "prelu_batch"), "model.0", (9, 8, 11), (8, 8, 8)),
}


@pairwise(name=ADDITIVE, case=CASES, of=["logit", "log_probability"])
def test_equals_one_graph_of_all_windows(name: str, case: str, of: str) -> None:
    network, layer, shape, window = CASES[case]
    model, image = predictor(network, window), volume(shape)
    target = frozen(model, image, everywhere(of=of))
    method = replace(ADDITIVE[name], layer=layer)
    found = method.explain(model, image, target)
    graph = WholeGraph(model, target, find_layer(network, layer))
    patches = slow_patches(graph, method, image)
    assert relative_gap(found.data, summed_on_voxels(graph.windows, patches)) < TOLERANCE
    total = torch.stack([patch.double().sum() for patch in patches]).sum()
    for kept in (found.data, found.layer_maps[0].data):
        torch.testing.assert_close(kept.double().sum(), total, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ADDITIVE)
def test_the_layer_map_lies_at_the_positions_of_its_windows(ndim: int, name: str) -> None:
    network, shape = Smooth(ndim), (16, 12, 8)[:ndim]
    model, image = predictor(network, (8,) * ndim), volume(shape)
    target = frozen(model, image)
    method = replace(ADDITIVE[name], layer="down")
    found = method.explain(model, image, target).layer_maps[0].data
    graph = WholeGraph(model, target, network.down)
    patches = [patch[None] for patch in slow_patches(graph, method, image)]
    assert relative_gap(found, on_layer_grid(graph.windows, patches, blend=False)) < TOLERANCE


@pytest.mark.parametrize("name", ADDITIVE)
def test_a_2d_network_over_slices(name: str) -> None:
    network = Smooth(2)
    model = Predictor(network, WindowPlan((8, 6), slice_axis=0), labels(), batch_size=3)
    image = volume((3, 9, 11))
    target = frozen(model, image, everywhere(of="log_probability"))
    method = replace(ADDITIVE[name], layer="down")
    found = method.explain(model, image, target).data
    graph = WholeGraph(model, target, network.down)
    expected = summed_on_voxels(graph.windows, slow_patches(graph, method, image))
    assert relative_gap(found, expected) < TOLERANCE


@pytest.mark.parametrize("name", ADDITIVE)
def test_the_sum_is_kept_where_padding_is_cut_off(ndim: int, name: str) -> None:
    network = Smooth(ndim)
    model, image = predictor(network, (8,) * ndim), volume((5, 11, 3)[:ndim])
    target = frozen(model, image)
    found = replace(ADDITIVE[name], layer="down").explain(model, image, target)
    total = found.layer_maps[0].data.double()
    torch.testing.assert_close(found.data.double().sum(), total.sum(), rtol=1e-5, atol=1e-5)
    assert found.data.shape == image.data.shape
    assert total.abs().sum() > 10 * (found.data.double().sum() - total.sum()).abs()


Oracle = Callable[[Callable[[Tensor], Tensor], nn.Module, Tensor, Tensor], Tensor]

CAPTUM: dict[str, Oracle] = {
    "layer_gradient_x_activation": lambda f, layer, x, start: captum.attr.LayerGradientXActivation(
        f, layer
    ).attribute(x),
    "layer_integrated_gradients": lambda f, layer, x, start: captum.attr.LayerIntegratedGradients(
        f, layer
    ).attribute(x, start, n_steps=STEPS),
    "internal_influence": lambda f, layer, x, start: captum.attr.InternalInfluence(
        f, layer
    ).attribute(x, start, n_steps=STEPS),
}


def one_window(ndim: int, kind: str) -> tuple[nn.Module, Predictor, Volume, FrozenTarget]:
    shape = (8, 10, 6)[:ndim]
    network = unet(ndim, kind)
    model, image = predictor(network, shape), volume(shape)
    return network, model, image, frozen(model, image, everywhere(of="log_probability"))


def by_captum(
    oracle: Oracle, setting: tuple[nn.Module, Predictor, Volume, FrozenTarget], layer: str
) -> Tensor:
    network, _, image, target = setting
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        found = oracle(
            lambda x: target.value(network(x)),
            find_layer(network, layer),
            image.batch,
            BLUR.of(image)[None],
        )
    return found.detach().sum(dim=1).float()


@pytest.mark.parametrize("layer", ["model.0", "model.1"])
@pytest.mark.parametrize("kind", ["relu_batch", "prelu_batch"])
@pytest.mark.parametrize("name", CAPTUM)
def test_equals_captum_where_one_window_is_the_volume(
    ndim: int, name: str, kind: str, layer: str
) -> None:
    setting = one_window(ndim, kind)
    method = replace(ADDITIVE[name], layer=layer)
    found = method.explain(*setting[1:]).layer_maps[0].data
    assert relative_gap(found, by_captum(CAPTUM[name], setting, layer)) < TOLERANCE


def test_layer_gradient_shap_is_captums_at_the_same_point(
    ndim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = one_window(ndim, "relu_batch")
    method = LayerGradientShap(layer="model.0", baselines=(BLUR,), samples=1)
    alpha = draws(method, setting[2])[0][2]
    monkeypatch.setattr(np.random, "uniform", lambda low, high, count: np.full(count, alpha))

    def oracle(f: Callable[[Tensor], Tensor], layer: nn.Module, x: Tensor, start: Tensor) -> Tensor:
        return captum.attr.LayerGradientShap(f, layer).attribute(x, start, n_samples=1, stdevs=0.0)

    found = method.explain(*setting[1:]).layer_maps[0].data
    assert relative_gap(found, by_captum(oracle, setting, "model.0")) < TOLERANCE


@pytest.mark.parametrize("name", [n for n in ADDITIVE if n != "internal_influence"])
def test_a_layer_before_a_linear_tail_gets_its_exact_part(ndim: int, name: str) -> None:
    """The layer is the network and has no bias; from zero, every method says c * net(x)."""
    shape = (9, 6, 7)[:ndim]
    network = nn.Sequential(linear(ndim, in_channels=2), nn.Identity())
    model, image = predictor(network, (4,) * ndim), volume(shape, 2)
    target = with_coefficients(frozen(model, image), torch.randn(2, *shape))
    method = replace(ADDITIVE[name], layer="0")
    if isinstance(method, LayerGradientShap):
        method = replace(method, baselines=("zero",), noise=0.0)
    elif not isinstance(method, LayerGradientXActivation):
        method = replace(method, baseline="zero")
    found = method.explain(model, image, target).data
    assert target.coefficients is not None
    expected = (target.coefficients * network(image.batch)[0]).sum(dim=0, keepdim=True)
    assert relative_gap(found, expected) < TOLERANCE


def test_internal_influence_of_a_linear_tail_is_its_weights(ndim: int) -> None:
    shape = (9, 6, 7)[:ndim]
    network = nn.Sequential(pointwise(ndim), nn.Identity())
    model, image = predictor(network, (4,) * ndim), volume(shape)
    target = with_coefficients(frozen(model, image), torch.randn(2, *shape))
    found = InternalInfluence(layer="0", steps=2).explain(model, image, target)
    assert target.coefficients is not None
    assert relative_gap(found.data, target.coefficients.sum(dim=0, keepdim=True)) < TOLERANCE
    assert found.unit.endswith(" / activation")


@pytest.mark.parametrize(
    ("shape", "layers"),
    [((8, 6), ("down",)), pytest.param((13, 11), ("down", "skip"), marks=pytest.mark.slow)],
)
def test_the_standard_error_is_that_of_the_samples(
    shape: tuple[int, ...], layers: tuple[str, ...]
) -> None:
    network, samples = Smooth(2), 4
    model, image = predictor(network, (8, 6)), volume(shape)
    target = frozen(model, image, everywhere(of="log_probability"))
    method = LayerGradientShap(
        layer=layers, baselines=(BLUR, "mean"), samples=samples, noise=0.2, spread=True
    )
    found = method.explain(model, image, target)
    maps = []
    for layer in layers:
        graph = WholeGraph(model, target, find_layer(network, layer))
        each = [
            summed_on_voxels(graph.windows, [part[0].sum(dim=0) for part in parts])
            for parts in samples_of(graph, method, image)
        ]
        maps.append(torch.stack(each))
    voxels = torch.stack(maps).mean(dim=0)
    assert found.standard_error is not None
    assert relative_gap(found.standard_error, voxels.std(dim=0) / samples**0.5) < TOLERANCE
    assert relative_gap(found.data, voxels.mean(dim=0)) < TOLERANCE
    plain = replace(method, spread=False).explain(model, image, target)
    assert plain.standard_error is None
    assert torch.equal(plain.data, found.data)


@pytest.mark.parametrize("kind", PATHS)
def test_half_precision_stays_near(kind: type) -> None:
    model, image = predictor(Smooth(2), (8, 8)), volume((13, 11))
    target = frozen(model, image, everywhere(reduce="mean"))
    method = kind(layer="down", steps=3, baseline=BLUR)
    full = method.explain(model, image, target).data
    half = method.explain(replace(model, precision="fp16"), image, target).data
    assert 0 < relative_gap(half, full) < 2e-2


@pytest.mark.parametrize(
    ("kind", "faults", "message"),
    [
        (LayerIntegratedGradients, {"steps": 0}, "steps: 0"),
        (LayerConductance, {"steps": 0}, "steps: 0"),
        (InternalInfluence, {"steps": 0}, "steps: 0"),
        (LayerGradientShap, {"samples": 0}, "samples: 0"),
        (LayerGradientShap, {"samples": 1, "spread": True}, "for a standard error"),
        (LayerGradientShap, {"noise": -0.1}, "noise: -0.1 must be 0 or more"),
        (LayerGradientShap, {"baselines": ()}, "baselines: at least one is needed"),
        (LayerConductance, {"layer": ()}, "name each layer once"),
        (LayerConductance, {"layer": ("a", "a")}, "name each layer once"),
    ],
)
def test_invalid_parameters_are_refused(
    kind: type, faults: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**faults)
