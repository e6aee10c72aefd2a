"""Generators x = g(z): principal components of real patches, or the decoder of a small VAE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from esegeta.axes import Batch, Scalars, Shape
from esegeta.features.parametrisation import Parametrisation
from esegeta.features.transforms import Draws
from esegeta.model import full_float32, seeded

Codes = Float[Tensor, "B K"]
SMALLEST_PART = 1e-6
"""Of the largest variance: a component below it is rounding, and left out."""


class Generator(ABC):
    """Makes pictures from codes z, which are standard normal for pictures like the data."""

    name: ClassVar[str]

    @abstractmethod
    def decode(self, codes: Codes) -> Batch:
        """Return g(z), differentiable."""

    @abstractmethod
    def encode(self, x: Batch) -> Codes:
        """Return the code of a picture, or of one near to it."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return all that is to be kept of it."""

    @abstractmethod
    def to(self, device: torch.device) -> Generator:
        """Return it on a device."""


@dataclass(frozen=True, eq=False)
class PcaGenerator(Generator):
    """The principal components of real patches: g(z) = m + sum_k z_k s_k v_k.

    Args:
        mean: m, `C *S`.
        axes: v_k, orthonormal, `K C *S`.
        scales: s_k, the standard deviation of the data along each.
    """

    mean: Tensor = field(repr=False)
    axes: Tensor = field(repr=False)
    scales: Float[Tensor, " K"] = field(repr=False)

    name: ClassVar[str] = "pca"

    @classmethod
    def fit(cls, patches: Batch, codes: int) -> PcaGenerator:
        """Return the generator of the first `codes` components, fewer where there are no more.

        Args:
            patches: real ones, `N C *S`; the Gram matrix of N x N is all that is decomposed.
            codes: K.
        """
        flat = patches.flatten(1).double()
        mean = flat.mean(0)
        centred = flat - mean
        roots, vectors = torch.linalg.eigh((centred @ centred.T).cpu())
        order = roots.argsort(descending=True)[: min(codes, len(flat) - 1)]
        order = order[roots[order] > SMALLEST_PART * roots.max().clamp(min=1e-30)]
        roots, vectors = roots[order].to(flat), vectors[:, order].to(flat)
        axes = (centred.T @ vectors / roots.sqrt()).T
        scales = (roots / max(1, len(flat) - 1)).sqrt()
        shape = tuple(patches.shape[1:])
        return cls(mean.float().reshape(shape), axes.float().reshape(-1, *shape), scales.float())

    def decode(self, codes: Codes) -> Batch:
        """Return m + sum_k z_k s_k v_k."""
        found: Tensor = self.mean + torch.tensordot(codes * self.scales, self.axes, dims=1)
        return found

    def encode(self, x: Batch) -> Codes:
        """Return the code of the projection."""
        return (x - self.mean).flatten(1) @ self.axes.flatten(1).T / self.scales

    def directions(self) -> Directions:
        """Return the directions of its pictures, those that only endless codes reach, too."""
        flat = self.axes.flatten(1).double()
        mean = self.mean.flatten().double()
        rest = mean - flat.T @ (flat @ mean)
        rest = rest - flat.T @ (flat @ rest)  # once more, for what rounding left of the axes
        length = torch.linalg.vector_norm(rest)
        parts = [flat]
        if bool(length > SMALLEST_PART * torch.linalg.vector_norm(mean)):
            parts.append((rest / length)[None])
        return Directions(torch.cat(parts).to(self.axes).reshape(-1, *self.mean.shape))

    def state(self) -> dict[str, Tensor]:
        """Return mean, axes and scales."""
        return {"mean": self.mean, "axes": self.axes, "scales": self.scales}

    def to(self, device: torch.device) -> PcaGenerator:
        """Return it on a device."""
        return PcaGenerator(*(part.to(device) for part in (self.mean, self.axes, self.scales)))


class Vae(nn.Module):
    """A small convolutional autoencoder to the means and log-variances of codes.

    Args:
        shape: of pictures, two or three lengths of any size.
        channels: of pictures.
        codes: length of a code.
        width: channels of the finest layer.
    """

    def __init__(self, shape: Shape, channels: int, codes: int, width: int = 8) -> None:
        super().__init__()
        conv = nn.Conv2d if len(shape) == 2 else nn.Conv3d
        self.sizes = _halved(shape, 3)
        widths = [width * 2**level for level in range(len(self.sizes))]
        sides = [channels, *widths[1:]]
        self.downs = nn.ModuleList(conv(a, b, 3, stride=2, padding=1) for a, b in pairwise(sides))
        self.deepest = (sides[-1], *self.sizes[-1])
        count = int(torch.tensor(self.deepest).prod())
        self.to_code = nn.Linear(count, 2 * codes)
        self.from_code = nn.Linear(codes, count)
        ups = [*widths[1:][::-1], width]
        self.ups = nn.ModuleList(conv(a, b, 3, padding=1) for a, b in pairwise(ups))
        self.head = conv(ups[-1], channels, 3, padding=1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances, `B K` each."""
        for down in self.downs:
            x = F.silu(down(x))
        mean, log_variance = self.to_code(x.flatten(1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def decode(self, codes: Tensor) -> Tensor:
        """Return pictures."""
        x = F.silu(self.from_code(codes)).reshape(-1, *self.deepest)
        mode = "bilinear" if len(self.deepest) == 3 else "trilinear"
        for up, size in zip(self.ups, reversed(self.sizes[:-1]), strict=True):
            x = F.silu(up(F.interpolate(x, size=size, mode=mode, align_corners=False)))
        found: Tensor = self.head(x)
        return found


def _halved(shape: Shape, times: int) -> list[Shape]:
    sizes = [shape]
    for _ in range(times):
        if max(sizes[-1]) > 2:
            sizes.append(tuple(-(-length // 2) for length in sizes[-1]))
    return sizes


@dataclass(frozen=True, eq=False)
class VaeGenerator(Generator):
    """The decoder of a trained VAE, whose pictures are counted in the data's own units.

    Args:
        network: the trained one.
        mean: of the training data.
        std: of the training data.
    """

    network: Vae
    mean: float
    std: float

    name: ClassVar[str] = "vae"

    @classmethod
    def fit(
        cls,
        draw: Callable[[int], Batch],
        example: Batch,
        *,
        codes: int,
        iterations: int,
        seed: int,
        batch_size: int = 8,
        on_step: Callable[[], object] = lambda: None,
    ) -> VaeGenerator:
        """Return a generator trained on patches.

            loss = D / 2 log mean (x - g(z))^2 + KL(q(z|x) || N(0, 1))

        Args:
            draw: returns that many real patches.
            example: some of them, for shape, mean and spread.
            codes: length of a code.
            iterations: steps of Adam.
            seed: of weights and noise.
            batch_size: patches a step.
            on_step: told of each step.

        Source: Kingma and Welling 2014; the noise's variance as in Rybkin et al. 2021, eq. 7.
        """
        device = example.device
        mean, std = float(example.mean()), float(example.std()) or 1.0
        draws = Draws.of(seed)  # of the host, so that all devices learn the same
        with seeded(seed, device), full_float32():
            network = Vae(tuple(example.shape[2:]), example.shape[1], codes).to(device)
            optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
            for _ in range(iterations):
                x = (draw(batch_size) - mean) / std
                means, log_variances = network.encode(x)
                noise = draws.normal_like(means)
                made = network.decode(means + noise * (log_variances / 2).exp())
                error = (made - x).square().mean().clamp(min=1e-6)
                kl = (means.square() + log_variances.exp() - 1 - log_variances).sum(1).mean() / 2
                loss = x[0].numel() / 2 * error.log() + kl
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(network.parameters(), 1e3)
                optimizer.step()
                on_step()
        return cls(network.eval().requires_grad_(False), mean, std)

    @classmethod
    def of(cls, state: Mapping[str, Tensor], shape: Shape) -> VaeGenerator:
        """Return the generator that a state was kept of."""
        weights = {key[4:]: value for key, value in state.items() if key.startswith("vae.")}
        head, code = weights["head.weight"], weights["from_code.weight"]
        network = Vae(shape, head.shape[0], code.shape[1], width=head.shape[1])
        network.load_state_dict(weights)
        mean, std = state["span"].tolist()
        return cls(network.eval().requires_grad_(False), mean, std)

    def decode(self, codes: Codes) -> Batch:
        """Return the decoder's picture."""
        return self.network.decode(codes) * self.std + self.mean

    def encode(self, x: Batch) -> Codes:
        """Return the mean of the encoder."""
        with torch.no_grad():
            return self.network.encode((x - self.mean) / self.std)[0]

    def state(self) -> dict[str, Tensor]:
        """Return the weights, and mean and spread of the data."""
        weights = {f"vae.{key}": value for key, value in self.network.state_dict().items()}
        return {**weights, "span": torch.tensor([self.mean, self.std], dtype=torch.float64)}

    def to(self, device: torch.device) -> VaeGenerator:
        """Return it on a device."""
        return VaeGenerator(self.network.to(device), self.mean, self.std)


@dataclass(frozen=True, eq=False)
class Code(Parametrisation):
    """The code of a generator: x = g(z), and |z|^2 says how unlike the data it is.

    Args:
        generator: g.
    """

    generator: Generator

    def encode(self, x: Batch) -> list[Tensor]:
        """Return the code of a picture."""
        return [self.generator.encode(x)]

    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return g(z)."""
        return self.generator.decode(free[0])

    def effort(self, free: Sequence[Tensor]) -> Scalars | None:
        """Return |z|^2 / K."""
        return free[0].square().mean(1)


@dataclass(frozen=True, eq=False)
class Directions(Parametrisation):
    """The linear span of mean and components of a generator: x = sum_k c_k q_k.

    Pictures of one length, m + V z over its length, have the directions of this span. A code gets
    to them by ever smaller turns where the mean is long, and along components of small spread
    hardly ever; here all of them are as near.

    Args:
        axes: q_k, orthonormal, `K C *S`.
    """

    axes: Tensor = field(repr=False)

    def encode(self, x: Batch) -> list[Tensor]:
        """Return the numbers of the projection."""
        return [x.flatten(1) @ self.axes.flatten(1).T]

    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return the sum."""
        found: Tensor = torch.tensordot(free[0], self.axes, dims=1)
        return found
