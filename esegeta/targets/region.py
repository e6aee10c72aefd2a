"""Over which voxels a target is formed: its mask (`over`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Logits, Mask
from esegeta.errors import TargetError
from esegeta.model import connected_components
from esegeta.targets.scene import Scene
from esegeta.targets.source_voxels import voxel_at, voxels_in_box
from esegeta.targets.surface import near_surface


class Region(ABC):
    """A rule that turns a scene and logits into a mask over the volume.

    `follows_prediction` says whether the mask changes with the logits: only then can it be
    `live`, and only then must the prediction be known before the target is. `is_of_predicted` says
    whether it holds no voxel where the label is predicted nowhere. `needs_label` says whether it
    is a label's region, and `why_empty` why it holds no voxel of it, where nothing else is known.
    """

    name: ClassVar[str]
    follows_prediction: ClassVar[bool] = True
    is_of_predicted: ClassVar[bool] = False
    needs_label: ClassVar[bool] = True
    why_empty: ClassVar[str] = "the network predicts none there, or the region misses it"

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
    is_of_predicted: ClassVar[bool] = True

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
    why_empty: ClassVar[str] = "the ground truth of this case holds none"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return where the ground truth holds any of the label's integers."""
        return scene.truth_of(label, "over: label")


@dataclass(frozen=True)
class FalsePositive(Region):
    """Voxels predicted as the label that the ground truth does not give to it."""

    name: ClassVar[str] = "false_positive"
    is_of_predicted: ClassVar[bool] = True
    why_empty: ClassVar[str] = "the network predicts none beyond the ground truth"

    def form(self, scene: Scene, logits: Logits | None, label: str | int) -> Mask:
        """Return predicted and not labelled, where the ground truth is known."""
        wrong = ~scene.truth_of(label, "over: label")
        wrong &= scene.valid("over: label")
        return Predicted().mask(scene, logits, label) & wrong


@dataclass(frozen=True)
class FalseNegative(Region):
    """Voxels that the ground truth gives to the label and the network does not."""

    name: ClassVar[str] = "false_negative"
    why_empty: ClassVar[str] = "the network misses no voxel of it"

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
    is_of_predicted: ClassVar[bool] = True

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
    is_of_predicted: ClassVar[bool] = True

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

REGION_KINDS: dict[str, type[Region]] = {
    **{name: type(region) for name, region in REGIONS.items()},
    **{kind.name: kind for kind in (Roi, BoxRegion, PointRegion)},
}
"""Classes of regions by the word that configs know them by."""
