"""Windows: which boxes of a volume the network sees, and how their outputs are blended.

Geometry only: nothing here knows a network. Positions, padding and importance are those of
MONAI's `sliding_window_inference`, so that the prediction is the one that users already have.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import Mask, Shape
from esegeta.errors import ConfigError

Blend = Literal["gaussian", "constant"]
Box = tuple[slice, ...]

GAUSSIAN_SIGMA_SCALE = 0.125


def spot(image: int, box: Box) -> tuple[Any, ...]:
    """Return the index of a box of one image in `B C *S`, all channels."""
    return (image, slice(None), *box)


@dataclass(frozen=True)
class WindowPlan:
    """How volumes of any size are cut into windows.

    Args:
        size: of one window, in voxels; two lengths for a 2D network.
        overlap: fraction that neighbouring windows share, in [0, 1); one, or one an axis.
        blend: importance of a window's voxels: `gaussian` (sigma 1/8 of the window) or
            `constant`.
        slice_axis: the axis along which a 2D network goes through a 3D volume.
    """

    size: Shape
    overlap: float | tuple[float, ...] = 0.5
    blend: Blend = "gaussian"
    slice_axis: int = 2

    def __post_init__(self) -> None:
        if len(self.size) not in (2, 3) or min(self.size) < 1:
            raise ConfigError(
                f"inference.window: {list(self.size)} is not a window",
                hint="give two or three lengths above zero",
            )
        overlaps = self.overlap if isinstance(self.overlap, tuple) else (self.overlap,)
        if not all(0 <= value < 1 for value in overlaps):
            raise ConfigError(f"inference.overlap: {self.overlap} is outside [0, 1)")
        if len(overlaps) not in (1, len(self.size)):
            raise ConfigError(f"inference.overlap: {self.overlap} does not fit the window")
        if self.slice_axis not in (0, 1, 2):
            raise ConfigError(f"inference.slice_axis: {self.slice_axis} is not 0, 1 or 2")

    def lay(self, shape: Sequence[int]) -> Windows:
        """Return the windows over a volume of this spatial shape.

        A 2D window over a 3D volume becomes one slice thick along `slice_axis`.
        """
        size, overlap = list(self.size), self._overlaps()
        if len(shape) == len(size) + 1:
            size.insert(self.slice_axis, 1)
            overlap.insert(self.slice_axis, 0.0)
        if len(shape) != len(size):
            raise ConfigError(
                f"inference.window: {list(self.size)} for a {len(shape)}D volume",
                hint=f"give {len(shape)} lengths",
            )
        sliced = self.slice_axis if len(shape) != len(self.size) else None
        return Windows(tuple(shape), tuple(size), tuple(overlap), self.blend, sliced)

    def _overlaps(self) -> list[float]:
        if isinstance(self.overlap, tuple):
            return list(self.overlap) if len(self.overlap) > 1 else [*self.overlap] * len(self.size)
        return [self.overlap] * len(self.size)


@dataclass(frozen=True)
class Windows:
    """The windows over one volume shape; boxes are in the padded volume's voxels.

    Args:
        shape: of the volume.
        size: of one window, one length for each axis of the volume.
        overlap: one fraction for each axis.
        blend: see `WindowPlan`.
        slice_axis: the axis that the network does not see, or None.
    """

    shape: Shape
    size: Shape
    overlap: tuple[float, ...]
    blend: Blend
    slice_axis: int | None = None

    @property
    def padded_shape(self) -> Shape:
        """Shape after padding volumes that are smaller than the window."""
        return tuple(max(n, w) for n, w in zip(self.shape, self.size, strict=True))

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Voxels of zeros put before and after each axis."""
        spare = [p - n for p, n in zip(self.padded_shape, self.shape, strict=True)]
        return tuple((extra // 2, extra - extra // 2) for extra in spare)

    @property
    def num_window_voxels(self) -> int:
        """Number of voxels of one window."""
        return math.prod(self.size)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of all windows, last axis fastest."""
        return _boxes(self)

    def __len__(self) -> int:
        return len(self.boxes)

    def pad(self, data: Tensor) -> Tensor:
        """Pad the spatial axes of `... *S` with zeros up to the window size."""
        if self.padded_shape == self.shape:
            return data
        flat = [width for pair in reversed(self.padding) for width in pair]
        return F.pad(data, flat)

    def crop(self, data: Tensor) -> Tensor:
        """Undo `pad`."""
        if self.padded_shape == self.shape:
            return data
        inner = tuple(
            slice(low, low + n) for (low, _), n in zip(self.padding, self.shape, strict=True)
        )
        index: tuple[Any, ...] = (..., *inner)
        return data[index]

    @property
    def extent(self) -> Shape:
        """Voxels along each axis of what windows are put on: the padded volume's."""
        return self.padded_shape

    def cut(
        self, padded: Tensor, windows: Sequence[int], *, images: Sequence[int] | None = None
    ) -> Float[Tensor, "N C *W"]:
        """Return windows of a padded batch `B C *S`, of the first image where none is named."""
        owners = [0] * len(windows) if images is None else images
        boxes = self.boxes
        return torch.stack(
            [
                padded[spot(image, boxes[index])]
                for image, index in zip(owners, windows, strict=True)
            ]
        )

    def put(
        self, total: Tensor, window: int, patch: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Add a window's patch `K *W`, perhaps times weights `*W`, to `K *S` (padded), in place."""
        part = total[(slice(None), *self.boxes[window])]
        if weights is None:
            part += patch
        else:
            part.addcmul_(patch, weights)

    def importance(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the blending weight of each voxel of a window, above zero."""
        return _importance(self.size, self.blend, device, dtype)

    def coverage(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the sum of the importances of all windows at each padded voxel."""
        return _coverage(self, device, dtype)

    def touching(self, mask: Mask) -> list[int]:
        """Return which windows hold a voxel of a mask over the (unpadded) volume."""
        padded = self.pad(mask)
        hits = torch.stack([padded[box].any() for box in self.boxes])
        return [index for index, hit in enumerate(hits.tolist()) if hit]

    def touching_box(self, box: Box) -> list[int]:
        """Return which windows share a voxel with a box of the (unpadded) volume."""
        found = [0]
        for part, (low, _), starts, size in zip(
            box, self.padding, _starts_of(self), self.size, strict=True
        ):
            near = [
                place
                for place, start in enumerate(starts)
                if part.start + low < start + size and start < part.stop + low
            ]
            found = [outer * len(starts) + place for outer in found for place in near]
        return found


@lru_cache(maxsize=8)
def _boxes(windows: Windows) -> tuple[Box, ...]:
    return tuple(
        tuple(slice(start, start + size) for start, size in zip(corner, windows.size, strict=True))
        for corner in itertools.product(*_starts_of(windows))
    )


@lru_cache(maxsize=8)
def _starts_of(windows: Windows) -> tuple[tuple[int, ...], ...]:
    axes = zip(windows.padded_shape, windows.size, windows.overlap, strict=True)
    return tuple(tuple(_starts(length, size, overlap)) for length, size, overlap in axes)


def _starts(length: int, size: int, overlap: float) -> list[int]:
    """Where windows start along one axis; the last one is moved back to end with the volume."""
    interval = size if size == length else max(int(size * (1 - overlap)), 1)
    count = 1 + -(-(length - size) // interval)
    return [min(place * interval, length - size) for place in range(count)]


@lru_cache(maxsize=8)
def _importance(size: Shape, blend: Blend, device: torch.device, dtype: torch.dtype) -> Tensor:
    from monai.data.utils import compute_importance_map

    weights: Tensor = compute_importance_map(
        size, mode=blend, sigma_scale=GAUSSIAN_SIGMA_SCALE, device=device, dtype=dtype
    )
    return weights


@lru_cache(maxsize=1)
def _coverage(windows: Windows, device: torch.device, dtype: torch.dtype) -> Tensor:
    total = torch.zeros(windows.padded_shape, device=device, dtype=dtype)
    weights = windows.importance(device, dtype)
    for box in windows.boxes:
        total[box] += weights
    return total
