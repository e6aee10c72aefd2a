"""Units as targets beside captum's neuron methods, and methods of layers before the unit."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.errors import LayerError
from esegeta.explain import Baseline, HiResCam, IntegratedGradients, Occlusion, Saliency
from esegeta.model import find_layer
from esegeta.targets import PointRegion, Scene, UnitTarget
from esegeta.volume import Volume
from tests.builders import predictor, unet, volume
from tests.explain.unit_maps import LAYER, TOLERANCE, case
from tests.oracles import relative_gap

pytestmark = pytest.mark.usefixtures("quiet_captum")


@pytest.mark.parametrize("place", [(2, 1, 3), (7, 4, 0)])
def test_captums_neuron_gradient_and_integrated_gradients(
    ndim: int, place: tuple[int, ...]
) -> None:
    """One window, a layer at full resolution, a mask of one voxel: captum's neuron."""
    shape = (8, 6, 4)[:ndim]
    network = nn.Sequential(unet(ndim, "prelu_batch", in_channels=2), nn.Softmax(dim=1)).eval()
    layer = "0.model.2"
    model = predictor(network, shape)
    image = volume(shape, 2)
    target = UnitTarget(layer, 1, PointRegion(place[:ndim])).freeze(Scene(model, image))
    neuron = (1, *place[:ndim])
    module = find_layer(network, layer)
    x = image.batch.clone().requires_grad_(True)
    slope = captum.attr.NeuronGradient(network, module).attribute(x, neuron)[0]
    start = Baseline("mean").of(image)[None]
    path = captum.attr.NeuronIntegratedGradients(network, module).attribute(
        image.batch, neuron, start, n_steps=5, method="gausslegendre"
    )[0]
    ablated = captum.attr.NeuronFeatureAblation(network, module).attribute(
        image.batch, neuron, baselines=0.0, feature_mask=halves(image)
    )[0]
    assert relative_gap(Saliency().explain(model, image, target).data, slope) < TOLERANCE
    method = IntegratedGradients(steps=5, baseline="mean", tolerance=9.0)
    assert relative_gap(method.explain(model, image, target).data, path) < TOLERANCE
    occlusion = Occlusion(box=tuple(n // 2 for n in shape), baseline="zero", channels="together")
    found = occlusion.explain(model, image, target).data
    assert relative_gap(found.expand_as(ablated), ablated) < TOLERANCE


def halves(image: Volume) -> Tensor:
    """Return the feature mask of boxes half as long as the image on each axis."""
    features = torch.zeros(image.grid.shape, dtype=torch.long)
    for axis, length in enumerate(image.grid.shape):
        shape = [length if place == axis else 1 for place in range(image.ndim)]
        features = 2 * features + (torch.arange(length) >= length // 2).reshape(shape)
    return features[None, None].expand_as(image.batch)


def test_captum_at_a_coarser_layer_by_a_selector(ndim: int) -> None:
    """One voxel is then a linear mix of the layer's positions."""
    shape = (8, 6, 4)[:ndim]
    network = unet(ndim, "relu_instance")
    model = predictor(network, shape)
    image = volume(shape)
    point = (3, 4, 1)[:ndim]
    mode = "bilinear" if ndim == 2 else "trilinear"
    select: Callable[[Tensor], Tensor] = lambda a: F.interpolate(a, shape, mode=mode)[  # noqa: E731
        (slice(None), 5, *point)
    ]
    x = image.batch.clone().requires_grad_(True)
    oracle = captum.attr.NeuronGradient(network, find_layer(network, LAYER))
    expected = oracle.attribute(x, select)[0]
    target = UnitTarget(LAYER, 5, PointRegion(point)).freeze(Scene(model, image))
    assert relative_gap(Saliency().explain(model, image, target).data, expected) < TOLERANCE


@pytest.mark.parametrize("layer", ["model.0", "model.0.conv"])
def test_layer_methods_explain_a_unit_by_layers_before_it(ndim: int, layer: str) -> None:
    """Found by the whole network's names; slopes of one graph from that layer to the unit."""
    shape = (8, 6, 4)[:ndim]
    network = unet(ndim, "prelu_batch")
    model = predictor(network, shape)
    image = volume(shape)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    seen: dict[str, Tensor] = {}
    handles = [
        find_layer(network, name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output})
        )
        for name in (layer, LAYER)
    ]
    network(image.batch)
    for handle in handles:
        handle.remove()
    mode = "bilinear" if ndim == 2 else "trilinear"
    value = F.interpolate(seen[LAYER][:, 2:3], shape, mode=mode).sum()
    (slope,) = torch.autograd.grad(value, seen[layer])
    product = (slope * seen[layer]).sum(dim=1, keepdim=True).detach()
    expected = F.interpolate(product, shape, mode=mode)[0]
    found = HiResCam(layer=layer).explain(model, image, target).data
    assert relative_gap(found, expected) < TOLERANCE


def test_a_layer_behind_the_unit_is_refused() -> None:
    model, image = case(2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    with pytest.raises(LayerError, match="did not run"):
        HiResCam(layer="model.2").explain(model, image, target)
    # The deepest layer is that of what runs.
    assert HiResCam().explain(model, image, target).facts.more["layer"] == LAYER
