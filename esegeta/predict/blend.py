"""The only place where windows are blended: the sum, the blend and its transpose.

    sum_t p_t                       `WindowSum`: gradients, and maps that add up over windows
    sum_t w_t * p_t / sum_t w_t     `WindowBlend`: logits and activations, whose heights are kept
    w_t * g_t / sum_t w_t           `CotangentShares`: what a window's output answers for

The third is the transpose of the second: `<blend(p), g> = sum_t <p_t, share_t(g)>` for all p and g.
Sums and blends lie on the voxels of a volume or on the positions of a layer. Their buffers are on
the input's device and in its dtype; patches come from wherever the network is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.predict.cotangent import Cotangent, LinearForm
from esegeta.predict.layer_grid import LayerGrid
from esegeta.predict.tiling import Box, spot
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
        lattice = lattice.outputs if isinstance(lattice, Windows) else lattice
        super().__init__(lattice, like, num_images=num_images, num_channels=num_channels)
        self.weights = lattice.importance(like.device, like.dtype)

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
        buffer /= self._lattice.coverage(buffer.device, buffer.dtype)
        return self._lattice.crop(buffer)


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
        self._weights = windows.importance(like.device, like.dtype)
        self._coverage = windows.coverage(like.device, like.dtype)

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
        share = form.crop_channels(self._boxes[window]) * self._weight(window)
        return self._windows.turned(share, window)

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
        part, is_own = self._part(padded, image, box), isinstance(padded, LinearForm)
        share = part.mul_(self._weight(window)) if is_own else part * self._weight(window)
        return self._windows.turned(share, window)

    def _weight(self, window: int) -> Tensor:
        return self._weights / self._coverage[self._boxes[window]] / self.scale

    def _part(self, padded: Cotangent, image: int, box: Box) -> Tensor:
        if isinstance(padded, LinearForm):
            return padded.crop(box)
        # A linear target has one cotangent for all images of a batch.
        return padded[spot(image if len(padded) > 1 else 0, box)]


def inner(logits: Tensor, share: Tensor) -> Float[Tensor, " N"]:
    """Return `<share, logits>` of each window, summed in float64."""
    return (logits * share).flatten(1).sum(dim=1, dtype=torch.float64)
