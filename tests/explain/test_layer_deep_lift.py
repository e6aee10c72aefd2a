"""DeepLIFT at a layer: captum's, what adds up, and the same multipliers as on the voxels."""

from __future__ import annotations

import copy
import warnings

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import LayerError
from esegeta.explain import Baseline, DeepLift, LayerDeepLift
from esegeta.model import find_layer
from tests.builders import SHAPES, convolution, predictor, randomise_norms, unet, volume
from tests.explain.lifting import BLUR, Pooling, Value, weighed
from tests.oracles import disguised, frozen, relative_gap


@pytest.mark.parametrize("layer", ["down.1", "deep.0", "up"])
def test_captum_where_one_window_is_the_volume(ndim: int, layer: str) -> None:
    shape = (8, 10, 6)[:ndim]
    network = Pooling(ndim)
    image = volume(shape, 2)
    model = predictor(network, shape)
    target = weighed(model, image, "logit")
    value = Value(copy.deepcopy(network).double(), target)
    start = Baseline("zero").of(image)[None].double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = captum.attr.LayerDeepLift(value, find_layer(value.network, layer))
        units = oracle.attribute(image.batch.double(), start, target=0)
    expected = units[0].detach().sum(dim=0, keepdim=True)
    found = LayerDeepLift(layer=layer, baseline="zero").explain(model, image, target)
    (own,) = found.layer_maps
    assert relative_gap(own.data, expected) < 1e-4
    assert float(found.data.sum()) == pytest.approx(float(expected.sum()), rel=1e-4)
    if expected.shape[1:] == shape:
        assert relative_gap(found.data, expected) < 1e-4


class Gated(nn.Module):
    """Everything goes through `first`; behind it two branches meet in a product."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        conv = convolution(ndim)
        norm = nn.InstanceNorm2d if ndim == 2 else nn.InstanceNorm3d
        self.first = conv(1, 4, 3, padding=1)
        self.left = nn.Sequential(norm(4, affine=True), nn.PReLU(), conv(4, 4, 1))
        self.right = nn.Sequential(conv(4, 4, 3, padding=1), nn.GELU())
        self.head = conv(4, 2, 1)
        randomise_norms(self).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head(self.left(x) * self.right(x))


@pytest.mark.parametrize("of", ["logit", "log_probability"])
def test_a_layer_that_nothing_bypasses_accounts_for_the_whole_change(ndim: int, of: str) -> None:
    network = Gated(ndim)
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = weighed(model, image, of)
    whole = float(DeepLift(baseline=BLUR).explain(model, image, target).data.double().sum())
    found = LayerDeepLift(layer="first", baseline=BLUR).explain(model, image, target)
    for total in (
        float(found.data.double().sum()),
        float(found.layer_maps[0].data.double().sum()),
        found.facts.more["change_through_layer"],
        found.facts.more["change_of_target"],
    ):
        assert total == pytest.approx(whole, rel=1e-4)


def test_factors_of_a_product_share_its_contribution(ndim: int) -> None:
    """Each sees the mean of the other's ends, though the other is no part of its graph."""
    network = Gated(ndim)
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = weighed(model, image, "logit")
    found = [
        LayerDeepLift(layer=name, baseline=BLUR).explain(model, image, target)
        for name in ("left", "right")
    ]
    change = found[0].facts.more["change_of_target"]
    parts = [one.facts.more["change_through_layer"] for one in found]
    assert sum(parts) == pytest.approx(change, rel=1e-4)
    assert min(abs(part) for part in parts) > 1e-4 * abs(change)


class Aside(nn.Module):
    """A layer whose output goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.aside, self.head = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.aside(x)
        return self.head(x)


def test_a_layer_that_the_output_does_not_depend_on_is_refused() -> None:
    model, image = predictor(Aside(), (4, 4)), volume((4, 4))
    with pytest.raises(LayerError, match='"aside": the output does not depend on this layer'):
        LayerDeepLift(layer="aside").explain(model, image, frozen(model, image))


def test_skip_connections_carry_the_rest(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = weighed(model, image, "logit")
    deep = LayerDeepLift(layer="model.1.submodule").explain(model, image, target)
    skip = LayerDeepLift(layer="model.0").explain(model, image, target)
    facts = deep.facts.more
    assert abs(facts["change_through_layer"] - facts["change_of_target"]) > 1e-3
    # The encoder's output goes both ways: through the bottleneck and around it.
    assert skip.facts.more["change_through_layer"] == pytest.approx(
        facts["change_of_target"], rel=1e-4
    )
    again = LayerDeepLift(layer="model.0").explain(model, image, disguised(target))
    assert relative_gap(again.data, skip.data) < 1e-4
