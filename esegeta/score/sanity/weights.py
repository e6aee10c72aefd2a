"""Networks with random weights, layer by layer.

All is done on a copy. Random weights are drawn once for the whole network, so that a layer's
weights are the same whichever other layers are random too.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from esegeta.errors import ModelError
from esegeta.model import (
    State,
    copied_state,
    first_tensor,
    held_still,
    hold,
    list_layers,
    on_input,
    seeded,
    state_of,
)
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume

WHOLE = "(network)"
"""Name for a network's own weights, which lie in none of its modules."""


@dataclass(frozen=True)
class WeightLayer:
    """One step of a randomisation: an operation with weights, and the norms and slopes behind it.

    Args:
        name: name of the operation's module, for people.
        modules: names of all modules of the step.
    """

    name: str
    modules: tuple[str, ...]


def used_parameters(network: nn.Module, run: Callable[[], object]) -> set[int]:
    """Return the ids of the parameters that the output of a run depends on; of all, if unknown."""
    parameters = [item for item in network.parameters() if item.is_floating_point()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            output = first_tensor(run())
        if output is None or not output.requires_grad:
            return {id(parameter) for parameter in parameters}
        slopes = torch.autograd.grad(output.sum(), parameters, allow_unused=True)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
    pairs = zip(parameters, slopes, strict=True)
    return {id(parameter) for parameter, slope in pairs if slope is not None}


def weight_layers(
    network: nn.Module, ended: Mapping[str, int], used: Collection[int]
) -> list[WeightLayer]:
    """Return a network's layers in the order in which they ran.

    A module with a parameter of two axes or more starts a layer; one with vectors alone, a norm or
    a learned slope, joins the layer before it.

    Args:
        network: the network.
        ended: when each module ended, by name; -1 if it never did.
        used: ids of the parameters that count.
    """
    found: list[tuple[int, str, bool]] = []
    order = -1
    for name, module in network.named_modules():
        # What runs only as a part of another, without a call of its own, has its place by name.
        order = ended[name] if ended.get(name, -1) >= 0 else order
        own = [item for item in module.parameters(recurse=False) if id(item) in used]
        if own or (has_statistics(module) and ended.get(name, -1) >= 0):
            found.append((order, name, any(item.ndim > 1 for item in own)))
    layers: list[list[str]] = []
    starts = False
    for _, name, is_operation in sorted(found, key=lambda item: item[0]):
        if not layers or (is_operation and starts):
            layers.append([])
            starts = False
        layers[-1].append(name)
        starts = starts or is_operation
    return [WeightLayer(_operation(names, network), tuple(names)) for names in layers]


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """Return up to `count` of some items, evenly spread; the first and the last among them."""
    if len(items) <= count:
        return list(items)
    places = torch.linspace(0, len(items) - 1, count, dtype=torch.float64).round().long()
    return [items[place] for place in places.tolist()]


def has_statistics(module: nn.Module) -> bool:
    """Tell whether a module is a norm with running statistics."""
    return isinstance(getattr(module, "running_var", None), Tensor)


def _operation(names: Sequence[str], network: nn.Module) -> str:
    """Return the first of some modules that has a parameter of two axes or more, or the first."""
    own = {name: network.get_submodule(name).parameters(recurse=False) for name in names}
    found = [name for name in names if any(item.ndim > 1 for item in own[name])]
    return [*found, *names][0] or WHOLE


CALIBRATION_WINDOWS = 8
"""Largest number of windows that running statistics of random layers are measured on."""


class RandomWeights:
    """Gives a predictor of the network, or of all of an ensemble, with random weights in layers.

    Each module draws its weights as its class does (`reset_parameters`); those of modules that
    cannot are shuffled, which keeps their moments. Running statistics of random norms are measured
    anew on windows of the image. Left as trained they would belong to weights that are gone and
    could blow the activations up; reset to 0 and 1 they would let the activations fade, layer by
    layer, until the biases alone decide.

    Args:
        predictor: predictor of the whole network.
        target: the frozen target; only layers that it depends on count.
        volume: what is explained.
        seed: random seed for the weights.

    Raises:
        ModelError: the network cannot be copied, or has no weights that the target depends on.
    """

    def __init__(
        self, predictor: Predictor, target: FrozenTarget, volume: Volume, seed: int
    ) -> None:
        self._copy = copied(predictor.network)
        self._originals = predictor.states or (state_of(predictor.network),)
        self._copies = (state_of(self._copy), *map(copied_state, self._originals[1:]))
        states = self._copies if predictor.states else ()
        self._predictor = replace(predictor, network=self._copy, states=states)
        # A target inside the network is read by a predictor that ends at its layer.
        self._read = target.scene.predictor_for(self._predictor)
        self._volume = volume
        windows = self._read.windows(volume.batch)
        self._calibration = evenly(target.touched(windows), CALIBRATION_WINDOWS)
        self._randoms = [
            _random_state(self._copy, state, seed + member)
            for member, state in enumerate(self._copies)
        ]
        self.layers = self._find_layers()

    def _find_layers(self) -> list[WeightLayer]:
        """Return the layers that the target depends on, from the output to the input."""
        windows = self._read.windows(self._volume.batch)
        pieces = next(self._read.pieces(self._volume.batch, windows, self._calibration))
        run = partial(self._read.run, pieces.crops, windows)
        with held_still(self._read.network):
            used = used_parameters(self._copy, run)
            ended = {item.name: item.order for item in list_layers(self._read.network, run)}
        layers = weight_layers(self._copy, ended, used)
        if not layers:
            raise ModelError("the network has no weights that the target depends on")
        return layers[::-1]

    def predictor_with(self, layers: Sequence[WeightLayer]) -> Predictor:
        """Return a predictor whose network has random weights in these layers alone.

        It is valid until the next is asked for: all of them share one copy.
        """
        chosen = {name for layer in layers for name in layer.modules}
        members = zip(self._copies, self._originals, self._randoms, strict=True)
        with torch.no_grad():
            for copies, originals, randoms in members:
                for key, tensor in copies.items():
                    tensor.copy_(originals[key])
                # In a second pass: a tensor that two modules share is random where either is.
                for key, tensor in copies.items():
                    if key.rpartition(".")[0] in chosen:
                        tensor.copy_(randoms[key])
        self._measure_statistics(chosen)
        return self._predictor

    def _measure_statistics(self, chosen: set[str]) -> None:
        named = dict(self._copy.named_modules())
        norms = {name: named[name] for name in chosen if has_statistics(named[name])}
        if not norms:
            return
        # One window at a time: a batch's statistics would depend on what else is in it.
        read, x = replace(self._read, batch_size=1), self._volume.batch
        windows = read.windows(x)
        with torch.no_grad(), held_still(read.network), _measured(norms):
            for pieces in read.pieces(x, windows, self._calibration):
                read.run(pieces.crops, windows)


def copied(network: nn.Module) -> nn.Module:
    """Return a copy of a network that shares nothing with it.

    Raises:
        ModelError: the network cannot be copied.
    """
    # Tensors that the latest forward pass left behind hang on a graph, which cannot be copied.
    left_behind = [tensor for module in network.modules() for tensor in _tensors_in(vars(module))]
    memo = {id(tensor): tensor.detach().clone() for tensor in left_behind if not tensor.is_leaf}
    try:
        return copy.deepcopy(network, memo)
    except Exception as error:  # whatever the network's own code raises is the reason it fails
        reason = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"the network cannot be copied ({type(error).__name__}: {reason[0][:160]})",
            hint="fix how its class copies itself, so that copy.deepcopy works",
        ) from error


def _tensors_in(value: Any, depth: int = 3) -> Iterator[Tensor]:
    """Yield the tensors in a value, and in lists, tuples and dictionaries in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)) and depth > 0:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item, depth - 1)


def _random_state(network: nn.Module, state: State, seed: int) -> dict[str, Tensor]:
    """Return the random values of a network that holds the weights of a member."""
    with held_still(network):
        hold(network, state)
        return random_tensors(network, seed)


def random_tensors(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Return random values for all parameters and buffers of a network, by name.

    Drawn on the CPU, so that they are the same on every device.
    """
    before = {key: tensor.cpu() for key, tensor in state_of(network).items()}
    twin = copied(network).cpu()
    # Seeded by text: a network that was built under the same seed has drawn other weights.
    number = random.Random(f"random weights {seed}").getrandbits(62)
    with seeded(number), torch.no_grad():
        for module in twin.modules():
            # A class may want arguments for it; what is not reset is shuffled below.
            with suppress(Exception):
                module.reset_parameters()  # type: ignore[operator]
        after = state_of(twin)
        for key, tensor in after.items():
            if isinstance(tensor, nn.Parameter) and torch.equal(after[key], before[key]):
                order = torch.randperm(after[key].numel())
                after[key].copy_(before[key].flatten()[order].reshape(before[key].shape))
    return after


@contextmanager
def _measured(norms: Mapping[str, nn.Module]) -> Iterator[None]:
    """Let norms take their running statistics from their own input before they use them."""
    # By the statistics themselves: members of an ensemble have their own.
    seen: dict[int, int] = {}

    def measure(name: str, given: Tensor | None) -> None:
        assert given is not None
        norm, values = norms[name], given.detach().transpose(0, 1).flatten(1)
        if values.shape[1] < 2:
            return  # one value has no variance
        own = id(norm.running_mean)
        seen[own] = seen.get(own, 0) + 1
        variance, mean = torch.var_mean(values.float(), dim=1, correction=0)
        for known, new in ((norm.running_mean, mean), (norm.running_var, variance)):
            assert isinstance(known, Tensor)
            known += (new - known) / seen[own]

    with on_input(norms, measure):
        yield
