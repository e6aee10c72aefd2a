"""A network is left bit for bit as it was, after success and after an exception mid-run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from esegeta.predict import Predictor, active_windows
from tests.builders import SHAPES, predictor, unet
from tests.networks import Failing
from tests.oracles import state_of


def call(model: Predictor, x: Tensor) -> object:
    return model(x)


def differentiate(model: Predictor, x: Tensor) -> object:
    leaf = x.clone().requires_grad_(True)
    model(leaf).square().sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def pull_back(model: Predictor, x: Tensor) -> object:
    return model.pull_back(x, torch.ones(1, 2, *x.shape[2:]))


def contributions(model: Predictor, x: Tensor) -> object:
    cotangent = torch.ones(1, 2, *x.shape[2:])
    return model.contributions(x, cotangent, active_windows(model.windows(x), cotangent))


ACTIONS = [call, differentiate, pull_back, contributions]


def mixed(ndim: int) -> nn.Module:
    """Return a network with train flags, gradients and frozen parameters all over the place."""
    network = unet(ndim)
    modules = list(network.modules())
    for place, module in enumerate(modules):
        module.training = place % 2 == 0
    assert any(m.training for m in modules if "BatchNorm" in type(m).__name__)
    for place, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(place % 3 != 0)
        if place % 4 == 1:
            parameter.grad = torch.full_like(parameter, 7.0)
    network.register_forward_hook(lambda module, inputs, output: None)
    return network


def comparable(network: nn.Module) -> dict[str, object]:
    state = state_of(network)
    grads = [None if grad is None else grad.tolist() for grad in state.pop("grad")]
    return {**state, "grad": grads}


@pytest.mark.parametrize("train", ["train", "eval", "mixed"])
@pytest.mark.parametrize("action", ACTIONS)
def test_the_network_is_unchanged_after_success(
    ndim: int, action: Callable[..., object], train: str
) -> None:
    network = mixed(ndim) if train == "mixed" else unet(ndim).train(train == "train")
    before = comparable(network)
    action(predictor(network, (8,) * ndim), torch.randn(1, 1, *SHAPES[ndim]))
    assert comparable(network) == before


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("action", ACTIONS)
def test_the_network_is_unchanged_after_an_exception_in_a_forward_pass(
    ndim: int, action: Callable[..., object], nth: int
) -> None:
    network = Failing(mixed(ndim), nth)
    before = comparable(network)
    with pytest.raises(Failing.BrokenError):
        action(predictor(network, (8,) * ndim), torch.randn(1, 1, *SHAPES[ndim]))
    assert comparable(network) == before


@pytest.mark.parametrize("action", [differentiate, pull_back])
def test_the_network_is_unchanged_after_an_exception_in_a_backward_pass(
    ndim: int, action: Callable[..., object]
) -> None:
    network = Failing(mixed(ndim), 2, in_backward=True)
    before = comparable(network)
    with pytest.raises(Failing.BrokenError):
        action(predictor(network, (8,) * ndim), torch.randn(1, 1, *SHAPES[ndim]))
    assert comparable(network) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_the_input_is_left_as_it_was(ndim: int, action: Callable[..., object]) -> None:
    x = torch.randn(1, 1, *SHAPES[ndim])
    before = x.clone()
    action(predictor(unet(ndim), (8,) * ndim), x)
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert x.grad is None


def test_dropout_and_batch_norm_run_in_evaluation_mode(ndim: int) -> None:
    """In train mode a network would drop units and normalise by its batch: not while explained."""
    network = nn.Sequential(unet(ndim), nn.Dropout(0.5))
    x = torch.randn(1, 1, *SHAPES[ndim])
    expected = predictor(network.eval(), (8,) * ndim)(x)
    assert torch.equal(predictor(network.train(), (8,) * ndim)(x), expected)
