"""A dissection built from its config and checked: layers, concepts, sizes, memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from esegeta.axes import Shape
from esegeta.config import RunConfig, blamed_on, required_block
from esegeta.config.dissection import DissectionKeys
from esegeta.dissection import (
    CHANCES,
    FEWEST_CASES,
    NUM_EDGES,
    Chance,
    Exchange,
    centre_voxels,
)
from esegeta.dissection.counts import Counting
from esegeta.dissection.parts import BYTES_OF_COUNT, MB, UnitParts
from esegeta.dissection.thresholds import ThresholdSearch
from esegeta.errors import ConfigError, suggest
from esegeta.model import UnitLayer
from esegeta.predict import LayerGrid, PassesApart, Predictor, VoxelBox
from esegeta.volume import Grid, Route
from esegeta.workflow import Basis, build_basis
from esegeta.workflow.dissect.concept_plan import ConceptPlan, notes_on_labels, plan_concepts
from esegeta.workflow.dissect.layers import find_layers, with_layers, without_other_layers
from esegeta.workflow.members import of_member
from esegeta.workflow.outputs import check_writable
from esegeta.workflow.serves import check_dissected

PART_OF_MEMORY = 0.25
"""Shares of memory for maps of units, large values, draws of chance and counts in bins."""
ALWAYS_MB = 16
"""Draws and counts of less than this are never refused."""
COPIES_OF_BINS = 5
"""One of a case, and of each fold one of the concept and one of everything."""


@dataclass(frozen=True, eq=False)
class Dissection:
    """Everything that a dissection needs, built and checked.

    Args:
        basis: network and cases.
        keys: the config's `dissection`.
        layers: layers whose units are dissected, in the config's order.
        concepts: concepts that they are compared with.
        grids: grid of each case as the network sees it, by the name of the case.
        images: place of each case's image in its grid, by the name of the case; None for all of it.
    """

    basis: Basis
    keys: DissectionKeys
    layers: tuple[UnitLayer, ...]
    concepts: ConceptPlan
    grids: Mapping[str, Grid]
    images: Mapping[str, VoxelBox | None]

    @property
    def shapes(self) -> dict[str, Shape]:
        """Lengths of each case's axes as the network sees it, by its name."""
        return {name: grid.shape for name, grid in self.grids.items()}

    @property
    def folder(self) -> Path:
        """Where the results of the dissection lie."""
        return self.basis.root / "dissection"

    @property
    def watched(self) -> Predictor:
        """The predictor whose layers are read: each mirrored pass is a run of its own."""
        predictor = self.basis.predictor
        return PassesApart(predictor).single if predictor.averages_inside else predictor

    @property
    def num_units(self) -> int:
        """Units of all layers."""
        return sum(layer.num_units for layer in self.layers)

    @property
    def chance(self) -> Chance:
        """The null distribution that overlaps are compared with."""
        return CHANCES[self.keys.chance.kind](self.keys.chance.samples, self.basis.config.keys.seed)

    @property
    def num_draws(self) -> int:
        """Draws of chance: as many as are asked for, or as there can be."""
        return self.chance.num_draws(len(self.grids))

    @property
    def share_a_grid(self) -> bool:
        """Whether the cases lie on one grid, voxel by voxel."""
        first, *others = self.grids.values()
        return all(grid.same_as(first) for grid in others)

    def room(self, share: float = PART_OF_MEMORY) -> float:
        """Return a share of the memory that is allowed, in MB."""
        return share * self.keys.memory_mb

    def grid(self, layer: UnitLayer, case: str) -> LayerGrid:
        """Return a layer's positions over the volume of a case."""
        windows = self.watched.plan.lay(self.shapes[case])
        empty = torch.zeros((1, 1, *layer.patch))
        return LayerGrid.of(windows, empty, layer.name)

    def num_values(self, layer: UnitLayer) -> int:
        """Return how many activations of a unit there are over all cases, to take quantiles of."""
        if self.keys.upsample == "upsampled":
            return sum(self._num_voxels(case) for case in self.shapes)
        cpu = torch.device("cpu")
        return sum(
            len(centre_voxels(self.grid(layer, case), cpu, self.images[case])[1])
            for case in self.shapes
        )

    def _num_voxels(self, case: str) -> int:
        image = self.images[case]
        if image is None:
            return math.prod(self.shapes[case])
        return math.prod(stop - start for start, stop in image)

    @cached_property
    def parts(self) -> UnitParts:
        """Units that are handled at a time, layer by layer: as many as there is room for."""
        largest = []
        for layer in self.layers:
            values = max(self.grid(layer, case).num_positions for case in self.shapes)
            if self.keys.upsample == "upsampled":
                values = max(values, *(math.prod(shape) for shape in self.shapes.values()))
            largest.append(values)
        return UnitParts.of(self.layers, largest, room_mb=self.room())

    @property
    def counting(self) -> Counting:
        """What is counted of each case."""
        per_image = self.keys.per_image
        threshold = per_image.threshold if per_image is not None else None
        return Counting(self.parts, self.chance, self.keys.quantile, threshold)

    def threshold_search(self, kept_mb: float = math.inf) -> ThresholdSearch:
        """Return what finds the thresholds of all units.

        Args:
            kept_mb: disk space for what is kept of cases until it is merged.
        """
        return ThresholdSearch(
            self.parts,
            {layer.name: self.num_values(layer) for layer in self.layers},
            quantile=self.keys.quantile,
            upsampled=self.keys.upsample == "upsampled",
            num_cases=len(self.shapes),
            kept_mb=kept_mb,
        )

    def units_of(self, layer: str) -> slice:
        """Return which of the units of all layers are a layer's."""
        first = 0
        for item in self.layers:
            if item.name == layer:
                return slice(first, first + item.num_units)
            first += item.num_units
        raise KeyError(layer)


def build_dissection(
    config: RunConfig,
    *,
    layers: Sequence[str] = (),
    output: Path | None = None,
    device: str | None = None,
) -> Dissection:
    """Build and check a dissection without computing anything but one window of zeros.

    Args:
        config: the checked config.
        layers: replace the config's `dissection.layers`.
        output: replaces the config's `output`.
        device: replaces the config's `device`.

    Raises:
        EsegetaError: the first thing found wrong with files, network, layers or concepts.
    """
    config = with_layers(config, layers) if layers else config
    keys = required_block(
        config,
        "dissection",
        config.keys.dissection,
        hint="give it layers and concepts: dissection: {layers: all, concepts: {liver: 1}}",
    )
    basis = of_member(build_basis(config, output=output, device=device), keys.member, "dissection")
    check_dissected(config, basis.capability)
    notes = notes_on_labels(keys, basis.predictor.labels)
    basis = replace(basis, notes=(*basis.notes, *notes))
    with blamed_on(config, "dissection", "layers"):
        found = find_layers(basis, keys)
    if layers:
        keys = without_other_layers(keys, {layer.name for layer in found})
    concepts = plan_concepts(keys, basis)
    _check_names(config, keys, basis, [layer.name for layer in found])
    check_writable(basis.root)
    routes = basis.network_routes()
    grids = {name: way.onto(basis.grids[name]) for name, way in routes.items()}
    images = {name: _image_within(way, basis.grids[name]) for name, way in routes.items()}
    dissection = Dissection(basis, keys, found, concepts, grids, images)
    _check_exchange(dissection)
    _check_memory(dissection)
    return dissection


def _image_within(way: Route, grid: Grid) -> VoxelBox | None:
    """Return where an image lies on the network's grid; None where that holds nothing else."""
    inside = way.inside(grid)
    if inside is None:
        return None
    corners = inside.nonzero()
    ends = zip(corners.amin(dim=0).tolist(), corners.amax(dim=0).tolist(), strict=True)
    return tuple((low, high + 1) for low, high in ends)


def _check_names(
    config: RunConfig, keys: DissectionKeys, basis: Basis, layers: Sequence[str]
) -> None:
    cases = [case.name for case in basis.cases]
    _require_known(config, ("figures", "masks"), keys.figures.masks, cases, "case")
    if keys.trails is not None:
        labels = list(basis.predictor.labels.foreground)
        _require_known(config, ("trails", "labels"), keys.trails.labels, labels, "label")
    if keys.ablation is None:
        return
    _require_known(config, ("ablation", "layers"), keys.ablation.layers, layers, "dissected layer")
    concepts = list(keys.concepts)
    _require_known(config, ("ablation", "concepts"), keys.ablation.concepts, concepts, "concept")
    for case in basis.cases:
        if case.label is None:
            raise ConfigError(
                f"{config.document.place(('dissection', 'ablation'))}: a change in Dice needs a "
                f"ground truth, and case {case.name} has none",
                hint="give every case a `label:` file, or leave `ablation` out",
            )


def _require_known(
    config: RunConfig,
    place: tuple[str, str],
    names: str | Sequence[str] | None,
    known: Collection[str],
    word: str,
) -> None:
    for name in () if names is None or isinstance(names, str) else names:
        if name not in known:
            where = config.document.place(("dissection", *place))
            raise ConfigError(
                f'{where}: dissection.{".".join(place)}: no {word} "{name}"',
                hint=suggest(name, known),
            )


def _check_exchange(dissection: Dissection) -> None:
    """Refuse to exchange label maps between few cases, or between cases that are turned."""
    if dissection.keys.chance.kind != Exchange.name:
        return
    place = dissection.basis.config.document.place(("dissection", "chance"))
    grids = dissection.grids
    if len(grids) < FEWEST_CASES:
        least = 1 / math.factorial(len(grids))
        raise ConfigError(
            f"{place}: dissection.chance: exchange needs at least {FEWEST_CASES} cases, and there "
            f"{'is' if len(grids) == 1 else 'are'} {len(grids)}: "
            f"p would not fall below {least:.2g}",
            hint="take `chance: surrogate`, which needs one case",
        )
    turns = {name: grid.runs_to for name, grid in grids.items()}
    (first, turn), *others = turns.items()
    for name, other in others:
        if other != turn:
            raise ConfigError(
                f"{place}: dissection.chance: exchange puts label maps of cases onto each other, "
                f"but the axes of case {first} run {turn}, and those of case {name} {other}",
                hint="orient all cases the same way: data.preprocess.orientation: RAS",
            )


def _check_memory(dissection: Dissection) -> None:
    """Refuse draws of chance, and counts in bins, beyond the memory that is allowed."""
    num_pairs = dissection.num_units * len(dissection.concepts.concepts)
    samples = dissection.num_draws
    place = dissection.basis.config.document.place(("dissection",))
    mb_of_one = num_pairs * BYTES_OF_COUNT / MB
    draws_mb, counts_mb = mb_of_one * samples, mb_of_one * COPIES_OF_BINS * (NUM_EDGES + 1)
    for what, needed_mb, hint in (
        (f"{samples} draws", draws_mb, "lower chance.samples"),
        ("counts by activation", counts_mb, "name fewer concepts"),
    ):
        room_mb = max(dissection.room(), ALWAYS_MB)
        if needed_mb > room_mb:
            enough = enough_mb(max(draws_mb, counts_mb))
            raise ConfigError(
                f"{place}: dissection: {what} for {num_pairs} pairs of unit and concept take "
                f"{show_mb(needed_mb)}, but may take only {show_mb(room_mb)}",
                hint=f"raise memory_mb to {enough}, {hint}, or take fewer layers",
            )


def show_mb(size_mb: float) -> str:
    """Return an amount of memory for people, to three digits or to the MB."""
    return f"{size_mb:.0f} MB" if size_mb >= 100 else f"{size_mb:.3g} MB"


def enough_mb(needed_mb: float) -> int:
    """Return the least `memory_mb`, in whole MB, of which one part is as much as is needed."""
    return math.ceil(needed_mb / PART_OF_MEMORY)
