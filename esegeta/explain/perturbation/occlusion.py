"""How the target falls when a box, or a feature of the image, is replaced by a baseline."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from esegeta.axes import Image, Shape
from esegeta.errors import ConfigError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import WORTH, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.edited import Edits
from esegeta.explain.perturbation.edits import EditedTarget
from esegeta.explain.perturbation.mask_grid import Lengths
from esegeta.explain.perturbation.masked_target import OverFeatures
from esegeta.predict import Box


@dataclass(frozen=True)
class Patch:
    """One occlusion: a box of the volume, in some channels.

    Args:
        index: its place among all patches.
        box: box in voxels of the volume.
        channels: channels that are replaced.
    """

    index: int
    box: Box
    channels: slice

    @property
    def region(self) -> tuple[slice, ...]:
        """Channels and box, to index `C *S`."""
        return (self.channels, *self.box)


@dataclass(frozen=True)
class Occlusion(Explainer):
    """How much the target falls when a box of the image is replaced by a baseline.

        a(v) = mean over boxes b that hold v of  R(x) - R(x with b replaced)

    Positive: the box holds what raises the target. Unit: target. Only windows that touch both
    the box and the target are run again; the result is that of brute force.

    Args:
        box: side of the box in voxels, one or one per axis; a quarter of the window by default.
        box_mm: the same in millimetres.
        stride: distance between boxes in voxels; the box's side by default.
        stride_mm: the same in millimetres.
        baseline: zero, mean, minimum, blur, or an image file.
        channels: replace `each` channel by itself, or all `together`.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014,
    section 4.2; overlapping boxes are averaged as captum does.
    """

    box: Lengths | None = None
    box_mm: Lengths | None = None
    stride: Lengths | None = None
    stride_mm: Lengths | None = None
    baseline: Baseline | str = "mean"
    channels: Literal["each", "together"] = "each"

    name: ClassVar[str] = "occlusion"
    traits: ClassVar[Traits] = Traits("perturbation", additive=True)
    meaning: ClassVar[Meaning] = WORTH
    zero_hint: ClassVar[str] = (
        "no box changes the target; is the image equal to its baseline, or the box too small?"
    )

    def __post_init__(self) -> None:
        for one, other in (("box", "box_mm"), ("stride", "stride_mm")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ConfigError(f"occlusion: give {one} or {other}, not both")
        for name in ("box", "box_mm", "stride", "stride_mm"):
            value = getattr(self, name)
            if value is not None and min(value if isinstance(value, tuple) else (value,)) <= 0:
                raise ConfigError(f"occlusion: {name}: {value} must be above zero")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> Cost:
        """For each box the active windows that it touches, forward."""
        return Cost.of(1, over="touched", per="box")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map; its channels are separate unless replaced together."""
        volume = objective.volume
        box, stride = self._lengths(objective)
        patches = list_patches(volume.grid.shape, box, stride, self._channel_slices(objective))
        baseline = parse_baseline(self.baseline).of(volume)
        falls = falls_of_target(objective, patches, baseline)
        total = torch.zeros_like(volume.data)
        count = torch.zeros_like(volume.data)
        for patch, fall in zip(patches, falls.to(total).unbind(), strict=True):
            total[patch.region] += fall
            count[patch.region] += 1
        data = total / count
        more = {"box_vox": list(box), "stride_vox": list(stride), "boxes": len(patches)}
        return RawMap(data[:1] if self.channels == "together" else data, more=more)

    def _channel_slices(self, objective: Objective) -> list[slice]:
        channels = objective.volume.num_channels
        if self.channels == "together":
            return [slice(0, channels)]
        return [slice(channel, channel + 1) for channel in range(channels)]

    def _lengths(self, objective: Objective) -> tuple[Shape, Shape]:
        shape, spacing = objective.volume.grid.shape, objective.volume.grid.spacing_mm
        default = tuple(max(1, length // 4) for length in objective.windows.size)
        box = _in_voxels(self.box, self.box_mm, spacing) or default
        stride = _in_voxels(self.stride, self.stride_mm, spacing) or box
        if any(s > b for s, b in zip(stride, box, strict=True)):
            raise ConfigError(
                f"occlusion: stride {list(stride)} voxels is wider than the box {list(box)}",
                hint="voxels between the boxes would get no value; lower the stride",
            )
        box = tuple(min(b, n) for b, n in zip(box, shape, strict=True))
        return box, tuple(min(s, b) for s, b in zip(stride, box, strict=True))


def list_patches(shape: Shape, box: Shape, stride: Shape, channels: Sequence[slice]) -> list[Patch]:
    """Return boxes every `stride` voxels until the volume is covered; the last may be cut."""
    starts = [
        [place * s for place in range(1 + math.ceil((n - b) / s))]
        for n, b, s in zip(shape, box, stride, strict=True)
    ]
    corners = itertools.product(channels, *starts)
    return [
        Patch(
            index,
            tuple(
                slice(start, min(start + b, n))
                for start, b, n in zip(corner, box, shape, strict=True)
            ),
            channel,
        )
        for index, (channel, *corner) in enumerate(corners)
    ]


def falls_of_target(objective: Objective, patches: Sequence[Patch], baseline: Image) -> Tensor:
    """Return `R(x) - R(x with patch replaced by baseline)` of every patch, float64."""
    target = EditedTarget(objective)
    return -target.changes(_Occluded(patches, baseline, target))


class _Occluded(Edits):
    """Copies of the image with one patch replaced in each."""

    def __init__(self, patches: Sequence[Patch], baseline: Image, target: EditedTarget) -> None:
        self._patches = patches
        self._baseline = baseline
        self._windows = target.windows
        self._touching: dict[int, dict[int, Hashable]] = {}
        for patch in patches:
            for window in target.windows.touching_box(patch.box):
                self._touching.setdefault(window, {})[patch.index] = patch.index

    def __len__(self) -> int:
        return len(self._patches)

    def touching(self, window: int) -> Mapping[int, Hashable]:
        return self._touching.get(window, {})

    def apply(self, edit: int, crop: Tensor, box: Box) -> None:
        patch = self._patches[edit]
        inside, source = [], []
        for part, voxels in zip(patch.box, self._windows.origins(box), strict=True):
            held = ((voxels >= part.start) & (voxels < part.stop)).nonzero()[:, 0]
            inside.append(held)
            source.append(voxels[held])
        hidden = self._baseline[_crossings(patch.channels, source)]
        crop[_crossings(patch.channels, inside)] = hidden.to(crop)


def _crossings(channels: slice, rows: Sequence[Tensor]) -> tuple[slice | Tensor, ...]:
    """Return the index of all voxels whose place along each axis is among that axis' rows."""
    return (channels, *torch.meshgrid(*rows, indexing="ij"))


def _in_voxels(
    vox: Lengths | None, mm: Lengths | None, spacing_mm: Sequence[float]
) -> Shape | None:
    given = vox if vox is not None else mm
    if given is None:
        return None
    lengths = given if isinstance(given, tuple) else (given,) * len(spacing_mm)
    if len(lengths) != len(spacing_mm):
        raise ConfigError(
            f"occlusion: {list(lengths)} for a {len(spacing_mm)}D image",
            hint=f"give one length, or {len(spacing_mm)}",
        )
    units = spacing_mm if vox is None else (1.0,) * len(lengths)
    return tuple(max(1, round(value / unit)) for value, unit in zip(lengths, units, strict=True))


@dataclass(frozen=True)
class FeatureAblation(OverFeatures):
    """How much the target falls when a feature of the image is replaced by a baseline.

        a(v) = R(x) - R(x with the feature of v replaced)

    Positive: the feature raises the target. Each voxel holds the value of its whole feature, in
    the target's unit. Only windows that touch both feature and target are run again.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014,
    section 4.2, with features instead of squares, as captum's FeatureAblation.
    """

    name: ClassVar[str] = "feature_ablation"
    traits: ClassVar[Traits] = Traits("perturbation", additive=True, by_channel=False)
    meaning: ClassVar[Meaning] = WORTH

    @property
    def cost(self) -> Cost:
        """For each feature the active windows that it touches, forward."""
        return Cost.of(1, over="touched", per="feature")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map."""
        masked_target = self.masked_target(objective)
        all_but_one = ~torch.eye(len(masked_target.players), dtype=torch.bool)
        return masked_target.map(-masked_target.changes(masked_target.with_dummies(all_but_one)))
