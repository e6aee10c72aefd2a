"""The networks that are compared, built and checked: their own, others', and an untrained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esegeta.config import RunConfig, blamed_on, load_config
from esegeta.errors import ConfigError, EsegetaError
from esegeta.model import UnitLayer, find_unit_layers, held_still, network_sha256
from esegeta.predict import PassesApart, Predictor, empty_window
from esegeta.volume import Case, Grid
from esegeta.workflow import Basis, build_basis, construct_network
from esegeta.workflow.serves import check_compared

UNTRAINED = "untrained"
"""The name of the network of the same shape before any training."""


@dataclass(frozen=True, eq=False)
class ComparedNetwork:
    """One network whose layers are compared.

    Args:
        name: name that tells it from the others.
        basis: network, preprocessing and cases.
        layers: layers that are compared.
        grids: grid of each case as the network sees it, by the name of the case.
        member: its place in an ensemble; None where it is a single network.
        is_untrained: whether its weights were never trained.
    """

    name: str
    basis: Basis
    layers: tuple[UnitLayer, ...]
    grids: Mapping[str, Grid]
    member: int | None = None
    is_untrained: bool = False

    @property
    def watched(self) -> Predictor:
        """The predictor whose layers are read; the networks of an ensemble share one module."""
        predictor = self.basis.predictor
        if self.member is not None:
            predictor = predictor.member(self.member)
        return PassesApart(predictor).single if predictor.averages_inside else predictor

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of its own weights."""
        hashes = self.basis.weights_sha256
        return hashes if isinstance(hashes, str) else hashes[self.member or 0]

    def describe(self) -> dict[str, object]:
        """Return what it is, as plain values."""
        return {
            "name": self.name,
            "config": str(self.basis.config.document.path),
            "weights_sha256": self.weights_sha256,
            "untrained": self.is_untrained,
            "layers": {layer.name: layer.num_units for layer in self.layers},
        }


def networks_of(basis: Basis, layers: str | Sequence[str], name: str) -> list[ComparedNetwork]:
    """Return the network of a basis, or each of an ensemble by itself.

    Args:
        basis: network and cases.
        layers: names of layers, or `all`.
        name: name of the network; those of an ensemble are numbered.

    Raises:
        ModelError: its layers cannot be watched.
        LayerError: a layer is not there or has no map.
    """
    config, predictor = basis.config, basis.predictor
    check_compared(config, basis.capability)
    window = empty_window(predictor.network, predictor.plan.size, basis.reading.num_channels)
    with blamed_on(config, "similarity", "layers"), held_still(predictor.network):
        found = find_unit_layers(predictor.network, layers, window)
    grids = basis.network_grids()
    count = predictor.plan.num_members
    if count == 1:
        return [ComparedNetwork(name, basis, found, grids)]
    return [
        ComparedNetwork(f"{name}#{number + 1}", basis, found, grids, number)
        for number in range(count)
    ]


def untrained_like(network: ComparedNetwork) -> ComparedNetwork | None:
    """Return the network of the same shape before any training; None where it cannot be made.

    Its class may load weights of its own, which then are the same under every seed.

    Its seed is another than that of a network without a file of weights.
    """
    basis = network.basis
    seed = basis.config.keys.seed + 1
    fresh, twin = (construct_network(basis.config, seed=one) for one in (seed, seed + 1))
    if network_sha256(fresh) == network_sha256(twin):
        return None
    fresh = fresh.eval().to(basis.device)
    predictor = basis.predictor.with_network(fresh)
    changed = replace(basis, predictor=predictor, weights_sha256=f"{UNTRAINED}, seed {seed}")
    return replace(network, name=UNTRAINED, basis=changed, member=None, is_untrained=True)


def other_basis(
    config: RunConfig, cases: Sequence[Case], *, output: Path, device: str | None
) -> Basis:
    """Build another config's network for cases that are not its own.

    Raises:
        EsegetaError: it cannot be built, or cannot take the images of these cases.
    """
    try:
        return build_basis(config, output=output, device=device, cases=cases)
    except EsegetaError as error:
        own = str(config.document.path)
        if own not in error.message:
            error.message = f"{own}: {error.message}"
        raise


def load_others(main: RunConfig, more: Sequence[Path]) -> list[RunConfig]:
    """Load the other configs: those named in the first one, then those of the command line.

    Raises:
        ConfigError: one is missing or not valid, or is the first one, or is listed twice.
    """
    keys = main.keys.similarity
    assert keys is not None
    found: list[RunConfig] = []
    seen = {main.document.path.resolve()}
    for number, text in enumerate(keys.other_configs):
        place = f"{main.document.place(('similarity', 'with', number))}: similarity.with[{number}]"
        found.append(_load(main.find_file(text), place, seen))
    return [*found, *(_load(path, "", seen) for path in more)]


def _load(path: Path, place: str, seen: set[Path]) -> RunConfig:
    before = f"{place}: " if place else ""
    if path.resolve() in seen:
        raise ConfigError(
            f"{before}{path} is compared already",
            hint="name each config once; the first one is always among them",
        )
    seen.add(path.resolve())
    try:
        return load_config(path)
    except ConfigError as error:
        error.message = f"{before}{error.message}"
        raise
