"""Windows: which boxes of a volume the network sees, and how their outputs are blended.

Geometry only: nothing here knows a network. Positions, padding and importance are those of
MONAI's `sliding_window_inference`, so that the prediction is the one that users already have, or
nnU-Net's.

Where the output covers only the middle of a window, as in networks of valid convolutions, it is
the outputs that tile the volume; windows reach further, and the image is padded for them.

Where networks see each window several times, mirrored or one after the other, each such pass is a
window of its own: it is cut mirrored, what is put back is mirrored back, and all of them are
blended. So whatever is a sum over windows is one over passes too, and need not know about them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Mask, Shape
from esegeta.predict.padding import Padding, extend, fold, origins
from esegeta.predict.passes import Pass
from esegeta.predict.tiling import Blend, Box, Placing, importance_of, spot, starts_along


@dataclass(frozen=True)
class Windows:
    """The windows over one volume shape; boxes are in the padded volume's voxels.

    As a lattice they hold whole windows, such as gradients by their input.

    Args:
        shape: shape of the volume.
        size: size of one window, one length for each axis of the volume.
        overlap: overlap of the outputs, one fraction for each axis.
        blend: see `WindowPlan`.
        slice_axis: the axis that the network does not see, or None.
        covered: voxels in the middle of a window that its output covers; None for all.
        outside: contents of the padding.
        passes: how each box goes through the networks; the windows of the first come first.
        num_blends: predictions that passes are blended into, one per network, or one of all.
        extents: the values of `covered` for layers that do not cover the whole window, by name.
        positions: see `WindowPlan`.
    """

    shape: Shape
    size: Shape
    overlap: tuple[float, ...]
    blend: Blend
    slice_axis: int | None = None
    covered: Shape | None = None
    outside: Padding = "zeros"
    passes: tuple[Pass, ...] = (Pass(),)
    num_blends: int = 1
    extents: Mapping[str, Shape] = field(default_factory=dict, compare=False, repr=False)
    positions: Placing = "fixed"

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
        last one comes after it, also where windows reach beyond their outputs.
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
        """What each window sees, pass by pass, last axis fastest."""
        return _boxes(self, self.size)

    @property
    def num_places(self) -> int:
        """Number of boxes; each is a window once a pass."""
        return math.prod(len(starts) for starts in _starts_of(self))

    @property
    def outputs(self) -> Central:
        """Where logits are put: the voxels that outputs cover."""
        return Central(self, self.output)

    def __len__(self) -> int:
        return self.num_places * len(self.passes)

    def pass_of(self, window: int) -> int:
        """Return the index of the pass that a window belongs to."""
        return window // self.num_places

    def member_of(self, window: int) -> int:
        """Return which network sees a window."""
        return self.passes[self.pass_of(window)].member

    def blend_of(self, window: int) -> int:
        """Return which of the predictions a window is blended into."""
        return self.member_of(window) if self.num_blends > 1 else 0

    @property
    def passes_a_blend(self) -> int:
        """How often each box is blended into a prediction."""
        return len(self.passes) // self.num_blends

    def of_pass(self, number: int) -> range:
        """Return the windows of one of the passes."""
        return range(number * self.num_places, (number + 1) * self.num_places)

    def flips(self, window: int) -> tuple[int, ...]:
        """Return the axes of the volume along which a window is mirrored."""
        return self.passes[self.pass_of(window)].flips

    def turned(self, data: Tensor, window: int) -> Tensor:
        """Mirror data `K *W` of a window as its network sees it, or back."""
        flips = self.flips(window)
        return data.flip([axis + 1 for axis in flips]) if flips else data

    @property
    def adds_zeros(self) -> bool:
        """Whether windows see zeros around the image."""
        return self.padded_shape != self.shape and self.outside == "zeros"

    def pad(self, data: Tensor) -> Tensor:
        """Pad the spatial axes of `... *S` with zeros: for data of the volume's own voxels."""
        return extend(data, self.padding, "zeros")

    def pad_image(self, data: Tensor) -> Tensor:
        """Pad the spatial axes of an image, or of what belongs to its voxels, as windows see it."""
        return extend(data, self.padding, self.outside)

    def crop_to_volume(self, data: Tensor) -> Tensor:
        """Undo `pad`: what lies on padding is dropped."""
        return fold(data, self.padding, "zeros")

    def crop(self, data: Tensor) -> Tensor:
        """Return the transpose of `pad_image`: values on copies of a voxel are added to it."""
        return fold(data, self.padding, self.outside)

    def origins(self, box: Box) -> tuple[Tensor, ...]:
        """Return which voxel of the volume each padded voxel of a box is a copy of, by axis.

        Where zeros lie around the image, an index outside of the volume stands for them.
        """
        axes = zip(self.shape, self.padding, box, strict=True)
        return tuple(origins(n, widths, self.outside)[side] for n, widths, side in axes)

    @property
    def extent(self) -> Shape:
        """Voxels of the padded volume along each axis."""
        return self.padded_shape

    def central(self, size: Shape) -> Central:
        """Return the lattice of patches that cover so many voxels in the middle of a window."""
        return Central(self, size)

    def cut(
        self,
        padded: Tensor,
        windows: Sequence[int],
        *,
        images: Sequence[int] | None = None,
        parts: Sequence[Box] = (),
    ) -> Float[Tensor, "N C *W"]:
        """Return windows of a padded batch `B C *S`, of the first image where none is named.

        They are cut as networks see them: mirrored where their pass is. Of each only a part, as
        its network sees it, where there are parts.
        """
        owners = [0] * len(windows) if images is None else images
        boxes = self.boxes
        whole = (slice(None),) * len(self.size)
        return torch.stack(
            [
                self.turned(padded[spot(image, boxes[index])], index)[(slice(None), *part)]
                for image, index, part in zip(
                    owners, windows, parts or [whole] * len(windows), strict=True
                )
            ]
        )

    def box_of_part(self, window: int, part: Box | None) -> Box:
        """Return where a part of a window lies, as its network sees it; all of it for None."""
        box = self.boxes[window]
        if part is None:
            return box
        found = []
        for axis, (side, own, length) in enumerate(zip(box, part, self.size, strict=True)):
            low, high = own.start, own.stop
            if axis in self.flips(window):
                low, high = length - high, length - low
            found.append(slice(side.start + low, side.start + high))
        return tuple(found)

    def put(
        self, total: Tensor, window: int, patch: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Add a window's patch `K *W`, perhaps times weights `*W`, to `K *S` (padded), in place.

        Args:
            total: tensor that the patch is added to.
            window: index of the window.
            patch: patch as the network sees it.
            weights: weights as they lie in the volume.
        """
        part = total[(slice(None), *self.boxes[window])]
        _add_to(part, self.turned(patch, window), weights)

    def importance(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the blending weight of each voxel of an output, above zero."""
        return self.outputs.importance(device, dtype)

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
        return self._in_all_passes(found)

    def seen_by(self, windows: Sequence[int], device: torch.device) -> Mask:
        """Return the voxels of the volume that some windows see, `*S`."""
        seen = torch.zeros(self.padded_shape, dtype=torch.int32, device=device)
        for window in windows:
            seen[self.boxes[window]] = 1
        return self.crop(seen) > 0

    def _holding(self, padded: Mask, boxes: Sequence[Box]) -> list[int]:
        hits = torch.stack([padded[box].any() for box in boxes[: self.num_places]])
        return self._in_all_passes([index for index, hit in enumerate(hits.tolist()) if hit])

    def _in_all_passes(self, places: Sequence[int]) -> list[int]:
        starts = range(0, len(self), self.num_places)
        return [start + place for start in starts for place in places]


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
        """Voxels of the padded volume along each axis."""
        return self.windows.padded_shape

    def put(
        self, total: Tensor, window: int, patch: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Add a window's patch `K *size`, perhaps times weights, to `K *S` (padded), in place."""
        part = total[(slice(None), *self.boxes[window])]
        _add_to(part, self.windows.turned(patch, window), weights)

    def crop(self, data: Tensor) -> Tensor:
        """Cut to the volume: padding does not count."""
        return self.windows.crop_to_volume(data)

    def importance(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the blending weight of each voxel of a patch, above zero."""
        return importance_of(self.size, self.windows.blend, device, dtype)


def _add_to(part: Tensor, patch: Tensor, weights: Tensor | None) -> None:
    if weights is None:
        part += patch
    else:
        part.addcmul_(patch, weights)


@lru_cache(maxsize=16)
def _boxes(windows: Windows, covered: Shape) -> tuple[Box, ...]:
    before = [(w - c) // 2 for w, c in zip(windows.size, covered, strict=True)]
    places = tuple(
        tuple(
            slice(start + low, start + low + length)
            for start, low, length in zip(corner, before, covered, strict=True)
        )
        for corner in itertools.product(*_starts_of(windows))
    )
    return places * len(windows.passes)


@lru_cache(maxsize=8)
def _starts_of(windows: Windows) -> tuple[tuple[int, ...], ...]:
    axes = zip(windows.shape, windows.output, windows.overlap, strict=True)
    return tuple(
        tuple(starts_along(max(length, output), output, overlap, windows.positions))
        for length, output, overlap in axes
    )
