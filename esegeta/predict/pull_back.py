"""What flows back through the windows: the gradient of a target by the input, and its value.

    gradient = sum_t vjp(x_t, share_t),    share_t = w_t * g_t / sum w

Several targets share the forward pass of a window: it goes back once for each that it touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esegeta.axes import Batch, Scalars
from esegeta.predict.blend import Pieces, WindowSum
from esegeta.predict.shares import CotangentShares, inner
from esegeta.predict.windows import Windows


@dataclass(frozen=True)
class Pullback:
    """What a backward pass through the windows gives.

    Args:
        gradient: gradient of the target by the input, `B C *S`.
        value: `sum_t <w_t g_t / sum w, net(x_t)>` for each image of the batch: the value of the
            target where it is linear in the prediction.
        num_active: windows that the cotangent touched.
        num_windows: all windows.
        num_run: number of windows that went forward.
    """

    gradient: Batch
    value: Scalars
    num_active: int
    num_windows: int
    num_run: int


class PullbackSum:
    """The gradient and the value of one cotangent, as they are gathered from windows.

    Args:
        x: the input, `B C *S`.
        windows: windows over the input.
        shares: shares of the cotangent.
        active: the windows that it touches.
    """

    def __init__(
        self, x: Tensor, windows: Windows, shares: CotangentShares, active: frozenset[int]
    ) -> None:
        self._shares = shares
        self._size = windows.size
        self._active = active
        self._gradient = WindowSum(windows, x, num_images=x.shape[0], num_channels=x.shape[1])
        self._value = torch.zeros(x.shape[0], device=x.device, dtype=torch.float64)

    def wants(self, pieces: Pieces) -> bool:
        """Tell whether the cotangent touches any of these windows."""
        return not self._active.isdisjoint(pieces.windows)

    def go_back(
        self, pieces: Pieces, logits: Tensor, crops: Tensor, *, keep_graph: bool
    ) -> tuple[Tensor, Tensor]:
        """Go back from the logits of windows to their input; return their slopes and values."""
        share = self._shares.of_channels(pieces, logits.device)
        read = self._shares.read(logits)
        (slope,) = torch.autograd.grad(read, crops, share.to(read.dtype), retain_graph=keep_graph)
        return slope, inner(read.detach(), share)

    def add(self, pieces: Pieces, slope: Tensor, worth: Tensor) -> None:
        """Add the slopes and the values of windows."""
        # A window beside the cotangent adds zeros, or NaN where its slopes are infinite.
        touched = [place for place, index in enumerate(pieces.windows) if index in self._active]
        windows = [pieces.windows[place] for place in touched]
        images = [pieces.images[place] for place in touched]
        if pieces.parts:
            slope = self._whole(slope, pieces)
        self._gradient.add(
            windows, slope if len(touched) == len(slope) else slope[touched], images=images
        )
        worth = worth.to(self._value.device)
        for place, image in zip(touched, images, strict=True):
            self._value[image] += worth[place]

    def _whole(self, slope: Tensor, pieces: Pieces) -> Tensor:
        """Return slopes of parts as those of whole windows: beside a part there are none."""
        whole = slope.new_zeros((*slope.shape[:2], *self._size))
        for own, part, values in zip(whole, pieces.parts, slope, strict=True):
            own[(slice(None), *part)] = values
        return whole

    def result(self, windows: Windows) -> Pullback:
        """Return what was gathered."""
        scale = self._shares.scale
        gradient = self._gradient.result()
        if scale != 1:
            # In place: a second tensor of the volume's size would be the peak of memory.
            gradient.mul_(scale)
        num = len(self._active)
        return Pullback(gradient.contiguous(), self._value * scale, num, len(windows), num)


def by_company(actives: Sequence[Sequence[int]]) -> list[int]:
    """Return all active windows, those that touch the same targets next to each other.

    A batch of windows then seldom goes back for a target that only some of them touch.
    """
    if len(actives) == 1:
        return list(actives[0])
    touched: dict[int, list[int]] = {}
    for place, active in enumerate(actives):
        for window in active:
            touched.setdefault(window, []).append(place)
    return sorted(touched, key=lambda window: (touched[window], window))
