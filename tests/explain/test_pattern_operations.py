"""Patterns of norms, of sums with constants, of ensembles; maps of which most cancels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from esegeta.explain import PatternAttribution, PatternNet, fit_patterns
from tests.builders import linear, predictor, unet, volume
from tests.explain.test_patterns import one_window
from tests.oracles import frozen, relative_gap
from tests.predict.averaged import averaging


@pytest.mark.parametrize("method", [PatternNet, PatternAttribution])
def test_a_norm_at_the_input_is_inverted_by_its_pattern(method: type[PatternNet]) -> None:
    """It has one input an output: its pattern is one over its slope, and both make one."""
    torch.manual_seed(0)
    norm, conv = nn.InstanceNorm2d(2, affine=True, eps=1e-3), nn.Conv2d(2, 2, 3, padding=1)
    norm.weight.data = torch.tensor([2.0, -0.5])
    image = volume((6, 7), 2)
    normed = image.with_data(norm(image.batch)[0].detach())
    model, bare = one_window(nn.Sequential(norm, conv), (6, 7)), one_window(conv, (6, 7))
    found = method().explain(model, image, frozen(model, image)).data
    expected = method().explain(bare, normed, frozen(bare, normed)).data
    if method is PatternNet:
        deviation = (image.data.var((1, 2), correction=0) + norm.eps).sqrt()
        expected = expected * (deviation / norm.weight.detach())[:, None, None]
    assert relative_gap(found, expected) < 1e-4


class Raised(nn.Module):
    """What another network says, and three."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 3


def test_a_constant_has_no_signal(ndim: int) -> None:
    """Of one input the pattern is 1 / w: the whole logit goes back to it."""
    inner = linear(ndim)
    image = volume((5, 4, 3)[:ndim])
    model = one_window(Raised(inner), image.grid.shape)
    target = frozen(model, image)
    logit, weight = inner(image.batch)[0, 1:] + 3, inner.weight[1].reshape(-1)
    found = PatternAttribution().explain(model, image, target).data
    assert relative_gap(found, logit) < 1e-4
    found = PatternNet().explain(model, image, target).data
    assert relative_gap(found, logit / weight) < 1e-4


def test_networks_whose_probabilities_are_averaged_learn_as_those_of_logits() -> None:
    networks = [unet(2, seed=seed) for seed in range(2)]
    plain, image = predictor(networks[0], (8, 8)), volume((8, 8))
    known = [
        fit_patterns(averaging(networks, plain, [0], average), [image])
        for average in ("probabilities", "logits")
    ]
    assert known[0].values.keys() == known[1].values.keys()
    for key, pattern in known[0].values.items():
        torch.testing.assert_close(pattern, known[1].values[key])


def test_cancelling_contributions_are_warned_of() -> None:
    """x = (101 y, 100 y) is read by (1, -1): of the logit y there come 101 y and -100 y."""
    torch.manual_seed(0)
    network = nn.Conv2d(2, 2, 1, bias=False)
    network.weight.data = torch.tensor([[1.0, -1.0], [1.0, -1.0]])[..., None, None]
    amounts = volume((16, 16)).data
    image = volume((16, 16), 2).with_data(torch.cat([101 * amounts, 100 * amounts]))
    model = one_window(network, (16, 16))
    found = PatternAttribution().explain(model, image, frozen(model, image))
    assert relative_gap(found.data, torch.cat([101 * amounts, -100 * amounts])) < 1e-2
    (warning,) = found.warnings
    assert warning.startswith("magnitude: the map's values are 201 times what the target's logits")
