"""Interior gradients: closed form, autograd through MONAI, and their limits."""

from __future__ import annotations

import pytest
import torch

from esegeta.errors import ConfigError
from esegeta.explain import Baseline, IntegratedGradients, InteriorGradient, Saliency
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.networks import Power
from tests.oracles import everywhere, frozen, gradient_of, monai_prediction, relative_gap

TOLERANCE = 2e-5


def test_a_power_in_closed_form(ndim: int) -> None:
    """y = (w . x)^3: the gradient at alpha x is alpha^2 that at x."""
    network = Power(linear(ndim, in_channels=2), 3)
    image = volume(SHAPES[ndim], 2)
    model = predictor(network, (4,) * ndim)
    weights = network.convolved.weight[1].reshape(2, *(1,) * ndim)
    slope = 3 * weights * (weights * image.data).sum(dim=0).square()
    found = InteriorGradient(alphas=(0.5, 1.0)).explain(model, image, frozen(model, image))
    assert relative_gap(found.data, slope * (0.25 + 1) / 2) < TOLERANCE
    assert found.unit == "logit x voxels / input unit"


@pytest.mark.parametrize("of", ["logit", "probability"])
def test_equals_autograd_through_monai(ndim: int, of: str) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image, everywhere(of=of))
    start = Baseline("mean").of(image)
    slopes = [
        gradient_of(
            lambda x: target.value(monai_prediction(model, x)),
            (start + alpha * (image.data - start))[None],
        )[0]
        for alpha in (0.1, 0.6, 0.9)
    ]
    method = InteriorGradient(alphas=(0.1, 0.6, 0.9), baseline="mean")
    found = method.explain(model, image, target)
    assert relative_gap(found.data, torch.stack(slopes).mean(dim=0)) < TOLERANCE
    assert found.facts.evaluations == 3


def test_at_the_image_it_is_saliency_and_at_nodes_integrated_gradients(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    found = InteriorGradient(alphas=(1.0,), baseline="blur").explain(model, image, target)
    assert relative_gap(found.data, Saliency().explain(model, image, target).data) < TOLERANCE
    node = 1 / 2 / 3**0.5  # two Gauss nodes, equal weights
    nodes = InteriorGradient(alphas=(0.5 - node, 0.5 + node)).explain(model, image, target)
    whole = IntegratedGradients(steps=2, baseline="zero", tolerance=9.0)
    path = whole.explain(model, image, target).data
    assert relative_gap(nodes.data * image.data, path) < TOLERANCE


@pytest.mark.parametrize("alphas", [(), (0.5, 1.5), (-0.1,), (float("nan"),)])
def test_alphas_outside_of_0_to_1_are_refused(alphas: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"numbers from 0 to 1|not a finite number"):
        InteriorGradient(alphas=alphas)
