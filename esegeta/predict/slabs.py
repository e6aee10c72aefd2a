"""The blended prediction a slab at a time: no more of it is held than one window is thick.

    y[planes] = sum_t w_t * net(x_t) / sum_t w_t     as soon as no further window adds to the planes

Windows go through the network in the order of their position along one axis. Before a window is
added that starts further on, the planes before it are complete: they are handed on, and dropped.
So L outputs of a volume of N planes take the memory of L outputs of W planes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esegeta.axes import Batch, Logits
from esegeta.model import held_still
from esegeta.predict.blend import Pieces, SlabBlend
from esegeta.predict.runner import WindowRunner
from esegeta.predict.tiling import Box
from esegeta.predict.windows import Windows


@dataclass(frozen=True, eq=False)
class Slab:
    """Some planes of a volume with their prediction.

    Args:
        axis: the axis of the volume across which the planes lie.
        planes: which planes, of the volume's.
        parts: logits of the planes, `1 L *P`, of each network whose probabilities are averaged,
            otherwise of one; views of buffers that are used again when `take` returns.
        box: the planes as a box of the volume.
    """

    axis: int
    planes: slice
    parts: tuple[Logits, ...]
    box: Box


TakeSlab = Callable[[Slab], None]
"""What is done with a slab; it must copy what it wants to keep of the logits."""


def slab_axis(windows: Windows) -> int:
    """Return the axis across which a slab as thick as a window's output is smallest."""
    shares = [o / n for o, n in zip(windows.output, windows.padded_shape, strict=True)]
    return shares.index(min(shares))


def run_slabs(
    runner: WindowRunner, x: Batch, take: TakeSlab, *, chosen: Sequence[int], axis: int
) -> None:
    """Predict an image slab by slab; planes that no chosen window covers are left out.

    Args:
        runner: the network over windows.
        x: the image, `1 C *S`.
        take: is given each slab, in the order of its planes.
        chosen: windows that are run; what others would add is missing.
        axis: the axis across which slabs lie.
    """
    windows = runner.windows(x)
    starts = [box[axis].start for box in windows.outputs.boxes]
    blends = [SlabBlend(windows, x, axis) for _ in range(windows.num_blends)]

    def hand_on(next_start: int | None) -> None:
        # Sub-slabs of all blends are the same planes: a row of windows is of all networks.
        ready = [blend.complete(next_start) for blend in blends]
        if ready[0] is not None:
            parts = tuple(part for part in ready if part is not None)
            take(_in_volume(windows, axis, blends[0].first, parts))
        for blend in blends:
            blend.move_to(next_start)

    with torch.no_grad(), held_still(runner.network):
        for pieces in _pieces_by_row(runner, x, windows, chosen, starts):
            if starts[pieces.windows[0]] != blends[0].first:
                # Before the network runs, so that its output does not lie beside what is handed on.
                hand_on(starts[pieces.windows[0]])
            logits = runner.run(pieces.crops, windows)
            for window, patch in zip(pieces.windows, logits, strict=True):
                if starts[window] != blends[0].first:
                    hand_on(starts[window])
                blends[windows.blend_of(window)].add(window, patch)
            # Otherwise they would lie beside those of the next windows.
            del logits, patch
        hand_on(None)


def rows_of(chosen: Sequence[int], starts: Sequence[int]) -> list[list[int]]:
    """Return windows by their position along the axis, ascending; in each row as they came."""
    ordered = sorted(chosen, key=lambda window: starts[window])
    return [list(row) for _, row in itertools.groupby(ordered, key=lambda window: starts[window])]


def _pieces_by_row(
    runner: WindowRunner,
    x: Batch,
    windows: Windows,
    chosen: Sequence[int],
    starts: Sequence[int],
) -> Iterator[Pieces]:
    rows = rows_of(chosen, starts)
    if len({windows.member_of(window) for window in chosen}) > 1:
        # All networks of a row before the next: each takes its weights once a row.
        for row in rows:
            yield from runner.pieces(x, windows, row)
    else:
        yield from runner.pieces(x, windows, [window for row in rows for window in row])


def _in_volume(windows: Windows, axis: int, first: int | None, parts: tuple[Tensor, ...]) -> Slab:
    """Return planes of the padded volume without its padding.

    There are some: outputs begin where the volume does, or are all that lies along the axis.
    """
    assert first is not None
    before, length = windows.padding[axis][0], windows.shape[axis]
    start = max(first - before, 0)
    stop = min(first - before + parts[0].shape[axis + 2], length)
    inner = [
        slice(pad[0], pad[0] + n) for pad, n in zip(windows.padding, windows.shape, strict=True)
    ]
    inner[axis] = slice(start + before - first, stop + before - first)
    box = tuple(
        slice(start, stop) if place == axis else slice(0, n)
        for place, n in enumerate(windows.shape)
    )
    cut = tuple(part[(slice(None), slice(None), *inner)] for part in parts)
    return Slab(axis, slice(start, stop), cut, box)
