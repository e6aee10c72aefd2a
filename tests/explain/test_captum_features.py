"""Captum's methods over features, given the predictor as a function, are ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import captum.attr
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression, SkLearnRidge
from torch import Tensor

from esegeta.explain import (
    ExactShapley,
    FeatureAblation,
    Features,
    MaskedTarget,
    Objective,
    Partition,
    ShapleyValueSampling,
    solve_kernel_shap,
)
from esegeta.explain.perturbation.lime import closeness, fit_linear
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import predictor, unet, volume
from tests.oracles import everywhere, frozen, relative_gap

TOLERANCE = 2e-5
SHAPES = {2: (10, 8), 3: (8, 6, 8)}

Case = tuple[Predictor, Volume, FrozenTarget]

pytestmark = pytest.mark.usefixtures("quiet_captum")


@pytest.fixture(params=["logit", "log_probability"])
def case(request: pytest.FixtureRequest, ndim: int) -> Case:
    """One window is the volume."""
    model = predictor(unet(ndim, in_channels=2), SHAPES[ndim])
    image = volume(SHAPES[ndim], 2)
    return model, image, frozen(model, image, everywhere(of=request.param))


def function(model: Predictor, target: FrozenTarget) -> Callable[[Tensor], Tensor]:
    """The network itself, without windows."""
    return lambda x: target.value(model.network(x))


def blocks(image: Volume, channels: str) -> tuple[Features, Partition, Tensor]:
    """Return features, what they are of the image, and captum's mask of them, `1 C *S`."""
    features = Features("blocks", side_mm=5.0, channels=channels)
    partition = features.of(image)
    groups = torch.arange(partition.num_groups).reshape(-1, *(1,) * image.ndim)
    mask = partition.labels[None].long() + groups * partition.num_regions
    return features, partition, mask[None]


@pytest.mark.parametrize("channels", ["together", "each"])
def test_feature_ablation(case: Case, channels: str) -> None:
    model, image, target = case
    features, _, mask = blocks(image, channels)
    oracle = captum.attr.FeatureAblation(function(model, target))
    expected = oracle.attribute(image.batch, baselines=0.0, feature_mask=mask)[0]
    found = FeatureAblation(features, "zero").explain(model, image, target).data
    assert relative_gap(found.expand_as(expected), expected) < TOLERANCE


def test_exact_shapley(case: Case) -> None:
    model, image, target = case
    features, _, mask = blocks(image, "together")
    oracle = captum.attr.ShapleyValues(function(model, target))
    expected = oracle.attribute(image.batch, baselines=0.0, feature_mask=mask)[0]
    found = ExactShapley(features, "zero").explain(model, image, target).data
    assert relative_gap(found.expand_as(expected), expected) < TOLERANCE


def test_shapley_value_sampling_on_the_same_orders(case: Case) -> None:
    """Captum draws from torch's global generator what ours draws from one of the same seed."""
    model, image, target = case
    features, _, mask = blocks(image, "together")
    torch.manual_seed(3)
    oracle = captum.attr.ShapleyValueSampling(function(model, target))
    expected = oracle.attribute(image.batch, baselines=0.0, feature_mask=mask, n_samples=3)[0]
    method = ShapleyValueSampling(features, "zero", samples=3, antithetic=False, seed=3)
    found = method.explain(model, image, target).data
    assert relative_gap(found.expand_as(expected), expected) < TOLERANCE


class Recorded(captum.attr.KernelShap):
    """Captum's KernelSHAP, whose coalitions are kept: all, none, and those that it drew."""

    def kernel_shap_perturb_generator(self, original_inp: Tensor, **kwargs: object) -> Iterator:
        self.drawn = []
        for row in super().kernel_shap_perturb_generator(original_inp, **kwargs):
            self.drawn.append(row.bool()[0])
            yield row


class InDouble(SkLearnLinearRegression):
    """Captum's regression in float64: with weights of a million, float32 loses three digits."""

    def fit(self, train_data: Iterable, **kwargs: object) -> object:
        return super().fit([[one.double() for one in rows] for rows in train_data], **kwargs)


@pytest.mark.parametrize(
    ("regression", "gap"), [(SkLearnLinearRegression, 1e-4), (InDouble, 1e-5)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("channels", ["together", "each"])
def test_kernel_shap_on_the_same_coalitions(
    case: Case, channels: str, regression: type[SkLearnLinearRegression], gap: float
) -> None:
    """Captum meets its constraint by a weight of a million, in float32; ours is exact."""
    model, image, target = case
    _, partition, mask = blocks(image, channels)
    torch.manual_seed(0)
    oracle = Recorded(function(model, target))
    oracle.interpretable_model = regression()
    expected = oracle.attribute(
        image.batch, baselines=0.0, feature_mask=mask, n_samples=60, return_input_shape=False
    )
    kept = torch.stack(oracle.drawn)
    objective = Objective.of(model, target, image)
    values = MaskedTarget(objective, partition, torch.zeros_like(image.data)).values(kept)
    found = solve_kernel_shap(kept[2:], values[2:], none=values[1], everyone=values[0])
    assert relative_gap(found, expected.flatten()) < gap
    assert float(found.sum()) == pytest.approx(float(values[0] - values[1]), rel=1e-12)


def test_lime_on_the_same_coalitions(case: Case) -> None:
    model, image, target = case
    _, partition, mask = blocks(image, "together")
    drawn: list[Tensor] = []

    def similarity(original: Tensor, perturbed: Tensor, row: Tensor, **kwargs: object) -> Tensor:
        drawn.append(row.bool()[0])
        return closeness(row.bool(), "cosine", 0.3)

    torch.manual_seed(0)
    oracle = captum.attr.Lime(
        function(model, target),
        interpretable_model=SkLearnRidge(alpha=0.5),
        similarity_func=similarity,
    )
    expected = oracle.attribute(
        image.batch, baselines=0.0, feature_mask=mask, n_samples=40, return_input_shape=False
    )
    kept = torch.stack(drawn)
    objective = Objective.of(model, target, image)
    values = MaskedTarget(objective, partition, torch.zeros_like(image.data)).values(kept)
    weights = closeness(kept, "cosine", 0.3)
    found = fit_linear(kept, values, weights=weights, regression="ridge", alpha=0.5)
    assert relative_gap(found.values, expected.flatten()) < 1e-4
