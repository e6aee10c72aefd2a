"""Random weights: what becomes of the layers, and the network left alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ModelError
from esegeta.predict import Predictor
from esegeta.score.sanity.weights import RandomWeights, random_tensors
from tests.builders import SHAPES, predictor, unet, volume
from tests.networks import Failing
from tests.oracles import frozen, state_of
from tests.predict.averaged import averaging
from tests.score.layers import names, weights_of


def trained(network: nn.Module) -> nn.Module:
    """Move the learned slopes from where they start."""
    for module in network.modules():
        if isinstance(module, nn.PReLU):
            nn.init.constant_(module.weight, 0.1)
    return network


def changed(model: Predictor, network: nn.Module) -> set[str]:
    """Return the names of the tensors in which two networks differ."""
    found, given = model.network.state_dict(), network.state_dict()
    assert found.keys() == given.keys()
    return {key for key, value in found.items() if not torch.equal(value, given[key])}


@pytest.mark.parametrize("kind", ["relu_batch", "prelu_batch", "relu_instance"])
def test_only_the_layers_that_were_asked_for_are_random(ndim: int, kind: str) -> None:
    network = trained(unet(ndim, kind, num_res_units=1))
    weights = weights_of(network, ndim)
    assert len(weights.layers) > 3
    for chosen in (weights.layers[:1], weights.layers[1:3], weights.layers, weights.layers[2:3]):
        found = changed(weights.predictor_with(chosen), network)
        modules = {name for layer in chosen for name in layer.modules}
        assert {key.rpartition(".")[0] for key in found} == modules
    assert changed(weights.predictor_with([]), network) == set()


def test_a_layer_gets_the_same_random_weights_alone_or_with_others(ndim: int) -> None:
    weights = weights_of(unet(ndim, "relu_instance"), ndim)
    key = "model.0.conv.weight"
    alone = weights.predictor_with(weights.layers[-1:]).network.state_dict()[key].clone()
    together = weights.predictor_with(weights.layers).network.state_dict()[key].clone()
    assert torch.equal(alone, together)


def test_the_network_is_never_touched(ndim: int) -> None:
    network = unet(ndim, "prelu_batch", num_res_units=1)
    for place, module in enumerate(network.modules()):
        module.training = place % 2 == 0
    for place, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(place % 3 > 0)
    network.register_forward_hook(lambda *rest: None)
    before = state_of(network)
    weights = weights_of(network, ndim)
    weights.predictor_with(weights.layers)
    assert state_of(network) == before


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_the_network_is_never_touched_if_it_fails(nth: int) -> None:
    network = Failing(unet(2).train(), nth)
    before = state_of(network)
    with pytest.raises(Failing.BrokenError):
        weights = weights_of(network)
        weights.predictor_with(weights.layers)
    assert state_of(network) == before


def test_convolutions_are_reset_as_their_class_initialises_them(ndim: int) -> None:
    """Uniform within 1 / sqrt(fan in), as torch has it; norms are at one and zero."""
    network = trained(unet(ndim, "prelu_batch"))
    weights = weights_of(network, ndim)
    found = weights.predictor_with(weights.layers).network.requires_grad_(False)
    conv = found.get_submodule("model.1.submodule.conv")
    bound = 1 / math.sqrt(conv.weight[0].numel())
    assert float(conv.weight.abs().max()) <= bound
    assert float(conv.weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
    norm = found.get_submodule("model.0.adn.N")
    assert bool((norm.weight == 1).all()) and bool((norm.bias == 0).all())
    assert float(found.get_submodule("model.0.adn.A").weight) == 0.25


def test_the_seed_decides_and_nothing_else(ndim: int) -> None:
    network = unet(ndim)
    state = torch.get_rng_state()
    first = random_tensors(network, 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    again, other = random_tensors(network, 3), random_tensors(network, 4)
    key = "model.0.conv.weight"
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first[key], other[key])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_initialised_with_the_same_seed_gets_other_weights(seed: int) -> None:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 1)).eval()
    given, found = network.state_dict(), random_tensors(network, seed)
    for key, value in given.items():
        assert not torch.equal(value, found[key])
        assert not torch.equal(value.flatten().sort().values, found[key].flatten().sort().values)


class Plain(nn.Module):
    """A convolution whose class cannot reset it, or wants to be told how."""

    def __init__(self, *, asks: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 1, 3, 3))
        self.scale = nn.Parameter(torch.tensor(2.0))
        if asks:
            self.reset_parameters = self._reset
        self.eval()

    def _reset(self, spread: float) -> None:
        raise AssertionError

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * nn.functional.conv2d(x, self.weight, padding=1)


@pytest.mark.parametrize("asks", [False, True])
def test_parameters_without_a_reset_are_shuffled(asks: bool) -> None:
    network = Plain(asks=asks)
    weights = weights_of(network)
    assert names(weights) == ["(network)"]
    found = weights.predictor_with(weights.layers).network
    assert not torch.equal(found.weight, network.weight)
    assert torch.equal(found.weight.flatten().sort().values, network.weight.flatten().sort().values)
    assert found.scale.item() == 2


def test_running_statistics_are_those_of_the_image_under_the_random_weights(ndim: int) -> None:
    """One window over the whole image: the norm's input has mean 0 and variance 1 behind it."""
    network = unet(ndim)
    shape = (12, 8, 10)[:ndim]
    model, image = predictor(network, shape), volume(shape)
    weights = RandomWeights(model, frozen(model, image), image, 0)
    for chosen in (weights.layers, weights.layers[1:2], weights.layers[2:]):
        found = weights.predictor_with(chosen).network
        inputs: dict[nn.Module, Tensor] = {}

        def keep(norm: nn.Module, args: tuple[Tensor], inputs: object = inputs) -> None:
            inputs[norm] = args[0]

        norms = [module for name, module in found.named_modules() if name.endswith("adn.N")]
        handles = [norm.register_forward_pre_hook(keep) for norm in norms]
        with torch.no_grad():
            found(image.batch)
        for handle in handles:
            handle.remove()
        random = [found.get_submodule(name) for layer in chosen for name in layer.modules]
        for norm, values in inputs.items():
            flat = values.transpose(0, 1).flatten(1)
            fits = torch.allclose(norm.running_mean, flat.mean(dim=1), atol=1e-5)
            fits &= torch.allclose(norm.running_var, flat.var(dim=1, correction=0), rtol=1e-4)
            assert fits == (norm in random)
        assert len(inputs) == 2


def test_running_statistics_are_the_mean_over_windows() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 1)).eval()
    model, image = predictor(network, (6, 6), overlap=0.0, blend="constant"), volume((12, 18))
    weights = RandomWeights(model, frozen(model, image), image, 0)
    norm = weights.predictor_with(weights.layers).network[0]
    tiles = image.data[0].unfold(0, 6, 6).unfold(1, 6, 6).reshape(6, 36)
    assert float(norm.running_mean) == pytest.approx(float(tiles.mean(dim=1).mean()), abs=1e-6)
    expected = float(tiles.var(dim=1, correction=0).mean())
    assert float(norm.running_var) == pytest.approx(expected, rel=1e-5)


def test_norms_over_one_value_keep_their_reset_statistics() -> None:
    """A norm behind a global mean keeps the statistics that it is reset to."""

    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
            nn.init.constant_(self.norm.running_mean, 7.0)
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y + self.norm(y.mean(dim=(2, 3), keepdim=True))

    weights = weights_of(Squeezed())
    norm = weights.predictor_with(weights.layers).network.norm
    assert norm.running_mean.tolist() == [0.0, 0.0]
    assert norm.running_var.tolist() == [1.0, 1.0]


class Tied(nn.Module):
    """One module that runs twice, and two modules that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(1, 1, 3, padding=1)
        self.one = nn.Conv2d(1, 2, 1)
        self.two = nn.Conv2d(1, 2, 1)
        self.two.weight = self.one.weight
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.shared(torch.tanh(self.shared(x))))
        return self.one(x) + self.two(x)


def test_shared_modules_and_tied_weights_stay_so() -> None:
    network = Tied()
    weights = weights_of(network)
    assert names(weights) == ["two", "one", "shared"]
    for chosen in (weights.layers[:1], weights.layers[1:2]):
        found = weights.predictor_with(chosen).network
        assert found.two.weight is found.one.weight
        assert not torch.equal(found.one.weight, network.one.weight)
    assert torch.equal(
        weights.predictor_with(weights.layers[2:]).network.one.weight, network.one.weight
    )


def parametrized(function: Callable[[nn.Module], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has deprecated the old ones
        first = function(nn.Conv2d(1, 3, 3, padding=1))
    return nn.Sequential(first, nn.Tanh(), nn.Conv2d(3, 2, 1)).eval()


@pytest.mark.parametrize(
    "function",
    [
        nn.utils.weight_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
    ],
)
def test_parametrized_weights_are_randomised_too(
    function: Callable[[nn.Module], nn.Module],
) -> None:
    network = parametrized(function)
    x = volume(SHAPES[2]).batch
    network(x)  # leaves tensors behind that hang on a graph
    weights = weights_of(network)
    assert len(weights.layers) == 2
    with torch.no_grad():
        hidden = network[0](x)
        assert torch.equal(weights.predictor_with([]).network[0](x), hidden)
        assert not torch.allclose(weights.predictor_with(weights.layers[1:]).network[0](x), hidden)
        assert torch.equal(network[0](x), hidden)


def test_a_monai_network_that_stores_outputs_is_copied() -> None:
    from monai.networks.nets import DynUNet

    torch.manual_seed(0)
    network = DynUNet(2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], deep_supervision=True).eval()
    network(volume((8, 8)).batch)
    found = weights_of(network)
    assert "output_block.conv.conv" in found.layers[0].modules
    # Heads that only training reads have no part in the map.
    assert not any("deep_supervision_heads" in name for name in names(found))


class Uncopied(nn.Conv2d):
    """Refuses to be copied."""

    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("one of a kind")


def test_a_network_that_cannot_be_copied_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"cannot be copied.*one of a kind"):
        weights_of(Uncopied(1, 2, 1).eval())


def test_every_network_of_an_ensemble_gets_weights_of_its_own(ndim: int) -> None:
    networks = [unet(ndim, seed=seed) for seed in (0, 1)]
    before = [state_of(network) for network in networks]
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], "logits")
    image = volume(SHAPES[ndim])
    weights = RandomWeights(model, frozen(model, image), image, 0)
    assert names(weights) == names(weights_of(networks[0], ndim))
    last = weights.layers[0]
    random = weights.predictor_with([last])
    for member, network in enumerate(networks):
        given = network.state_dict()
        differing = {
            key for key in given if not torch.equal(random.states[member][key], given[key])
        }
        assert differing == {f"{last.name}.weight", f"{last.name}.bias"}
    key = f"{last.name}.weight"
    assert not torch.equal(random.states[0][key], random.states[1][key])
    expected = torch.stack([one.logits(image.batch) for one in random.members()]).mean(dim=0)
    torch.testing.assert_close(random.logits(image.batch), expected, rtol=1e-4, atol=1e-5)
    # Statistics of norms are those of the random weights, each member's own.
    norm = "model.0.adn.N.running_mean"
    random = weights.predictor_with(weights.layers)
    assert not torch.equal(random.states[0][norm], random.states[1][norm])
    again = weights.predictor_with([])
    torch.testing.assert_close(again.logits(image.batch), model.logits(image.batch))
    assert [state_of(network) for network in networks] == before
