"""Maps of members and their spread, and class activation maps of members, by closed form."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import MapError, ModelError
from esegeta.explain import (
    AblationCam,
    GradCam,
    GradCamPP,
    IntegratedGradients,
    Saliency,
    ScoreCam,
    XResCam,
    explain_members,
)
from esegeta.predict import Predictor
from tests.builders import linear, predictor, volume
from tests.oracles import frozen, relative_gap, with_coefficients
from tests.predict.averaged import averaging

SHAPES = {2: (10, 7), 3: (9, 6, 8)}


def mean_gradient(networks: Sequence[nn.Module], flips: list[list[int]], ndim: int) -> list[Tensor]:
    """Return the gradient of the label's logits over the volume, of each network and flip."""
    found = []
    for network in networks:
        for flip in flips:
            axes = [axis + 2 for axis in flip]
            x = volume(SHAPES[ndim]).batch.requires_grad_(True)
            y = network(x.flip(axes)).flip(axes)[:, 1]
            (slope,) = torch.autograd.grad(y.sum(), x)
            found.append(slope[0])
    return found


def test_linear_networks_have_their_analytic_gradients(ndim: int) -> None:
    """Kernels of one voxel: windows change nothing, and each member's slope is its weight."""
    networks = [linear(ndim, kernel=1, seed=seed) for seed in range(3)]
    model = averaging(networks, predictor(networks[0], (4,) * ndim), [0], "logits")
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    weights = torch.stack([network.weight[1].flatten()[0] for network in networks]).detach()
    whole = Saliency().explain(model, image, target).data
    torch.testing.assert_close(whole, weights.mean().expand_as(whole))
    found = explain_members(Saliency(), model, image, target)
    assert found.names == ("network 1", "network 2", "network 3")
    expected = weights.reshape(-1, *[1] * ndim).expand_as(found.maps)
    torch.testing.assert_close(found.maps, expected)
    spread = weights.double().std(correction=0).float()
    torch.testing.assert_close(found.spread[0], spread.expand_as(found.spread[0]))
    facts = found.describe()
    assert facts["members"][1]["sum"] == pytest.approx(float(found.maps[1].sum()), rel=1e-5)
    assert facts["mean_spread"] == pytest.approx(float(spread), rel=1e-5)


def test_mirrored_passes_have_their_own_maps(ndim: int) -> None:
    network = linear(ndim, kernel=3)
    whole = averaging([network], predictor(network, SHAPES[ndim]), [0, 1], "logits")
    image = volume(SHAPES[ndim])
    target = frozen(whole, image)
    found = explain_members(Saliency(), whole, image, target)
    assert found.names[0] == "as it is" and found.names[3] == "mirrored along [0, 1]"
    expected = mean_gradient([network], [[], [0], [1], [0, 1]], ndim)
    for own, slope in zip(found.maps, expected, strict=True):
        torch.testing.assert_close(own, slope.sum(dim=0))
    mean = torch.stack(expected).mean(dim=0)
    torch.testing.assert_close(Saliency().explain(whole, image, target).data, mean)


def test_a_member_without_effect_has_a_map_of_zeros(ndim: int) -> None:
    networks = [linear(ndim, seed=0), linear(ndim, seed=1)]
    networks[1].weight.data.zero_()
    model = averaging(networks, predictor(networks[0], (4,) * ndim), [], "logits")
    image = volume(SHAPES[ndim])
    found = explain_members(IntegratedGradients(steps=2), model, image, frozen(model, image))
    assert found.maps[0].any() and not found.maps[1].any()
    torch.testing.assert_close(found.spread[0], found.maps[0].abs() / 2)


def test_the_spread_of_one_network_is_refused(ndim: int) -> None:
    model = predictor(linear(ndim), (4,) * ndim)
    image = volume(SHAPES[ndim])
    with pytest.raises(ModelError, match="one network and no mirrored pass"):
        explain_members(Saliency(), model, image, frozen(model, image))


def test_a_members_map_that_is_not_finite_is_refused_by_its_name() -> None:
    networks = [Infinite(steep) for steep in (False, True)]
    model = averaging(networks, predictor(networks[0], (4, 4)), [], "logits")
    image = volume(SHAPES[2])
    with pytest.raises(MapError, match=r"member 2 \(network 2\): saliency: the map holds NaN"):
        explain_members(Saliency(), model, image, frozen(model, image))


class Infinite(nn.Module):
    """A network of finite logits, whose slopes are infinite if it is so told."""

    def __init__(self, steep: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(steep)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x + (0 * x + 1 - self.weight).sqrt()], dim=1)


class Layered(nn.Module):
    """Units that see a voxel each, and a head that weighs them: a layer of known slopes."""

    def __init__(self, ndim: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        conv = nn.Conv2d if ndim == 2 else nn.Conv3d
        self.units = conv(1, 3, 1)
        self.act = nn.ReLU()
        self.head = conv(3, 2, 1, bias=False)
        self.head.weight.data[:, 0].abs_()  # some unit raises each label

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.units(x)))


def layered(ndim: int) -> tuple[Predictor, list[Layered]]:
    networks = [Layered(ndim, seed).eval() for seed in range(2)]
    plain = predictor(networks[0], (4,) * ndim, overlap=0.5)
    return averaging(networks, plain, [1], "logits"), networks


def test_grad_cam_weighs_each_members_own_units(ndim: int) -> None:
    """The slope of the mean target by unit k of a member is half of its head's weight."""
    model, networks = layered(ndim)
    image = volume(SHAPES[ndim])
    weights = torch.rand(2, *image.grid.shape)
    target = with_coefficients(frozen(model, image), weights)
    found = GradCam(layer="act").explain(model, image, target).data
    total = torch.zeros(image.grid.shape)
    with torch.no_grad():
        for network in networks:
            activation = network.act(network.units(image.batch))[0]
            # One position a voxel: the mean slope over the volume.
            slopes = torch.einsum(
                "l,lk->k", weights.flatten(1).mean(dim=1), network.head.weight.flatten(1)
            )
            total += torch.einsum("k,k...->...", slopes / 2, activation)
    assert relative_gap(found[0], total.relu()) < 1e-4


@pytest.mark.parametrize("method", [GradCamPP, XResCam, AblationCam])
def test_other_cams_are_the_mean_of_the_members_before_the_relu(method: type, ndim: int) -> None:
    """Networks of one pass each, with all maps positive, so that no ReLU bends the mean."""
    model, networks = layered(ndim)
    for network in networks:
        network.head.weight.data.abs_()
        network.units.bias.data.add_(1)
    model = averaging(networks, predictor(networks[0], (4,) * ndim), [], "logits")
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    explainer = method(layer="act")
    found = explainer.explain(model, image, target).data
    apart = [explainer.explain(one, image, target).data for one in model.members()]
    if method is AblationCam:
        # A fall is a fraction of the whole target, of which each member has half of its own.
        values = [target.value(one.logits(image.batch)) for one in model.members()]
        shares = [float(value / sum(values)) for value in values]
        expected = sum(share * own for share, own in zip(shares, apart, strict=True))
    else:
        expected = torch.stack(apart).mean(dim=0)
    assert relative_gap(found, expected) < 1e-4


def test_score_cam_shows_each_members_channels_to_all(ndim: int) -> None:
    model, networks = layered(ndim)
    model = averaging(networks, predictor(networks[0], SHAPES[ndim]), [], "logits")
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    found = ScoreCam(layer="act", baseline="zero").explain(model, image, target).data
    start = torch.zeros_like(image.data)
    lowest = float(target.value(model.logits(start[None])))
    total = torch.zeros(image.grid.shape)
    with torch.no_grad():
        for network in networks:
            for activation in network.act(network.units(image.batch))[0]:
                low, high = activation.aminmax()
                if high > low:
                    seen = image.data * (activation - low) / (high - low)
                    gain = float(target.value(model.logits(seen[None]))) - lowest
                    total += gain * activation / 2
    assert relative_gap(found[0], total) < 1e-4


def test_mirrored_passes_do_not_count_as_repeated_layers(ndim: int) -> None:
    """Mirroring is no second run of a layer."""
    model, networks = layered(ndim)
    for network in networks:
        network.head.weight.data.abs_()
        network.units.bias.data.add_(1)
    image = volume(SHAPES[ndim])
    found = GradCam(layer="units").explain(model, image, frozen(model, image))
    assert found.data.std() > 0
