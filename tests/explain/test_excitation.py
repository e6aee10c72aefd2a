"""Excitation backprop: a probability, written out; contrasted with the dual target."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from esegeta.explain import ContrastiveExcitationBackprop, ExcitationBackprop
from esegeta.explain.backprop.excitation import ExcitationRules
from tests.builders import NORMS, predictor, unet, volume
from tests.explain.relevance import BiasFree, brute_force, matrices
from tests.oracles import frozen, relative_gap, with_coefficients


@pytest.mark.parametrize("shape", [(12, 8, 12), (8, 8, 8)], ids=["windows", "one_window"])
def test_the_map_is_a_probability_on_a_positive_network(ndim: int, shape: tuple[int, ...]) -> None:
    network = BiasFree(ndim)
    for parameter in network.parameters():
        parameter.data.abs_()
    model = predictor(network, (8,) * ndim)
    image = volume(shape[:ndim], 2)
    image = image.with_data(image.data.abs() + 0.1)  # and all activations are above zero
    found = ExcitationBackprop().explain(model, image, frozen(model, image))
    assert found.unit == "probability"
    assert found.data.min() >= 0
    assert abs(float(found.data.double().sum()) - 1) < 1e-5
    facts = found.facts.more
    assert facts["mass_in"] == pytest.approx(1.0, abs=1e-6)
    assert facts["mass_lost"] == pytest.approx(0.0, abs=1e-5)


def test_relevance_of_unexcited_neurons_is_lost_with_a_warning(ndim: int) -> None:
    model = predictor(unet(ndim, "relu_instance"), (8,) * ndim)
    image = volume((12, 8, 12)[:ndim])
    found = ExcitationBackprop().explain(model, image, frozen(model, image))
    facts = found.facts.more
    total = float(found.data.double().sum())
    assert 0.2 < total < 1
    assert facts["mass_in"] == pytest.approx(1.0, abs=1e-5)
    assert facts["mass_out"] == pytest.approx(total, abs=1e-6)
    assert facts["mass_lost"] == pytest.approx(1 - total, abs=1e-5)


def winners(weights: torch.Tensor, x: Tensor, probability: Tensor) -> Tensor:
    """Return P(i) = sum_j x_i w_ij+ / sum_i' x_i' w_i'j+ P(j), one output at a time."""
    result = torch.zeros_like(x)
    for row, mass in zip(weights, probability, strict=True):
        excitation = x * row.clamp(min=0)
        if excitation.sum() > 0:
            result += excitation / excitation.sum() * mass
    return result


def slow_maps(network: nn.Sequential, image: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the map and the dual's, of convolution, ReLU, convolution."""
    hidden = network[1](network[0](image)).detach().double().flatten()
    lower, _, _ = matrices(network[0], image)
    upper, _, _ = matrices(network[2], network[0](image))
    lifted = image - image.amin(dim=tuple(range(2, image.ndim)), keepdim=True)
    maps = []
    for sign in (1, -1):
        middle = winners(sign * torch.tensor(upper), hidden, start.double().flatten())
        maps.append(winners(torch.tensor(lower), lifted.double().flatten(), middle))
    own, dual = (map_.reshape(image[0].shape).float() for map_ in maps)
    return own, dual


def test_excitation_probabilities_written_out(ndim: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d if ndim == 2 else nn.Conv3d
    network = nn.Sequential(conv(2, 3, 3, padding=1), nn.ReLU(), conv(3, 2, 3, padding=1)).eval()
    shape = (4, 5, 3)[:ndim]
    image = volume(shape, 2)
    model = predictor(network, shape, overlap=0.0, blend="constant")
    coefficients = torch.rand(2, *shape) - 0.3  # some speak against it
    target = with_coefficients(frozen(model, image), coefficients)
    own, dual = slow_maps(network, image.batch, coefficients / coefficients.abs().sum())
    found = ExcitationBackprop().explain(model, image, target).data
    assert relative_gap(found, own) < 1e-4
    found = ContrastiveExcitationBackprop().explain(model, image, target).data
    assert relative_gap(found, own - dual) < 1e-4


@pytest.mark.parametrize("kind", NORMS)
def test_windows_add_up_to_the_map_through_the_whole_blend(ndim: int, kind: str) -> None:
    model = predictor(unet(ndim, kind, in_channels=2, num_res_units=1), (8,) * ndim)
    image = volume((14, 8, 10)[:ndim], 2)
    target = with_coefficients(frozen(model, image), torch.rand(2, *image.grid.shape) - 0.3)
    assert target.coefficients is not None
    size = target.coefficients.abs().sum()
    rules = ExcitationRules(image.data.amin(dim=tuple(range(1, ndim + 1))))
    own = brute_force(model, target, rules) / size
    rules.sign = -1.0
    dual = brute_force(model, target, rules) / size
    found = ExcitationBackprop().explain(model, image, target).data
    assert relative_gap(found, own) < 1e-4
    found = ContrastiveExcitationBackprop().explain(model, image, target).data
    assert relative_gap(found, own - dual) < 1e-4


def test_the_dual_negates_sums_above_the_last_layers() -> None:
    class Residual(nn.Module):
        """`3 x` less the value to the left."""

        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Conv2d(1, 2, 1, bias=False)
            self.last = nn.Conv2d(2, 2, (1, 3), padding=(0, 1), bias=False)
            self.enter.weight.data.fill_(1.0)
            self.last.weight.data.zero_()
            self.last.weight.data[[0, 1], [0, 1], 0, 0] = -1.0

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.enter(x).relu()
            return self.last(hidden) + 3 * hidden

    model = predictor(Residual(), (1, 4), overlap=0.0, blend="constant")
    image = volume((1, 4))
    image = image.with_data(torch.tensor([[[0.0, 1.0, 2.0, 3.0]]]))
    target = frozen(model, image)
    # What excites is all in the skip; what speaks against it, in the convolution.
    own = ExcitationBackprop().explain(model, image, target).data
    assert torch.allclose(own, torch.tensor([[[0.0, 0.25, 0.25, 0.25]]]))
    contrast = ContrastiveExcitationBackprop().explain(model, image, target).data
    assert torch.allclose(contrast, torch.tensor([[[0.0, 0.0, 0.0, 0.25]]]))


def test_a_unit_behind_its_activation_has_a_dual_too() -> None:
    """Its own weights are negated; a unit's activation does not part it from them."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1)]
    image = volume((4, 5))
    maps = []
    for network in (nn.Sequential(*layers), nn.Sequential(*layers, nn.LeakyReLU(), nn.ReLU())):
        model = predictor(network.eval(), (4, 5), overlap=0.0, blend="constant")
        target = frozen(model, image)
        maps.append(ContrastiveExcitationBackprop().explain(model, image, target).data)
    assert torch.equal(maps[0], maps[1])
