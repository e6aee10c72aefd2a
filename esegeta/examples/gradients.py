"""Gradients by the parameters: of a training loss, and of a target of the blended prediction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from esegeta.axes import Batch, Image, LabelMap, Logits, Mask
from esegeta.errors import ModelError
from esegeta.model import held_still
from esegeta.predict import Predictor, Windows, inner
from esegeta.targets import FrozenTarget

ParameterSlopes = dict[str, Tensor]
"""A gradient by parameters, by their names."""

Loss = Callable[[Logits, Int[Tensor, "B *S"], Bool[Tensor, "B *S"] | None], Tensor]
"""Loss of logits against a ground truth, where some voxels may be padding."""


@contextmanager
def learning(network: nn.Module, layers: Collection[str] = ()) -> Iterator[dict[str, nn.Parameter]]:
    """Hold a network in eval mode, with the parameters of some layers in the graph.

    Args:
        network: the whole one.
        layers: names; what lies within them counts. All where none is named.

    Yields:
        These parameters by name; `requires_grad` of all is as before on leaving.
    """
    with held_still(network):
        chosen = {
            name: parameter
            for name, parameter in network.named_parameters()
            if parameter.is_floating_point() and is_within(name, layers)
        }
        try:
            for parameter in chosen.values():
                parameter.requires_grad_(True)
            yield chosen
        finally:
            for parameter in chosen.values():
                parameter.requires_grad_(False)


def module_of(parameter: str) -> str:
    """Return the module that holds a parameter, by the parameter's name."""
    return parameter.rpartition(".")[0]


def is_within(parameter: str, layers: Collection[str]) -> bool:
    """Tell whether a parameter lies in one of some layers; in any where none is named."""
    return not layers or any(parameter.startswith(f"{name}.") for name in layers)


def last_module(network: nn.Module) -> str:
    """Return the module that holds the last weight of a network."""
    return module_of([name for name, one in network.named_parameters() if one.ndim > 1][-1])


@dataclass(frozen=True, eq=False)
class Example:
    """A training image as windows see it, in the memory of the host.

    Args:
        name: of the image.
        image: `C *S`, padded for its windows.
        truth: ground truth, `*S`, padded.
        inside: the voxels that are no padding; None for all.
        windows: over the image.
    """

    name: str
    image: Image
    truth: LabelMap
    inside: Mask | None
    windows: Windows

    def cut(self, window: int) -> tuple[Batch, Tensor, Tensor | None]:
        """Return a window `1 C *W`, its ground truth, and which of its voxels are the image's."""
        box, thin = self.windows.boxes[window], self.windows.slice_axis
        parts = [self.image[(slice(None), *box)][None], self.truth[box][None]]
        within = None if self.inside is None else self.inside[box][None]
        if thin is None:
            return parts[0], parts[1], within
        return (
            parts[0].squeeze(thin + 2),
            parts[1].squeeze(thin + 1),
            None if within is None else within.squeeze(thin + 1),
        )


def window_slopes(
    predictor: Predictor, parameters: Mapping[str, Tensor], example: Example, loss: Loss
) -> Iterator[tuple[float, ParameterSlopes]]:
    """Yield the loss of each window of an example, and its gradient by parameters.

    Args:
        predictor: whose network it is, one network over windows.
        parameters: in the graph, see `learning`.
        example: what it is trained on.
        loss: of a batch of one window.

    Raises:
        ModelError: the logits are not of the window's size, or the loss is not finite.
    """
    device = next(iter(parameters.values())).device
    for window in range(len(example.windows)):
        image, truth, inside = example.cut(window)
        with torch.enable_grad():
            returned = predictor.output.of(predictor.network(image.to(device)))
            logits = _require_same_size(returned, image)
            value = loss(logits, truth.to(device), None if inside is None else inside.to(device))
        if not bool(value.isfinite()):
            raise ModelError(
                f"{example.name}: the loss of window {window} is {float(value.detach())}",
                hint="check the weights, and the intensities of the training images",
            )
        yield float(value.detach()), slopes_of(value, parameters)
        if predictor.on_windows is not None:
            predictor.on_windows(1)


def loss_slopes(
    predictor: Predictor, parameters: Mapping[str, Tensor], example: Example, loss: Loss
) -> tuple[float, ParameterSlopes]:
    """Return the mean loss of an example's windows and its gradient; see `window_slopes`."""
    total, values = zeros(parameters), []
    for value, slopes in window_slopes(predictor, parameters, example, loss):
        values.append(value)
        add(total, slopes, 1 / len(example.windows))
    return sum(values) / len(values), total


def target_slopes(
    predictor: Predictor, parameters: Mapping[str, Tensor], x: Batch, target: FrozenTarget
) -> tuple[float, ParameterSlopes]:
    """Return a target of the blended prediction, and its gradient by parameters.

        dR/dtheta = sum_t d<w_t g_t / sum w, net(x_t; theta)>/dtheta,    g = dR/dy

    Exact: windows that g does not touch are not run again.

    Args:
        predictor: whose network it is, one network over windows.
        parameters: in the graph, see `learning`.
        x: the image, `1 C *S`.
        target: frozen on it.
    """
    with torch.no_grad():
        logits = predictor.logits(x)
    cotangent = target.cotangent(logits)
    windows = predictor.windows(x)
    shares = predictor.shares(windows, cotangent)
    total = zeros(parameters)
    for pieces in predictor.pieces(x, windows, target.touched(windows)):
        with torch.enable_grad():
            out = predictor.run(pieces.crops, windows)
            value = inner(out, shares.of(pieces, out.device)).sum() * shares.scale
        add(total, slopes_of(value, parameters), 1.0)
    return float(target.value(logits)[0]), total


def slopes_of(value: Tensor, parameters: Mapping[str, Tensor]) -> ParameterSlopes:
    """Return the gradient of a number; zero by what it does not depend on."""
    found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    pairs = zip(parameters.items(), found, strict=True)
    return {
        name: torch.zeros_like(parameter) if slope is None else slope
        for (name, parameter), slope in pairs
    }


def zeros(parameters: Mapping[str, Tensor]) -> ParameterSlopes:
    """Return a gradient of zeros."""
    return {name: torch.zeros_like(one, requires_grad=False) for name, one in parameters.items()}


def add(total: ParameterSlopes, slopes: ParameterSlopes, weight: float) -> None:
    """Add a weighted gradient to another, in place."""
    for name, slope in slopes.items():
        total[name].add_(slope, alpha=weight)


def dots(one: ParameterSlopes, others: Sequence[ParameterSlopes]) -> list[dict[str, float]]:
    """Return the inner products of a gradient with others, by module, summed in float64."""
    found = []
    for other in others:
        by_module: dict[str, float] = {}
        for name, slope in one.items():
            value = float((slope.double() * other[name].double()).sum())
            by_module[module_of(name)] = by_module.get(module_of(name), 0.0) + value
        found.append(by_module)
    return found


def _require_same_size(logits: Tensor | None, image: Batch) -> Logits:
    if logits is None or logits.shape[2:] != image.shape[2:]:
        found = "no tensor" if logits is None else f"logits of {list(logits.shape[2:])}"
        raise ModelError(
            f"the network turns a window of {list(image.shape[2:])} into {found}, "
            "which does not fit the ground truth",
            hint="influence needs a network that keeps the shape of the window",
        )
    return logits
