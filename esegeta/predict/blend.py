"""The only place where windows are blended: the sum, and the blend, whole or slab by slab.

    sum_t p_t                       `WindowSum`: gradients, and maps that add up over windows
    sum_t w_t * p_t / sum_t w_t     `WindowBlend`: logits and activations, whose heights are kept;
                                    `SlabBlend`: the same, a few planes at a time
    sum_t w_t                       `coverage_of`

The transpose of the blend is in `predict.shares`. Sums and blends lie on the voxels of a volume or
on the positions of a layer. Their buffers are on the input's device and in its dtype; patches come
from wherever the network is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.predict.layer_grid import LayerGrid
from esegeta.predict.tiling import Box
from esegeta.predict.windows import Central, Windows

Lattice = Windows | Central | LayerGrid
"""What patches of windows are put on: the voxels of a volume, or the positions of a layer."""


@dataclass(frozen=True)
class Pieces:
    """A few windows on the network's device, with what places them in the volume.

    Args:
        crops: the windows' input, `N C *W`.
        images: index of the image in the batch, for each window.
        windows: index into `Windows.boxes`, for each window.
        boxes: what the same windows see of the padded volume.
        member: the network that sees them, which holds its weights until the next are yielded.
        parts: the part of each window that is run, as its network sees it; none for the whole.
    """

    crops: Tensor
    images: tuple[int, ...]
    windows: tuple[int, ...]
    boxes: tuple[Box, ...]
    member: int = 0
    parts: tuple[Box, ...] = ()


class WindowSum:
    """Patches of windows, added up where they belong: `sum_t p_t`.

    One buffer, `B K` times the lattice, is all the memory that it takes.

    Args:
        lattice: voxels or positions that patches are put on.
        like: tensor whose device and dtype the buffer is to have, such as the input.
        num_images: B.
        num_channels: K; as many as the first patches have where None.
    """

    def __init__(
        self,
        lattice: Lattice,
        like: Tensor,
        *,
        num_images: int = 1,
        num_channels: int | None = None,
    ) -> None:
        self._lattice = lattice
        self._like = like
        self._num_images = num_images
        self._num_channels = num_channels
        self._buffer: Tensor | None = None

    def add(
        self,
        windows: Sequence[int],
        patches: Float[Tensor, "N K *W"],
        *,
        images: Sequence[int] | None = None,
    ) -> None:
        """Add the patches of some windows.

        Args:
            windows: index into `Windows.boxes` for each patch.
            patches: patches as their networks see them; any device and dtype; graphs are left.
            images: index of each patch's image in the batch; the first where None.
        """
        self._put(windows, patches, images)

    def result(self) -> Float[Tensor, "B K *S"]:
        """Return the sum, cut to the volume where that was padded: a view of the buffer.

        Raises:
            ValueError: nothing was added, and the number of channels was not given.
        """
        return self._lattice.crop(self._filled(self._num_channels))

    def _put(
        self,
        windows: Sequence[int],
        patches: Tensor,
        images: Sequence[int] | None,
        weights: Tensor | None = None,
    ) -> None:
        buffer = self._filled(patches.shape[1])
        owners = [0] * len(windows) if images is None else images
        placed = patches.detach().to(buffer)
        for image, window, patch in zip(owners, windows, placed, strict=True):
            self._lattice.put(buffer[image], window, patch, weights=weights)

    def _filled(self, num_channels: int | None) -> Tensor:
        if self._buffer is None:
            if num_channels is None:
                raise ValueError("nothing was added, so the number of channels is unknown")
            # Not before the first patches: the network's own peak of memory may be behind them.
            shape = (self._num_images, num_channels, *self._lattice.extent)
            self._buffer = self._like.new_zeros(shape)
        return self._buffer


class WindowBlend(WindowSum):
    """Patches of windows, averaged where windows overlap: `sum_t w_t * p_t / sum_t w_t`.

    With all windows the weights add up to one. Where some are left out, what they would have added
    is missing: the result is right wherever none of them lies.

    Args:
        lattice: voxels or positions that patches are put on; windows stand for those that their
            outputs cover.
        like: tensor whose device and dtype the buffer is to have, such as the input.
        num_images: B.
        num_channels: K; as many as the first patches have where None.
    """

    def __init__(
        self,
        lattice: Lattice,
        like: Tensor,
        *,
        num_images: int = 1,
        num_channels: int | None = None,
    ) -> None:
        self._outputs = lattice.outputs if isinstance(lattice, Windows) else lattice
        super().__init__(self._outputs, like, num_images=num_images, num_channels=num_channels)
        self.weights = self._outputs.importance(like.device, like.dtype)

    def add(
        self,
        windows: Sequence[int],
        patches: Float[Tensor, "N K *W"],
        *,
        images: Sequence[int] | None = None,
    ) -> None:
        """Add the patches of some windows, each times the windows' importance."""
        self._put(windows, patches, images, self.weights)

    def add_weighted(self, windows: Sequence[int], patches: Float[Tensor, "N K *W"]) -> None:
        """Add patches that are multiplied by `weights` already.

        `add` multiplies and adds in one step where the device can, which rounds once, not twice.
        """
        self._put(windows, patches, None)

    def result(self) -> Float[Tensor, "B K *S"]:
        """Return the blend, cut to the volume; the buffer is given away, and the next is empty.

        Raises:
            ValueError: nothing was added, and the number of channels was not given.
        """
        buffer = self._filled(self._num_channels)
        self._buffer = None
        buffer /= coverage_of(self._outputs, buffer.device, buffer.dtype)
        return self._outputs.crop(buffer)


class SlabBlend:
    """The blend of windows on the planes that the latest row of them covers.

    The numbers of `WindowBlend`, in a buffer that is as thick as one window's output: what is
    complete is divided where it lies, handed on, and its room used again.

    Args:
        windows: over the volume.
        like: tensor whose device and dtype the buffer is to have.
        axis: the axis across which slabs lie.
    """

    def __init__(self, windows: Windows, like: Tensor, axis: int) -> None:
        self.first: int | None = None
        self._windows, self._like, self._axis = windows, like, axis
        self._lattice = windows.outputs
        self._weights = windows.importance(like.device, like.dtype)
        self._thickness = windows.output[axis]
        self._buffer: Tensor | None = None

    def add(self, window: int, patch: Tensor) -> None:
        """Add the patch `L *O` of a window that starts where the buffer does."""
        if self._buffer is None:
            shape = list(self._lattice.extent)
            shape[self._axis] = self._thickness
            self._buffer = self._like.new_zeros((len(patch), *shape))
        box = list(self._lattice.boxes[window])
        box[self._axis] = slice(0, self._thickness)
        patch = self._windows.turned(patch.detach().to(self._buffer), window)
        self._buffer[(slice(None), *box)].addcmul_(patch, self._weights)

    def complete(self, next_start: int | None) -> Tensor | None:
        """Return the planes that end before the next row, blended; None before the first row."""
        if self._buffer is None or self.first is None:
            return None
        planes = self._buffer.narrow(self._axis + 1, 0, self._num_complete(next_start))
        box = [slice(None)] * len(self._lattice.extent)
        box[self._axis] = slice(self.first, self.first + planes.shape[self._axis + 1])
        planes /= coverage_of(self._lattice, planes.device, planes.dtype)[tuple(box)]
        return planes[None]

    def move_to(self, next_start: int | None) -> None:
        """Drop what is complete, and make room for the next row."""
        if self._buffer is not None:
            if next_start is None:
                self._buffer = None
            else:
                self._shift(self._num_complete(next_start))
        self.first = next_start

    def _num_complete(self, next_start: int | None) -> int:
        if next_start is None or self.first is None:
            return self._thickness
        return min(next_start - self.first, self._thickness)

    def _shift(self, step: int) -> None:
        assert self._buffer is not None
        along, kept = self._axis + 1, self._thickness - step
        # In pieces that do not overlap where they come from.
        for start in range(0, kept, step):
            count = min(step, kept - start)
            later = self._buffer.narrow(along, start + step, count)
            self._buffer.narrow(along, start, count).copy_(later)
        self._buffer.narrow(along, kept, step).zero_()


def coverage_of(lattice: Central | LayerGrid, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return `sum_t w_t`: what the importances of all windows add up to on a lattice, `*S` or `*G`.

    It is 1 at voxels that no window covers, where nothing is to be divided by zero.

    Args:
        lattice: voxels or positions that patches are put on.
        device: device of the result.
        dtype: dtype of the result.
    """
    if isinstance(lattice, LayerGrid):
        return _coverage_of_positions(lattice, device, dtype)
    return _coverage_of_voxels(lattice, device, dtype)


@lru_cache(maxsize=2)
def _coverage_of_voxels(lattice: Central, device: torch.device, dtype: torch.dtype) -> Tensor:
    total = torch.zeros(lattice.extent, device=device, dtype=dtype)
    weights = lattice.importance(device, dtype)
    for box in lattice.boxes[: lattice.windows.num_places]:
        total[box] += weights
    total *= lattice.windows.passes_a_blend
    return total.masked_fill_(total == 0, 1.0)


@lru_cache(maxsize=4)
def _coverage_of_positions(grid: LayerGrid, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the same of positions: windows that start between them are shared out by `put`."""
    total = torch.zeros((1, *grid.shape), device=device, dtype=dtype)
    weights = grid.importance(device, dtype)
    ones = torch.ones_like(weights)[None]
    for window in range(grid.windows.num_places):
        # As weights, which lie in the volume: a patch would be mirrored where its pass is.
        grid.put(total, window, ones, weights=weights)
    return total[0].mul_(grid.windows.passes_a_blend)
