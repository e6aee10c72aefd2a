"""Features: the parts of an image that are taken out and put back as one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import Image, LabelMap, Mask, Shape
from esegeta.errors import ConfigError, DataError, suggest
from esegeta.explain.finite import FiniteParameters
from esegeta.volume import Volume, names_image

FeatureKind = Literal["blocks", "supervoxels", "channels", "atlas"]


@dataclass(frozen=True, eq=False)
class Partition:
    """The features of one volume: regions, times channels where these are separate.

    Feature `g * num_regions + r` is region r in group g of the channels.

    Args:
        labels: `*S`, the region of each voxel, counted from 0; -1 where it is in none and is
            never replaced.
        regions: a name for each region.
        channels: a name for each channel, each a group of its own; empty: one group of all.
    """

    labels: Int[Tensor, "*S"]
    regions: tuple[str, ...]
    channels: tuple[str, ...] = ()

    @property
    def num_regions(self) -> int:
        """Number of regions."""
        return len(self.regions)

    @property
    def num_groups(self) -> int:
        """Number of groups of channels, which is that of a map's channels."""
        return max(1, len(self.channels))

    def __len__(self) -> int:
        return self.num_groups * self.num_regions

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each feature."""
        if not self.channels:
            return self.regions
        if self.regions == ("all",):
            return self.channels
        return tuple(f"{channel}: {region}" for channel in self.channels for region in self.regions)

    def within(self, inside: Mask | None) -> Partition:
        """Return the partition of some voxels alone; regions without any of them are left out."""
        if inside is None:
            return self
        labels = torch.where(inside.to(self.labels.device), self.labels, -1)
        there = torch.bincount(labels.flatten() + 1, minlength=self.num_regions + 1)[1:] > 0
        # Label -1 reads the last number, which is -1 too.
        numbers = F.pad(torch.cumsum(there, dim=0) - 1, (0, 1), value=-1).to(labels.dtype)
        regions = tuple(
            name for name, kept in zip(self.regions, there.tolist(), strict=True) if kept
        )
        return Partition(numbers[labels.long()], regions, self.channels)

    @property
    def sizes(self) -> Float[Tensor, " N"]:
        """Number of voxels of each feature, float64, on the labels' device."""
        counts = torch.bincount(self.labels.flatten() + 1, minlength=self.num_regions + 1)
        return counts[1:].double().repeat(self.num_groups)

    def paint(self, values: Float[Tensor, " N"]) -> Image:
        """Return a map `G *S` that holds at each voxel its feature's value, 0 in no feature."""
        return self.look_up(values.to(self.labels.device, torch.float32), self.labels, rest=0.0)

    def look_up(self, table: Tensor, labels: Tensor, *, rest: float | bool) -> Tensor:
        """Return `G *shape(labels)`: each voxel's entry of a table of features, else `rest`."""
        rows = table.reshape(self.num_groups, self.num_regions)
        # Label -1 reads the last column.
        return F.pad(rows, (0, 1), value=rest)[:, labels]

    def held_by(self, labels: Tensor) -> Bool[Tensor, " N"]:
        """Return which features hold one of these voxels; on the labels' device."""
        counts = torch.bincount(labels.flatten() + 1, minlength=self.num_regions + 1)
        return (counts[1:] > 0).repeat(self.num_groups)


@dataclass(frozen=True)
class Features(FiniteParameters):
    """The parts that a volume is cut into; write `supervoxels`, a file, or a block of keys.

    `blocks`: equal boxes. `supervoxels`: SLIC, on the CPU, the same each time. `channels`: each
    input channel is one feature. `atlas`: the labels of a file on the image's grid, 0 in none.

    Args:
        kind: one of these words.
        side_mm: side of the blocks in mm; each axis is cut into equal parts of about this length.
        count: approximate number of supervoxels.
        compactness: compactness of supervoxels: small follows edges (0.01), large makes them round
            (1).
        sigma_mm: width in mm of a Gaussian that smooths the image before supervoxels are made.
        channels: replace all channels of a region `together`, or `each` as a feature of its own.
        file: label map; `{case}` stands for the case's name.
        labels: the file's labels, preprocessed, `*S`; filled in by the run.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "arbitrary_types_allowed": True,
        "allow_inf_nan": False,
    }

    kind: FeatureKind = "supervoxels"
    side_mm: float = 20.0
    count: int = 100
    compactness: float = 0.1
    sigma_mm: float = 0.0
    channels: Literal["together", "each"] = "together"
    file: str | None = None
    labels: Tensor | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.file is not None or self.labels is not None:
            object.__setattr__(self, "kind", "atlas")
        elif self.kind == "atlas":
            raise ConfigError("features: atlas: no file is named", hint="features: {file: PATH}")
        for name in ("side_mm", "count", "compactness"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"features: {name}: {getattr(self, name):g} must be above zero")
        if self.sigma_mm < 0:
            raise ConfigError(f"features: sigma_mm: {self.sigma_mm:g} must be 0 or more")

    def of(self, volume: Volume) -> Partition:
        """Cut a volume.

        Args:
            volume: image to cut into features.

        Raises:
            DataError: the atlas has another shape than the image, or holds no region.
        """
        each = self.channels == "each" or self.kind == "channels"
        channels = volume.channels if each else ()
        labels, names = self._regions(volume)
        return Partition(labels.to(volume.data.device), names, channels)

    def with_labels(self, labels: LabelMap) -> Features:
        """Return the same features with their file's labels.

        Args:
            labels: integers `*S` on the volume's grid, one for each feature.
        """
        return replace(self, labels=labels)

    def flipped(self, axis: int) -> Features:
        """Return the features of the flipped volume; only an atlas is bound to its voxels.

        Args:
            axis: spatial axis, from 0.
        """
        return self if self.labels is None else replace(self, labels=self.labels.flip(axis))

    def _regions(self, volume: Volume) -> tuple[Tensor, tuple[str, ...]]:
        if self.kind == "channels":
            return torch.zeros(volume.grid.shape, dtype=torch.int32), ("all",)
        if self.kind == "atlas":
            return self._atlas(volume)
        if self.kind == "blocks":
            labels = blocks(volume.grid.shape, volume.grid.spacing_mm, self.side_mm)
        else:
            labels = supervoxels(
                volume, self.count, compactness=self.compactness, sigma_mm=self.sigma_mm
            )
        word = self.kind.removesuffix("s")
        return labels, tuple(f"{word} {place}" for place in range(1, int(labels.max()) + 2))

    def _atlas(self, volume: Volume) -> tuple[Tensor, tuple[str, ...]]:
        given = self.labels
        if given is None or tuple(given.shape) != volume.grid.shape:
            found = None if given is None else tuple(given.shape)
            raise DataError(
                f"features {self.file or 'atlas'}: "
                f"shape {found}, but the image has {volume.grid.shape}",
                hint="an atlas must lie on the image's grid",
            )
        found_labels, places = torch.unique(given, return_inverse=True)
        regions = found_labels[found_labels != 0]
        if not len(regions):
            raise DataError(
                f"features {self.file or 'atlas'}: every voxel has the label 0, which "
                "is not a feature"
            )
        # Regions are numbered without the 0, wherever it stands among them.
        numbers = torch.cumsum(found_labels != 0, dim=0, dtype=torch.int32) - 1
        numbers[found_labels == 0] = -1
        return numbers[places], tuple(f"label {int(label)}" for label in regions)


def parse_features(value: Features | str) -> Features:
    """Turn `supervoxels`, or the path of a label map, into features.

    Raises:
        ConfigError: the word is neither.
    """
    if isinstance(value, Features):
        return value
    if names_image(value):
        return Features("atlas", file=value)
    kinds = get_args(FeatureKind)
    if value not in kinds:
        raise ConfigError(f'features: "{value}" is not known', hint=suggest(value, kinds))
    return Features(kind=next(kind for kind in kinds if kind == value))


def blocks(shape: Shape, spacing_mm: tuple[float, ...], side_mm: float) -> Int[Tensor, "*S"]:
    """Return the block of each voxel: each axis in equal parts, as near to the side as can be."""
    labels = torch.zeros((1,) * len(shape), dtype=torch.int32)
    for axis, (length, spacing) in enumerate(zip(shape, spacing_mm, strict=True)):
        parts = min(length, max(1, round(length * spacing / side_mm)))
        ends = torch.tensor([round(part * length / parts) for part in range(1, parts)])
        place = torch.bucketize(torch.arange(length), ends, right=True).to(torch.int32)
        along = [length if other == axis else 1 for other in range(len(shape))]
        labels = labels * parts + place.reshape(along)
    return labels.expand(shape).contiguous()


def supervoxels(
    volume: Volume, count: int, *, compactness: float, sigma_mm: float
) -> Int[Tensor, "*S"]:
    """Return the SLIC supervoxel of each voxel, counted from 0.

    scikit-image seeds its clusters at equal distances in voxels, which would leave columns on
    thick slices; so they are found on a grid of cubic voxels, no more of them than the image has.
    Channels are scaled to 0..1 each, so that none outweighs another.

    Source: Achanta et al., SLIC Superpixels Compared to State-of-the-art Superpixel Methods, 2012.
    """
    from skimage.segmentation import slic

    shape, spacing = volume.grid.shape, volume.grid.spacing_mm
    side = float(np.prod(spacing)) ** (1 / len(shape))
    cubic = [max(1, round(n * mm / side)) for n, mm in zip(shape, spacing, strict=True)]
    lengths = [n * mm / m for n, mm, m in zip(shape, spacing, cubic, strict=True)]
    data = volume.data.detach().float().cpu()
    low = data.flatten(1).amin(dim=1).reshape(-1, *(1,) * len(shape))
    high = data.flatten(1).amax(dim=1).reshape(-1, *(1,) * len(shape))
    data = (data - low) / (high - low).clamp(min=torch.finfo(data.dtype).tiny)
    if tuple(cubic) != shape:
        mode = "bilinear" if len(shape) == 2 else "trilinear"
        data = F.interpolate(data[None], size=cubic, mode=mode)[0]
    found = slic(
        np.ascontiguousarray(data.movedim(0, -1).numpy()),
        n_segments=min(count, int(np.prod(cubic))),
        compactness=compactness,
        sigma=[sigma_mm / length for length in lengths],
        spacing=[length / side for length in lengths],
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    labels = torch.from_numpy(np.asarray(found, dtype=np.int32))
    if tuple(cubic) != shape:
        nearest = F.interpolate(labels[None, None].float(), size=shape, mode="nearest-exact")
        labels = nearest[0, 0].to(torch.int32)
    # What fell between the image's voxels leaves no gap in the count.
    counted: Tensor = torch.unique(labels, return_inverse=True)[1]
    return counted.to(torch.int32)
