"""What the contract tests run on: one small case for each shape and number of channels."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
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


@dataclass(frozen=True)
class CaseKind:
    """What a case is made of.

    Args:
        ndim: spatial axes.
        network: `relu_batch`, `prelu_batch` or `relu_instance`, as `unet` takes it.
        num_channels: of the image.
        num_res_units: of each level; 0 for plain convolutions.
        num_outputs: channels of the logits; the background and the labels.
    """

    ndim: int
    network: str
    num_channels: int
    num_res_units: int = 0
    num_outputs: int = 2

    def __str__(self) -> str:
        return f"{self.ndim}d-{self.network}-{self.num_channels}ch"

    def make(self, *, shape: tuple[int, ...] | None = None, seed: int = 7) -> Case:
        """Return a case whose target weighs each label's logit at each voxel by its own weight."""
        network = unet(
            self.ndim,
            self.network,
            in_channels=self.num_channels,
            out_channels=self.num_outputs,
            num_res_units=self.num_res_units,
            seed=seed,
        )
        model = predictor(network, (8,) * self.ndim, num_outputs=self.num_outputs)
        image = volume(shape or SHAPES[self.ndim], self.num_channels)
        _predict_both(network, model.logits(image.batch))
        generator = torch.Generator().manual_seed(2)
        weights = torch.rand((self.num_outputs, *image.grid.shape), generator=generator)
        weights = 2 * weights - 0.5
        return Case(model, image, with_coefficients(frozen(model, image), weights))


CASES = (
    CaseKind(2, "relu_batch", 1),
    CaseKind(2, "prelu_batch", 2, num_res_units=1),
    CaseKind(2, "relu_instance", 1),
    CaseKind(3, "relu_batch", 2),
    CaseKind(3, "prelu_batch", 1, num_res_units=1),
    CaseKind(3, "relu_instance", 2),
)
FEW_CASES = (CASES[1], CASES[5])


def covering(names: list[str], turn: int) -> list[Any]:
    """Return each name with one case of 2D and one of 3D, as parameters of a test.

    The next name has the next kind of network, and so has the same name in a test of another
    turn: over tests of turns 0, 1 and 2, each name meets every case once.
    """
    half = len(CASES) // 2
    pairs = [
        (CASES[first + (place + turn) % half], name)
        for first in (0, half)
        for place, name in enumerate(names)
    ]
    return [pytest.param(kind, name, id=f"{kind}-{name}") for kind, name in pairs]


def make_case(
    ndim: int, num_channels: int, *, shape: tuple[int, ...] | None = None, seed: int = 7
) -> Case:
    """Return the case of a ReLU U-Net with batch norms."""
    return CaseKind(ndim, "relu_batch", num_channels).make(shape=shape, seed=seed)


def moved(case: Case, device: torch.device | str) -> Case:
    """Return a case whose network, volume and linear target are on a device."""
    network = copy.deepcopy(case.model.network).to(device)
    model, image = replace(case.model, network=network), case.volume.to(device)
    assert case.target.coefficients is not None
    coefficients = case.target.coefficients.to(device)
    return Case(model, image, with_coefficients(frozen(model, image), coefficients))


def _predict_both(network: nn.Module, logits: Tensor) -> None:
    """Shift the last bias until about half of the voxels are predicted as the label "one"."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    last = [module for module in network.modules() if isinstance(module, kinds)][-1]
    assert last.bias is not None
    last.bias.data[1] -= (logits[:, 1] - logits[:, 0]).median()


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
