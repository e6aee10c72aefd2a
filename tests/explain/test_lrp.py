"""Relevance of whole predictions: conserved, added up over windows, equal to captum."""

from __future__ import annotations

import warnings
from dataclasses import replace

import captum.attr
import pytest
import torch
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule
from torch import Tensor, nn

from esegeta.errors import ConfigError, DataError
from esegeta.explain import Explainer, InputXGradient, LayerwiseRelevance
from esegeta.explain.backprop.lrp import LrpRules
from esegeta.explain.backprop.rules import COMPOSITES, Settings
from esegeta.predict import LinearForm, WindowPlan
from tests.builders import NORMS, SHAPES, predictor, unet, volume
from tests.explain.relevance import BiasFree, brute_force
from tests.oracles import everywhere, frozen, relative_gap, with_coefficients
from tests.pairwise import pairwise


@pytest.mark.parametrize(
    "method",
    [
        LayerwiseRelevance(rule="epsilon"),
        LayerwiseRelevance(rule="gamma"),
        LayerwiseRelevance(),
        LayerwiseRelevance(composite="epsilon_gamma_box"),
    ],
    ids=lambda method: str(method.rule or method.composite),
)
def test_relevance_is_conserved_without_biases(ndim: int, method: Explainer) -> None:
    model = predictor(BiasFree(ndim), (8,) * ndim)
    image = volume((12, 8, 12)[:ndim], 2)
    target = frozen(model, image)
    found = method.explain(model, image, target)
    facts = found.facts.more
    logits = target.scene.logits
    assert isinstance(target.coefficients, LinearForm)
    value = float((target.coefficients.dense() * logits[0]).sum(dtype=torch.float64))
    size = float(found.data.abs().sum())
    assert abs(facts["relevance_in"] - value) < 1e-4 * size
    assert abs(float(found.data.double().sum()) - value) < 1e-4 * size
    assert facts["kept_by_biases"] == facts["kept_by_constants"] == 0
    assert abs(facts["unaccounted"]) < 1e-4 * size


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("composite", ["epsilon_plus_flat", "epsilon_gamma_box"])
def test_relevance_kept_by_biases_is_accounted_for(
    ndim: int, kind: str, composite: str | None
) -> None:
    model = predictor(unet(ndim, kind), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    found = LayerwiseRelevance(composite=composite).explain(model, image, target)
    facts = found.facts.more
    value = float(target.value(target.scene.logits))
    assert abs(facts["relevance_in"] - value) < 1e-3 * abs(value)
    assert abs(facts["kept_by_biases"]) > 1
    assert abs(facts["unaccounted"]) < 1e-3 * float(found.data.abs().sum())
    # Both rules of the first layer give zeros around a volume smaller than a window their part.
    assert (abs(facts["fell_on_padding"]) > 1e-2) == (ndim == 3)


def test_the_epsilon_rule_is_input_times_gradient_on_a_bias_free_relu_network(ndim: int) -> None:
    model = predictor(BiasFree(ndim), (8,) * ndim)
    image = volume((12, 8, 12)[:ndim], 2)
    target = frozen(model, image)
    expected = InputXGradient().explain(model, image, target).data
    found = LayerwiseRelevance(rule="epsilon", epsilon=1e-9).explain(model, image, target).data
    assert relative_gap(found, expected) < 1e-4


def test_a_target_that_is_not_linear_starts_with_its_first_order(ndim: int) -> None:
    """Of R(y), each logit starts with y dR/dy: on a bias-free ReLU network, x times gradient."""
    model = predictor(BiasFree(ndim), (8,) * ndim)
    image = volume((12, 8, 12)[:ndim], 2)
    target = frozen(model, image, everywhere(of="log_probability"))
    assert not target.is_linear
    expected = InputXGradient().explain(model, image, target).data
    found = LayerwiseRelevance(rule="epsilon", epsilon=1e-9).explain(model, image, target).data
    assert relative_gap(found, expected) < 1e-4


@pairwise(ndim=[2, 3], kind=NORMS, composite=[*COMPOSITES, "none"])
def test_windows_add_up_to_relevance_through_the_whole_blend(
    ndim: int, kind: str, composite: str
) -> None:
    model = predictor(unet(ndim, kind, in_channels=2), (8,) * ndim)
    image = volume((14, 8, 10)[:ndim], 2)
    plain = frozen(model, image)
    target = with_coefficients(plain, torch.rand(2, *image.grid.shape) - 0.3)
    method = LayerwiseRelevance(composite=composite)
    axes = tuple(range(1, ndim + 1))
    settings = Settings(low=image.data.amin(axes), high=image.data.amax(axes))
    rules = LrpRules(method.chosen(), settings)
    # Relevance at a logit is its value times what autograd gives it.
    expected = brute_force(model, target, rules, lambda logits: logits * logits.detach())
    found = method.explain(model, image, target).data
    assert relative_gap(found, expected) < 1e-4


def test_captums_rules_in_2d() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(6, 2, 1, bias=False),
    ).eval()
    image = volume((6, 8), 2)
    image = image.with_data(image.data.abs())
    model = predictor(network, (6, 8), overlap=0.0, blend="constant")
    plain = frozen(model, image)
    spot = torch.zeros_like(plain.scene.logits[0])
    place = tuple(
        int(index) for index in (plain.scene.logits[0] == plain.scene.logits.max()).nonzero()[0]
    )
    spot[place] = 1.0
    target = with_coefficients(plain, spot)
    rules = {
        "epsilon": lambda: EpsilonRule(),
        "gamma": lambda: GammaRule(gamma=0.25),
        "z_plus": lambda: Alpha1_Beta0_Rule(),
    }
    for rule, make in rules.items():
        for layer in (network[0], network[2], network[4]):
            layer.rule = make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = captum.attr.LRP(network).attribute(image.batch, target=place)[0]
        found = LayerwiseRelevance(rule=rule).explain(model, image, target).data
        assert relative_gap(found, expected.detach()) < 1e-4, rule


def test_captums_epsilon_rule_with_biases_and_pooling_in_2d() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 2, 3, padding=1),
    ).eval()
    image = volume((6, 8))
    model = predictor(network, (6, 8), overlap=0.0, blend="constant")
    plain = frozen(model, image)
    spot = torch.zeros_like(plain.scene.logits[0])
    spot[1, 2, 3] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = captum.attr.LRP(network).attribute(image.batch, target=(1, 2, 3))[0]
    found = LayerwiseRelevance(rule="epsilon").explain(model, image, with_coefficients(plain, spot))
    assert relative_gap(found.data, expected.detach()) < 1e-4


def test_the_box_rule_uses_the_range_of_the_image_and_its_padding(ndim: int) -> None:
    model = predictor(unet(ndim), (16,) * ndim)
    image = volume((12,) * ndim)
    image = image.with_data(image.data.abs() + 1.0)
    target = frozen(model, image)
    method = LayerwiseRelevance(composite="epsilon_gamma_box")
    expected = replace(method, low=0.0, high=float(image.data.max()))
    found = method.explain(model, image, target).data
    assert torch.equal(found, expected.explain(model, image, target).data)
    with pytest.raises(DataError, match=r"low: 0\.5"):
        replace(method, low=0.5).explain(model, image, target)
    with pytest.raises(DataError, match=r"high: 1\.5"):
        replace(method, high=1.5).explain(model, image, target)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close(precision: str) -> None:
    full = predictor(unet(2), (8, 8))
    image = volume((12, 8))
    half = replace(full, precision=precision)
    target = frozen(full, image)
    expected = LayerwiseRelevance().explain(full, image, target)
    found = LayerwiseRelevance().explain(half, image, frozen(half, image))
    assert relative_gap(found.data, expected.data) < 0.1
    gap = found.facts.more["relevance_in"] - expected.facts.more["relevance_in"]
    assert abs(gap) < 0.05 * float(expected.data.abs().sum())


def test_scaling_the_logits_scales_the_map() -> None:
    """The epsilon is relative: networks of tiny and of huge activations are served alike."""
    image = volume((8, 8))
    maps = []
    for scale in (1.0, 1e-8, 1e8):
        network = BiasFreeSmall(scale)
        model = predictor(network, (8, 8))
        maps.append(
            LayerwiseRelevance(epsilon=0.1).explain(model, image, frozen(model, image)).data
        )
    assert relative_gap(maps[1] * 1e8, maps[0]) < 1e-4
    assert relative_gap(maps[2] / 1e8, maps[0]) < 1e-4


class BiasFreeSmall(nn.Module):
    """Two convolutions, the first of which scales its outputs."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.first.weight.data *= scale
        self.second = nn.Conv2d(4, 2, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"rule": "gamma", "composite": "deep_taylor"}, "exclude each other"),
        ({"epsilon": 0.0}, "epsilon: 0 must be above 0"),
        ({"gamma": -1.0}, "gamma: -1 not below 0"),
        ({"alpha": 2.0, "beta": 0.5}, "alpha - beta must be 1"),
        ({"low": 1.0, "high": 0.0}, "low: 1 must be below high: 0"),
    ],
)
def test_parameters_that_contradict_are_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LayerwiseRelevance(**keys)


def test_slices_of_a_volume_are_images(ndim: int) -> None:
    """The image has an axis more than the network sees; the box fits all the same."""
    image = volume((3, 8, 8))
    model = replace(predictor(unet(2), (8, 8)), plan=WindowPlan((8, 8), slice_axis=0))
    found = LayerwiseRelevance(composite="epsilon_gamma_box").explain(
        model, image, frozen(model, image)
    )
    assert found.data.shape == (1, 3, 8, 8)
    assert found.data.std() > 0
