"""Networks that are awkward to hook, each with a twin that does the same and is not."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from tests.builders import convolution


def rising(network: nn.Module) -> None:
    """Let every unit raise the logits, so that no method's map is zero; the network evaluates."""
    for parameter in network.parameters():
        parameter.data.abs_()
    network.eval()


class Tower(nn.Module):
    """Halves, looks deep, doubles, and adds a skip connection; windows must be of even lengths."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        conv = convolution(ndim)
        transposed = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
        self.enter = conv(1, 3, 3, padding=1)
        self.down = nn.Sequential(conv(3, 4, 2, stride=2), nn.LeakyReLU(0.2, inplace=True))
        self.bottom = nn.Sequential(conv(4, 4, 3, padding=1), nn.Tanh())
        self.up = transposed(4, 3, 2, stride=2)
        self.head = conv(3, 2, 1)
        rising(self)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.enter(x)
        return self.head(torch.tanh(self.up(self.bottom(self.down(wide))) + wide))


class Checkpointed(Tower):
    """The same under activation checkpointing: the middle runs again in the backward pass."""

    def __init__(self, ndim: int, *, use_reentrant: bool) -> None:
        super().__init__(ndim)
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        wide = self.enter(x)
        deep = checkpoint(self.down, wide, use_reentrant=self.use_reentrant)
        deep = checkpoint(self.bottom, deep, use_reentrant=self.use_reentrant)
        return self.head(torch.tanh(self.up(deep) + wide))


class CheckpointedByItself(Tower):
    """The same with checkpointing of its own, which torch knows nothing of."""

    def forward(self, x: Tensor) -> Tensor:
        wide = self.enter(x)
        deep = again(self.bottom, again(self.down, wide))
        return self.head(torch.tanh(self.up(deep) + wide))


def again(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block, and once more for each of its tensors that the backward pass asks for."""
    count = itertools.count()

    def look_up(place: int) -> Tensor:
        made: list[Tensor] = []
        keep = saved_tensors_hooks(lambda tensor: made.append(tensor), lambda nothing: nothing)
        with torch.enable_grad(), keep:
            block(x.detach().requires_grad_(x.requires_grad))
        return made[place].detach()

    with saved_tensors_hooks(lambda tensor: next(count), look_up):
        y: Tensor = block(x)
    return y


def parametrized(network: nn.Module, norm: str) -> nn.Module:
    """Give every convolution of a network spectral or weight norm."""
    apply = {"spectral": parametrizations.spectral_norm, "weight": parametrizations.weight_norm}
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            apply[norm](module)
    return network.eval()


def plainly(network: nn.Module) -> nn.Module:
    """Take the norms of its weights off a network, which keeps their values."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    return network


class Two(NamedTuple):
    """What a block may return."""

    deep: Tensor
    skip: Tensor


KINDS = ("tuple", "list", "dict", "ordered", "named", "nested", "state")


class Bundle(nn.Module):
    """Returns an activation first, and what another path goes on with behind it."""

    def __init__(self, ndim: int, kind: str) -> None:
        super().__init__()
        self.conv = convolution(ndim)(3, 3, 3, padding=1)
        self.kind = kind

    def forward(self, x: Tensor) -> Any:
        deep, skip = self.conv(x), torch.sigmoid(x)
        bundles: dict[str, Any] = {
            "tuple": (deep, skip),
            "list": [deep, skip],
            "dict": {"deep": deep, "skip": skip},
            "ordered": OrderedDict(deep=deep, skip=skip),
            "named": Two(deep, skip),
            "nested": ((deep, None), skip, "words"),
            "state": (deep, (skip, skip.mean())),
        }
        return bundles[self.kind]


class Bundled(nn.Module):
    """A network whose `block` returns a bundle; `mark` is the same activation by itself."""

    def __init__(self, ndim: int, kind: str) -> None:
        super().__init__()
        torch.manual_seed(4)
        conv = convolution(ndim)
        self.enter = conv(1, 3, 1)
        self.block = Bundle(ndim, kind)
        self.mark = nn.Identity()
        self.act = nn.LeakyReLU(0.2, inplace=True)
        self.head = conv(3, 2, 1)
        rising(self)

    def forward(self, x: Tensor) -> Tensor:
        deep, skip = two_of(self.block(self.enter(x)))
        deep = self.mark(deep)
        return self.head(self.act(deep) * skip + skip)


def two_of(bundle: Any) -> tuple[Tensor, Tensor]:
    """Return the activation and the skip of a bundle."""
    items = list(bundle.values()) if isinstance(bundle, dict) else list(bundle)
    deep = items[0][0] if isinstance(items[0], tuple) else items[0]
    skip = items[1][0] if isinstance(items[1], tuple) else items[1]
    return deep, skip


class Indexed(nn.Module):
    """Max pooling that returns where the maxima are; `mark` is its first tensor by itself."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        conv = convolution(ndim)
        pool = nn.MaxPool2d if ndim == 2 else nn.MaxPool3d
        unpool = nn.MaxUnpool2d if ndim == 2 else nn.MaxUnpool3d
        self.enter = conv(1, 3, 3, padding=1)
        self.pool = pool(2, return_indices=True)
        self.mark = nn.Identity()
        self.unpool = unpool(2)
        self.head = conv(3, 2, 1)
        rising(self)

    def forward(self, x: Tensor) -> Tensor:
        values, places = self.pool(self.enter(x))
        return self.head(torch.tanh(self.unpool(self.mark(values), places)))


class Odd(nn.Module):
    """Layers that cannot be changed: never run, run twice, or return what has no one activation."""

    class Giving(nn.Module):
        """Returns something made of its input."""

        def __init__(self, make: Any) -> None:
            super().__init__()
            self.make = make

        def forward(self, x: Tensor) -> Any:
            return self.make(x)

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(6)
        conv = convolution(ndim)
        self.enter = conv(1, 4, 1)
        self.never = conv(4, 4, 1)
        self.twice = conv(4, 4, 1)
        self.same = self.Giving(lambda x: (y := torch.tanh(x), y))
        self.views = self.Giving(lambda x: (y := torch.tanh(x), y[:, :2]))
        self.words = self.Giving(lambda x: "words")
        self.nothing = self.Giving(lambda x: None)
        self.weight = self.Giving(lambda x: self.head.weight.repeat(1, 1, *(3,) * ndim))
        self.places = self.Giving(lambda x: x.argsort(dim=1))
        self.head = conv(4, 2, 1)
        rising(self)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        self.words(y)
        self.nothing(y)
        self.weight(y)
        self.places(y)
        one, other = self.same(self.twice(self.twice(y)))
        whole, half = self.views(one + other)
        return self.head(whole + torch.cat([half, half], dim=1))
