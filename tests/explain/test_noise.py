"""SmoothGrad and its kin, against explicit loops over the same draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError, MapError
from esegeta.explain import (
    EXPLAINERS,
    Explainer,
    GradCam,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
)
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget, Predicted, VoxelTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.networks import Power
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


def test_noise_methods_nest_and_each_copy_has_draws_of_its_own() -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    target = frozen(model, image)
    outer = VarGrad(base=SmoothGrad(samples=2, seed=3), samples=3)
    bases = list(outer.bases())
    seeds = [base.seed for base in bases]
    assert len(set(seeds)) == 3
    assert not {0, 3} & set(seeds)
    maps = [
        base.explain(model, image.with_data(copy), target).data
        for base, copy in zip(bases, noisy_copies(image, 3, 0.1, seed=0), strict=True)
    ]
    found = outer.explain(model, image, target)
    assert relative_gap(found.data, moments(maps)[VarGrad]) < TOLERANCE
    assert found.unit == "(logit x voxels / input unit)^2"
    assert found.facts.evaluations == 2 * 3


def test_the_seeds_of_copies_follow_from_both_seeds() -> None:
    """The same again for the same seeds; others for another seed of the noise or of the base."""

    def seeds(outer: int, inner: int) -> list[int]:
        method = NoiseTunnel(base=SmoothGrad(seed=inner), samples=4, seed=outer)
        return [base.seed for base in method.bases()]

    assert seeds(0, 0) == seeds(0, 0)
    drawn = [*seeds(0, 0), *seeds(0, 1), *seeds(1, 0), *seeds(10, 0)]
    assert len(set(drawn)) == 16
    plain = NoiseTunnel(base=InputXGradient(), samples=3)
    assert list(plain.bases()) == [InputXGradient()] * 3


@pytest.mark.slow
def test_a_stochastic_base_averages_out_over_copies() -> None:
    """With all but no noise outside, the copies' maps differ by the base's draws alone."""
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    target = frozen(model, image)
    base = SmoothGrad(samples=2, noise=0.5)
    truth = SmoothGrad(samples=250, noise=0.5, seed=9).explain(model, image, target).data
    gaps = []
    for copies in (1, 25):
        method = NoiseTunnel(base=base, samples=copies, noise=1e-6)
        gaps.append(relative_gap(method.explain(model, image, target).data, truth))
    assert gaps[1] < gaps[0] / 2.5  # a fifth, were there no error in the truth


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("base", [GradCam(layer="model.0"), InputXGradient()], ids=["layer", "ixg"])
def test_noise_tunnel_equals_the_method_of_its_kind(kind: str, base: Explainer) -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    target = frozen(model, image)
    shared = {"base": base, "samples": 4, "noise": 0.2, "seed": 3, "spread": True}
    found = NoiseTunnel(kind=kind, **shared).explain(model, image, target)
    named = EXPLAINERS[kind](**shared).explain(model, image, target)
    assert torch.equal(found.data, named.data)
    assert found.standard_error is not None
    assert torch.equal(found.standard_error, named.standard_error)
    assert found.unit == named.unit
    assert found.data.shape == (1, *SHAPES[2])


@pytest.mark.parametrize("case", ["live"], indirect=True)
@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
def test_the_standard_error_in_closed_form(case: Case, method: type) -> None:
    """Of the mean: std / sqrt(n). Of the variance: by the fourth moment, from all maps at once."""
    model, image, target = case
    n = 6
    maps = torch.stack(
        [
            gradient_of(lambda x: target.value(monai_prediction(model, x)), copy[None])[0]
            for copy in noisy_copies(image, n, 0.3, seed=5)
        ]
    ).double()
    gaps = maps - maps.mean(dim=0)
    second, fourth = gaps.square().mean(dim=0), gaps.pow(4).mean(dim=0)
    unbiased_error = ((fourth - second.square() * (n - 3) / (n - 1)) / n).sqrt()
    expected = {
        SmoothGrad: maps.std(dim=0) / n**0.5,
        SmoothGradSquared: maps.square().std(dim=0) / n**0.5,
        VarGrad: unbiased_error * (n - 1) / n,
    }
    found = method(samples=n, noise=0.3, seed=5, spread=True).explain(model, image, target)
    assert found.standard_error is not None
    assert relative_gap(found.standard_error, expected[method]) < 10 * TOLERANCE
    assert method(samples=n, seed=5).explain(model, image, target).standard_error is None


@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
@pytest.mark.slow
def test_the_standard_error_is_the_spread_over_seeds(method: type) -> None:
    """A polynomial network, many seeds: what one run says of its error is what happens."""
    network = Power(linear(2), 3)
    model = predictor(network, (6, 5))
    image = volume((6, 5))
    target = frozen(model, image)
    runs = [
        method(samples=40, noise=0.3, seed=seed, spread=True).explain(model, image, target)
        for seed in range(40)
    ]
    seen = torch.stack([run.data for run in runs]).double().var(dim=0)
    said = torch.stack([run.standard_error for run in runs]).double().square().mean(dim=0)
    assert 0.8 < float((said.sum() / seen.sum()).sqrt()) < 1.2


def test_too_few_samples_for_a_standard_error_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"1 samples have no standard error.*at least 2"):
        SmoothGrad(samples=1, spread=True)
    with pytest.raises(ConfigError, match=r"3 samples have no standard error.*at least 4"):
        NoiseTunnel(kind="vargrad", samples=3, spread=True)


def test_equal_maps_have_a_variance_of_exactly_zero() -> None:
    """The gradient of a linear network is the same everywhere: refused, not a map of rounding."""
    model = predictor(linear(2), (4, 4))
    image = volume(SHAPES[2])
    with pytest.raises(MapError, match="zero everywhere"):
        NoiseTunnel(kind="vargrad", samples=5).explain(model, image, frozen(model, image))


@pytest.mark.parametrize("method", [SmoothGrad, SmoothGradSquared, VarGrad])
def test_both_routes_agree(ndim: int, method: type) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    explainer = method(samples=3)
    one = explainer.explain(model, image, target).data
    other = explainer.explain(model, image, disguised(target)).data
    assert relative_gap(one, other) < TOLERANCE


def test_the_global_random_state_is_left_alone() -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    before = torch.get_rng_state()
    SmoothGrad(samples=2).explain(model, image, frozen(model, image))
    assert torch.equal(torch.get_rng_state(), before)


def test_vanishing_noise_gives_the_map_of_the_base(ndim: int) -> None:
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


@pytest.mark.parametrize("method", [VarGrad, partial(NoiseTunnel, kind="vargrad")])
def test_one_copy_has_no_variance(method: Callable[..., Explainer]) -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        method(samples=1)
