"""Means of probabilities, as logits: of the mirrored passes of a window, or of several networks.

    softmax   y = log(mean_k softmax(y_k))          its softmax is the mean of the probabilities
    sigmoid   y = logit(mean_k sigmoid(y_k))        its sigmoid is

Both are formed in logarithms, so that nothing saturates and no probability needs clamping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from esegeta.axes import Logits
from esegeta.errors import ModelError
from esegeta.model import Activation
from esegeta.predict.quadrature import line_nodes

Flips = tuple[int, ...]

Network = Callable[[Tensor], Tensor]
"""From windows `N C *W` to logits `N L *O`."""

NODES = 32
"""Nodes of the quadrature on the line between predictions."""


def average_probabilities(logits: Sequence[Logits], activation: Activation) -> Logits:
    """Return the logits of the mean of the probabilities of some predictions; differentiable.

    Args:
        logits: `B L *S` each; a single one is returned as it is.
        activation: `softmax` over L, or `sigmoid`.
    """
    if len(logits) == 1:
        return logits[0]
    if activation == "softmax":
        return _log_mean([one.log_softmax(dim=1) for one in logits])
    return _log_mean([F.logsigmoid(one) for one in logits]) - _log_mean(
        [F.logsigmoid(-one) for one in logits]
    )


def slopes_of_average(
    logits: Sequence[Logits], activation: Activation, slope: Logits
) -> tuple[Logits, ...]:
    """Return the gradient of `<slope, average>` by each of the averaged predictions."""
    leaves = [one.detach().requires_grad_(True) for one in logits]
    with torch.enable_grad():
        average = average_probabilities(leaves, activation)
        return torch.autograd.grad(average, leaves, slope)


def slopes_on_the_line(
    starts: Sequence[Logits], ends: Sequence[Logits], activation: Activation, slope: Logits
) -> tuple[Logits, ...]:
    """Return the mean of `slopes_of_average` on the straight line between two sets of predictions.

    So that `sum_k <mean_k, end_k - start_k>` is the change of `<slope, average>`.
    """
    totals = [torch.zeros_like(slope, dtype=torch.float64) for _ in starts]
    for node, weight in line_nodes(NODES):
        points = [start.lerp(end, node) for start, end in zip(starts, ends, strict=True)]
        for total, own in zip(totals, slopes_of_average(points, activation, slope), strict=True):
            total.add_(own, alpha=weight)
    return tuple(total.to(slope) for total in totals)


def averaged_over_flips(
    network: Network, crops: Tensor, flips: Sequence[Flips], activation: Activation
) -> Tensor:
    """Return the logits of the mean of the probabilities of mirrored windows, mirrored back.

        net(x) -> average_f flip_f(net(flip_f(x)))

    Differentiable; no more than one mirrored pass has a graph at a time.

    Args:
        network: network, which runs once for each of the flips, and once more in the backward pass.
        crops: windows, as the network takes them.
        flips: axes along which windows are mirrored, for each pass.
        activation: activation of the logits.
    """
    output: Tensor = _OverFlips.apply(crops, network, flips, activation)  # type: ignore[no-untyped-call]
    return output


def require_graph(logits: Tensor) -> None:
    """Refuse logits that gradients cannot flow back from.

    Raises:
        ModelError: they do not depend on anything that the gradient is wanted for.
    """
    if not logits.requires_grad:
        raise ModelError(
            "the network's output has no gradient with respect to its input",
            hint="does its forward detach, round, or run under torch.no_grad? occlusion needs no "
            "gradient",
        )


def _log_mean(logarithms: Sequence[Tensor]) -> Tensor:
    return torch.logsumexp(torch.stack(list(logarithms)), dim=0) - math.log(len(logarithms))


def _mirrored(data: Tensor, flips: Flips) -> Tensor:
    return data.flip([axis + 2 for axis in flips]) if flips else data


class _OverFlips(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        crops: Tensor,
        network: Network,
        flips: Sequence[Flips],
        activation: Activation,
    ) -> Tensor:
        ctx.network, ctx.flips, ctx.activation = network, flips, activation
        with torch.no_grad():
            logits = [_mirrored(network(_mirrored(crops, own)), own) for own in flips]
        ctx.save_for_backward(crops, *logits)
        return average_probabilities(logits, activation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        crops, *logits = ctx.saved_tensors
        total = torch.zeros_like(crops)
        slopes = slopes_of_average(logits, ctx.activation, slope)
        for own, share in zip(ctx.flips, slopes, strict=True):
            with torch.enable_grad():
                given = _mirrored(crops, own).detach().requires_grad_(True)
                output = ctx.network(given)
            require_graph(output)
            (gradient,) = torch.autograd.grad(output, given, _mirrored(share, own))
            total += _mirrored(gradient, own)
        return total, None, None, None
