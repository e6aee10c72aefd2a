"""From the config's keys to objectives that are known to work on the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from esegeta.axes import Batch
from esegeta.config import RunConfig, blamed_on
from esegeta.config.features import FeatureKeys, FeatureObjectiveKeys
from esegeta.errors import ConfigError, DataError, MissingFileError, suggest
from esegeta.features import (
    DirectionObjective,
    DiversityObjective,
    LabelObjective,
    LayerObjective,
    PictureObjective,
    Subject,
    UnitObjective,
    WeightedObjectives,
)
from esegeta.model import check_units, find_listed, held_still, list_layers, require_map
from esegeta.model.file_hash import file_sha256
from esegeta.workflow.build import Basis
from esegeta.workflow.checks import prefixed

DIRECTION = "direction"
"""Name of the tensor of a file of a single vector."""


@dataclass(frozen=True, eq=False)
class PlannedObjective:
    """What pictures are made of.

    Args:
        name: of it.
        objective: it.
        label: the one that it is about, where it is about one.
        parts: what decides it, as plain values.
    """

    name: str
    objective: PictureObjective
    label: str | None
    parts: Mapping[str, Any]


def plan_objectives(
    config: RunConfig, keys: FeatureKeys, basis: Basis, subject: Subject, zeros: Batch
) -> tuple[PlannedObjective, ...]:
    """Build every objective, and read it once of a picture of zeros.

    Raises:
        EsegetaError: an objective names a layer, unit, position, label, file or objective that
            is not there; says where in the config.
    """
    found: dict[str, PlannedObjective] = {}
    for index, item in enumerate(keys.objectives):
        with (
            blamed_on(config, "features", "objectives", index),
            prefixed(f"features.objectives[{index}]"),
        ):
            planned = _plan(config, item, basis, found, index)
            _try_out(planned.objective, item, basis, subject, zeros)
        found[planned.name] = planned
    layers = {"diversity": keys.diversity, "dream": keys.dream}
    for name, block in layers.items():
        if block is not None:
            with blamed_on(config, "features", name, "layer"), prefixed(f"features.{name}.layer"):
                basis.capability.require_hooks(f"features.{name}")
                _require_layer(basis, subject, block.layer, zeros)
    return tuple(found.values())


def with_diversity(
    objective: PictureObjective, keys: FeatureKeys, spread: float
) -> PictureObjective:
    """Return an objective whose pictures are to differ, where the config asks for that."""
    if keys.diversity is None:
        return objective
    other = DiversityObjective(keys.diversity.layer)
    return WeightedObjectives(((1.0, objective), (keys.diversity.weight * spread, other)))


def _plan(
    config: RunConfig,
    item: FeatureObjectiveKeys,
    basis: Basis,
    known: Mapping[str, PlannedObjective],
    index: int,
) -> PlannedObjective:
    name, parts = item.shown_name, item.model_dump(mode="json")
    if item.combine is not None:
        return _combined(config, item, known, index)
    if item.label is not None:
        labels = basis.predictor.labels
        label = labels.name(item.label)
        labels.channels(label)
        shown = None if labels.is_background(label) else label
        return PlannedObjective(name, LabelObjective(labels, label, item.at), shown, parts)
    assert item.layer is not None
    basis.capability.require_hooks("an objective of a layer", hint="name a label instead")
    if item.unit is not None:
        return PlannedObjective(name, UnitObjective(item.layer, item.unit, item.at), None, parts)
    if item.direction is None:
        return PlannedObjective(name, LayerObjective(item.layer), None, parts)
    direction = item.direction
    if isinstance(direction, str):
        vector, sha = _read_direction(config, direction, item)
        parts = {**parts, "sha256": sha}
    else:
        vector = torch.tensor(direction)
    objective = DirectionObjective(item.layer, vector, item.at, item.shown_name)
    return PlannedObjective(name, objective, None, parts)


def _combined(
    config: RunConfig,
    item: FeatureObjectiveKeys,
    known: Mapping[str, PlannedObjective],
    index: int,
) -> PlannedObjective:
    assert item.combine is not None
    for other in item.combine:
        if other not in known:
            raise ConfigError(
                f'features.objectives[{index}].combine: no objective "{other}" is listed before',
                hint=suggest(other, known) if known else "list it before",
            )
    terms = tuple((factor, known[other].objective) for other, factor in item.combine.items())
    parts = {"combine": {name: [c, known[name].parts] for name, c in item.combine.items()}}
    labels = [label for name, c in item.combine.items() if c > 0 and (label := known[name].label)]
    label = labels[0] if labels else None
    return PlannedObjective(item.shown_name, WeightedObjectives(terms), label, parts)


def _read_direction(config: RunConfig, path: str, item: FeatureObjectiveKeys) -> tuple[Tensor, str]:
    """Return the vector in a file, and the file's SHA-256.

    Raises:
        DataError: the file is missing, or holds no such vector of finite numbers.
    """
    file = config.find_file(path)
    if not file.is_file():
        raise MissingFileError(f"{file}: no such file")
    try:
        tensors = _tensors_of(file)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise DataError(
            f"{file}: holds no direction ({type(error).__name__}: {error})",
            hint="give a .npy file, or a .safetensors file with the tensor `direction`",
        ) from error
    found = _chosen(file, tensors, item)
    vector = found.float().flatten()
    if found.ndim == 0 or not bool(vector.isfinite().all()) or not bool(vector.any()):
        raise DataError(f"{file}: must be a vector of finite numbers, not all zero")
    return vector, file_sha256(file)


def _tensors_of(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".npy":
        return {DIRECTION: torch.from_numpy(np.load(file, allow_pickle=False)).float()}
    return load_file(file)


def _chosen(file: Path, tensors: Mapping[str, Tensor], item: FeatureObjectiveKeys) -> Tensor:
    """Return the only vector of a file, `direction`, or that of a concept in the layer.

    Raises:
        DataError: the file has no such vector.
    """
    if item.concept is not None:
        key = f"{item.layer}/{item.concept}"
        if key not in tensors:
            before = f"{item.layer}/"
            known = [name[len(before) :] for name in tensors if name.startswith(before)]
            known = [name for name in known if "/" not in name]
            layers = sorted({name.partition("/")[0] for name in tensors})
            raise DataError(
                f'{file}: has no concept "{item.concept}" in layer "{item.layer}"',
                hint=suggest(item.concept, known)
                if known
                else f"its layers are {', '.join(layers)}",
            )
        return tensors[key]
    if DIRECTION in tensors or len(tensors) == 1:
        return tensors.get(DIRECTION, next(iter(tensors.values())))
    raise DataError(
        f"{file}: holds {len(tensors)} vectors",
        hint="choose one with `concept`, if `esegeta concepts` wrote the file; or give a file with "
        f"the tensor `{DIRECTION}`",
    )


def _try_out(
    objective: PictureObjective,
    item: FeatureObjectiveKeys,
    basis: Basis,
    subject: Subject,
    zeros: Batch,
) -> None:
    if item.layer is not None:
        network = subject.network
        if item.unit is not None:
            with held_still(network):
                check_units(network, item.layer, (item.unit,), zeros)
        else:
            _require_layer(basis, subject, item.layer, zeros)
    with torch.no_grad(), held_still(subject.network):
        objective(subject.see(zeros, objective.layers))


def _require_layer(basis: Basis, subject: Subject, name: str, zeros: Batch) -> None:
    network = subject.network
    with held_still(network):
        layers = list_layers(network, lambda: network(zeros))
        require_map(find_listed(network, layers, name))
