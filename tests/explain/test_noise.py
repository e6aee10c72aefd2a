"""SmoothGrad and its kin, against explicit loops over the same draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import (
    Explainer,
    GradCam,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
)
from esegeta.predict import Predictor
from esegeta.target import FrozenTarget, Predicted, VoxelTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, predictor, unet, volume
from tests.oracles import disguised, everywhere, frozen, gradient_of, monai_prediction, relative_gap

TOLERANCE = 2e-5

Case = tuple[Predictor, Volume, FrozenTarget]


def noisy_copies(image: Volume, samples: int, noise: float, seed: int) -> list[Tensor]:
    """Return the copies that the methods say they make."""
    values = image.data.flatten().double()
    spread = noise * ((values - values.mean()).square().mean().sqrt())
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randn(image.data.shape, generator=generator) for _ in range(samples)]
    return [image.data + float(spread) * draw for draw in draws]


def moments(maps: list[Tensor]) -> dict[type, Tensor]:
    stacked = torch.stack(maps).double()
    return {
        SmoothGrad: stacked.mean(dim=0),
        SmoothGradSquared: stacked.square().mean(dim=0),
        VarGrad: stacked.var(dim=0, correction=0),
    }


@pytest.fixture(params=["frozen", "probability", "live"])
def case(request: pytest.FixtureRequest, ndim: int) -> Case:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    targets = {
        "frozen": VoxelTarget("one"),
        "probability": everywhere(of="probability"),
        "live": VoxelTarget("one", over=Predicted(), live=True),
    }
    return model, image, frozen(model, image, targets[request.param])


@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
def test_equals_a_loop_of_autograd_through_monai(case: Case, method: type) -> None:
    model, image, target = case
    maps = [
        gradient_of(lambda x: target.value(monai_prediction(model, x)), copy[None])[0]
        for copy in noisy_copies(image, 4, 0.3, seed=5)
    ]
    found = method(samples=4, noise=0.3, seed=5).explain(model, image, target)
    assert relative_gap(found.data, moments(maps)[method]) < TOLERANCE
    assert found.facts.seed == 5


BASES: list[Explainer] = [
    InputXGradient(),
    IntegratedGradients(steps=2, baseline="mean"),
    GradCam(),
    Occlusion(box=4),
]


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
def test_any_method_may_be_the_base(method: type, base: Explainer) -> None:
    """Explained on each noisy copy as if it were the image; the target's mask stays frozen."""
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    target = frozen(model, image, VoxelTarget("one"))
    maps = [
        base.explain(model, image.with_data(copy), target).data
        for copy in noisy_copies(image, 3, 0.2, seed=1)
    ]
    found = method(base=base, samples=3, noise=0.2, seed=1).explain(model, image, target)
    assert relative_gap(found.data, moments(maps)[method]) < TOLERANCE
    assert found.parameters["base"]["name"] == base.name


def test_noise_methods_nest() -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    target = frozen(model, image)
    inner = SmoothGrad(samples=2, seed=3)
    maps = [
        inner.explain(model, image.with_data(copy), target).data
        for copy in noisy_copies(image, 3, 0.1, seed=0)
    ]
    found = VarGrad(base=inner, samples=3).explain(model, image, target)
    assert relative_gap(found.data, moments(maps)[VarGrad]) < TOLERANCE
    assert found.unit == "(logit x voxels / input unit)^2"
    assert found.facts.evaluations == 2 * 3


@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
def test_both_routes_agree(ndim: int, method: type) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    explainer = method(samples=3)
    one = explainer.explain(model, image, target).data
    other = explainer.explain(model, image, disguised(target)).data
    assert relative_gap(one, other) < TOLERANCE


def test_the_generator_of_everybody_else_is_left_alone() -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    before = torch.get_rng_state()
    SmoothGrad(samples=2).explain(model, image, frozen(model, image))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_noise_to_speak_of_is_the_base_itself(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    method = SmoothGrad(base=Saliency(), samples=2, noise=1e-7)
    found = method.explain(model, image, target).data
    assert relative_gap(found, Saliency().explain(model, image, target).data) < 1e-4
    loud = replace(method, noise=0.5).explain(model, image, target).data
    assert relative_gap(loud, found) > 1e-2


@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
@pytest.mark.parametrize("bad", [{"samples": 0}, {"noise": 0.0}, {"noise": -1.0}])
def test_bad_parameters_are_refused(method: type, bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=method.name):
        method(**bad)


def test_one_copy_has_no_variance() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        VarGrad(samples=1)
