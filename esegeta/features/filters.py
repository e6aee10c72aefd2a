"""The filters of convolutions: how long they are, how alike, and what they look at in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters of one convolution.

    Args:
        layer: name of the convolution.
        weights: `O I *K`: a filter an output channel; of a grouped convolution, I is that of a
            group.
        in_image: whether its input is the image itself.
    """

    layer: str
    weights: Float[Tensor, "O I *K"] = field(repr=False)
    in_image: bool = False

    @classmethod
    def of(cls, layer: str, module: nn.Module, *, in_image: bool = False) -> Filters:
        """Return the filters of a convolution, transposed ones by their output channel too."""
        assert isinstance(module, CONVOLUTIONS)
        weights = module.weight.detach().float().cpu()
        if isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
            groups = weights.chunk(module.groups)
            weights = torch.cat([group.transpose(0, 1) for group in groups])
        return cls(layer, weights, in_image)

    @property
    def norms(self) -> Float[Tensor, " O"]:
        """|w_o|_2 of each filter."""
        found: Tensor = torch.linalg.vector_norm(self.weights.flatten(1), dim=1)
        return found

    @property
    def singular_values(self) -> Float[Tensor, " R"]:
        """Of the matrix with a filter a row, the largest first."""
        found: Tensor = torch.linalg.svdvals(self.weights.flatten(1).double())
        return found.float()

    @property
    def effective_rank(self) -> float:
        """How many directions the filters use: exp of the entropy of s / sum s.

        Source: Roy and Vetterli 2007.
        """
        values = self.singular_values.double()
        total = values.sum()
        if total == 0:
            return 0.0
        shares = values / total
        return float(torch.special.entr(shares).sum().exp())

    @property
    def similarity(self) -> Float[Tensor, "O O"]:
        """Cosine between filters; 0 with a filter of zeros."""
        flat = self.weights.flatten(1)
        unit = flat / self.norms.clamp(min=torch.finfo(flat.dtype).tiny)[:, None]
        return unit @ unit.T

    def most_alike(self) -> tuple[int, int, float] | None:
        """Return the two filters with the largest cosine, and it; None of fewer than two."""
        count = len(self.weights)
        if count < 2:
            return None
        alike = self.similarity.masked_fill(torch.eye(count, dtype=torch.bool), -torch.inf)
        place = int(alike.argmax())
        one, other = sorted(divmod(place, count))
        return one, other, float(alike.flatten()[place])

    def in_units(self, slopes: Sequence[float]) -> Filters:
        """Return the filters of the image's own values: w_c times what a unit of channel c becomes.

        Args:
            slopes: change of the network's input by a change of one in the file, a channel each.
        """
        column = torch.tensor(slopes).reshape(1, -1, *[1] * (self.weights.ndim - 2))
        return Filters(self.layer, self.weights * column, self.in_image)


def find_filters(network: nn.Module, layers: Sequence[str]) -> list[Filters]:
    """Return the filters of all convolutions that are, or lie in, some layers.

    Args:
        network: the whole one.
        layers: names; none for the whole network.
    """
    found = []
    convolutions = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    for name, module in convolutions:
        if not layers or any(name == layer or name.startswith(f"{layer}.") for layer in layers):
            found.append(Filters.of(name, module))
    return found
