"""Infidelity: zero for an exact map, blind to its scale, and captum's figures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import captum.metrics
import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError, MapError
from esegeta.explain import Attribution, InputXGradient, Saliency
from esegeta.score import Infidelity, ScoreContext
from esegeta.score.infidelity import random_boxes
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.networks import Smooth
from tests.oracles import disguised, everywhere, frozen, monai_prediction
from tests.pairwise import pairwise


def scores_of(attribution: Attribution, model: object, **options: float) -> dict[str, float]:
    score = Infidelity(**{"perturbation": "gaussian", **options})
    return score.score(attribution, ScoreContext(model, Saliency()))


@pytest.mark.slow
def test_contributions_are_judged_by_removal_by_default() -> None:
    """The shares of a linear network are perfect; under Gaussian noise they looked useless."""
    model, image = predictor(linear(2), (4, 4)), volume((24, 24))
    target = frozen(model, image, everywhere())
    shares = InputXGradient().explain(model, image, target)
    context = ScoreContext(model, InputXGradient())
    by_default = Infidelity(side_mm=5.0).score(shares, context)
    assert by_default["infidelity_relative"] < 1e-8
    assert scores_of(shares, model)["infidelity_relative"] > 0.1
    slopes = Saliency().explain(model, image, target)
    assert Infidelity(side_mm=5.0).score(slopes, context)["infidelity_relative"] < 1e-8


def draws(image: Volume, samples: int, noise: float, seed: int) -> Tensor:
    """Return the perturbations I that the score says it makes."""
    values = image.data.flatten().double()
    spread = noise * float((values - values.mean()).square().mean().sqrt())
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [spread * torch.randn(image.data.shape, generator=generator) for _ in range(samples)]
    )


def perturb_with(shifts: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    return lambda inputs: (shifts, inputs - shifts)


@pytest.mark.parametrize(("ndim", "num_channels"), [(2, 2), (3, 1)])
@pytest.mark.slow
def test_the_gradient_of_a_linear_network_is_perfect(ndim: int, num_channels: int) -> None:
    model = predictor(linear(ndim, num_channels, kernel=3), (4,) * ndim)
    image = volume(SHAPES[ndim], num_channels)
    exact = Saliency().explain(model, image, frozen(model, image))
    found = scores_of(exact, model)
    assert found["infidelity_relative"] < 1e-10
    assert found["infidelity"] < 1e-8
    assert found["infidelity_beta"] < 1e-8
    scaled = scores_of(replace(exact, data=250 * exact.data), model)
    assert scaled["infidelity_relative"] < 1e-10
    assert scaled["infidelity_beta"] < 1e-8
    assert scaled["infidelity"] > 1


def test_a_map_whose_sign_is_flipped_is_useless(ndim: int) -> None:
    """It foresees the opposite of every change; captum's scale below zero makes it perfect."""
    model = predictor(linear(ndim, kernel=3), (4,) * ndim)
    image = volume(SHAPES[ndim])
    exact = Saliency().explain(model, image, frozen(model, image))
    flipped = scores_of(replace(exact, data=-exact.data), model)
    assert flipped["infidelity_relative"] == 1
    assert flipped["infidelity_beta"] < 1e-8


@pairwise(ndim=[2, 3], num_channels=[1, 2], of=["logit", "log_probability"])
def test_equals_captum_on_the_same_perturbations(ndim: int, num_channels: int, of: str) -> None:
    model = predictor(unet(ndim, in_channels=num_channels), (8,) * ndim)
    image = volume(SHAPES[ndim], num_channels)
    target = frozen(model, image, everywhere(of=of))
    attribution = InputXGradient().explain(model, image, target)
    found = scores_of(attribution, model, samples=6, noise=0.3, seed=4)
    shifts = draws(image, 6, 0.3, seed=4)
    expected = {}
    for name, normalize in (("infidelity", False), ("infidelity_beta", True)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="captum")
            expected[name] = captum.metrics.infidelity(
                lambda x: target.value(monai_prediction(model, x)),
                perturb_with(shifts),
                image.batch,
                attribution.data[None],
                n_perturb_samples=6,
                normalize=normalize,
            )
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), rel=1e-3)


def test_relative_infidelity_is_one_minus_the_squared_cosine(ndim: int) -> None:
    model = predictor(Smooth(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image, everywhere(of="probability"))
    attribution = InputXGradient().explain(model, image, target)
    foreseen, changes = [], []
    for shift in draws(image, 5, 0.5, seed=2):
        foreseen.append((shift.double() * attribution.data).sum())
        moved = target.value(monai_prediction(model, (image.data - shift)[None])).detach()
        changes.append(target.value(monai_prediction(model, image.batch)).detach()[0] - moved[0])
    cosine = torch.nn.functional.cosine_similarity(
        torch.stack(foreseen), torch.stack(changes), dim=0
    )
    options = {"samples": 5, "noise": 0.5, "seed": 2}
    found = scores_of(attribution, model, **options)
    assert 0.01 < found["infidelity_relative"] < 1
    assert found["infidelity_relative"] == pytest.approx(1 - float(cosine) ** 2, abs=1e-4)
    scaled = scores_of(replace(attribution, data=1000 * attribution.data), model, **options)
    assert scaled["infidelity_relative"] == pytest.approx(found["infidelity_relative"], abs=1e-6)
    assert scaled["infidelity_beta"] == pytest.approx(found["infidelity_beta"], rel=1e-5)


def test_a_map_of_voxels_counts_evenly_for_each_channel(ndim: int) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    attribution = Saliency().explain(model, image, frozen(model, image))
    of_voxels = replace(attribution, data=attribution.data[:1])
    halves = replace(attribution, data=torch.cat([attribution.data[:1] / 2] * 2))
    assert scores_of(of_voxels, model) == pytest.approx(scores_of(halves, model))


def test_the_map_of_another_label_scores_worse(ndim: int) -> None:
    model = predictor(unet(ndim, out_channels=3), (8,) * ndim, num_outputs=3)
    image = volume(SHAPES[ndim])
    one, two = (
        Saliency().explain(model, image, frozen(model, image, everywhere(label)))
        for label in ("one", "two")
    )
    right = scores_of(one, model, noise=0.02)
    wrong = scores_of(replace(two, target=one.target), model, noise=0.02)
    assert right["infidelity_relative"] < 0.1 < wrong["infidelity_relative"]
    assert right["infidelity"] < wrong["infidelity"]


def test_both_routes_agree(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    attribution = Saliency().explain(model, image, frozen(model, image))
    other = replace(attribution, target=disguised(attribution.target))
    assert scores_of(attribution, model) == pytest.approx(scores_of(other, model), rel=1e-3)


def test_a_map_of_zeros_is_refused() -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    with pytest.raises(MapError, match="infidelity: the map is zero"):
        scores_of(replace(attribution, data=0 * attribution.data), model)


def test_a_map_that_is_zero_in_all_boxes_has_no_value() -> None:
    model, image = predictor(linear(2, kernel=3), (8, 8)), volume((12, 10))
    attribution = Saliency().explain(model, image, frozen(model, image))
    reached = torch.zeros(image.data.shape, dtype=torch.bool)
    for box in random_boxes(image.grid, 2.0, 3, seed=0):
        reached[(slice(None), *box)] = True
    elsewhere = replace(attribution, data=torch.where(reached, 0.0, attribution.data))
    score = Infidelity(samples=3, perturbation="square", side_mm=2.0)
    judged = score.judge(elsewhere, ScoreContext(model, Saliency()))
    assert set(judged.reasons.values()) == {"the map is zero wherever the image was perturbed"}
    assert judged.reasons.keys() == judged.values.keys()


@pytest.mark.parametrize("bad", [{"samples": 1}, {"noise": 0.0}])
def test_bad_parameters_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="infidelity"):
        Infidelity(**bad)


def target_that_never_changes(target: FrozenTarget) -> FrozenTarget:
    return replace(disguised(target), function=lambda y: 0 * y.flatten(1).double().sum(dim=1) + 3)


def test_a_target_that_never_changes_has_no_relative_infidelity() -> None:
    """Nothing was there to be foreseen: not a number, rather than a good one."""
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    still = replace(attribution, target=target_that_never_changes(attribution.target))
    found = scores_of(still, model)
    assert found["infidelity_relative"] != found["infidelity_relative"]
    assert found["infidelity"] > 0


def test_scaled_maps_have_the_same_beta_up_to_rounding() -> None:
    """Boxes as large as the image foretell alike: what is left is rounding, 0 against 8e-31."""
    model, image = predictor(linear(3, kernel=3)), volume((6, 7, 5))
    attribution = Saliency().explain(model, image, frozen(model, image))
    context = ScoreContext(model, Saliency())
    found = {
        Infidelity(samples=4).score(replace(attribution, data=attribution.data * factor), context)[
            "infidelity_beta"
        ]
        for factor in (1.0, 1e-3, 3.0, 7.0, 100.0, -1.0)
    }
    assert found == {0.0}
