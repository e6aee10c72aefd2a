"""Over which voxels a target is formed: its mask (`over`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Logits, Mask
from esegeta.errors import TargetError
from esegeta.model import connected_components
from esegeta.targets.scene import Scene
from esegeta.targets.surface import near_surface
from esegeta.volume import Grid, Volume


class Region(ABC):
    """A rule that turns a scene and logits into a mask over the volume.

    `follows_prediction` says whether the mask changes with the logits: only then can it be
    `live`, and only then must the prediction be known before the target is. `needs_label` says
    whether it is a label's region.
    """

    name: ClassVar[str]
    follows_prediction: ClassVar[bool] = True
    needs_label: ClassVar[bool] = True

    def mask(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return the mask `*S` for logits `1 L *S`; None stands for the scene's own prediction.

        Padding is never in it.

        Args:
            scene: model, volume and ground truth.
            logits: `1 L *S`, or None where the prediction is not needed.
            label: name or integer of the label.
        """
        return scene.within(self.form(scene, logits, label))

    @abstractmethod
    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return the mask as `mask` does, but padding may be in it.

        Args:
            scene: model, volume and ground truth.
            logits: `1 L *S`, or None where the prediction is not needed.
            label: name or integer of the label.
        """

    def describe(self) -> str:
        """Return the region in words, with its parameters."""
        return self.name


@dataclass(frozen=True)
class Predicted(Region):
    """Voxels predicted as the label; of the scene's own prediction, after postprocessing."""

    name: ClassVar[str] = "predicted"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return where the label has the largest logit (softmax), or p above its threshold."""
        if logits is None or scene.prediction.is_own(logits):
            return scene.predicted(label)
        return scene.labels.predicted(logits, label)[0]


@dataclass(frozen=True)
class Labelled(Region):
    """Voxels that the ground truth gives to the label."""

    name: ClassVar[str] = "label"
    follows_prediction: ClassVar[bool] = False

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return where the ground truth holds any of the label's integers."""
        return scene.truth_of(label, "over: label")


@dataclass(frozen=True)
class FalsePositive(Region):
    """Voxels predicted as the label that the ground truth does not give to it."""

    name: ClassVar[str] = "false_positive"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return predicted and not labelled, where the ground truth is known."""
        wrong = ~scene.truth_of(label, "over: label")
        wrong &= scene.valid("over: label")
        return Predicted().mask(scene, logits, label) & wrong


@dataclass(frozen=True)
class FalseNegative(Region):
    """Voxels that the ground truth gives to the label and the network does not."""

    name: ClassVar[str] = "false_negative"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return labelled and not predicted."""
        missed = scene.truth_of(label, "over: label")
        return missed & ~Predicted().mask(scene, logits, label)


@dataclass(frozen=True)
class Component(Region):
    """One connected component of the predicted label (faces, edges and corners connect).

    Args:
        rank: 1 for the largest, 2 for the next, by number of voxels.
    """

    rank: int = 1
    name: ClassVar[str] = "component"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return the component of this rank; empty when there are fewer."""
        if logits is None or scene.prediction.is_own(logits):
            return scene.components(label) == self.rank
        return connected_components(Predicted().mask(scene, logits, label)) == self.rank

    def describe(self) -> str:
        """Return the rank in words."""
        return f"component #{self.rank}" if self.rank > 1 else "component (largest)"


@dataclass(frozen=True)
class Boundary(Region):
    """Voxels within a distance of the surface of the predicted label, on either side.

    Args:
        within_mm: distance between voxel centres and the surface's voxels, in mm.
    """

    within_mm: float = 3.0
    name: ClassVar[str] = "boundary"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return voxels whose distance to the other side of the surface is at most `within_mm`."""
        inside = Predicted().mask(scene, logits, label)
        volume = scene.volume
        return near_surface(inside, volume.grid.spacing_mm, self.within_mm, of=volume.inside)

    def describe(self) -> str:
        """Return the distance in words."""
        return f"boundary within {self.within_mm:g} mm"


@dataclass(frozen=True, eq=False)
class Roi(Region):
    """Voxels of a mask that was given.

    Args:
        voxels: `*S` on the volume's grid, non-zero where the region is.
        origin: where the mask came from, for the record.
    """

    voxels: Tensor
    origin: str = "a given mask"
    name: ClassVar[str] = "roi"
    follows_prediction: ClassVar[bool] = False
    needs_label: ClassVar[bool] = False

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return the given mask.

        Raises:
            TargetError: the mask has another shape than the volume.
        """
        if tuple(self.voxels.shape) != scene.volume.grid.shape:
            raise TargetError(
                f"over: roi: the mask is {tuple(self.voxels.shape)}, "
                f"the volume {scene.volume.grid.shape}"
            )
        return (self.voxels != 0).to(scene.volume.data.device)

    def describe(self) -> str:
        """Return the origin of the mask."""
        return f"roi {self.origin}"


@dataclass(frozen=True)
class BoxRegion(Region):
    """A box of voxels of the source image, [start, stop) on each axis.

    Args:
        start: first voxel on each axis, in the source image's voxel indices.
        stop: one past the last voxel.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    name: ClassVar[str] = "box"
    follows_prediction: ClassVar[bool] = False
    needs_label: ClassVar[bool] = False

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return the voxels whose centre lies in the box."""
        return voxels_in_box(scene.volume, self.start, self.stop)

    def describe(self) -> str:
        """Return both corners."""
        return f"box {list(self.start)} to {list(self.stop)}"


@dataclass(frozen=True)
class PointRegion(Region):
    """The one voxel nearest to a voxel of the source image.

    Args:
        index: voxel indices in the source image, as a viewer shows them.
    """

    index: tuple[float, ...]
    name: ClassVar[str] = "point"
    follows_prediction: ClassVar[bool] = False
    needs_label: ClassVar[bool] = False

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return a mask of one voxel."""
        return voxel_at(scene.volume, self.index)

    def describe(self) -> str:
        """Return the voxel."""
        return f"point {list(self.index)}"


@dataclass(frozen=True)
class Otsu(Region):
    """Voxels whose probability of the label lies above Otsu's threshold of that map."""

    name: ClassVar[str] = "otsu"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return probability > threshold.

        Source: Otsu, IEEE Trans. SMC 9 (1979), equation 18; 256 bins over the map's range.
        """

        def probability(logits: Logits) -> Tensor:
            return scene.labels.probability_of(logits, label)[0]

        map_ = scene.prediction.gathered(probability) if logits is None else probability(logits)
        inside = scene.volume.inside
        return map_ > otsu_threshold(map_ if inside is None else map_[inside])


@dataclass(frozen=True)
class Everywhere(Region):
    """All voxels of the image."""

    name: ClassVar[str] = "all"
    follows_prediction: ClassVar[bool] = False
    needs_label: ClassVar[bool] = False

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return a mask that is true everywhere."""
        volume = scene.volume
        return torch.ones(volume.grid.shape, dtype=torch.bool, device=volume.data.device)


def otsu_threshold(values: Tensor, num_bins: int = 256) -> float:
    """Return the threshold that maximises the variance between the two classes."""
    flat = values.detach().double().flatten()
    low, high = float(flat.min()), float(flat.max())
    if high <= low:
        return high
    counts = torch.histc(flat, bins=num_bins, min=low, max=high)
    centres = low + (torch.arange(num_bins, device=flat.device) + 0.5) * (high - low) / num_bins
    below = counts.cumsum(0)
    sums = (counts * centres).cumsum(0)
    above = below[-1] - below
    mean_below = sums / below.clamp(min=1)
    mean_above = (sums[-1] - sums) / above.clamp(min=1)
    between = below * above * (mean_below - mean_above) ** 2
    best = int(between[:-1].argmax())
    return low + (best + 1) * (high - low) / num_bins


def voxels_in_box(volume: Volume, start: tuple[int, ...], stop: tuple[int, ...]) -> Mask:
    """Return the voxels `*S` of a volume whose centre lies in a box of the source image's voxels.

    Raises:
        TargetError: the box has another number of axes.
    """
    grid, source = volume.grid, volume.source.grid
    if len(start) != source.ndim or len(stop) != source.ndim:
        raise TargetError(
            f"over: box: {source.ndim} axes in the image, the box has {len(start)}",
            hint="write box: [[x0, y0, z0], [x1, y1, z1]] in voxels of the image",
        )
    inside = np.ones(grid.shape, dtype=bool)
    for axis, (low, high) in enumerate(zip(start, stop, strict=True)):
        index = _source_index(grid, source, axis)
        inside &= (index >= low - 0.5) & (index < high - 0.5)
    return torch.from_numpy(inside).to(volume.data.device)


def voxel_at(volume: Volume, index: tuple[float, ...]) -> Mask:
    """Return a mask of the one voxel nearest to a voxel of the source image; empty outside.

    Raises:
        TargetError: the point has another number of axes.
    """
    if len(index) != volume.source.grid.ndim:
        raise TargetError(
            f"over: point: the image has {volume.source.grid.ndim} axes, the point {len(index)}"
        )
    place = volume.grid.to_index(volume.source.grid.to_mm(index))
    voxel = tuple(round(value) for value in place)
    mask = torch.zeros(volume.grid.shape, dtype=torch.bool, device=volume.data.device)
    if all(0 <= v < n for v, n in zip(voxel, volume.grid.shape, strict=True)):
        mask[voxel] = True
    return mask


def _source_index(grid: Grid, source: Grid, axis: int) -> np.ndarray:
    """Return for each voxel of `grid` its fractional index along one axis of `source`.

    Its shape broadcasts to `*S`: axes that do not matter have length one, so that grids which
    differ by flips, crops and spacing alone cost no memory of the volume's size.
    """
    turn = np.linalg.inv(source.affine) @ grid.affine
    index = np.full((1,) * grid.ndim, turn[axis, 3])
    for own, length in enumerate(grid.shape):
        if turn[axis, own] != 0:
            shape = [length if place == own else 1 for place in range(grid.ndim)]
            index = index + turn[axis, own] * np.arange(length).reshape(shape)
    return index


REGIONS: dict[str, Region] = {
    "predicted": Predicted(),
    "label": Labelled(),
    "false_positive": FalsePositive(),
    "false_negative": FalseNegative(),
    "component": Component(),
    "boundary": Boundary(),
    "otsu": Otsu(),
    "all": Everywhere(),
}
"""Regions by name; those with parameters are passed as objects, such as `Boundary(5.0)`."""
