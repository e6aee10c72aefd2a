"""Where trails are sampled: windows of the cases, and voxels in them, as they are and shifted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from esegeta.axes import Mask, Shape, along_axes
from esegeta.dissection.chance import draw_seed
from esegeta.predict import Windows


@dataclass(frozen=True)
class Covered:
    """The voxels in the middle of a window that an output covers.

    Args:
        size: size of the window, along the axes that the network sees.
        extent: extent of the covered voxels.
    """

    size: Shape
    extent: Shape


@dataclass(frozen=True, eq=False)
class Places:
    """Voxels of one window, and where shifts of chance move them.

    Voxels lie in the body, not in padding or air, and where the network puts out something. A draw
    shifts all of them alike within that part of the window, round and round: neighbours stay
    neighbours. Those that leave the body are left out of the draw, so that a unit gains nothing by
    being silent in air.

    Args:
        window: number of the window among those of the case.
        voxels: voxels of the window as the network sees it, mirrored where its pass is.
        shifts: shift of each draw, in voxels.
        first: the first voxel of the part of the window where voxels are drawn.
        shape: shape of that part.
        body: mask of the voxels of that part that belong to the body.
        seed: random seed of what else is drawn in this window.
    """

    window: int
    voxels: Int[Tensor, "P A"]
    shifts: Int[Tensor, "D A"]
    first: Shape
    shape: Shape
    body: Bool[Tensor, "*R"]
    seed: int = 0

    def all_positions(self, covered: Covered, patch: Shape) -> Int[Tensor, "*R"]:
        """Return which of a layer's flattened positions each voxel of the part lies in."""
        axes = [torch.arange(length) for length in self.shape]
        grid = torch.stack(torch.meshgrid(axes, indexing="ij"), dim=-1)
        return _flat(grid + torch.tensor(self.first), covered, patch)

    def positions(self, covered: Covered, patch: Shape) -> Int[Tensor, " P"]:
        """Return which of a layer's flattened positions each voxel lies in.

        Args:
            covered: the part of a window that the layer's output covers.
            patch: shape of the layer's output.
        """
        return _flat(self.voxels, covered, patch)

    def shifted_positions(self, covered: Covered, patch: Shape) -> Int[Tensor, "D P"]:
        """Return the same of the voxels as each draw shifts them."""
        return _flat(self._moved() + torch.tensor(self.first), covered, patch)

    def stay(self) -> Bool[Tensor, "D P"]:
        """Return which voxels are still in the body where each draw shifts them to."""
        found: Tensor = self.body[self._moved().unbind(dim=-1)]
        return found

    def _moved(self) -> Int[Tensor, "D P A"]:
        """Return the shifted voxels, counted from the first."""
        moved = self.voxels[None] - torch.tensor(self.first) + self.shifts[:, None]
        return moved % torch.tensor(self.shape)


def draw_places(
    layouts: Mapping[str, Windows],
    *,
    windows: int,
    samples: int,
    permutations: int,
    seed: int,
    bodies: Mapping[str, Mask] | None = None,
) -> dict[str, list[Places]]:
    """Return the places of each case that has a window among those drawn, windows ascending.

    Args:
        layouts: the windows of each case, by its name.
        windows: number of windows drawn.
        samples: voxels of all of them together.
        permutations: draws of chance.
        seed: random seed of all draws.
        bodies: the voxels of each case that places are drawn from; by default, and in windows that
            hold none of them, all of the image.
    """
    generator = torch.Generator().manual_seed(seed)
    all_windows = [(name, at) for name, own in layouts.items() for at in range(len(own))]
    order = torch.randperm(len(all_windows), generator=generator)[:windows]
    chosen = [all_windows[at] for at in order.sort().values.tolist()]
    count = math.ceil(samples / len(chosen))
    places: dict[str, list[Places]] = {}
    for number, (name, window) in enumerate(chosen):
        first, shape = _inner(layouts[name], window)
        body = torch.ones(shape, dtype=torch.bool)
        if bodies is not None:
            own = _seen(bodies[name], layouts[name], window, first, shape)
            body = own if bool(own.any()) else body
        inside = body.flatten().nonzero()[:, 0]
        flat = inside[torch.randperm(len(inside), generator=generator)[:count]]
        within = torch.stack(along_axes(flat, shape), dim=1)
        shifts = [torch.randint(n, (permutations,), generator=generator) for n in shape]
        places.setdefault(name, []).append(
            Places(
                window,
                within + torch.tensor(first),
                torch.stack(shifts, dim=1),
                first,
                shape,
                body,
                draw_seed(seed, number),
            )
        )
    return places


def num_places(places: dict[str, list[Places]]) -> int:
    """Return the number of voxels of all cases."""
    return sum(len(item.voxels) for items in places.values() for item in items)


def _inner(windows: Windows, window: int) -> tuple[Shape, Shape]:
    """Return first voxel and shape of the part of a window's output that lies in the volume.

    As the network sees it: mirrored, and without the axis that a 2D network goes along.
    """
    first, shape = [], []
    boxes = zip(windows.boxes[window], windows.outputs.boxes[window], strict=True)
    axes = zip(boxes, windows.padding, windows.shape, strict=True)
    for axis, ((side, output), (low, _), length) in enumerate(axes):
        if axis == windows.slice_axis:
            continue
        start, stop = max(output.start, low), min(output.stop, low + length)
        mirrored = axis in windows.flips(window)
        first.append(side.stop - stop if mirrored else start - side.start)
        shape.append(stop - start)
    return tuple(first), tuple(shape)


def _seen(
    body: Mask, windows: Windows, window: int, first: Shape, shape: Shape
) -> Bool[Tensor, "*R"]:
    """Return a part of a window of a body, as the network sees it."""
    padded = windows.pad(body[None, None].float().cpu())
    crop = windows.cut(padded, [window])[0, 0]
    axis = windows.slice_axis
    if axis is not None and crop.ndim > len(shape):
        crop = crop.squeeze(axis)
    ends = zip(first, shape, strict=True)
    return crop[tuple(slice(start, start + length) for start, length in ends)] > 0


def _flat(voxels: Int[Tensor, "*any A"], covered: Covered, patch: Sequence[int]) -> Tensor:
    result = torch.zeros(voxels.shape[:-1], dtype=torch.int64)
    axes = zip(covered.size, covered.extent, patch, strict=True)
    for axis, (length, extent, positions) in enumerate(axes):
        within = (voxels[..., axis] - (length - extent) // 2).clamp(0, extent - 1)
        result = result * positions + within * positions // extent
    return result
