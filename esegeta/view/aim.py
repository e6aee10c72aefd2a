"""From a click to a target: the voxel, or the connected part that holds it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from esegeta.axes import LabelMap
from esegeta.errors import TargetError
from esegeta.model import connected_components
from esegeta.targets import (
    REGIONS,
    Component,
    PointRegion,
    Region,
    Roi,
    Scene,
    VoxelTarget,
)
from esegeta.view.question import AS_PREDICTED, Question

UNFIT = re.compile(r"[^\w.]+|_")
"""Characters left out of a target's name: those that file names should not hold, or separators."""

ERRORS = {
    "false_positive": "Why is false-positive region {rank} predicted as {label}?",
    "false_negative": "Why is false-negative region {rank} not predicted as {label}?",
}
"""Regions of errors, and the questions about them."""

FoundPart = tuple[str, str, Region]
"""A part's short name, the question about it, and its voxels."""


@dataclass(frozen=True, eq=False)
class Aim:
    """What a click asks about.

    Args:
        name: name of the target, as used in file names.
        label: name of the label.
        part: short name of the region; with the label it says all that decides the target.
        words: question that its map answers.
        region: voxels of the target.
        place_mm: RAS position of the voxel of the image.
    """

    name: str
    label: str
    part: str
    words: str
    region: Region
    place_mm: tuple[float, float, float]

    @property
    def key(self) -> tuple[str, str]:
        """Key that distinguishes its target from all others of the case."""
        return self.label, self.part

    @property
    def target(self) -> VoxelTarget:
        """The sum of the label's logits over the region."""
        return VoxelTarget(self.label, over=self.region)


@dataclass(frozen=True, eq=False)
class Aimer:
    """Finds what clicks on one case are about; connected parts are found once.

    Args:
        scene: the case with its prediction.
    """

    scene: Scene
    _parts: dict[tuple[str, str], LabelMap] = field(default_factory=dict)

    def aim(self, question: Question) -> Aim:
        """Return the target of a question.

        Raises:
            TargetError: the place lies outside of what the network sees, nothing is predicted
                there, or there is no error there.
        """
        volume = self.scene.volume
        source = volume.source.grid
        index = tuple(round(value) for value in source.to_index(question.place_mm))
        if not _within(index, source.shape):
            raise TargetError("this place is outside the image")
        exact = volume.grid.to_index(source.to_mm(index))
        voxel = tuple(round(value) for value in exact)
        inside = volume.inside
        if not _within(voxel, volume.grid.shape) or (inside is not None and not inside[voxel]):
            raise TargetError(
                "the network does not see this voxel: preprocessing cuts it off",
                hint="choose one nearer to the middle of the image",
            )
        label = question.label
        if label == AS_PREDICTED:
            label = self.predicted_at(voxel)
        finders: dict[str, Callable[[], FoundPart]] = {
            "voxel": lambda: self._voxel(label, voxel, index),
            "component": lambda: self._component(label, voxel),
            "error": lambda: self._error(label, voxel),
        }
        part, words, region = finders[question.about]()
        name = f"{names_for_files(self.scene.labels.foreground)[label]}-{part}"
        return Aim(name, label, part, words, region, source.to_mm(index))

    def predicted_at(self, voxel: tuple[int, ...]) -> str:
        """Return the label that is predicted at a voxel; of several the last, which is on top.

        Raises:
            TargetError: none is.
        """
        found = [
            name for name in self.scene.labels.foreground if bool(self.scene.predicted(name)[voxel])
        ]
        if not found:
            raise TargetError(
                "no label is predicted at this voxel", hint="choose the label to ask about"
            )
        return found[-1]

    def _voxel(self, label: str, voxel: tuple[int, ...], index: tuple[int, ...]) -> FoundPart:
        """Several voxels of a fine image may be one of the network's, and have one answer."""
        grid, source = self.scene.volume.grid, self.scene.volume.source.grid
        own = tuple(round(value) for value in source.to_index(grid.to_mm(voxel)))
        back = [round(value) for value in grid.to_index(source.to_mm(own))]
        chosen = own if tuple(back) == voxel and _within(own, source.shape) else index
        kind = "pixel" if self.scene.volume.source.is_picture else "voxel"
        words = f"Why {label} at {kind} {', '.join(map(str, chosen))}?"
        return f"voxel-{'-'.join(map(str, chosen))}", words, PointRegion(chosen)

    def _component(self, label: str, voxel: tuple[int, ...]) -> FoundPart:
        rank = int(self.scene.components(label)[voxel])
        if not rank:
            raise TargetError(
                f'"{label}" is not predicted at this voxel, so the voxel is in no component of it',
                hint="click on the segmentation, or ask about the voxel",
            )
        words = f"Why {label} in component {rank} of its prediction (1 is the largest)?"
        return f"component-{rank}", words, Component(rank)

    def _error(self, label: str, voxel: tuple[int, ...]) -> FoundPart:
        if self.scene.truth is None:
            raise TargetError(
                "errors can only be found with a ground truth, and the case has none",
                hint="give the case a `label:` file",
            )
        for kind, why in ERRORS.items():
            parts = self._errors(kind, label)
            rank = int(parts[voxel])
            if rank:
                mask: Tensor = parts == rank
                origin = f"of the {kind.replace('_', ' ')} part {rank} of {label}"
                words = why.format(label=label, rank=rank)
                return f"{kind.replace('_', '-')}-{rank}", words, Roi(mask, origin)
        raise TargetError(
            f'the prediction of "{label}" is correct at this voxel',
            hint="click on a voxel that is wrongly predicted",
        )

    def _errors(self, kind: str, label: str) -> LabelMap:
        if (kind, label) not in self._parts:
            mask = REGIONS[kind].mask(self.scene, None, label)
            self._parts[kind, label] = connected_components(mask)
        return self._parts[kind, label]


def _within(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(0 <= at < length for at, length in zip(index, shape, strict=True))


def names_for_files(labels: Sequence[str]) -> dict[str, str]:
    """Return what each label is called in names of files; no two are called the same."""
    found: dict[str, str] = {}
    for label in labels:
        plain = name = UNFIT.sub("-", label).strip("-.") or "label"
        number = 1
        while name in found.values():
            number += 1
            name = f"{plain}-{number}"
        found[label] = name
    return found
