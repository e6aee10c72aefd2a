"""Windows: which boxes of a volume the network sees, and how their outputs are blended.

Geometry only: nothing here knows a network. Positions, padding and importance are those of
MONAI's `sliding_window_inference`, so that the prediction is the one that users already have.

Where the output covers only the middle of a window, as in networks of valid convolutions, it is
the outputs that tile the volume; windows reach further, and the image is padded for them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Mask, Shape
from esegeta.errors import ConfigError, suggest
from esegeta.predict.coverage import Coverage
from esegeta.predict.padding import Padding, extend, fold, origins

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
        overlap: fraction that neighbouring outputs share, in [0, 1); one, or one an axis.
        blend: importance of an output's voxels: `gaussian` (sigma 1/8 of its lengths) or
            `constant`.
        slice_axis: the axis along which a 2D network goes through a 3D volume.
        padding: what lies outside of the image.
        coverage: which voxels of a window the network's output covers; None for all of them, one
            position a voxel.
    """

    size: Shape
    overlap: float | tuple[float, ...] = 0.5
    blend: Blend = "gaussian"
    slice_axis: int = 2
    padding: Padding = "zeros"
    coverage: Coverage | None = None

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
        if self.padding not in get_args(Padding):
            raise ConfigError(
                f'inference.padding: "{self.padding}" is not known',
                hint=suggest(self.padding, get_args(Padding)),
            )

    @property
    def output(self) -> Shape:
        """Voxels in the middle of a window that the network's output covers."""
        return self.size if self.coverage is None else self.coverage.within(self.size)

    def lay(self, shape: Sequence[int]) -> Windows:
        """Return the windows over a volume of this spatial shape.

        A 2D window over a 3D volume becomes one slice thick along `slice_axis`.
        """
        overlap = self._overlaps()
        sliced = self.slice_axis if len(shape) == len(self.size) + 1 else None
        if sliced is not None:
            overlap.insert(sliced, 0.0)
        elif len(shape) != len(self.size):
            raise ConfigError(
                f"inference.window: {list(self.size)} for a {len(shape)}D volume",
                hint=f"give {len(shape)} lengths",
            )
        coverage = self.coverage
        return Windows(
            tuple(shape),
            _thick(self.size, sliced),
            tuple(overlap),
            self.blend,
            sliced,
            _thick(self.output, sliced),
            self.padding,
            {} if coverage is None else {n: _thick(e, sliced) for n, e in coverage.layers.items()},
        )

    def ending_at(self, layer: str) -> WindowPlan:
        """Return the plan of a network whose output is a layer's, on the voxels that it covers."""
        if self.coverage is None:
            return self
        extent = self.coverage.layers.get(layer, self.size)
        own = None if extent == self.size else Coverage(extent, extent, self.coverage.layers)
        return replace(self, coverage=own)

    def _overlaps(self) -> list[float]:
        if isinstance(self.overlap, tuple):
            return list(self.overlap) if len(self.overlap) > 1 else [*self.overlap] * len(self.size)
        return [self.overlap] * len(self.size)


def _thick(lengths: Shape, slice_axis: int | None) -> Shape:
    """Give lengths of a 2D network the axis that it goes along, of length one."""
    if slice_axis is None:
        return lengths
    return (*lengths[:slice_axis], 1, *lengths[slice_axis:])


@dataclass(frozen=True)
class Windows:
    """The windows over one volume shape; boxes are in the padded volume's voxels.

    As a lattice they are put on whole, as gradients by their input are.

    Args:
        shape: of the volume.
        size: of one window, one length for each axis of the volume.
        overlap: of the outputs, one fraction for each axis.
        blend: see `WindowPlan`.
        slice_axis: the axis that the network does not see, or None.
        covered: voxels in the middle of a window that its output covers; None for all.
        outside: what the padding holds.
        extents: the same of layers that do not cover the whole window, by name.
    """

    shape: Shape
    size: Shape
    overlap: tuple[float, ...]
    blend: Blend
    slice_axis: int | None = None
    covered: Shape | None = None
    outside: Padding = "zeros"
    extents: Mapping[str, Shape] = field(default_factory=dict, compare=False, repr=False)

    @property
    def output(self) -> Shape:
        """Voxels along each axis that a window's output covers."""
        return self.size if self.covered is None else self.covered

    @property
    def padded_shape(self) -> Shape:
        """Shape of the volume with all that windows see around it."""
        axes = zip(self.shape, self.size, self.output, strict=True)
        return tuple(max(n, o) + w - o for n, w, o in axes)

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Voxels put before and after each axis.

        A volume that is smaller than an output lies in its middle; of an odd number of voxels the
        last is behind it, and so is that of what windows reach beyond their outputs.
        """
        return tuple(
            ((o - n) // 2 + m, (o - n) - (o - n) // 2 + (w - o) - m) if o > n else (m, w - o - m)
            for n, w, o, m in zip(self.shape, self.size, self.output, self.margins, strict=True)
        )

    @property
    def margins(self) -> Shape:
        """Voxels of a window before its output, along each axis."""
        return tuple((w - o) // 2 for w, o in zip(self.size, self.output, strict=True))

    @property
    def num_window_voxels(self) -> int:
        """Number of voxels of one window."""
        return math.prod(self.size)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """What each window sees, last axis fastest."""
        return _boxes(self, self.size)

    @property
    def outputs(self) -> Central:
        """Where logits are put: the voxels that outputs cover."""
        return Central(self, self.output)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def adds_zeros(self) -> bool:
        """Whether windows see zeros around the image."""
        return self.padded_shape != self.shape and self.outside == "zeros"

    def pad(self, data: Tensor) -> Tensor:
        """Pad the spatial axes of `... *S` with zeros: what is of the volume's voxels alone."""
        return extend(data, self.padding, "zeros")

    def pad_image(self, data: Tensor) -> Tensor:
        """Pad the spatial axes of an image, or of what belongs to its voxels, as windows see it."""
        return extend(data, self.padding, self.outside)

    def crop_to_volume(self, data: Tensor) -> Tensor:
        """Undo `pad`: what lies on padding is dropped."""
        return fold(data, self.padding, "zeros")

    def crop(self, data: Tensor) -> Tensor:
        """Return the transpose of `pad_image`: what lies on copies of a voxel is that voxel's."""
        return fold(data, self.padding, self.outside)

    def origins(self, box: Box) -> tuple[Tensor, ...]:
        """Return which voxel of the volume each padded voxel of a box is a copy of, by axis.

        Where zeros lie around the image, an index outside of the volume stands for them.
        """
        axes = zip(self.shape, self.padding, box, strict=True)
        return tuple(origins(n, widths, self.outside)[side] for n, widths, side in axes)

    @property
    def extent(self) -> Shape:
        """Voxels along each axis of what windows are put on: the padded volume's."""
        return self.padded_shape

    def central(self, size: Shape) -> Central:
        """Return the lattice of patches that cover so many voxels in the middle of a window."""
        return Central(self, size)

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
        _add_to(total[(slice(None), *self.boxes[window])], patch, weights)

    def importance(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the blending weight of each voxel of an output, above zero."""
        return self.outputs.importance(device, dtype)

    def coverage(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the sum of the importances of all outputs at each padded voxel; 1 at none."""
        return self.outputs.coverage(device, dtype)

    def touching(self, mask: Mask) -> list[int]:
        """Return which windows put out a voxel of a mask over the (unpadded) volume."""
        return self._holding(self.pad(mask), self.outputs.boxes)

    def seeing(self, mask: Mask) -> list[int]:
        """Return which windows see a voxel of a mask over the volume, or a copy of one."""
        return self._holding(self.pad_image(mask), self.boxes)

    def touching_box(self, box: Box) -> list[int]:
        """Return which windows see a voxel of a box of the (unpadded) volume, or a copy of one."""
        found = [0]
        axes = zip(box, self.shape, self.padding, _starts_of(self), self.size, strict=True)
        for part, length, widths, starts, size in axes:
            voxels = origins(length, widths, self.outside)
            held = (voxels >= part.start) & (voxels < part.stop)
            near = [place for place, start in enumerate(starts) if held[start : start + size].any()]
            found = [outer * len(starts) + place for outer in found for place in near]
        return found

    def seen_by(self, windows: Sequence[int], device: torch.device) -> Mask:
        """Return the voxels of the volume that some windows see, `*S`."""
        seen = torch.zeros(self.padded_shape, dtype=torch.int32, device=device)
        for window in windows:
            seen[self.boxes[window]] = 1
        return self.crop(seen) > 0

    def _holding(self, padded: Mask, boxes: Sequence[Box]) -> list[int]:
        hits = torch.stack([padded[box].any() for box in boxes])
        return [index for index, hit in enumerate(hits.tolist()) if hit]


@dataclass(frozen=True)
class Central:
    """The lattice of patches that cover voxels in the middle of windows, such as their outputs.

    Args:
        windows: over a volume.
        size: voxels along each axis that a patch covers.
    """

    windows: Windows
    size: Shape

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where each window's patch lies in the padded volume."""
        return _boxes(self.windows, self.size)

    @property
    def extent(self) -> Shape:
        """Voxels along each axis of what patches are put on: the padded volume's."""
        return self.windows.padded_shape

    def put(
        self, total: Tensor, window: int, patch: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Add a window's patch `K *size`, perhaps times weights, to `K *S` (padded), in place."""
        _add_to(total[(slice(None), *self.boxes[window])], patch, weights)

    def crop(self, data: Tensor) -> Tensor:
        """Cut to the volume: nothing of the padding counts."""
        return self.windows.crop_to_volume(data)

    def importance(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the blending weight of each voxel of a patch, above zero."""
        return _importance(self.size, self.windows.blend, device, dtype)

    def coverage(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the sum of all importances at each padded voxel; 1 where there is none."""
        return _coverage(self, device, dtype)


def _add_to(part: Tensor, patch: Tensor, weights: Tensor | None) -> None:
    if weights is None:
        part += patch
    else:
        part.addcmul_(patch, weights)


@lru_cache(maxsize=16)
def _boxes(windows: Windows, covered: Shape) -> tuple[Box, ...]:
    before = [(w - c) // 2 for w, c in zip(windows.size, covered, strict=True)]
    return tuple(
        tuple(
            slice(start + low, start + low + length)
            for start, low, length in zip(corner, before, covered, strict=True)
        )
        for corner in itertools.product(*_starts_of(windows))
    )


@lru_cache(maxsize=8)
def _starts_of(windows: Windows) -> tuple[tuple[int, ...], ...]:
    axes = zip(windows.shape, windows.output, windows.overlap, strict=True)
    return tuple(
        tuple(_starts(max(length, output), output, overlap)) for length, output, overlap in axes
    )


def _starts(length: int, size: int, overlap: float) -> list[int]:
    """Where outputs start along one axis; the last one is moved back to end with the volume."""
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


@lru_cache(maxsize=2)
def _coverage(lattice: Central, device: torch.device, dtype: torch.dtype) -> Tensor:
    total = torch.zeros(lattice.extent, device=device, dtype=dtype)
    weights = lattice.importance(device, dtype)
    for box in lattice.boxes:
        total[box] += weights
    return total.masked_fill_(total == 0, 1.0)
