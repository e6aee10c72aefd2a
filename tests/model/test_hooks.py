"""Layers watched, changed, held and stopped at, whatever they return and however they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import LayerError
from esegeta.model import (
    UnitNetwork,
    cut_at,
    find_layer,
    held_at,
    held_still,
    read_once,
    run_up_to,
    switched_off,
    tap,
)
from tests.awkward import (
    KINDS,
    Bundled,
    Checkpointed,
    CheckpointedByItself,
    Indexed,
    Odd,
    Tower,
    parametrized,
)
from tests.oracles import state_of


def window(ndim: int) -> Tensor:
    return torch.randn(2, 1, *(4,) * ndim)


def networks(ndim: int) -> list[tuple[nn.Module, str]]:
    """Return networks with a layer that returns a bundle, whose first tensor is that of `mark`."""
    return [(Indexed(ndim), "pool"), *((Bundled(ndim, kind), "block") for kind in KINDS)]


def test_a_tap_reads_the_first_tensor_before_it_is_written_over(ndim: int) -> None:
    for network, layer in networks(ndim):
        before = state_of(network)
        with torch.no_grad(), tap(network, layer, "mark") as seen:
            output = network(window(ndim))
        assert torch.equal(seen[layer], seen["mark"])
        assert output.isfinite().all()
        assert state_of(network) == before


def test_replaced_units_are_seen_by_following_layers(ndim: int) -> None:
    x = window(ndim)
    for network, layer in networks(ndim):
        with torch.no_grad():
            plain = network(x)
            with tap(network, "mark") as seen, switched_off(network, layer, [1]):
                off = network(x)
            with switched_off(network, "mark", [1]):
                assert torch.equal(off, network(x))
            assert not torch.equal(off, plain)
            with held_at(network, layer, seen["mark"]):
                assert torch.equal(network(x), off)
            assert torch.equal(network(x), plain)


def test_the_other_tensors_and_the_type_of_an_output_are_kept(ndim: int) -> None:
    x = torch.randn(2, 3, *(4,) * ndim)
    for kind in KINDS:
        block = Bundled(ndim, kind).block
        before: Any = block(x)
        with switched_off(nn.Sequential(block), "0", [0]):
            after: Any = block(x)
        assert type(after) is type(before)
        assert str(after).count("words") == str(before).count("words")
        if isinstance(before, dict):
            assert list(after) == list(before)
            before, after = list(before.values()), list(after.values())
        assert len(after) == len(before)


def test_a_tensor_returned_twice_is_changed_in_both_places(ndim: int) -> None:
    network = Odd(ndim)
    with torch.no_grad(), switched_off(network, "same", range(4)), tap(network, "views") as seen:
        network(window(ndim))
    assert torch.equal(seen["views"], torch.zeros_like(seen["views"]))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("views", "returns a tuple of 2 tensors that share memory"),
        ("words", "returns a str, not a tensor"),
        ("nothing", "returns nothing, not a tensor"),
    ],
)
def test_a_layer_that_cannot_be_replaced_is_refused_by_name(
    layer: str, message: str, ndim: int
) -> None:
    network, x = Odd(ndim), window(ndim)
    before = state_of(network)
    for hooked in (switched_off(network, layer, [0]), cut_at(network, layer)):
        with pytest.raises(LayerError, match=f'layer "{layer}" {message}'), hooked:
            network(x)
    with pytest.raises(LayerError, match=f'layer "{layer}"'), held_at(network, layer, x):
        network(x)
    assert state_of(network) == before


def test_outputs_that_share_memory_can_be_watched(ndim: int) -> None:
    network, x = Odd(ndim), window(ndim)
    plain = network(x)
    with tap(network, "views", "words", "never") as seen:
        assert torch.equal(network(x), plain)
    assert list(seen) == ["views"]


def test_gradients_of_integer_outputs_are_refused(ndim: int) -> None:
    network = Odd(ndim)
    with (
        pytest.raises(LayerError, match=r'"places" returns torch\.int64'),
        cut_at(network, "places"),
    ):
        network(window(ndim))


def test_a_network_can_be_run_up_to_given_layers(ndim: int) -> None:
    network, x = Odd(ndim), window(ndim)
    before = state_of(network)
    with tap(network, "head") as behind:
        seen = run_up_to(network, ["enter", "views"], lambda: network(x))
    assert list(seen) == ["enter", "views"]
    assert not behind
    with pytest.raises(LayerError, match='layer "never" does not run'):
        run_up_to(network, ["never"], lambda: network(x))
    with pytest.raises(LayerError, match='layer "words" returns a str'):
        run_up_to(network, ["words"], lambda: network(x))
    assert state_of(network) == before


def test_nested_runs_up_to_layers_stop_independently(ndim: int) -> None:
    network, x = Tower(ndim), window(ndim)
    inner = UnitNetwork(network, "bottom", (0,))
    assert list(run_up_to(network, ["enter"], lambda: inner(x))) == ["enter"]
    with pytest.raises(LayerError, match='layer "up" does not run'):
        run_up_to(network, ["up"], lambda: inner(x))


@pytest.mark.parametrize("norm", ["spectral", "weight"])
def test_a_parametrized_weight_is_refused_as_a_layer(norm: str, ndim: int) -> None:
    network = parametrized(Tower(ndim), norm)
    for name in ("parametrizations", "parametrizations.weight", "parametrizations.weight.0"):
        with pytest.raises(LayerError, match=r'holds a weight, not an activation; .* "down.0"$'):
            find_layer(network, f"down.0.{name}")
    assert find_layer(network, "down.0") is network.down[0]


@pytest.mark.parametrize("own", [False, True], ids=["of torch", "of its own"])
@pytest.mark.parametrize("layer", ["down.0", "down.1", "bottom", "up"])
def test_a_block_that_is_run_again_is_read_once(layer: str, own: bool, ndim: int) -> None:
    """Its gradients are those of the same network without checkpointing, changed or not."""

    def slopes(network: nn.Module, change: Callable[[Tensor], Tensor] | None) -> Tensor:
        with held_still(network), cut_at(network, layer, change) as leaves:
            output = network(x)
            (slope,) = torch.autograd.grad(output.square().sum(), leaves[0])
        assert len(leaves) == 1
        return slope

    def through(network: nn.Module) -> list[Tensor]:
        leaf = x.clone().requires_grad_(True)
        with held_still(network), read_once(network, layer) as outputs:
            output = network(leaf)
            (slope,) = torch.autograd.grad(output.sum(), outputs[0], retain_graph=True)
            (whole,) = torch.autograd.grad(outputs[0], leaf, slope)
        assert len(outputs) == 1
        return [slope, whole]

    x = window(ndim)
    plain = Tower(ndim)
    network = CheckpointedByItself(ndim) if own else Checkpointed(ndim, use_reentrant=False)
    for change in (None, lambda output: output + torch.linspace(0, 1, output.shape[-1])):
        assert torch.equal(slopes(network, change), slopes(plain, change))
    for found, expected in zip(through(network), through(plain), strict=True):
        assert torch.equal(found, expected)


def test_a_layer_that_runs_without_a_graph_is_refused_where_one_is_wanted(ndim: int) -> None:
    class Held(Tower):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                deep = self.bottom(self.down(self.enter(x)))
            return self.head(self.up(deep))

    network, x = Held(ndim), window(ndim)
    for hooked in (read_once, cut_at):
        refused = pytest.raises(LayerError, match=r'"down\.1" runs without a graph')
        with refused, hooked(network, "down.1"):
            network(x)
        with torch.no_grad(), hooked(network, "down.1") as seen:
            network(x)
        assert len(seen) == 1


@pytest.mark.parametrize("layer", ["down.0", "bottom.0", "bottom", "up"])
def test_a_network_that_ends_inside_a_checkpointed_block(layer: str, ndim: int) -> None:
    def gradient(network: nn.Module) -> Tensor:
        leaf = x.clone().requires_grad_(True)
        with held_still(network):
            output = UnitNetwork(network, layer, (0, 2))(leaf)
            (slope,) = torch.autograd.grad(output.square().sum(), leaf)
        return slope

    x = window(ndim)
    for use_reentrant in (False, True):
        network = Checkpointed(ndim, use_reentrant=use_reentrant)
        assert torch.equal(gradient(network), gradient(Tower(ndim)))
        # Nothing of the block that was left in its middle stays behind.
        assert torch._C._autograd._top_saved_tensors_default_hooks(False) is None
        assert torch.equal(gradient(network), gradient(Tower(ndim)))
