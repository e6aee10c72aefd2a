"""What is changed to change a picture: its voxels, several scales of it, or channels unmixed.

A parametrisation turns free numbers into a picture and back. Ascent follows the slope by the free
numbers: which ones they are decides which pictures are near, and so how the picture looks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Scalars, Shape

SMALLEST_SHARE = 1e-6
"""Of the mean variance of the channels: less counts as this much, so that mixing has an inverse."""

LEAST_SPREAD = 0.1
"""Of the largest spread of the channels, where pictures have one length."""

NORMED_START = 0.1
"""Root mean square of the free numbers that a picture of one length starts from."""


class Parametrisation(ABC):
    """Free numbers of a picture `B C *S`."""

    @abstractmethod
    def encode(self, x: Batch) -> list[Tensor]:
        """Return the free numbers of a picture, or of the nearest one that has some."""

    @abstractmethod
    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return the picture of free numbers, differentiable."""

    def effort(self, free: Sequence[Tensor]) -> Scalars | None:
        """Return |z|^2 / K of a code; None where the numbers are no code."""
        return None


@dataclass(frozen=True)
class Voxels(Parametrisation):
    """The voxels themselves."""

    def encode(self, x: Batch) -> list[Tensor]:
        """Return the picture."""
        return [x.clone()]

    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return the picture."""
        return free[0]


@dataclass(frozen=True)
class MultiScale(Parametrisation):
    """A sum of grids, each half as fine as the one before, that are interpolated linearly.

        x = sum_l up(z_l),    z_l on a grid of 1 / 2^l of the lengths

    A step of the same size on each grid moves coarse structure as fast as fine one.

    Args:
        levels: grids, the picture's own among them; those of a single voxel are left out.
    """

    levels: int = 4

    def encode(self, x: Batch) -> list[Tensor]:
        """Return a Laplacian pyramid of the picture: each grid holds what coarser ones lack."""
        shape = tuple(x.shape[2:])
        rest, free = x, []
        for lengths in reversed(self.grids(shape)):
            part = rest if lengths == shape else resized(rest, lengths)
            free.append(part.clone())
            rest = rest - resized(part, shape)
        return free[::-1]

    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return the sum."""
        shape = tuple(free[0].shape[2:])
        return torch.stack([resized(part, shape) for part in free]).sum(0)

    def grids(self, shape: Shape) -> list[Shape]:
        """Return the lengths of each grid, the finest first."""
        found = [shape]
        while len(found) < self.levels and max(found[-1]) > 1:
            found.append(tuple(-(-length // 2) for length in found[-1]))
        return found


def resized(x: Tensor, shape: Shape) -> Tensor:
    """Return a picture `B C *S`, interpolated linearly to other lengths; itself where they are its.

    Voxels' borders meet at the ends (align_corners False).
    """
    if tuple(x.shape[2:]) == shape:
        return x
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return F.interpolate(x, size=shape, mode=mode, align_corners=False)


@dataclass(frozen=True, eq=False)
class Unmixed(Parametrisation):
    """Channels in which the data is uncorrelated and of variance one: x = m + A y, A = Cov^1/2.

    With one channel this counts in standard deviations of the data, so that a step means the same
    whatever the unit of the image. Else it takes apart what always changes together, as colours
    do, and MRI sequences.

    Args:
        inner: of y.
        mean: m of each channel over the cases.
        mixing: A, symmetric, `C C`.

    Source: Olah et al. 2017, whose matrix is ImageNet's.
    """

    inner: Parametrisation
    mean: Float[Tensor, " C"] = field(repr=False)
    mixing: Float[Tensor, "C C"] = field(repr=False)

    def of_directions(self) -> Unmixed:
        """Return it for pictures of one length: of their directions none is typical.

        m is 0, and the least spread of A at least a tenth of its largest: from channels whose
        spreads differ by a factor of 300, 256 steps got as near to w / |w| as a cosine of .99.
        """
        roots, vectors = torch.linalg.eigh(self.mixing.double().cpu())
        nearer = (vectors * roots.clamp(min=LEAST_SPREAD * float(roots.max()))) @ vectors.T
        return Unmixed(self.inner, 0 * self.mean, nearer.to(self.mixing))

    def encode(self, x: Batch) -> list[Tensor]:
        """Return the free numbers of A^-1 (x - m)."""
        shift = _column(self.mean, x)
        inverse = torch.linalg.inv(self.mixing.double().cpu()).to(x)
        return self.inner.encode(_mixed(x - shift, inverse))

    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return m + A y."""
        y = self.inner.decode(free)
        return _mixed(y, self.mixing.to(y)) + _column(self.mean, y)

    def effort(self, free: Sequence[Tensor]) -> Scalars | None:
        """Return what `inner` does."""
        return self.inner.effort(free)


@dataclass(frozen=True)
class Normed(Parametrisation):
    """Pictures of one length, |x|_2 = r: x = r y / |y|.

    Only the direction of y counts, and the longer y is, the less a step turns it. It starts short,
    and so turns well at first and less and less.

    Args:
        inner: of y, linear in its free numbers, or a code.
        norm: r.
    """

    inner: Parametrisation
    norm: float

    def encode(self, x: Batch) -> list[Tensor]:
        """Return free numbers of the picture, whose own length is lost; a code keeps its own."""
        free = self.inner.encode(x)
        if self.inner.effort(free) is not None:
            return free
        squares = torch.stack([part.square().flatten(1).mean(1) for part in free]).mean(0)
        size = torch.where(squares > 0, squares, 1.0).sqrt()
        return [NORMED_START * part / size.reshape(-1, *[1] * (part.ndim - 1)) for part in free]

    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return the picture at its length."""
        y = self.inner.decode(free)
        length = torch.linalg.vector_norm(y.flatten(1), dim=1).clamp(min=torch.finfo(y.dtype).tiny)
        found: Tensor = y * (self.norm / length.reshape(-1, *[1] * (y.ndim - 1)))
        return found

    def effort(self, free: Sequence[Tensor]) -> Scalars | None:
        """Return what `inner` does."""
        return self.inner.effort(free)


def mixing_of(values: Float[Tensor, "C N"]) -> tuple[Tensor, Tensor]:
    """Return the mean of each channel over values of data, and the square root of their covariance.

    Args:
        values: voxels of the cases, a row a channel.
    """
    wide = values.double().cpu()
    mean = wide.mean(1)
    centred = wide - mean[:, None]
    covariance = centred @ centred.T / max(1, wide.shape[1] - 1)
    roots, vectors = torch.linalg.eigh(covariance)
    least = SMALLEST_SHARE * float(roots.clamp(min=0).mean())
    mixing = (vectors * roots.clamp(min=least or 1.0).sqrt()) @ vectors.T
    return mean.float(), mixing.float()


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    if len(matrix) == 1:
        return x * matrix[0, 0]
    return torch.einsum("ij,bj...->bi...", matrix, x)


def _column(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x).reshape(1, -1, *[1] * (x.ndim - 2))
