"""How far an input reaches into a network's output, proved; and which part of a window is enough.

Of a network without norms over the window, an output depends on inputs near it alone. A target
that looks at a few voxels then needs only the part of a window that these depend on. Three things
must hold, and each is tested on the network itself:

- reach: a block of NaN in a window marks all outputs that depend on it, whatever the weights are;
- steps: parts begin at multiples of the product of the strides, seen in the layers' positions;
- sameness: parts at both ends and in the middle of a random window give the outputs of the whole.

An end of a part is the window's own, with its padding, or further from the outputs than they see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from esegeta.axes import Shape
from esegeta.errors import ModelError
from esegeta.model import list_layers
from esegeta.predict.tiling import Box

ImageAndWindow = tuple[int, int]
"""Image and window."""

RunNetwork = Callable[[Tensor], Tensor]
"""A network on windows, `N C *W` to `N L *W`."""

SAME = 1e-5
"""Most that outputs of a part may differ from those of the whole, of the largest output."""

PASSES_OF_PROOF: float = 6
"""Passes of a whole window that the proof takes, at most."""

SMALL_SHARE = 0.75
"""A part that is larger than this share of its window is not worth being run apart."""


@dataclass(frozen=True)
class Reach:
    """Which outputs depend on a block of inputs, along each axis of a window.

    Inputs `k * step` up to `(k + 1) * step` reach outputs from `before` before the first of them
    to `after` behind the last.

    Args:
        size: size of the window.
        step: length of a block: parts begin and end at multiples of it.
        before: voxels before a block.
        after: voxels behind a block.
    """

    size: Shape
    step: Shape
    before: Shape
    after: Shape

    def needed(self, outputs: Box) -> Box:
        """Return the part of a window that decides some of its outputs.

        Blocks k reach them where `k * step + step + after > start` and `k * step - before < stop`.
        """
        part = []
        axes = zip(outputs, self.size, self.step, self.before, self.after, strict=True)
        for side, length, step, before, after in axes:
            # Whole blocks of outputs: then no part is smaller than those of the proof.
            start, stop = side.start // step * step, -(-side.stop // step) * step
            first = (start - step - after) // step + 1
            end = -(-(stop + before) // step)
            part.append(slice(max(first * step, 0), min(end * step, length)))
        return tuple(part)

    def reached(self, inputs: Box) -> Box:
        """Return the outputs of a window that depend on some of its inputs."""
        part = []
        axes = zip(inputs, self.size, self.step, self.before, self.after, strict=True)
        for side, length, step, before, after in axes:
            start, stop = side.start // step * step, -(-side.stop // step) * step
            part.append(slice(max(start - before, 0), min(stop + after, length)))
        return tuple(part)


def box_around(mask: Bool[Tensor, "*W"]) -> Box | None:
    """Return the box around a mask, or None where it is empty."""
    sides = []
    for axis in range(mask.ndim):
        lines = mask.movedim(axis, 0).flatten(1).view(torch.uint8)
        held = lines.amax(dim=1).nonzero()[:, 0].tolist()  # of bytes: `any` of bits is slow
        if not held:
            return None
        sides.append(slice(held[0], held[-1] + 1))
    return tuple(sides)


_known: WeakKeyDictionary[nn.Module, dict[Any, Reach | None]] = WeakKeyDictionary()


def known_reach(network: nn.Module, shape: Shape) -> tuple[bool, Reach | None]:
    """Return whether the reach in windows `C *W` was looked for, and what was found."""
    found = _known.get(network, {})
    key = _key(network, shape)
    return key in found, found.get(key)


def reach_of(network: nn.Module, run: RunNetwork, like: Float[Tensor, "N C *W"]) -> Reach | None:
    """Return the reach of a network in windows, or None where parts of them are not proved enough.

    It is found once for a network: weights do not change what depends on what.

    Args:
        network: the network, held still.
        run: runs it on windows.
        like: windows, for their shape, device and dtype.
    """
    shape = tuple(like.shape[1:])
    looked, found = known_reach(network, shape)
    if not looked:
        with torch.no_grad():
            found = _find(network, run, like[:1])
        _known.setdefault(network, {})[_key(network, shape)] = found
    return found


def worthwhile_reach(
    network: nn.Module, run: RunNetwork, like: Float[Tensor, "1 C *W"], saved: Callable[[], float]
) -> Reach | None:
    """Return the reach where it is known, or may save more passes than its proof takes.

    Args:
        network: the network, held still.
        run: runs it on windows.
        like: a window, for its shape, device and dtype.
        saved: counts the passes of a whole window that it may save, where that matters.
    """
    is_known, reach = known_reach(network, tuple(like.shape[1:]))
    return reach if is_known or saved() < PASSES_OF_PROOF else reach_of(network, run, like)


def narrow_parts(
    network: nn.Module,
    run: RunNetwork,
    like: Float[Tensor, "1 C *W"],
    wanted: Mapping[int, Bool[Tensor, "*W"]],
    times: int,
) -> dict[int, Box]:
    """Return the part of each window that decides its wanted outputs, where that saves anything.

    The reach is looked for where it would save more passes than the proof takes.

    Args:
        network: the network, held still.
        run: runs it on windows.
        like: a window, for its shape, device and dtype.
        wanted: wanted outputs of each window, as its network sees it.
        times: how often each window will be run.
    """
    boxes = {window: box_around(mask) for window, mask in wanted.items()}

    def saved() -> float:
        return times * sum(1 - _share(box, like) for box in boxes.values())

    reach = worthwhile_reach(network, run, like, saved)
    if reach is None:
        return {}
    parts = {window: reach.needed(box) for window, box in boxes.items() if box is not None}
    return {window: part for window, part in parts.items() if _share(part, like) <= SMALL_SHARE}


def _share(box: Box | None, window: Tensor) -> float:
    """Return how much of a window `1 C *W` a box is; all of it for None."""
    if box is None:
        return 1.0
    voxels: int = math.prod(side.stop - side.start for side in box)
    return voxels / window[0, 0].numel()


def batches(
    places: Sequence[ImageAndWindow], size: Shape, parts: Mapping[int, Box], count: int
) -> Iterator[tuple[list[ImageAndWindow], tuple[Box, ...]]]:
    """Yield windows that go through the network together, and their parts; none for whole ones.

    Args:
        places: image and window of each.
        size: size of a whole window.
        parts: parts of some windows.
        count: whole windows at a time; of parts as many as are as large.
    """
    alike: dict[Shape, list[ImageAndWindow]] = {}
    for place in places:
        part = parts.get(place[1])
        lengths = () if part is None else tuple(side.stop - side.start for side in part)
        alike.setdefault(lengths, []).append(place)
    for lengths, own in alike.items():
        step = count * math.prod(size) // math.prod(lengths) if lengths else count
        for start in range(0, len(own), step):
            group = own[start : start + step]
            yield group, tuple(parts[window] for _, window in group if lengths)


def _key(network: nn.Module, shape: Shape) -> tuple[Any, ...]:
    return (shape, tuple(type(module) for module in network.modules()))


def _find(network: nn.Module, run: RunNetwork, like: Tensor) -> Reach | None:
    size = tuple(like.shape[2:])
    step = _step_of(network, run, like)
    if step is None:
        return None
    blocks = [length // one // 2 * one for length, one in zip(size, step, strict=True)]
    block = tuple(slice(start, start + one) for start, one in zip(blocks, step, strict=True))
    marked = torch.zeros_like(like)
    marked[(slice(None), slice(None), *block)] = torch.nan
    found = box_around(run(marked).isnan().flatten(0, 1).any(dim=0))
    if found is None:
        return None
    before, after = [], []
    for one, own, length in zip(block, found, size, strict=True):
        # What reaches an end of the window may reach further.
        is_inside = 0 < own.start <= one.start and one.stop <= own.stop < length
        before.append(one.start - own.start if is_inside else length)
        after.append(own.stop - one.stop if is_inside else length)
    reach = Reach(size, step, tuple(before), tuple(after))
    try:
        return reach if _is_same(reach, run, like) else None
    except Exception:  # whatever the network's own code raises at another size than its window's
        return None


def _step_of(network: nn.Module, run: RunNetwork, like: Tensor) -> Shape | None:
    """Return the least common multiple of all layers' strides by axis; None where unknown."""
    size = tuple(like.shape[2:])
    seen = [axis for axis, length in enumerate(size) if length > 1]  # by a 2D network
    step = [1] * len(size)
    try:
        layers = list_layers(network, lambda: run(like))
    except ModelError:  # a scripted network: its layers cannot be watched
        return None
    for layer in layers:
        shape = layer.output_shape
        if shape is None or len(shape) - 2 not in (len(size), len(seen)):
            continue
        axes = seen if len(shape) - 2 < len(size) else range(len(size))
        for axis, positions in zip(axes, shape[2:], strict=True):
            small, large = sorted((positions, size[axis]))
            if large % small:
                return None
            if positions == small:
                step[axis] = math.lcm(step[axis], large // small)
    # A layer of a single position, as behind a global mean, makes the step the window's length.
    return tuple(step)


def _is_same(reach: Reach, run: RunNetwork, like: Tensor) -> bool:
    """Tell whether parts of a random window give the same outputs as the whole."""
    generator = torch.Generator().manual_seed(0)
    window = torch.randn(like.shape, generator=generator).to(like)
    whole = run(window)
    scale = float(whole.abs().max())
    num_parts = 0
    for outputs in _trial_outputs(reach):
        part = reach.needed(outputs)
        if all(side == slice(0, n) for side, n in zip(part, reach.size, strict=True)):
            continue
        num_parts += 1
        found = run(window[(slice(None), slice(None), *part)])
        own = tuple(
            slice(want.start - side.start, want.stop - side.start)
            for want, side in zip(outputs, part, strict=True)
        )
        every = (slice(None), slice(None))
        gap = found[(*every, *own)] - whole[(*every, *outputs)]
        if not float(gap.abs().max()) <= SAME * scale:
            return False
    return num_parts > 0


def _trial_outputs(reach: Reach) -> list[Box]:
    """Return blocks of outputs at both ends and, after odd numbers of them, inside of a window."""
    found: list[Box] = []
    for place in ("first", "odd", "last"):
        box = []
        for length, step in zip(reach.size, reach.step, strict=True):
            num = length // step
            block = {"first": 0, "odd": min(num // 2 | 1, num - 1), "last": num - 1}[place]
            box.append(slice(block * step, (block + 1) * step))
        found.append(tuple(box))
    return found
