"""What the contract tests run on: one small case for each shape and number of channels."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields

import torch
from torch import nn

from esegeta.predict import Predictor
from esegeta.target import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, predictor, unet, volume
from tests.oracles import frozen, with_coefficients


@dataclass(frozen=True)
class Case:
    """A U-Net over windows, a volume that they do not fit, and a linear target."""

    model: Predictor
    volume: Volume
    target: FrozenTarget

    @property
    def network(self) -> nn.Module:
        """The explained network."""
        return self.model.network


def make_case(
    ndim: int, num_channels: int, *, shape: tuple[int, ...] | None = None, seed: int = 7
) -> Case:
    """Return a case whose target weighs every voxel's logit of every label by its own weight."""
    model = predictor(unet(ndim, in_channels=num_channels, seed=seed), (8,) * ndim)
    image = volume(shape or SHAPES[ndim], num_channels)
    generator = torch.Generator().manual_seed(2)
    weights = torch.rand((2, *image.grid.shape), generator=generator) * 2 - 0.5
    return Case(model, image, with_coefficients(frozen(model, image), weights))


def assert_documented(item: type) -> None:
    """Every method and score explains itself: its source, and each of its parameters."""
    text = inspect.cleandoc(item.__doc__ or "")
    lines = text.splitlines()
    # The decorator writes a signature where there is no docstring.
    assert text and not text.startswith(f"{item.__name__}("), "has no docstring"
    assert len(lines) <= 20, f"its docstring has {len(lines)} lines"
    assert "\nSource: " in text, "names no source"
    parameters = [field.name for field in fields(item)]
    if not parameters:
        return
    after = text.split("\nArgs:\n")[1].splitlines()
    block = after[: after.index("")] if "" in after else after
    described = [line.split(":")[0].strip() for line in block if line[4:5] != " "]
    assert described == parameters
