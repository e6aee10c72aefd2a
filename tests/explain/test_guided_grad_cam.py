"""Guided Grad-CAM is the product of its two maps, and captum's where both see the same."""

from __future__ import annotations

import warnings

import captum.attr
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from esegeta.errors import MapError
from esegeta.explain import GuidedGradCam
from esegeta.model import find_layer
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.explain.lifting import Value
from tests.explain.test_cam import slow_grad_cam
from tests.explain.test_guided import slow_guided
from tests.explain.whole_graph import tapped_windows
from tests.oracles import frozen, relative_gap, with_coefficients

TOLERANCE = 2e-5


def plain_unet(ndim: int) -> nn.Module:
    """Return a U-Net without in-place activations, which captum's hooks do not go with."""
    network = unet(ndim, in_channels=2)
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return network


def signed(model: Predictor, image: Volume) -> FrozenTarget:
    """Return a target of both signs, which Grad-CAM does not cancel."""
    generator = torch.Generator().manual_seed(5)
    weights = torch.randn((2, *image.grid.shape), generator=generator)
    return with_coefficients(frozen(model, image), weights)


@pytest.mark.parametrize("layer", ["model.0", "model.2"])
def test_captum_where_one_window_is_the_volume(ndim: int, layer: str) -> None:
    """Captum's ReLU comes before its resampling: the same on the grid of the voxels alone."""
    shape = (8, 10, 6)[:ndim]
    network = plain_unet(ndim)
    image = volume(shape, 2)
    model = predictor(network, shape)
    target = signed(model, image)
    value, module = Value(network, target), find_layer(network, layer)
    mode = "bilinear" if ndim == 2 else "trilinear"
    x = image.batch.clone().requires_grad_(True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guided = captum.attr.GuidedBackprop(value).attribute(x, target=0)[0].detach()
        coarse = captum.attr.LayerGradCam(value, module).attribute(x, target=0).detach()
        whole = captum.attr.GuidedGradCam(value, module).attribute(
            x, target=0, interpolate_mode=mode
        )[0]
    found = GuidedGradCam(layer=layer).explain(model, image, target).data
    cam = F.interpolate(coarse, size=shape, mode=mode).relu()[0]
    assert relative_gap(found, guided * cam) < TOLERANCE
    if coarse.shape[2:] == shape:
        assert relative_gap(found, whole.detach()) < TOLERANCE


@pytest.mark.parametrize("kind", ["relu_batch", "prelu_batch", "relu_instance"])
def test_windows_equal_the_product_of_two_slow_rewrites(ndim: int, kind: str) -> None:
    network = unet(ndim, kind)
    image = volume(SHAPES[ndim])
    model = predictor(network, (8,) * ndim)
    target = signed(model, image)
    found = GuidedGradCam(layer="model.0").explain(model, image, target).data
    tapped = tapped_windows(model, target, find_layer(network, "model.0"))
    cam = slow_grad_cam(model.windows(image.batch), *tapped)
    guided = slow_guided(model, image, target)
    assert relative_gap(found, cam * guided) < TOLERANCE


def test_a_network_without_activations_is_refused() -> None:
    network = nn.Sequential(linear(2), linear(2, 2))
    image = volume(SHAPES[2])
    model = predictor(network, (4, 4))
    with pytest.raises(MapError, match="no activation was found"):
        GuidedGradCam(layer="0").explain(model, image, frozen(model, image))
    assert torch.is_grad_enabled()
