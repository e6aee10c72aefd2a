"""A comparison built from its configs and checked: networks, layers, labels, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int
from torch import Tensor

from esegeta.config import RunConfig, required_block
from esegeta.config.similarity import SimilarityKeys
from esegeta.errors import ConfigError
from esegeta.similarity import LEAST_CASES, UnitLayout
from esegeta.volume import Case, Grid
from esegeta.workflow import Basis, build_basis
from esegeta.workflow.case_checks import check_truths
from esegeta.workflow.outputs import check_writable
from esegeta.workflow.similarity.networks import (
    UNTRAINED,
    ComparedNetwork,
    load_others,
    networks_of,
    other_basis,
    untrained_like,
)

MOST_UNITS = 2048
"""Sums over pairs of this many units take 32 MB per label."""
MATCHED = 600
"""Positions of all cases that Gram matrices are made of."""
FEW_CASES = 5

LayerPlace = tuple[str, str]
"""Name of the network, name of the layer."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that a comparison needs, built and checked.

    Args:
        basis: the first config's network and the cases.
        keys: the first config's `similarity`.
        networks: networks to compare, the first config's first and the untrained one last.
        notes: what the user should know before it starts.
    """

    basis: Basis
    keys: SimilarityKeys
    networks: tuple[ComparedNetwork, ...]
    notes: tuple[str, ...]

    @property
    def cases(self) -> list[Case]:
        """The cases, in the first config's order."""
        return self.basis.cases

    @property
    def slabs(self) -> int:
        """Parts of each case that are drawn and paired as cases; 1 for all of it."""
        return self.keys.slabs or 1

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """What is drawn and paired: cases, or the slabs of the first, those of the second, ..."""
        if self.slabs == 1:
            return tuple(case.name for case in self.cases)
        numbers = range(1, self.slabs + 1)
        return tuple(f"{case.name} slab {number}" for case in self.cases for number in numbers)

    def slabs_of(self, case: Case, where: Int[Tensor, "N A"]) -> Int[Tensor, " N"]:
        """Return the number of the slab, from 0, that each of some voxels of an image lies in.

        Slabs are of one thickness, across the axis of the image that is the nearest to that along
        which the first network goes slice by slice, or to the last of its own.
        """
        image = self.basis.grids[case.name]
        axis = slab_axis(self.basis, image, self.networks[0].grids[case.name])
        return where[:, axis] * self.slabs // image.shape[axis]

    @property
    def folder(self) -> Path:
        """Where the results lie."""
        return self.basis.root / "similarity"

    @cached_property
    def places(self) -> list[LayerPlace]:
        """All layers, network by network."""
        return [(one.name, layer.name) for one in self.networks for layer in one.layers]

    @cached_property
    def layout(self) -> UnitLayout:
        """The units of all layers, in the order of `places`."""
        return UnitLayout(tuple(layer.num_units for one in self.networks for layer in one.layers))

    @cached_property
    def strata(self) -> tuple[str, ...]:
        """Names that positions are shared out by: one for voxels of no label, then the labels."""
        labels = self.basis.predictor.labels
        background = [name for name in labels.all_names if labels.is_background(name)]
        return (background[0] if background else "background", *labels.foreground)

    def quota(self, number: int) -> int:
        """Return how many positions a case gives."""
        return _share(self.keys.samples, number, len(self.cases))

    def matched(self, number: int) -> int:
        """Return how many of them go into Gram matrices."""
        return _share(min(MATCHED, self.keys.samples), number, len(self.cases))


def slab_axis(basis: Basis, image: Grid, seen: Grid) -> int:
    """Return the axis of an image across which it is cut into slabs.

    Args:
        basis: of the first network.
        image: grid of the image's file.
        seen: grid of the same as the network sees it.
    """
    inference, ndim = basis.config.keys.inference, seen.ndim
    own = inference.slice_axis if len(inference.window) < ndim else ndim - 1
    ways = image.affine[:ndim, :ndim] / np.linalg.norm(image.affine[:ndim, :ndim], axis=0)
    return int(np.abs(seen.affine[:ndim, own] @ ways).argmax())


def _share(total: int, number: int, parts: int) -> int:
    return total // parts + (number < total % parts)


def build_comparison(
    config: RunConfig,
    more: Sequence[Path] = (),
    *,
    output: Path | None = None,
    device: str | None = None,
) -> Comparison:
    """Build and check a comparison without computing anything but windows of zeros.

    Args:
        config: the checked first config, which has the cases.
        more: further configs whose networks are compared, besides those that it names.
        output: replaces the config's `output`.
        device: replaces the configs' `device`.

    Raises:
        EsegetaError: the first thing found wrong with files, networks or layers.
    """
    keys = required_block(
        config,
        "similarity",
        config.keys.similarity,
        hint="give it layers: similarity: {layers: all}",
    )
    others = load_others(config, more)
    basis = build_basis(config, output=output, device=device)
    check_truths(config, basis.predictor.labels, basis.cases, basis.reading, basis.grids)
    names = _names([config, *others])
    networks = networks_of(basis, keys.layers, names[0])
    notes = [*basis.notes]
    for name, other in zip(names[1:], others, strict=True):
        built = other_basis(other, basis.cases, output=basis.root, device=device)
        own = other.keys.similarity
        layers = keys.layers if own is None else own.layers
        networks += networks_of(built, layers, name)
        notes += [f"{name}: {note}" for note in built.notes]
    untrained = untrained_like(networks[0]) if basis.capability.retrainable else None
    if untrained is not None:
        networks.append(untrained)
    else:
        notes.append(f"no untrained network as a baseline: {_without_untrained(basis)}")
    check_writable(basis.root)
    comparison = Comparison(basis, keys, tuple(networks), ())
    _check_size(comparison)
    return replace(comparison, notes=(*dict.fromkeys(notes), *_notes_on_cases(comparison)))


def _without_untrained(basis: Basis) -> str:
    if basis.capability.retrainable:
        return "its class makes the same weights under every seed"
    return f"{basis.capability.what} is read from its file as a whole"


def _names(configs: Sequence[RunConfig]) -> list[str]:
    """Return a name for each config's network: its own, or with its file where that is taken."""
    names = [config.keys.name for config in configs]
    found = []
    for config, name in zip(configs, names, strict=True):
        taken = names.count(name) > 1 or name == UNTRAINED
        found.append(f"{name} ({config.document.path.name})" if taken else name)
    for place, name in enumerate(found):
        if name in found[:place]:
            found[place] = f"{name} {place + 1}"
    return found


def _check_size(comparison: Comparison) -> None:
    num_units = comparison.layout.num_units
    document = comparison.basis.config.document
    if num_units > MOST_UNITS:
        raise ConfigError(
            f"{document.place(('similarity',))}: similarity: {num_units} units of "
            f"{len(comparison.places)} layers, but pairs of at most {MOST_UNITS} can be compared",
            hint="name fewer layers, or compare fewer networks at a time",
        )
    for case in comparison.cases:
        image, seen = comparison.basis.grids[case.name], comparison.networks[0].grids[case.name]
        slices = image.shape[slab_axis(comparison.basis, image, seen)]
        if slices < comparison.slabs:
            raise ConfigError(
                f"{document.place(('similarity', 'slabs'))}: similarity.slabs: {comparison.slabs} "
                f"slabs of {slices} slices in case {case.name}",
                hint="give fewer slabs",
            )
    samples, count = comparison.keys.samples, len(comparison.cases)
    if samples < count:
        raise ConfigError(
            f"{document.place(('similarity', 'samples'))}: similarity.samples: {samples} positions "
            f"for {count} cases",
            hint=f"give at least one per case, better {1000 * count}",
        )


def _notes_on_cases(comparison: Comparison) -> list[str]:
    count = len(comparison.groups)
    if count < LEAST_CASES:
        return [
            "one case: values only; intervals and tests need several cases, or parts that count "
            "as cases: similarity: {slabs: 6}"
        ]
    if comparison.slabs > 1:
        return [
            f"cases are {comparison.slabs} slabs of each scan: what holds in slabs of one patient "
            "need not hold in other patients"
        ]
    if count < FEW_CASES:
        return [
            f"{count} cases: intervals of so few are too narrow, and p cannot be small; take at "
            f"least {FEW_CASES}"
        ]
    return []
