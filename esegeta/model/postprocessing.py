"""What happens to predicted masks once they are decided: small parts go, holes are filled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from esegeta.axes import LabelMap, Mask
from esegeta.errors import ConfigError, suggest

STEPS = ("keep_largest", "min_volume_ml", "fill_holes")
"""In the order in which they are done."""


def connected_components(mask: Mask) -> LabelMap:
    """Number the connected components of a mask from 1, the largest first; 0 is background."""
    from scipy import ndimage

    array = mask.cpu().numpy()
    structure = np.ones((3,) * array.ndim, dtype=bool)
    numbered, count = ndimage.label(array, structure=structure)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    rank = np.zeros(count + 1, dtype=np.int64)
    rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return torch.from_numpy(rank[numbered]).to(mask.device)


@dataclass(frozen=True)
class Postprocessing:
    """Which predicted masks lose small parts, and which have their holes filled, in this order.

    Args:
        keep_largest: labels that keep only their largest connected component.
        min_volume_ml: labels that lose components below a volume in ml.
        fill_holes: labels whose enclosed holes become theirs, where no other label is predicted.
    """

    keep_largest: tuple[str, ...] = ()
    min_volume_ml: Mapping[str, float] = field(default_factory=dict)
    fill_holes: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any], names: Sequence[str]) -> Postprocessing:
        """Return what a block of keys stands for; `true`, or one number, is for all labels.

        Args:
            given: `{keep_largest: [liver], min_volume_ml: {lesion: 0.1}, fill_holes: true}`.
            names: names of the labels.

        Raises:
            ConfigError: a step or label is unknown, or a volume is not a number above 0.
        """
        for step in given:
            if step not in STEPS:
                raise ConfigError(
                    f'postprocessing: no step "{step}"', hint=suggest(str(step), STEPS)
                )
        return cls(
            _labels("keep_largest", given.get("keep_largest"), names),
            _volumes(given.get("min_volume_ml"), names),
            _labels("fill_holes", given.get("fill_holes"), names),
        )

    def __bool__(self) -> bool:
        return bool(self.keep_largest or self.min_volume_ml or self.fill_holes)

    def describe(self) -> dict[str, Any]:
        """Return the steps that are set, in their order, as plain values."""
        steps = {
            "keep_largest": list(self.keep_largest),
            "min_volume_ml": dict(self.min_volume_ml),
            "fill_holes": list(self.fill_holes),
        }
        return {name: value for name, value in steps.items() if value}

    def removing(self, name: str) -> list[str]:
        """Return the steps that take voxels from a label."""
        return [step for step in STEPS[:2] if name in getattr(self, step)]

    def refine(
        self, masks: Mapping[str, Mask], *, voxel_ml: float, exclusive: bool
    ) -> dict[str, Mask]:
        """Return the masks after all steps.

        Args:
            masks: `*S` of all labels but the background.
            voxel_ml: volume of a voxel, in ml.
            exclusive: whether a voxel has one label at most; then a hole that two labels enclose
                goes to the first of them.
        """
        result = dict(masks)
        for name in self.keep_largest:
            result[name] = connected_components(result[name]) == 1
        for name, least_ml in self.min_volume_ml.items():
            result[name] = _without_small(result[name], least_ml / voxel_ml)
        found = dict(result)
        for name in self.fill_holes:
            seen = result if exclusive else found
            others = [mask for other, mask in seen.items() if other != name]
            holes = _holes_of(result[name])
            for mask in others:
                holes = holes & ~mask
            result[name] = result[name] | holes
        return result


def _without_small(mask: Mask, least_voxels: float) -> Mask:
    components = connected_components(mask)
    counts = torch.bincount(components.flatten())
    # A component of exactly this volume stays, though the division may not be exact.
    kept = counts >= least_voxels * (1 - 1e-9)
    kept[0] = False
    return kept[components]


def _holes_of(mask: Mask) -> Mask:
    """Return the voxels that no path over faces of unmarked voxels leads out of."""
    from scipy import ndimage

    filled = torch.from_numpy(ndimage.binary_fill_holes(mask.cpu().numpy()))
    return filled.to(mask.device) & ~mask


def _labels(step: str, given: Any, names: Sequence[str]) -> tuple[str, ...]:
    if given is None or given is False:
        return ()
    if given is True:
        return tuple(names)
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, Sequence):
        raise ConfigError(
            f"postprocessing.{step}: {given!r} is not a list of labels",
            hint=f"such as {step}: [{names[0]}], or true for all",
        )
    for name in listed:
        _require(step, name, names)
    return tuple(dict.fromkeys(listed))


def _volumes(given: Any, names: Sequence[str]) -> dict[str, float]:
    step = "min_volume_ml"
    if given is None or given is False:
        return {}
    if isinstance(given, bool) or not isinstance(given, (int, float, Mapping)):
        raise ConfigError(
            f"postprocessing.{step}: {given!r} is not a volume",
            hint=f"give a volume in ml to each label, such as {{{names[0]}: 0.1}}, or one for all",
        )
    volumes = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name, value in volumes.items():
        _require(step, name, names)
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not known or not 0 < value < math.inf:
            raise ConfigError(f"postprocessing.{step}: {value!r} must be a volume above 0 ml")
    return {name: float(value) for name, value in volumes.items()}


def _require(step: str, name: Any, names: Sequence[str]) -> None:
    if name not in names:
        raise ConfigError(f'postprocessing.{step}: no label "{name}"', hint=suggest(name, names))
