"""What would only look like a result is refused or carries a warning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import LayerError, MapError, ModelError, OutputError
from esegeta.explain import (
    EXPLAINERS,
    DeepLift,
    Explainer,
    GradientShap,
    HiResCam,
    IntegratedGradients,
    LayerIntegratedGradients,
    LayerwiseRelevance,
    Objective,
    RawMap,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    Traits,
    VarGrad,
)
from esegeta.explain.cost import Cost
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.score import Infidelity, ScoreContext, SensitivityMax
from esegeta.targets import Scene, VoxelTarget
from tests.builders import SHAPES, pointwise, predictor, unet, volume
from tests.oracles import everywhere, frozen, gradient_of

WINDOW = (8, 8)


class Overflowing(nn.Module):
    """Logits that overflow where the image is above one."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-x, x + torch.where(x > 1, torch.inf, 0.0)], dim=1)


def test_a_prediction_that_is_not_finite_is_refused() -> None:
    image = volume(SHAPES[2])
    bright = image.with_data(image.data + 10)
    scene = Scene(predictor(Overflowing(), WINDOW), bright)
    with pytest.raises(ModelError, match="logits of the prediction are NaN or Inf"):
        VoxelTarget("one").freeze(scene)


@dataclass(frozen=True)
class FineOnlyAtHome(Explainer):
    """A map that is finite for the image itself alone."""

    name: ClassVar[str] = "home"
    traits: ClassVar[Traits] = Traits("gradient")
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost(self) -> Cost:
        return Cost.of()

    def attribute(self, objective: Objective) -> RawMap:
        ones = torch.ones_like(objective.volume.data)
        return RawMap(ones if objective.is_original else ones * torch.nan)


def test_sensitivity_of_non_finite_maps_is_refused() -> None:
    image, model = volume(SHAPES[2]), predictor(unet(2), WINDOW)
    method = FineOnlyAtHome()
    attribution = method.explain(model, image, frozen(model, image))
    with pytest.raises(MapError, match="map of a perturbed image is NaN or Inf"):
        SensitivityMax(samples=2).score(attribution, ScoreContext(model, method))


def test_infidelity_of_a_target_that_is_not_finite_is_refused() -> None:
    image = volume(SHAPES[2])
    image = image.with_data(torch.full_like(image.data, 0.0) + torch.rand_like(image.data) * 0.99)
    model = predictor(Overflowing(), WINDOW)
    attribution = Saliency().explain(model, image, frozen(model, image))
    with pytest.raises(MapError, match="target of a perturbed image is NaN or Inf"):
        Infidelity(perturbation="gaussian", noise=5.0).score(
            attribution, ScoreContext(model, Saliency())
        )


def test_a_change_that_is_not_finite_is_refused_by_integrated_gradients() -> None:
    model = predictor(Overflowing(), WINDOW)
    image = volume(SHAPES[2])
    image = image.with_data(torch.full_like(image.data, 0.5))
    bright = image.with_data(image.data + 10)
    target = everywhere().freeze(Scene(model, image))
    with pytest.raises(MapError):
        IntegratedGradients(steps=1, baseline="zero").explain(model, bright, target)


class OverflowingAtZero(nn.Module):
    """Logits that overflow where the image is zero, and have slopes everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return torch.cat([-x, x + torch.where(x == 0, torch.inf, 0.0)], dim=1)


@pytest.mark.parametrize(
    "method",
    [
        GradientShap(baselines=("zero",), samples=2),
        DeepLift(baseline="zero"),
        LayerIntegratedGradients(layer="enter", baseline="zero", steps=1),
    ],
    ids=lambda method: method.name,
)
def test_a_non_finite_change_of_the_target_is_refused_though_the_map_is_finite(
    method: Explainer,
) -> None:
    image, model = volume(SHAPES[2]), predictor(OverflowingAtZero(), WINDOW)
    target = frozen(model, image)
    with pytest.raises(MapError, match=r"the target changes by -inf from .*; its values overflow"):
        method.explain(model, image, target)


def test_lrp_of_a_network_without_linear_operations_is_refused() -> None:
    image, model = volume(SHAPES[2]), predictor(Overflowing(), WINDOW)
    image = image.with_data(image.data.clamp(max=0.9))
    with pytest.raises(ModelError, match="no convolution or dense operation was seen"):
        LayerwiseRelevance().explain(model, image, frozen(model, image))


def test_a_target_frozen_elsewhere_is_explained_here() -> None:
    """Its mask stays; the prediction that its gradient is taken at is that of this image."""
    model = predictor(unet(2), WINDOW)
    here, there = volume(SHAPES[2], seed=1), volume(SHAPES[2], seed=2)
    target = everywhere(of="probability").freeze(Scene(model, there))
    found = Saliency().explain(model, here, target).data
    expected = gradient_of(lambda x: target.value(model(x)), here.batch)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
def test_noisy_copies_pass_on_completeness_and_warnings(method: type) -> None:
    image, model = volume(SHAPES[2]), predictor(unet(2), WINDOW)
    target = frozen(model, image, everywhere(of="probability"))
    base = IntegratedGradients(steps=1, baseline="zero", tolerance=1e-9)
    attribution = method(base=base, samples=2).explain(model, image, target)
    assert attribution.facts.completeness_relative is not None
    assert attribution.facts.completeness_relative > 1e-9
    assert attribution.warnings[0].startswith("in a noisy copy: completeness")


class Reused(nn.Module):
    """One activation module for two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = (
            nn.Conv2d(1, 3, 1),
            nn.Conv2d(3, 3, 1),
            nn.Conv2d(3, 2, 1),
        )
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.middle(self.act(self.first(x)))))


@pytest.mark.parametrize("method", ["hires_cam", "grad_cam"])
def test_a_layer_that_runs_twice_is_refused(method: str) -> None:
    image, model = volume(SHAPES[2]), predictor(Reused(), WINDOW)
    target = frozen(model, image)
    with pytest.raises(LayerError, match="more than once in a forward pass"):
        EXPLAINERS[method](layer="act").explain(model, image, target)
    assert HiResCam(layer="first").explain(model, image, target).data.any()


@pytest.mark.parametrize("name", ["liver_ig", "liver.png"])
def test_maps_are_saved_as_nifti_only(name: str, tmp_path: Path) -> None:
    image, model = volume(SHAPES[2]), predictor(pointwise(2), WINDOW)
    attribution = Saliency().explain(model, image, frozen(model, image))
    with pytest.raises(OutputError, match=r"maps are NIfTI files; save liver.*nii.gz"):
        attribution.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert replace(attribution).save(tmp_path / "liver.nii").is_file()
