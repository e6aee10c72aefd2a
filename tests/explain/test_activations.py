"""Every spelling of an element-wise operation is seen, and its out-of-place form is the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain.backprop.calls import (
    ACTIVATIONS,
    CURVES,
    PRODUCTS,
    QUOTIENTS,
    Call,
    Intercept,
    Resolved,
    resolve,
    spelled,
)
from tests.each import for_each

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "prelu": (torch.tensor([0.3]),),
    "threshold": (0.6, 0.1),
    "clamp": (0.4, 0.7),
    "clip": (0.4, 0.7),
    "clamp_min": (0.5,),
    "clamp_max": (0.5,),
    "pow": (3,),
    "rpow": (2.0,),
    "rdiv": (2.0,),
    "mul": (torch.tensor([0.3]),),
    "div": (torch.tensor([0.3]),),
    "true_divide": (torch.tensor([0.3]),),
    "matmul": (torch.ones(3, 5, 2),),
    "bmm": (torch.ones(3, 5, 2),),
    "mm": (torch.ones(5, 2),),
}
TABLE = {**ACTIVATIONS, **CURVES, **PRODUCTS, **QUOTIENTS}
SPELLINGS = [
    (name, place)
    for name, spellings in TABLE.items()
    for place in range(len(spellings))
    if name != "einsum"  # its first argument is a word
]
MODULES = [
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU),
    *(nn.SiLU, nn.Mish, nn.Softplus, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink),
    *(nn.Softshrink, nn.Tanhshrink, nn.Softsign, nn.LogSigmoid, nn.Sigmoid, nn.Tanh),
]


def caught(run: Call) -> list[Resolved]:
    """Run something with all operations resolved instead of called."""
    found: list[Resolved] = []

    def rule(function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found.append(resolve(function, args, kwargs))
        return found[-1].finish(found[-1].of(found[-1].input))

    with Intercept(spelled(TABLE, rule)):
        run()
    return found


@for_each(SPELLINGS)
def test_every_form_of_a_call_is_seen_and_resolved(name: str, place: int) -> None:
    spelling = TABLE[name][place]
    x = torch.rand(3, 1, 5) + 0.2
    x = x[:, 0] if name == "mm" else x
    expected = spelling(x.clone(), *ARGUMENTS.get(name, ()))
    given = x.clone()
    (call,) = caught(lambda: spelling(given, *ARGUMENTS.get(name, ())))
    assert call.in_place == ("_." in f"{spelling.__name__}." and "__" not in spelling.__name__)
    assert torch.equal(call.of(x), expected)
    assert torch.equal(given, expected if call.in_place else x)


@pytest.mark.parametrize("kind", MODULES)
def test_an_activation_module_is_seen(kind: type[nn.Module]) -> None:
    module = kind().eval()
    x = torch.randn(3, 2, 5)
    (call,) = caught(lambda: module(x))
    assert torch.equal(call.of(x), module(x))
    assert not call.in_place


@pytest.mark.parametrize("kind", [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Hardtanh, nn.SELU])
def test_an_in_place_module_overwrites_its_input(kind: type[nn.Module]) -> None:
    x = torch.randn(3, 2, 5)
    expected = kind()(x)
    (call,) = caught(lambda: kind(inplace=True)(x))
    assert call.in_place
    assert torch.equal(x, expected)


def test_arguments_may_be_named_or_in_their_places() -> None:
    x = torch.randn(2, 3)
    runs = [
        lambda: F.leaky_relu(x, 0.3, False),
        lambda: F.leaky_relu(negative_slope=0.3, input=x),
        lambda: F.leaky_relu_(x.clone(), 0.3),
    ]
    for run in runs:
        (call,) = caught(run)
        assert torch.equal(call.of(x), torch.where(x > 0, x, 0.3 * x))
    (call,) = caught(lambda: torch.relu(input=x))
    assert call.input is x
    assert not call.is_on_path


def test_a_number_to_the_power_of_a_tensor_has_no_input_on_the_path() -> None:
    x = torch.rand(3, requires_grad=True)
    (call,) = caught(lambda: torch.pow(2.0, x))
    assert not isinstance(call.input, Tensor)
    assert not call.is_on_path
