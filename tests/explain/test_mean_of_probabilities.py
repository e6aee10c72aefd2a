"""Methods that read layers, where probabilities of flips and networks are averaged.

The probability of a mean of probabilities is the mean of the probabilities, so that this one target
is a sum over passes: there, each map is the mean of the maps of single passes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.explain import (
    EXPLAINERS,
    AblationCam,
    Explainer,
    GradCam,
    GuidedBackprop,
    LayerDeepLift,
    LayerIntegratedGradients,
    LayerwiseRelevance,
    MiSuRe,
    Objective,
    PatternAttribution,
    PatternNet,
    SmoothGrad,
    fit_patterns,
)
from esegeta.explain.perturbation.sufficiency import Surrounded
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import linear, predictor, unet, volume
from tests.contracts.explainers import mostly_in_2d
from tests.contracts.rows_backprop import FITTED
from tests.contracts.test_every_explainer import ROWS, with_trait
from tests.explain.test_misure import Bright, bright_box
from tests.explain.test_spread import Layered
from tests.networks import Counting, Smooth
from tests.oracles import everywhere, frozen, gradient_of, relative_gap, with_coefficients
from tests.predict.averaged import averaging, mean_of

pytestmark = pytest.mark.usefixtures("whole_windows")

SHAPES = {2: (8, 16), 3: (8, 8, 16)}
SMALL = {2: (6, 4), 3: (4, 6, 3)}
PATHS_OF_LOGITS = {"deep_lift", "deep_lift_shap", "layer_deep_lift"}
"""Methods whose multipliers are means along the logits, stage by stage."""
FIRST_ORDER = [
    name
    for name in with_trait("additive")
    if EXPLAINERS[name].traits.needs_hooks and name not in PATHS_OF_LOGITS | FITTED
]


def mirrored_pair(ndim: int, of: str) -> tuple[Predictor, Volume, FrozenTarget]:
    """Return two mirrored U-Nets whose windows do not overlap."""
    networks = [unet(ndim, "prelu_batch", seed=seed) for seed in (3, 4)]
    plain = predictor(networks[0], (8,) * ndim, overlap=0.0)
    model = averaging(networks, plain, [1], "probabilities")
    image = volume(SHAPES[ndim])
    return model, image, frozen(model, image, everywhere(of=of))


@pytest.mark.parametrize(("ndim", "method"), mostly_in_2d(FIRST_ORDER))
def test_the_map_of_a_probability_is_the_mean_of_the_passes_maps(method: str, ndim: int) -> None:
    model, image, target = mirrored_pair(ndim, "probability")
    explainer = ROWS[method]
    if hasattr(explainer, "steps"):  # true of any rule of quadrature
        explainer = replace(explainer, steps=2)
    found = explainer.explain(model, image, target)
    passes = [replace(model, plan=replace(model.plan, passes=(own,))) for own in model.plan.passes]
    maps = [explainer.explain(one, image, target).data for one in passes]
    assert len(maps) == 4 and relative_gap(maps[0], maps[1]) > 1e-2
    assert relative_gap(found.data, torch.stack(maps).mean(dim=0)) < 1e-3
    assert found.facts.more["passes_per_window"] == 4


def pointwise(
    ndim: int, activation: str = "softmax"
) -> tuple[Predictor, list[Layered], FrozenTarget]:
    """Return two networks of one voxel each, mirrored: neither windows nor flips change them."""
    networks = [Layered(ndim, seed).eval() for seed in range(2)]
    for network in networks:  # units speak for the label, and the less for the other
        network.head.weight.data[1] = 1 + network.head.weight.data[1].abs()
    plain = predictor(networks[0], (4,) * ndim, overlap=0.5, activation=activation)
    model = averaging(networks, plain, [1], "probabilities")
    image = volume(SMALL[ndim])
    weights = torch.rand(2, *SMALL[ndim], generator=torch.Generator().manual_seed(1))
    weights[0] *= 0.1
    return model, networks, with_coefficients(frozen(model, image), weights)


def shares_of(networks: list[Layered], target: FrozenTarget, activation: str) -> list[Tensor]:
    """Return dR/dz of each network, `1 L *S`, by autograd."""
    x = target.scene.volume.batch
    z = [network(x).detach().requires_grad_(True) for network in networks]
    return list(torch.autograd.grad(target.value(mean_of(z, "probabilities", activation)).sum(), z))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_grad_cam_weighs_units_by_the_slope_of_the_mean(activation: str, ndim: int) -> None:
    model, networks, target = pointwise(ndim, activation)
    image = target.scene.volume
    found = GradCam(layer="act").explain(model, image, target).data
    total = torch.zeros(image.grid.shape)
    pairs = zip(networks, shares_of(networks, target, activation), strict=True)
    with torch.no_grad():
        for network, share in pairs:
            heads = network.head.weight.flatten(1)
            alpha = torch.einsum("l,lk->k", share[0].flatten(1).mean(dim=1), heads)
            total += torch.einsum("k,k...->...", alpha, network.act(network.units(image.batch))[0])
    assert relative_gap(found[0], total.relu()) < 1e-4


def test_guided_backprop_is_that_of_the_whole_graph(ndim: int) -> None:
    model, networks, target = pointwise(ndim)
    image = target.scene.volume
    found = GuidedBackprop().explain(model, image, target).data

    def clamp(module: nn.Module, inputs: object, output: Tensor) -> None:
        output.register_hook(lambda slope: slope.clamp(min=0))

    handles = [network.act.register_forward_hook(clamp) for network in networks]
    expected = gradient_of(
        lambda x: target.value(mean_of([one(x) for one in networks], "probabilities", "softmax")),
        image.batch,
    )
    for handle in handles:
        handle.remove()
    assert relative_gap(found, expected[0]) < 1e-4
    noisy = SmoothGrad(base=GuidedBackprop(), samples=2, noise=1e-6)
    assert relative_gap(noisy.explain(model, image, target).data, expected[0]) < 1e-3


def test_linear_members_by_closed_form(ndim: int) -> None:
    """Kernels of one voxel, without biases: all of z dR/dz is the voxel's own."""
    networks = [linear(ndim, kernel=1, seed=seed) for seed in range(3)]
    model = averaging(
        networks, predictor(networks[0], (4,) * ndim, activation="sigmoid"), [0], "probabilities"
    )
    image = volume(SMALL[ndim])
    target = frozen(model, image)
    z = [network(image.batch).detach().requires_grad_(True) for network in networks]
    slopes = torch.autograd.grad(target.value(mean_of(z, "probabilities", "sigmoid")).sum(), z)
    relevance = sum((own * slope).sum(dim=1) for own, slope in zip(z, slopes, strict=True))
    signal = sum(
        (own * slope / network.weight.reshape(1, 2, *[1] * ndim)).sum(dim=1)
        for own, slope, network in zip(z, slopes, networks, strict=True)
    )
    for explainer, expected in (
        (LayerwiseRelevance(rule="epsilon"), relevance),
        (PatternAttribution(), relevance),
        (PatternNet(), signal),
    ):
        found = explainer.explain(model, image, target).data
        assert relative_gap(found, expected.detach()) < 1e-4, explainer.name


def test_each_network_has_patterns_of_its_own(ndim: int, tmp_path: object) -> None:
    networks = [unet(ndim, seed=seed) for seed in (3, 4)]
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [], "logits")
    image = volume(SHAPES[ndim])
    both = fit_patterns(model, [image])
    for number, network in enumerate(networks):
        own = fit_patterns(predictor(network, (8,) * ndim), [image]).values
        found = both.of_member(number).values
        assert found.keys() == own.keys()
        assert all(relative_gap(found[key], own[key]) < 1e-4 for key in own)
    both.require_fit(model)
    target = frozen(model, image)
    mean = torch.stack(
        [PatternAttribution().explain(one, image, target).data for one in model.members()]
    ).mean(dim=0)
    found = PatternAttribution(fitted=both).explain(model, image, target).data
    assert relative_gap(found, mean) < 1e-4


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.parametrize(
    "explainer",
    [LayerDeepLift(layer="units", baseline="zero"), LayerIntegratedGradients(layer="act")],
)
@pytest.mark.slow
def test_layer_methods_add_up(explainer: Explainer, of: str) -> None:
    model, _, _ = pointwise(2)
    image = volume((6, 4))
    found = explainer.explain(model, image, frozen(model, image, everywhere(of=of)))
    more = found.facts.more
    change = more["change_of_target"]
    assert abs(change) > 0.1
    assert float(found.data.double().sum()) == pytest.approx(change, rel=2e-3)
    assert more.get("change_through_layer", change) == pytest.approx(change, rel=2e-3)


def test_drops_of_all_passes_add_up(ndim: int) -> None:
    """Networks of the same units and other heads: one activation, weighed by the whole fall."""
    _, networks, target = pointwise(ndim)
    networks[1].units.load_state_dict(networks[0].units.state_dict())
    model = averaging(networks, predictor(networks[0], (4,) * ndim), [1], "probabilities")
    image = target.scene.volume
    target = with_coefficients(frozen(model, image), target.coefficients)  # type: ignore[arg-type]
    found = AblationCam(layer="act").explain(model, image, target).data
    total = torch.zeros(image.grid.shape)
    with torch.no_grad():
        activation = networks[0].act(networks[0].units(image.batch))
        ends = [mean_of([one.head(activation) for one in networks], "probabilities", "softmax")]
        for unit in range(3):
            left = activation.clone()
            left[:, unit] = 0
            y = mean_of([one.head(left) for one in networks], "probabilities", "softmax")
            fall = float(target.value(ends[0]) - target.value(y))
            total += fall / abs(float(target.value(ends[0]))) * activation[0, unit]
    # Each of the two flips of two networks has its part of the fall.
    assert relative_gap(found[0], total.relu()) < 1e-3


def test_misure_equals_the_whole_graph_forward_and_backward(ndim: int) -> None:
    networks = [Smooth(ndim) for _ in range(2)]
    networks[1].head.weight.data.mul_(-2)
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], "probabilities")
    image = volume((20, 8, 8)[:ndim])
    objective = Objective.of(model, frozen(model, image), image)
    alone = Surrounded.by(objective, torch.zeros_like(image.data))
    region = torch.zeros(image.grid.shape, dtype=torch.bool)
    region[2:6] = True
    near = alone.grown(region)
    assert 0 < len(near.active) < len(objective.windows)
    mixed = torch.where(region, image.data, 0)
    assert relative_gap(near.predict(mixed), model.logits(mixed[None])) < 1e-5
    slope = torch.randn(1, 2, *image.grid.shape)
    expected = gradient_of(lambda x: (model(x) * slope).sum(), mixed[None])[0]
    found = near.pull_back(mixed, slope)
    assert relative_gap(found[:, region], expected[:, region]) < 1e-4


@pytest.mark.slow
def test_misure_keeps_the_dice_of_the_mean() -> None:
    model, image = bright_box(2)
    networks = [Bright(2), Bright(2)]
    networks[1].mean.weight.data.mul_(1.2)
    model = averaging(networks, model, [0], "probabilities")
    found = MiSuRe(tau=0.8, steps=10, cell=2, baseline="zero").explain(
        model, image, frozen(model, image, everywhere(of="probability"))
    )
    kept, before = (
        model.logits(data[None]).argmax(dim=1) == 1
        for data in (found.data * image.data, image.data)
    )
    dice = float(2 * (kept & before).sum() / (kept.sum() + before.sum()))
    assert found.facts.more["dice"] == pytest.approx(dice, abs=1e-6) and dice >= 0.8
    assert found.facts.more["area"] < found.facts.more["area_dilated"]


@pytest.mark.parametrize(
    "explainer", [GuidedBackprop(), GradCam(), LayerIntegratedGradients(steps=2)]
)
def test_counts_the_windows_that_it_ran(explainer: Explainer) -> None:
    networks = [Counting(unet(2, seed=seed)) for seed in range(2)]
    model = averaging(networks, predictor(networks[0], (8, 8)), [0], "probabilities")
    image = volume((10, 7))
    target = frozen(model, image, everywhere(of="probability"))
    target.scene.logits  # noqa: B018  (predicted when the target was frozen)
    networks[0].windows = 0
    found = explainer.explain(model, image, target)
    assert found.facts.windows_run == networks[0].windows > 0


def test_a_target_of_passes_is_its_first_order_only() -> None:
    model, image, target = mirrored_pair(2, "logit")
    objective = Objective.of(model, target, image).of_passes()
    assert objective.of_passes() is objective
    assert not objective.target.is_linear
    assert objective.predictor.plan == replace(model.plan, average="logits")
    assert len(objective.windows) == 4 * objective.windows.num_places
    torch.testing.assert_close(objective.logits(), model.logits(image.batch))
    expected = Objective.of(model, target, image).gradient()
    torch.testing.assert_close(objective.gradient(), expected)
    moved = objective.at(2 * image.data)
    torch.testing.assert_close(moved.logits(), model.logits(2 * image.batch))
