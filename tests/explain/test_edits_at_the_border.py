"""Edits of an image whose border is copied outside: the copies change with it, as brute force."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esegeta.explain import Features, Objective, Occlusion, Rise
from esegeta.explain.perturbation.edits import EditedTarget
from esegeta.explain.perturbation.masked_target import MaskedTarget
from esegeta.explain.perturbation.rise import SmoothMasks, _Masked
from esegeta.explain.perturbation.sufficiency import Surrounded
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import FrozenTarget
from tests.builders import labels, volume
from tests.networks import Valid
from tests.oracles import disguised, frozen, relative_gap, with_coefficients
from tests.predict.valid import covering

SHAPES = {2: (13, 9), 3: (6, 5, 4)}
PLACES = [(2, "zeros"), (2, "edge"), (2, "reflect"), (3, "reflect")]
"""Number of axes, and what windows see outside of the image."""

ROUTES = {"linear": lambda target: target, "any": disguised}


def objective(ndim: int, padding: str, route: str) -> Objective:
    """Return an objective whose target lies in one corner, so that only some windows matter."""
    plan = WindowPlan((12,) * ndim, padding=padding)
    model = covering(Predictor(Valid(ndim), plan, labels(), batch_size=2))
    image = volume(SHAPES[ndim])
    weights = torch.zeros(2, *image.grid.shape)
    corner = tuple(slice(0, 4) for _ in range(ndim))
    weights[(slice(None), *corner)] = torch.rand(2, *(4,) * ndim)
    target: FrozenTarget = ROUTES[route](with_coefficients(frozen(model, image), weights))
    return Objective.of(model, target, image)


def brute_force(of: Objective, image: torch.Tensor) -> float:
    return float(of.target.value(of.predictor.logits(image[None]))[0])


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("ndim", "padding"), PLACES)
def test_occlusion_at_the_border_equals_brute_force(ndim: int, padding: str, route: str) -> None:
    of = objective(ndim, padding, route)
    x = of.volume.data
    explainer = Occlusion(box=(3,) * ndim, baseline="zero")
    found = explainer.attribute(of).data
    expected = torch.zeros_like(x)
    for start in torch.cartesian_prod(*(torch.arange(0, n, 3) for n in x.shape[1:])).tolist():
        box = (slice(None), *(slice(place, place + 3) for place in start))
        edited = x.clone()
        edited[box] = 0
        expected[box] = brute_force(of, x) - brute_force(of, edited)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("ndim", "padding"), PLACES)
def test_feature_removal_at_the_border_equals_brute_force(
    ndim: int, padding: str, route: str
) -> None:
    of = objective(ndim, padding, route)
    x = of.volume.data
    partition = Features("blocks", side_mm=4.0).of(of.volume)
    masked = MaskedTarget(of, partition, torch.full_like(x, 0.5))
    coalitions = torch.rand(6, len(partition)) < 0.5
    expected = [
        brute_force(of, torch.where(row[partition.labels], x, torch.tensor(0.5)))
        for row in coalitions
    ]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(masked.values(coalitions), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("ndim", "padding"), PLACES)
def test_smooth_masks_at_the_border_equal_brute_force(ndim: int, padding: str) -> None:
    of = objective(ndim, padding, "linear")
    x, baseline = of.volume.data, torch.full_like(of.volume.data, 0.5)
    target = EditedTarget(of)
    masks = SmoothMasks.draw(Rise(samples=5, cell_mm=4.0), of)
    edits = _Masked(masks, target.windows.pad_image(baseline[None]), target)
    if padding == "zeros":
        # Zeros are of the padding, whatever the baseline: a mask may say what it likes there.
        edits = _Masked(masks, target.windows.pad(baseline[None]), target)
    found = target.start() + target.changes(edits)
    whole = tuple(slice(0, n) for n in x.shape[1:])
    expected = [
        brute_force(of, baseline + masks.of(mask, whole) * (x - baseline)) for mask in range(5)
    ]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("ndim", "padding"), PLACES)
def test_a_region_in_a_baseline_at_the_border_equals_brute_force(ndim: int, padding: str) -> None:
    of = objective(ndim, padding, "any")
    x, baseline = of.volume.data, torch.zeros_like(of.volume.data)
    region = torch.zeros(x.shape[1:], dtype=torch.bool)
    region[(slice(0, 2), *(slice(1, 4) for _ in range(ndim - 1)))] = True
    around = Surrounded.by(of, baseline).grown(region)
    image = torch.where(region, x, baseline)
    assert relative_gap(around.predict(image), of.predictor.logits(image[None])) < 1e-5
    cotangent = torch.randn(1, 2, *x.shape[1:])
    found = around.pull_back(image, cotangent)
    expected = replace(of).predictor.pull_back(image[None], cotangent).gradient[0]
    torch.testing.assert_close(found[:, region], expected[:, region], rtol=1e-4, atol=1e-5)
