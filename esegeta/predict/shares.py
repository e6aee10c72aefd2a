"""The transpose of the blend: what each window's output answers for, of numbers over the volume.

    share_t(g) = w_t * g_t / sum_t w_t

So that `<blend(p), g> = sum_t <p_t, share_t(g)>` for all patches p and all g; the blend itself is
in `predict.blend`. A share is as the window's network sees it: mirrored where its pass is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.predict.blend import Pieces, coverage_of
from esegeta.predict.cotangent import Cotangent, LinearForm
from esegeta.predict.tiling import spot
from esegeta.predict.windows import Windows


class BlendTranspose:
    """`w_t * g_t / sum_t w_t / scale`, given g on the voxels that a window's output covers.

    Args:
        windows: over the volume.
        device: where g is.
        dtype: type of its numbers.
        scale: factor that results are to be multiplied by.
    """

    def __init__(
        self, windows: Windows, device: torch.device, dtype: torch.dtype, *, scale: float = 1.0
    ) -> None:
        self._windows, self._scale = windows, scale
        self._boxes = windows.outputs.boxes
        self._weights = windows.importance(device, dtype)
        self._coverage = coverage_of(windows.outputs, device, dtype)

    def of(self, part: Float[Tensor, "K *W"], window: int) -> Float[Tensor, "K *W"]:
        """Return a window's share of g there, as its network sees it."""
        return self._windows.turned(part * self._weight(window), window)

    def of_own(self, part: Float[Tensor, "K *W"], window: int) -> Float[Tensor, "K *W"]:
        """Return the same, written over g, where nobody else needs it: no memory beside it.

        It is `part` itself, unless the window is mirrored.
        """
        return self._windows.turned(part.mul_(self._weight(window)), window)

    def _weight(self, window: int) -> Tensor:
        weight = self._weights / self._coverage[self._boxes[window]]
        return weight if self._scale == 1 else weight / self._scale


class CotangentShares:
    """Each window's part of the cotangent, `w_t * g_t / sum w / scale`, as its network sees it.

    Args:
        windows: over the volume.
        cotangents: `B L *S`, or `1 L *S` or a linear form for all images of a batch; one for each
            of the predictions that windows are blended into.
        scale: factor that results are to be multiplied by; a power of two causes no rounding.
    """

    def __init__(self, windows: Windows, *cotangents: Cotangent, scale: float = 1.0) -> None:
        self.scale = scale
        self._windows = windows
        self._boxes = windows.outputs.boxes
        self._padded = [
            one.padded(windows) if isinstance(one, LinearForm) else windows.pad(one)
            for one in cotangents
        ]
        like = cotangents[0]
        self._blend = BlendTranspose(windows, like.device, like.dtype, scale=scale)

    @property
    def channels(self) -> list[int] | None:
        """Output channels that have shares; None where all of them may."""
        form = self._padded[0]
        return form.channels if isinstance(form, LinearForm) else None

    def read(self, logits: Tensor) -> Tensor:
        """Return the logits `N K *W` of the output channels that have shares; differentiable."""
        channels = self.channels
        if channels is None:
            return logits
        with torch.enable_grad():  # also in the middle of another function's forward pass
            if channels == list(range(channels[0], channels[-1] + 1)):
                return logits.narrow(1, channels[0], len(channels))
            return logits[:, channels]

    def of_channels(self, pieces: Pieces, device: torch.device) -> Tensor:
        """Return the shares `N K *W` of the output channels that have any, divided by `scale`.

        The others' zeros, which may take a hundred times the memory, are not made.
        """
        form = self._padded[0]
        if not isinstance(form, LinearForm):
            return self.of(pieces, device)
        shares = [self.of_window(window) for window in pieces.windows]
        if pieces.parts:
            pairs = zip(shares, pieces.parts, strict=True)
            shares = [share[(slice(None), *part)] for share, part in pairs]
        return (shares[0][None] if len(shares) == 1 else torch.stack(shares)).to(device)

    def of_window(self, window: int) -> Float[Tensor, "K *W"]:
        """Return the share of a window of the first image, likewise."""
        form = self._padded[0]
        if not isinstance(form, LinearForm):
            return self._share(0, window)
        return self._blend.of_own(form.crop_channels(self._boxes[window]), window)

    def of(self, pieces: Pieces, device: torch.device) -> Tensor:
        """Return the share of each window of each image, `N L *W`, divided by `scale`."""
        places = zip(pieces.images, pieces.windows, strict=True)
        shares = [self._share(*place) for place in places]
        if pieces.parts:
            pairs = zip(shares, pieces.parts, strict=True)
            shares = [share[(slice(None), *part)] for share, part in pairs]
        return torch.stack(shares).to(device)

    def at(self, windows: Sequence[int], device: torch.device) -> Tensor:
        """Return the share of each of these windows of the first image, divided by `scale`."""
        return torch.stack([self._share(0, window) for window in windows]).to(device)

    def _share(self, image: int, window: int) -> Tensor:
        box = self._boxes[window]
        padded = self._padded[self._windows.blend_of(window)]
        if isinstance(padded, LinearForm):
            return self._blend.of_own(padded.crop(box), window)
        # A linear target has one cotangent for all images of a batch.
        return self._blend.of(padded[spot(image if len(padded) > 1 else 0, box)], window)


def inner(logits: Tensor, share: Tensor) -> Float[Tensor, " N"]:
    """Return `<share, logits>` of each window, summed in float64."""
    return (logits * share).flatten(1).sum(dim=1, dtype=torch.float64)
