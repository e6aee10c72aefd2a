"""Relevance through all kinds of networks: which operation gets which rule, and which has none."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.errors import ModelError
from esegeta.explain import LayerwiseRelevance
from esegeta.explain.backprop.carry import mark_last
from esegeta.explain.backprop.lrp import LrpRules
from esegeta.explain.backprop.operations import LinearCall
from esegeta.explain.backprop.relevance import Carrier
from esegeta.explain.backprop.rules import COMPOSITES, Settings, one_rule
from esegeta.model import held_still
from tests.builders import predictor, randomise_norms, unet, volume
from tests.explain.relevance import by_rule
from tests.oracles import frozen, relative_gap


def make_network(name: str, ndim: int) -> nn.Module:
    from monai.networks import nets

    both = {"spatial_dims": ndim, "in_channels": 1, "out_channels": 2}
    three = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    torch.manual_seed(0)
    makers: dict[str, Callable[[], nn.Module]] = {
        "SegResNet": lambda: nets.SegResNet(
            **both, init_filters=8, blocks_down=(1, 1), blocks_up=(1,)
        ),
        "BasicUNet": lambda: nets.BasicUNet(**both, features=(2, 2, 2, 4, 4, 2)),
        "AttentionUnet": lambda: nets.AttentionUnet(**both, channels=(2, 4), strides=(2,)),
        "DynUNet": lambda: nets.DynUNet(**both, **three, filters=[2, 4, 4], res_block=True),
        "VNet": lambda: nets.VNet(**both, dropout_dim=ndim),
        "HighResNet": lambda: nets.HighResNet(**both),
        "UNet": lambda: unet(ndim, "prelu_batch", num_res_units=2),
    }
    return randomise_norms(makers[name]()).eval()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("SegResNet", (8, 8, 8)),
        ("BasicUNet", (32, 32)),
        ("AttentionUnet", (8, 8, 8)),
        ("DynUNet", (8, 8, 8)),
        ("VNet", (16, 16)),
        ("HighResNet", (8, 8)),
        ("UNet", (8, 8, 8)),
    ],
)
def test_the_forward_pass_equals_that_of_the_network(name: str, shape: tuple[int, ...]) -> None:
    network = make_network(name, len(shape))
    x = torch.randn(2, 1, *shape)
    inputs = x.clone().requires_grad_(True)
    with held_still(network):
        expected = network(x)
        with Carrier(LrpRules(one_rule("epsilon"), Settings()), inputs).intercept():
            found = network(inputs)
    assert torch.equal(found, expected)
    model, image = predictor(network, shape), volume(shape)
    result = LayerwiseRelevance(rule="epsilon").explain(model, image, frozen(model, image))
    # Every kind of function on the way has a rule: nothing is lost that nobody kept.
    assert not any("no rule" in warning for warning in result.warnings)
    assert abs(result.facts.more["unaccounted"]) < 1e-4 * float(result.data.abs().sum())


class Normalising(nn.Module):
    """Makes its own image before its first layer."""

    def __init__(self, inner: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.function(x))


def rules_met(network: nn.Module, x: Tensor) -> list[tuple[str, str]]:
    """Return which rule of the default composite each linear operation gets, from the logits."""
    met = []

    class Listening(LrpRules):
        def linear(self, call: LinearCall, x: Tensor, relevance: Tensor) -> Tensor:
            met.append((call.kind, self.composite(call)))
            return super().linear(call, x, relevance)

    inputs = x.clone().requires_grad_(True)
    with held_still(network), torch.enable_grad():
        rules = Listening(COMPOSITES["epsilon_plus_flat"], Settings())
        with Carrier(rules, inputs).intercept():
            logits = network(inputs)
        mark_last(logits)
        torch.autograd.grad(logits.sum(), inputs)
    return met


def test_a_composite_knows_the_first_and_the_last_layer() -> None:
    network = unet(2, "prelu_batch", num_res_units=1)
    met = rules_met(network, torch.randn(1, 1, 8, 8))
    names = [rule for _, rule in met]
    # The residual unit at the end, and at the beginning both paths from the image.
    assert names[0] == "epsilon"
    assert names.count("flat") == 2
    assert set(names[1:]) == {"z_plus", "flat"}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: F.pad(x, (1, 1, 1, 1)),
        lambda x: (x - x.detach().mean()) / 2.0,
        lambda x: x.squeeze(0).unsqueeze(0)[:, :],
    ],
)
def test_the_first_layer_is_found_behind_any_function(function) -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1)
    )
    met = rules_met(Normalising(inner, function), torch.randn(1, 1, 8, 8))
    assert [rule for _, rule in met] == ["epsilon", "z_plus", "flat"]


def test_a_function_without_a_rule_is_named() -> None:
    inner = nn.Conv2d(1, 2, 1)
    model = predictor(Normalising(inner, lambda x: x.cumsum(2)), (8, 8))
    image = volume((8, 8))
    found = LayerwiseRelevance().explain(model, image, frozen(model, image))
    told, account = found.warnings
    assert told == "no rule for Cumsum: relevance passed through it as a gradient does"
    assert "functions without a rule, or padding inside the network, took" in account


def test_a_network_that_hides_its_layers_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hidden = torch.jit.trace(unet(2), torch.zeros(1, 1, 8, 8))
    model = predictor(hidden, (8, 8))
    image = volume((8, 8))
    with pytest.raises(ModelError, match="TorchScript"):
        LayerwiseRelevance().explain(model, image, frozen(model, image))


def test_relevance_of_a_convolution_used_with_and_without_its_norm_adds_up() -> None:
    """Folding the norm takes nothing from the other use."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return torch.cat([self.norm(y), F.relu_(y)], dim=1)

    network = randomise_norms(Both()).eval()
    x, relevance = torch.randn(1, 2, 5, 5), torch.randn(1, 6, 5, 5)
    normed = nn.Sequential(network.conv, network.norm)
    expected = by_rule(normed, "z_plus", x, relevance[:, :3])
    expected = expected + by_rule(network.conv, "z_plus", x, relevance[:, 3:])
    assert relative_gap(by_rule(network, "z_plus", x, relevance), expected) < 1e-5
