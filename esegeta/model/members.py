"""Ensembles: one network, and the weights of several of them, which it holds one at a time.

Folds of a cross-validation differ in nothing but their weights. So there is one module, with the
layers that methods hook, and a set of tensors for each further member that are put in their place
while its windows are run. `held_still` puts the network's own back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from esegeta.errors import ModelError, some_of
from esegeta.model.weights import LoadedWeights, load_weights

State = Mapping[str, Tensor]
"""All parameters and buffers of a network, by module and name."""


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers that a network holds, not copies of them.

    A tensor that two modules share has two names.
    """
    return {
        _name(name, key): tensor
        for name, tensors in _tables(network)
        for key, tensor in tensors.items()
        if tensor is not None
    }


def hold(network: nn.Module, state: State) -> None:
    """Let a network hold other tensors; nothing is copied."""
    for name, tensors in _tables(network):
        for key, tensor in tensors.items():
            wanted = state.get(_name(name, key))
            if wanted is not None and tensor is not wanted:
                tensors[key] = wanted


@dataclass(frozen=True, eq=False)
class Held:
    """The tensors that a network holds, and where, found in one walk over its modules.

    Args:
        modules: all modules.
        places: each table of parameters or buffers, a name in it, and the tensor there.
    """

    modules: tuple[nn.Module, ...]
    places: tuple[tuple[Any, str, Tensor], ...]

    @classmethod
    def of(cls, network: nn.Module) -> Held:
        """Return what a network holds now."""
        modules = tuple(network.modules())
        tables: list[Any] = [  # of dictionaries; scripted modules have something like them
            own for one in modules for own in (one._parameters, one._buffers)
        ]
        places = [(own, key, one) for own in tables for key, one in own.items() if one is not None]
        return cls(modules, tuple(places))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Its parameters; one that modules share comes several times."""
        return [tensor for _, _, tensor in self.places if isinstance(tensor, nn.Parameter)]

    def put_back(self) -> None:
        """Let the network hold them again; nothing is copied."""
        for table, key, tensor in self.places:
            if key in table and table[key] is not tensor:
                table[key] = tensor


def join_members(networks: Sequence[nn.Module], names: Sequence[str]) -> tuple[State, ...]:
    """Return the states of all networks, for the first to hold in turn; none for a single network.

    Args:
        networks: networks of one architecture.
        names: name of each network for messages, such as its file.

    Raises:
        ModelError: their architectures differ.
    """
    first = networks[0]
    modules = _kinds(first)
    own = state_of(first)
    states: list[State] = [own]
    for network, name in zip(networks[1:], names[1:], strict=True):
        other = _kinds(network)
        state = state_of(network)
        misfits = [key for key in {**own, **state} if not _alike(own.get(key), state.get(key))]
        if other != modules or misfits:
            every = {**other, **modules}
            parts = misfits or [key for key in every if other.get(key) != modules.get(key)]
            raise ModelError(
                f"{name}: is not of the same architecture as {names[0]}: they differ in "
                f"{some_of(parts)}",
                hint="the members of an ensemble are folds of one network; explain others by "
                "themselves",
            )
        states.append(_without_gradients(state, lambda tensor: tensor))
    return tuple(states) if len(states) > 1 else ()


@dataclass(frozen=True, eq=False)
class LoadedMembers:
    """What was loaded from the files of an ensemble.

    Args:
        states: states of all networks; empty for a single one.
        files: what was loaded from each file.
    """

    states: tuple[State, ...]
    files: tuple[LoadedWeights, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: about all files where it is the same, else about each."""
        remarks = {one.remarks for one in self.files}
        if len(self.files) > 1 and len(remarks) == 1:
            (same,) = remarks
            return tuple(f"all {len(self.files)} files: {remark}" for remark in same)
        names = [one.path.name for one in self.files]
        if len(set(names)) < len(names):  # folds are often told apart by their folders alone
            names = [str(one.path) for one in self.files]
        return tuple(
            f"{name}: {remark}"
            for name, one in zip(names, self.files, strict=True)
            for remark in one.remarks
        )


def load_members(
    network: nn.Module, paths: Sequence[Path], *, key: str | None = None
) -> LoadedMembers:
    """Load the weights of an ensemble and return all states; the network holds the first.

    Args:
        network: the architecture of all of them, on its device.
        paths: files of weights, such as the folds of a cross-validation.
        key: key of the weights in each file; see `load_weights`.

    Raises:
        WeightsError: a file is missing, or does not fit; the message names it.
    """
    others, files = [], []
    for path in paths[1:]:
        files.append(load_weights(network, path, key=key))
        others.append(copied_state(state_of(network)))
    first = load_weights(network, paths[0], key=key)
    states = (state_of(network), *others) if others else ()
    return LoadedMembers(states, (first, *files))


def copied_state(state: State) -> dict[str, Tensor]:
    """Return a copy of all tensors, without gradients; what modules share they share again."""
    return _without_gradients(state, lambda tensor: tensor.clone())


def _without_gradients(state: State, make: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    made: dict[int, Tensor] = {}
    for tensor in state.values():
        if id(tensor) not in made:
            values = make(tensor.detach())
            if isinstance(tensor, nn.Parameter):
                values = nn.Parameter(values, requires_grad=False)
            made[id(tensor)] = values
    return {key: made[id(tensor)] for key, tensor in state.items()}


def _tables(network: nn.Module) -> Iterator[tuple[str, dict[str, Tensor | None]]]:
    for name, module in network.named_modules():
        yield name, module._parameters
        yield name, module._buffers


def _kinds(network: nn.Module) -> dict[str, str]:
    """Return the class of each module by name; exported networks have classes of equal names."""
    return {name: type(module).__qualname__ for name, module in network.named_modules()}


def _name(module: str, key: str) -> str:
    return f"{module}.{key}" if module else key


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return False
    return one.shape == other.shape and one.dtype == other.dtype
