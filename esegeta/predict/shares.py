"""Each window's part of a cotangent, and the gradient that is gathered from windows.

    share_t = w_t * g_t / sum w,    gradient = sum_t vjp(x_t, share_t)

Several targets share the forward pass of a window: it goes back once for each that it touches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Scalars
from esegeta.predict.form import LinearForm
from esegeta.predict.windows import Box, Windows, spot

Cotangent = Float[Tensor, "#B L *S"] | LinearForm
"""dR/dy: one for each image of a batch, or one for all of them, as a linear target's is."""


@dataclass(frozen=True)
class Pieces:
    """A few windows on the network's device, with what places them in the volume.

    Args:
        crops: the windows' input, `N C *W`.
        images: index of the image in the batch, for each window.
        windows: index into `Windows.boxes`, for each window.
        boxes: the same windows' boxes in the padded volume.
    """

    crops: Tensor
    images: tuple[int, ...]
    windows: tuple[int, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Pullback:
    """What a backward pass through the windows gives.

    Args:
        gradient: of the target by the input, `B C *S`.
        value: `sum_t <w_t g_t / sum w, net(x_t)>` for each image of the batch: the value of the
            target where it is linear in the prediction.
        num_active: windows that the cotangent touched.
        num_windows: all windows.
    """

    gradient: Batch
    value: Scalars
    num_active: int
    num_windows: int


class CotangentShares:
    """Each window's part of the cotangent, `w_t * g_t / sum w / scale`.

    Args:
        windows: over the volume.
        cotangent: `B L *S`, or `1 L *S` or a linear form for all images of a batch.
        scale: results are to be multiplied by it; a power of two rounds nothing.
    """

    def __init__(self, windows: Windows, cotangent: Cotangent, *, scale: float = 1.0) -> None:
        self.scale = scale
        self._boxes = windows.boxes
        self._padded = (
            cotangent.padded(windows)
            if isinstance(cotangent, LinearForm)
            else windows.pad(cotangent)
        )
        self._weights = windows.importance(cotangent.device, cotangent.dtype)
        self._coverage = windows.coverage(cotangent.device, cotangent.dtype)

    def of(self, pieces: Pieces, device: torch.device) -> Tensor:
        """Return the share of each window of each image, `N L *W`, divided by `scale`."""
        places = zip(pieces.images, pieces.boxes, strict=True)
        return torch.stack([self._share(image, box) for image, box in places]).to(device)

    def at(self, windows: Sequence[int], device: torch.device) -> Tensor:
        """Return the share of each of these windows of the first image, divided by `scale`."""
        shares = [self._share(0, self._boxes[window]) for window in windows]
        return torch.stack(shares).to(device)

    def _share(self, image: int, box: Box) -> Tensor:
        return self._part(image, box) * (self._weights / self._coverage[box] / self.scale)

    def _part(self, image: int, box: Box) -> Tensor:
        if isinstance(self._padded, LinearForm):
            return self._padded.crop(box)
        # A linear target has one cotangent for all images of a batch.
        return self._padded[spot(image if len(self._padded) > 1 else 0, box)]


def power_of_two_above(cotangent: Cotangent) -> float:
    """Return the smallest power of two above every magnitude; 1 where all are zero."""
    if isinstance(cotangent, LinearForm):
        peak = cotangent.peak()
    else:
        peak = float(torch.linalg.vector_norm(cotangent, torch.inf))
    return 2.0 ** math.frexp(peak)[1] if peak > 0 else 1.0


def active_windows(windows: Windows, cotangent: Cotangent) -> list[int]:
    """Return the windows on which a cotangent is not zero everywhere."""
    if isinstance(cotangent, LinearForm):
        return windows.touching(cotangent.support())
    return windows.touching(cotangent.any(dim=1).any(dim=0))


def inner(logits: Tensor, share: Tensor) -> Float[Tensor, " N"]:
    """Return `<share, logits>` of each window, summed in float64."""
    return (logits * share).flatten(1).sum(dim=1, dtype=torch.float64)


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


class Pull:
    """The gradient and the value of one cotangent, as they are gathered from windows.

    Args:
        x: the input, `B C *S`.
        windows: over it.
        shares: of the cotangent.
        active: the windows that it touches.
    """

    def __init__(
        self, x: Tensor, windows: Windows, shares: CotangentShares, active: frozenset[int]
    ) -> None:
        self._shares = shares
        self._active = active
        self._gradient = x.new_zeros((x.shape[0], x.shape[1], *windows.padded_shape))
        self._value = torch.zeros(x.shape[0], device=x.device, dtype=torch.float64)

    def wants(self, pieces: Pieces) -> bool:
        """Tell whether the cotangent touches any of these windows."""
        return not self._active.isdisjoint(pieces.windows)

    def add(self, pieces: Pieces, logits: Tensor, crops: Tensor, *, keep_graph: bool) -> None:
        """Go back from the logits of windows to their input."""
        share = self._shares.of(pieces, logits.device)
        (slope,) = torch.autograd.grad(
            logits, crops, share.to(logits.dtype), retain_graph=keep_graph
        )
        slope = slope.to(self._gradient)
        worth = inner(logits.detach(), share).to(self._value.device)
        for place, window in enumerate(pieces.windows):
            # A window beside the cotangent adds zeros, or NaN where its slopes are infinite.
            if window in self._active:
                image = pieces.images[place]
                self._gradient[spot(image, pieces.boxes[place])] += slope[place]
                self._value[image] += worth[place]

    def result(self, windows: Windows) -> Pullback:
        """Return what was gathered."""
        scale = self._shares.scale
        if scale != 1:
            # In place: a second tensor of the volume's size would be the peak of memory.
            self._gradient.mul_(scale)
        gradient = windows.crop(self._gradient).contiguous()
        return Pullback(gradient, self._value * scale, len(self._active), len(windows))
