"""Expected gradients: closed forms, captum's draws, honest errors."""

from __future__ import annotations

import warnings

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import Baseline, GradientShap, IntegratedGradients
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.networks import Power
from tests.oracles import everywhere, frozen, gradient_of, monai_prediction, relative_gap

TOLERANCE = 2e-5
BASELINES = ("mean", "minimum")

Case = tuple[Predictor, Volume, FrozenTarget]


def unet_case(ndim: int, of: str = "logit") -> Case:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim, batch_size=3)
    image = volume(SHAPES[ndim], 2)
    return model, image, frozen(model, image, everywhere(of=of))


def quadratic_case(ndim: int = 2) -> tuple[Case, Tensor]:
    """`y = (w . x)^2` at each voxel, and w."""
    network = Power(linear(ndim, in_channels=2), 2)
    image = volume(SHAPES[ndim], 2)
    model = predictor(network, (4,) * ndim)
    weights = network.convolved.weight[1].reshape(2, *(1,) * ndim).detach()
    return (model, image, frozen(model, image)), weights


def starts(image: Volume) -> list[Tensor]:
    return [Baseline(kind).of(image) for kind in BASELINES]


def draws(image: Volume, samples: int, noise: float, seed: int) -> list[tuple[Tensor, float, int]]:
    """Return each draw's noisy image, alpha and baseline, as the docstring tells."""
    generator = torch.Generator().manual_seed(seed)
    spread = noise * float(image.data.double().std(correction=0))
    found = []
    for place in range(2):
        count = (samples + 1 - place) // 2
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        for part in range(count):
            bump = torch.randn(image.data.shape, generator=generator) if noise else 0.0
            found.append((image.data + spread * bump, float(part + uniform[part]) / count, place))
    return found


def test_every_draw_is_exact_for_a_linear_network(ndim: int) -> None:
    """Every draw is w * (x - x'): the mean over baselines, and no error."""
    network = linear(ndim, in_channels=2, kernel=3)
    model = predictor(network, SHAPES[ndim])
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image)
    slope = gradient_of(lambda x: target.value(model(x)), image.batch)[0]
    expected = slope * (image.data - sum(starts(image)) / 2)
    method = GradientShap(baselines=BASELINES, samples=6, spread=True)
    found = method.explain(model, image, target)
    assert relative_gap(found.data, expected) < TOLERANCE
    assert float(found.standard_error.max()) < 1e-5 * float(expected.abs().max())
    assert found.facts.more["completeness_relative"] < 1e-4
    assert not found.warnings


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_equals_a_loop_of_autograd_through_monai(ndim: int, of: str, noise: float) -> None:
    model, image, target = unet_case(ndim, of)
    first, second = starts(image)
    expected = torch.zeros_like(image.data)
    for noisy, alpha, place in draws(image, 5, noise, seed=4):
        start, count = (first, 3) if place == 0 else (second, 2)
        point = start + alpha * (noisy - start)
        slope = gradient_of(lambda x: target.value(monai_prediction(model, x)), point[None])[0]
        expected += (noisy - start) * slope / (2 * count)
    method = GradientShap(baselines=BASELINES, samples=5, noise=noise, seed=4, tolerance=9.0)
    assert relative_gap(method.explain(model, image, target).data, expected) < TOLERANCE


@pytest.mark.parametrize("of", ["logit", "log_probability"])
def test_captum_with_the_same_draws(ndim: int, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its alphas and its choice of baselines are handed over; nothing else is random."""
    model, image, target = unet_case(ndim, of)
    drawn = draws(image, 6, 0.0, seed=1)
    monkeypatch.setattr(np.random, "uniform", lambda *_: np.array([alpha for _, alpha, _ in drawn]))
    monkeypatch.setattr(np.random, "choice", lambda *_: np.array([place for *_, place in drawn]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        expected = captum.attr.GradientShap(lambda x: target.value(model(x))).attribute(
            image.batch, torch.stack(starts(image)), n_samples=6, stdevs=0.0
        )[0]
    method = GradientShap(baselines=BASELINES, samples=6, seed=1, tolerance=9.0)
    assert relative_gap(method.explain(model, image, target).data, expected) < TOLERANCE


def test_captum_has_the_same_expectation_and_it_is_the_closed_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On `(w . x)^2`: the mean over baselines of w (x - x') w . (x + x'); noise adds its variance.

    `E[(x + e - x') grad]` of the noisy image z is that of z: `E[w z (w . z)]` exceeds the plain
    one by `w_c^2 sigma^2` at each voxel.
    """
    (model, image, target), weights = quadratic_case()
    sigma = 0.6 * float(image.data.double().std(correction=0))
    plain = torch.zeros_like(image.data)
    for start in starts(image):
        along = (weights * (image.data + start)).sum(dim=0)
        plain += weights * (image.data - start) * along / 2
    expected = plain + weights**2 * sigma**2
    whole = predictor(model.network, SHAPES[2])
    method = GradientShap(baselines=BASELINES, samples=200, noise=0.6, tolerance=9.0)
    ours = method.explain(whole, image, target).data
    # Every alpha with every baseline: of captum's draws only the noise is left to chance.
    alphas, places = np.meshgrid((np.arange(200) + 0.5) / 200, [0, 1])
    monkeypatch.setattr(np.random, "uniform", lambda *_: alphas.ravel())
    monkeypatch.setattr(np.random, "choice", lambda *_: places.ravel())
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        theirs = captum.attr.GradientShap(lambda x: target.value(model.network(x))).attribute(
            image.batch, torch.stack(starts(image)), n_samples=400, stdevs=sigma
        )[0]
    # The noise's part is the same at all voxels: their mean has little error left.
    for found in (ours, theirs):
        assert relative_gap(found.mean(dim=(1, 2)), expected.mean(dim=(1, 2))) < 0.01
    assert relative_gap(plain.mean(dim=(1, 2)), expected.mean(dim=(1, 2))) > 0.05


def test_stratified_draws_reduce_the_variance() -> None:
    """Against the exact integral: a hundred times less variance than independent draws."""
    (model, image, target), _ = quadratic_case()
    exact = sum(
        IntegratedGradients(steps=2, baseline=kind, tolerance=9.0)
        .explain(model, image, target)
        .data
        for kind in BASELINES
    )
    method = GradientShap(baselines=BASELINES, samples=20, tolerance=9.0)
    found = method.explain(model, image, target)
    assert relative_gap(found.data, exact / 2) < 0.02
    assert found.facts.more["completeness_relative"] < 0.02


@pytest.mark.parametrize(
    ("network", "noise"), [("quadratic", 0.2), ("relu_batch", 0.0), ("relu_instance", 0.2)]
)
@pytest.mark.slow
def test_the_standard_error_is_the_spread_over_seeds(network: str, noise: float) -> None:
    """Also where the gradient jumps along the way, and where it turns within a part of it."""
    if network == "quadratic":
        (model, image, target), _ = quadratic_case()
        model = predictor(model.network, SHAPES[2])
    else:
        model, image = predictor(unet(2, network), (8, 8)), volume((8, 8))
        target = frozen(model, image)
    runs = [
        GradientShap(
            baselines=BASELINES, samples=16, noise=noise, seed=seed, spread=True, tolerance=9.0
        ).explain(model, image, target)
        for seed in range(60)
    ]
    seen = torch.stack([run.data for run in runs]).double().var(dim=0)
    said = torch.stack([run.standard_error for run in runs]).double().square().mean(dim=0)
    assert 0.85 < float((said.sum() / seen.sum()).sqrt()) < 1.2


def test_with_a_standard_error_draws_come_in_pairs(ndim: int) -> None:
    """Six draws: two parts of the first way, the one of the second, each drawn from twice."""
    model, image, target = unet_case(ndim)
    generator = torch.Generator().manual_seed(4)
    mean, variance = torch.zeros_like(image.data), torch.zeros_like(image.data)
    for start, parts in zip(starts(image), (2, 1), strict=True):
        uniform = torch.rand((parts, 2), generator=generator, dtype=torch.float64)
        path = image.data - start
        for part, pair in enumerate(uniform.tolist()):
            points = [(start + (part + draw) / parts * path)[None] for draw in pair]
            slopes = [
                gradient_of(lambda x: target.value(monai_prediction(model, x)), point)[0]
                for point in points
            ]
            one, other = (path * slope for slope in slopes)
            mean += (one + other) / 2 / parts / 2
            variance += (one - other).square() / 4 / parts**2 / 4
    method = GradientShap(baselines=BASELINES, samples=6, seed=4, spread=True, tolerance=9.0)
    found = method.explain(model, image, target)
    assert relative_gap(found.data, mean) < TOLERANCE
    assert relative_gap(found.standard_error, variance.sqrt()) < 1e-4


def test_a_gap_above_tolerance_is_a_warning(ndim: int) -> None:
    model, image, target = unet_case(ndim)
    strict = GradientShap(baselines=("zero",), samples=2, tolerance=1e-9)
    found = strict.explain(model, image, target)
    ends = [target.value(model.logits(x))[0] for x in (image.batch, 0 * image.batch)]
    change = float(ends[0] - ends[1])
    delta = float(found.data.double().sum()) - change
    assert found.facts.more["completeness_delta"] == pytest.approx(delta, abs=1e-4 * abs(change))
    assert found.facts.completeness_delta is None  # it holds in expectation only
    (warning,) = found.warnings
    assert warning.startswith("completeness: ")
    assert "more samples" in warning


def test_the_cost_equals_the_windows_run(ndim: int) -> None:
    model, image, target = unet_case(ndim)
    method = GradientShap(baselines=BASELINES, samples=4, tolerance=9.0)
    found = method.explain(model, image, target)
    assert str(method.cost) == "7 F + 4 B"
    assert found.facts.windows_run == 7 * found.facts.num_windows
    assert found.parameters["baselines"][0] == {"kind": "mean", "sigma_mm": 10.0, "file": None}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"baselines": ()}, "baselines: at least one is needed"),
        ({"baselines": ("blurr",)}, '"blurr" is not known'),
        ({"samples": 1}, "1 for 2 baselines"),
        ({"samples": 3, "spread": True}, "and a standard error; use at least 4"),
        ({"samples": 5, "spread": True}, "5 is odd; use 6 or spread: false"),
        ({"noise": -0.1}, "noise: -0.1 must be 0 or more"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GradientShap(**bad)
