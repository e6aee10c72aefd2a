"""DeepLIFT sees functions, modules used twice and attention; what it does not know shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain import DeepLift, Saliency
from tests.builders import SHAPES, linear, predictor, randomise_norms, volume
from tests.explain.lifting import BLUR, weighed
from tests.networks import Power
from tests.oracles import (
    frozen,
    relative_gap,
)

TOLERANCE = 2e-5


def reused(modules: nn.ModuleList, x: Tensor) -> Tensor:
    return modules[2](modules[1](modules[0](modules[1](x))))


def functional(modules: nn.ModuleList, x: Tensor) -> Tensor:
    return modules[2](F.relu(modules[0](x.relu()), inplace=True))


def statement(modules: nn.ModuleList, x: Tensor) -> Tensor:
    hidden = modules[0](torch.relu(x))
    torch.relu_(hidden)
    return modules[2](hidden)


class Written(nn.Module):
    """One network, written in several ways."""

    def __init__(self, way: Callable[[nn.ModuleList, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.inner = nn.ModuleList([nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 1)])
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self.inner, x)


def test_reused_modules_functions_and_in_place_forms_give_the_same_map() -> None:
    image = volume(SHAPES[2])
    maps = []
    for way in (reused, functional, statement):
        model = predictor(Written(way), (8, 8))
        found = DeepLift(baseline=BLUR).explain(model, image, frozen(model, image))
        assert found.facts.completeness_relative is not None
        assert found.facts.completeness_relative < TOLERANCE
        maps.append(found.data)
    assert relative_gap(maps[1], maps[0]) < TOLERANCE
    assert relative_gap(maps[2], maps[0]) < TOLERANCE


def test_attention_gates_and_excitation_add_up(ndim: int) -> None:
    """Products of two that depend on the image, in MONAI's own networks."""
    from monai.networks.nets import AttentionUnet

    torch.manual_seed(0)
    network = AttentionUnet(ndim, 1, 2, channels=(4, 8), strides=(2,))
    model = predictor(randomise_norms(network).eval(), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = weighed(model, image, "logit")
    found = DeepLift().explain(model, image, target)
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < 1e-4


class Unknown(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * slope


class Cubed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = linear(2)

    def forward(self, x: Tensor) -> Tensor:
        return Unknown.apply(self.inner(x))


def test_unknown_functions_keep_their_gradient_and_are_warned_of() -> None:
    image = volume(SHAPES[2])
    model = predictor(Cubed(), (4, 4))
    found = DeepLift(baseline="zero").explain(model, image, frozen(model, image))
    (warning,) = found.warnings
    assert "without a rule, Unknown kept its gradient" in warning
    expected = Saliency().explain(model, image, frozen(model, image)).data * image.data
    assert relative_gap(found.data, expected) < TOLERANCE
    known = predictor(Power(linear(2), 3), (4, 4))
    assert not DeepLift(baseline="zero").explain(known, image, frozen(known, image)).warnings


class ByHand(nn.Module):
    """What `nn.MultiheadAttention` computes, of its weights."""

    def __init__(self, fused: nn.MultiheadAttention) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        fused, (batch, length, width) = self.fused, x.shape
        mixed = F.linear(x, fused.in_proj_weight, fused.in_proj_bias)
        parts = mixed.reshape(batch, length, 3, fused.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind()
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
        seen = (weights @ v).transpose(1, 2).reshape(batch, length, width)
        return F.linear(seen, fused.out_proj.weight, fused.out_proj.bias)


@pytest.mark.parametrize("needs_weights", [False, True])
def test_fused_multi_head_attention_equals_a_written_out_form(needs_weights: bool) -> None:
    """One fused module, handed over by torch as one function, of which nothing was known."""

    class Network(nn.Module):
        def __init__(self, by_hand: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.enter, self.leave = nn.Conv2d(1, 4, 2, stride=2), nn.ConvTranspose2d(4, 2, 2, 2)
            self.mix = nn.MultiheadAttention(4, 2, batch_first=True)
            self.by_hand = ByHand(self.mix) if by_hand else None

        def forward(self, x: Tensor) -> Tensor:
            low = self.enter(x)
            rows = low.flatten(2).transpose(1, 2)
            if self.by_hand is not None:
                mixed = self.by_hand(rows)
            else:
                mixed, _ = self.mix(rows, rows, rows, need_weights=needs_weights)
            return self.leave(mixed.transpose(1, 2).reshape(low.shape))

    image = volume((8, 8))
    maps = []
    for by_hand in (False, True):
        model = predictor(Network(by_hand).eval(), (8, 8))
        found = DeepLift(baseline="zero").explain(model, image, frozen(model, image))
        assert found.facts.completeness_relative is not None
        assert found.facts.completeness_relative < 1e-4
        maps.append(found.data)
    # Attention that is one function has the mean gradient, and one in parts that of each part.
    assert relative_gap(maps[0], maps[1]) < (1e-4 if needs_weights else 0.2)
