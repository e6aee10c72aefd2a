"""Experts: densities of real images, p(x), that say whether a picture could be one.

Both are of small neighbourhoods, so that they can be learned from few cases, and take pictures of
any size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from esegeta.axes import Batch, Scalars
from esegeta.features.transforms import Draws
from esegeta.model import full_float32, seeded

LEAST_VARIANCE = 1e-3
"""Of the data's variance: neighbourhoods of one grey value, such as air, have a density too."""


class Expert(ABC):
    """Says how unlikely pictures are, in nats a number: lower is more like the data."""

    name: ClassVar[str]

    @abstractmethod
    def cost(self, x: Batch, *, shift: Sequence[int] = ()) -> Scalars:
        """Return what is to be made small, of each picture, differentiable.

        Args:
            x: pictures.
            shift: where the first neighbourhood begins, for an expert that takes them side by side.
        """

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return all that is to be kept of it."""

    @abstractmethod
    def to(self, device: torch.device) -> Expert:
        """Return it on a device."""

    @property
    def side(self) -> int:
        """How far shifts of the first neighbourhood make a difference."""
        return 1


@dataclass(frozen=True, eq=False)
class PatchMixture(Expert):
    """A mixture of Gaussians of small patches in their principal components.

        -log p(x) / D,    p(patch) = [sum_k w_k N(V^T (patch - m); mu_k, S_k)] N(rest; 0, s^2)

    What the components leave over has one variance s^2 along every other axis.

    Args:
        patch: side of a patch in voxels.
        mean: m, `D`.
        axes: V, `D K`.
        rest: s^2.
        weights: w, `M`.
        centres: mu, `M K`.
        precisions: Cholesky factors P of the inverse covariances, S^-1 = P P^T, `M K K`.

    Source: Zoran and Weiss 2011 (EPLL); Tipping and Bishop 1999 for the rest.
    """

    patch: int
    mean: Tensor = field(repr=False)
    axes: Tensor = field(repr=False)
    rest: float
    weights: Tensor = field(repr=False)
    centres: Tensor = field(repr=False)
    precisions: Tensor = field(repr=False)

    name: ClassVar[str] = "mixture"

    @classmethod
    def fit(
        cls, patches: Float[Tensor, "N D"], patch: int, *, axes: int, components: int, seed: int
    ) -> PatchMixture:
        """Return the mixture of small patches.

        Args:
            patches: flattened, on the host.
            patch: their side.
            axes: principal components, fewer where there are no more.
            components: Gaussians.
            seed: of the fit.
        """
        from sklearn.mixture import GaussianMixture

        wide = patches.double()
        mean = wide.mean(0)
        centred = wide - mean
        covariance = centred.T @ centred / max(1, len(wide) - 1)
        roots, vectors = torch.linalg.eigh(covariance)
        size = wide.shape[1]
        kept = min(axes, size)
        floor = LEAST_VARIANCE * max(float(roots.clamp(min=0).mean()), 1e-12)
        basis = vectors[:, -kept:]
        rest = max(float(roots[:-kept].clamp(min=0).mean()) if kept < size else floor, floor)
        model = GaussianMixture(
            min(components, len(wide)), reg_covar=floor, random_state=seed, max_iter=50, tol=1e-2
        )
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            model.fit((centred @ basis).numpy())
        return cls(
            patch,
            mean.float(),
            basis.float(),
            rest,
            torch.as_tensor(model.weights_).float(),
            torch.as_tensor(model.means_).float(),
            torch.as_tensor(model.precisions_cholesky_).float(),
        )

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> PatchMixture:
        """Return the mixture that a state was kept of."""
        parts = {key: state[key] for key in ("mean", "axes", "weights", "centres", "precisions")}
        return cls(patch=int(state["patch"]), rest=float(state["rest"]), **parts)

    @property
    def side(self) -> int:
        """The side of a patch."""
        return self.patch

    def cost(self, x: Batch, *, shift: Sequence[int] = ()) -> Scalars:
        """Return -log p(x) a number, over patches side by side."""
        flat = cut_patches(x, self.patch, shift)
        return -self.log_density(flat.flatten(0, 1)).reshape(flat.shape[:2]).mean(1) / flat.shape[2]

    def log_density(self, patches: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """Return log p of each patch."""
        centred = patches - self.mean
        inside = centred @ self.axes
        left = (centred.square().sum(1) - inside.square().sum(1)).clamp(min=0)
        count = centred.shape[1] - inside.shape[1]
        log_rest = -0.5 * (left / self.rest + count * math.log(2 * math.pi * self.rest))
        # (z - mu) P of each Gaussian, without a copy of z a Gaussian.
        turned = torch.einsum("nk,mkj->nmj", inside, self.precisions)
        turned = turned - torch.einsum("mk,mkj->mj", self.centres, self.precisions)
        log_det = self.precisions.diagonal(dim1=1, dim2=2).log().sum(1)
        logs = log_det - 0.5 * (turned.square().sum(2) + inside.shape[1] * math.log(2 * math.pi))
        return torch.logsumexp(logs + self.weights.log(), dim=1) + log_rest

    def state(self) -> dict[str, Tensor]:
        """Return its numbers."""
        return {
            "patch": torch.tensor(self.patch),
            "rest": torch.tensor(self.rest, dtype=torch.float64),
            **{key: getattr(self, key) for key in _TENSORS},
        }

    def to(self, device: torch.device) -> PatchMixture:
        """Return it on a device."""
        parts = {key: getattr(self, key).to(device) for key in _TENSORS}
        return PatchMixture(patch=self.patch, rest=self.rest, **parts)


_TENSORS = ("mean", "axes", "weights", "centres", "precisions")


def cut_patches(x: Batch, side: int, shift: Sequence[int] = ()) -> Float[Tensor, "B N D"]:
    """Cut pictures into patches side by side, flattened; what is left at the ends is left out.

    Args:
        x: pictures `B C *S`, no side shorter than a patch.
        side: of a patch.
        shift: where the first begins along each axis; there must be room for one behind it.
    """
    parts = x
    for axis, length in enumerate(x.shape[2:]):
        start = min(shift[axis], length - side) if shift else 0
        count = (length - start) // side
        parts = parts.narrow(axis + 2, start, count * side)
    for axis in range(x.ndim - 2):
        parts = parts.unfold(axis + 2, side, side)
    ndim = x.ndim - 2
    order = (0, *range(2, 2 + ndim), 1, *range(2 + ndim, 2 + 2 * ndim))
    moved = parts.permute(order)
    return moved.flatten(1, ndim).flatten(2)


class DenoisingNetwork(nn.Module):
    """A small autoencoder that is given an image with noise and returns it without."""

    def __init__(self, ndim: int, channels: int, width: int = 16) -> None:
        super().__init__()
        conv = nn.Conv2d if ndim == 2 else nn.Conv3d
        self.first = conv(channels, width, 3, padding=1)
        self.down = conv(width, 2 * width, 3, stride=2, padding=1)
        self.deep = conv(2 * width, 2 * width, 3, padding=1)
        self.up = conv(2 * width, width, 3, padding=1)
        self.last = conv(2 * width, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the image; the skip carries what the coarse grid cannot."""
        fine = F.silu(self.first(x))
        coarse = F.silu(self.deep(F.silu(self.down(fine))))
        mode = "bilinear" if x.ndim == 4 else "trilinear"
        back = F.interpolate(coarse, size=x.shape[2:], mode=mode, align_corners=False)
        joined = torch.cat([fine, F.silu(self.up(back))], dim=1)
        found: Tensor = x + self.last(joined)
        return found


@dataclass(frozen=True, eq=False)
class Denoiser(Expert):
    """A denoising autoencoder r(x) as a score: d log p / dx ~ (r(x) - x) / sigma^2.

    Its cost is |x - r(x)|^2 / (2 sigma^2) a number, with r(x) held fixed in the slope, which then
    is that score with its sign turned. No density is behind it that could be compared between
    pictures far apart: the number says how much of a picture it would take away.

    Args:
        network: r, on values of mean 0 and standard deviation 1.
        sigma: of the noise, in standard deviations of the data.
        mean: of the data.
        std: of the data.

    Source: Vincent 2011; Alain and Bengio 2014; as a prior of pictures Nguyen et al. 2017.
    """

    network: DenoisingNetwork
    sigma: float
    mean: float
    std: float

    name: ClassVar[str] = "denoiser"

    @classmethod
    def fit(
        cls,
        draw: Callable[[int], Batch],
        example: Batch,
        *,
        sigma: float,
        iterations: int,
        seed: int,
        batch_size: int = 4,
        on_step: Callable[[], object] = lambda: None,
    ) -> Denoiser:
        """Return a denoiser trained on patches; arguments as for a VAE.

        Raises:
            ModelError: none; a constant image trains one that returns it.
        """
        device = example.device
        mean, std = float(example.mean()), float(example.std()) or 1.0
        draws = Draws.of(seed)  # of the host, so that all devices learn the same
        with seeded(seed, device), full_float32():
            network = DenoisingNetwork(example.ndim - 2, example.shape[1]).to(device)
            optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
            for _ in range(iterations):
                x = (draw(batch_size) - mean) / std
                made = network(x + sigma * draws.normal_like(x))
                loss = (made - x).square().mean()
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                on_step()
        return cls(network.eval().requires_grad_(False), sigma, mean, std)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Denoiser:
        """Return the denoiser that a state was kept of."""
        weights = {key[4:]: value for key, value in state.items() if key.startswith("dae.")}
        first = weights["first.weight"]
        network = DenoisingNetwork(first.ndim - 2, first.shape[1], width=first.shape[0])
        network.load_state_dict(weights)
        sigma, mean, std = state["span"].tolist()
        return cls(network.eval().requires_grad_(False), sigma, mean, std)

    def cost(self, x: Batch, *, shift: Sequence[int] = ()) -> Scalars:
        """Return |x - r(x)|^2 / (2 sigma^2) a number."""
        scaled = (x - self.mean) / self.std
        with torch.no_grad():
            made = self.network(scaled.detach())
        away: Tensor = scaled - made
        return away.square().flatten(1).mean(1) / (2 * self.sigma**2)

    def state(self) -> dict[str, Tensor]:
        """Return the weights, the noise, and mean and spread of the data."""
        weights = {f"dae.{key}": value for key, value in self.network.state_dict().items()}
        span = torch.tensor([self.sigma, self.mean, self.std], dtype=torch.float64)
        return {**weights, "span": span}

    def to(self, device: torch.device) -> Denoiser:
        """Return it on a device."""
        return Denoiser(self.network.to(device), self.sigma, self.mean, self.std)
