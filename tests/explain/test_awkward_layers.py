"""All methods of layers on networks that are awkward to hook: as on a twin that is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import LayerError, MapError
from esegeta.explain import Explainer, NeuronConductance, Saliency
from tests.awkward import KINDS, Bundled, Checkpointed, Indexed, Odd, Tower, parametrized, plainly
from tests.builders import convolution, predictor, volume
from tests.contracts import rows_backprop as backprop
from tests.contracts.rows_layer import ROWS
from tests.oracles import frozen, state_of
from tests.pairwise import pairwise

METHODS: dict[str, Any] = {
    **ROWS,
    "neuron_conductance": NeuronConductance(channel=1, steps=2, baseline="zero"),
}
BACK_TO_VOXELS: dict[str, Explainer] = {**backprop.ROWS, "saliency": Saliency()}

CHECKPOINTED = ["enter", "down.0", "bottom", "up"]
"""In front of all checkpointed blocks, within one, one itself, and behind all."""


def explained(method: Explainer, network: nn.Module, ndim: int, length: int = 4) -> Tensor:
    model = predictor(network, (length,) * ndim, overlap=0)
    image = volume((length, 2 * length, length)[:ndim])
    target = frozen(model, image)
    before = state_of(network)
    try:
        return method.explain(model, image, target).data
    finally:
        assert state_of(network) == before


def at(name: str, layer: str) -> Explainer:
    return replace(METHODS[name], layer=layer)


@pairwise(name=list(METHODS), norm=["spectral", "weight"], ndim=[2, 3])
def test_the_default_layer_of_a_parametrized_network_is_that_of_the_plain_one(
    name: str, norm: str, ndim: int
) -> None:
    # The bottleneck has more positions than the kernels, which look like the coarsest maps.
    awkward = explained(METHODS[name], parametrized(Tower(ndim), norm), ndim, length=8)
    plain = explained(METHODS[name], plainly(parametrized(Tower(ndim), norm)), ndim, length=8)
    assert torch.equal(awkward, plain)


def test_a_parametrized_weight_is_refused_as_a_layer(ndim: int) -> None:
    network = parametrized(Tower(ndim), "spectral")
    for name in ("grad_cam", "neuron_conductance"):
        for layer in ("enter.parametrizations.weight", "enter.parametrizations.weight.0"):
            with pytest.raises(LayerError, match=r'holds a weight, not an activation; .* "enter"$'):
                explained(at(name, layer), network, ndim)


@pytest.mark.parametrize("name", METHODS)
def test_max_pooling_with_indices(name: str, ndim: int) -> None:
    network = Indexed(ndim)
    found = explained(at(name, "pool"), network, ndim)
    assert torch.equal(found, explained(at(name, "mark"), network, ndim))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_tensor_of_a_bundle_is_the_layers_activation(kind: str, ndim: int) -> None:
    for name in ("hires_cam", "layer_conductance", "ablation_cam", "neuron_conductance"):
        network = Bundled(ndim, kind)
        found = explained(at(name, "block"), network, ndim)
        assert torch.equal(found, explained(at(name, "mark"), network, ndim)), name


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_activation_checkpointing_changes_no_map(name: str) -> None:
    ndim = 2  # the blocks that are run twice know no number of axes
    for layer in CHECKPOINTED:
        method = at(name, layer)
        expected = explained(method, Tower(ndim), ndim)
        for use_reentrant in (False, True):
            found = explained(method, Checkpointed(ndim, use_reentrant=use_reentrant), ndim)
            assert torch.equal(found, expected), (layer, use_reentrant)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("name", ["deep_lift", "guided_backprop", "lrp", "saliency"])
def test_activation_checkpointing_changes_no_map_on_voxels(
    name: str, use_reentrant: bool, ndim: int
) -> None:
    """DeepLIFT's multipliers were exchanged for slopes in the backward pass, and nothing said."""
    method = BACK_TO_VOXELS[name]
    found = explained(method, Checkpointed(ndim, use_reentrant=use_reentrant), ndim)
    assert torch.equal(found, explained(method, Tower(ndim), ndim))


@pytest.mark.parametrize("name", ["grad_cam", "layer_deep_lift", "neuron_conductance"])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("never", 'layer "never" did not run'),
        ("twice", 'layer "twice" runs more than once'),
        ("views", 'layer "views" returns a tuple of 2 tensors that share memory'),
        ("words", 'layer "words" returns a str, not a tensor'),
        ("nothing", 'layer "nothing" returns nothing, not a tensor'),
    ],
)
def test_layers_that_cannot_serve_are_refused_by_name(
    name: str, layer: str, message: str, ndim: int
) -> None:
    with pytest.raises(LayerError, match=message):
        explained(at(name, layer), Odd(ndim), ndim)


class Idle(Tower):
    """Goes one step further down than it has any use for, as the encoder of SegResNetDS does."""

    def __init__(self, ndim: int, *, hands_on: bool) -> None:
        super().__init__(ndim)
        down = convolution(ndim)(4, 4, 2, stride=2, padding=1)
        self.further = nn.Identity() if hands_on else down

    def forward(self, x: Tensor) -> Tensor:
        wide = self.enter(x)
        bottom = self.bottom(self.down(wide))
        self.further(bottom)
        return self.head(torch.tanh(self.up(bottom) + wide))


@pytest.mark.parametrize("hands_on", [False, True])
@pytest.mark.parametrize("name", ["grad_cam", "layer_deep_lift", "neuron_conductance"])
def test_the_default_layer_is_the_deepest_that_the_output_depends_on(
    name: str, hands_on: bool, ndim: int
) -> None:
    found = explained(METHODS[name], Idle(ndim, hands_on=hands_on), ndim, length=8)
    assert torch.equal(found, explained(METHODS[name], Tower(ndim), ndim, length=8))


def test_units_that_cancel_everywhere_have_no_mean(ndim: int) -> None:
    """A norm over the units takes their mean out at every position."""

    class OverUnits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)

    network = Tower(ndim)
    network.bottom = nn.Sequential(network.bottom, OverUnits())
    with pytest.raises(MapError, match="units of layer bottom cancel at every position"):
        explained(at("layer_activation", "bottom"), network, ndim, length=8)
    one = replace(METHODS["layer_activation"], layer="bottom", channel=1)
    assert explained(one, network, ndim, length=8).abs().max() > 0.1


class Tokens(Tower):
    """Its bottleneck works on positions before units, and on tokens, as transformers do."""

    def __init__(self, ndim: int) -> None:
        super().__init__(ndim)
        self.last, self.tokens = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.enter(x)
        low = self.bottom(self.down(wide))
        mixed = self.last(low.movedim(1, -1)).movedim(-1, 1)
        rows = self.tokens(mixed.flatten(2).transpose(1, 2))
        low = rows.transpose(1, 2).reshape(low.shape)
        return self.head(torch.tanh(self.up(low) + wide))


@pytest.mark.parametrize("name", METHODS)
def test_layers_with_units_last_are_refused(name: str, ndim: int) -> None:
    """A grid of 6 x 4 positions and 4 units was read as 6 units on a grid of 4 x 4."""
    for layer, message in (("last", "has its units last"), ("tokens", "spatial axes")):
        with pytest.raises(LayerError, match=f'layer "{layer}".*{message}'):
            explained(at(name, layer), Tokens(ndim), ndim, length=12)
    found = explained(METHODS[name], Tokens(ndim), ndim, length=12)
    assert torch.equal(found, explained(at(name, "bottom"), Tokens(ndim), ndim, length=12))
