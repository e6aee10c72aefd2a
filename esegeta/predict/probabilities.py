"""Logits that are probabilities: a network that ends in a softmax or sigmoid of its own.

The activation of the config would be applied a second time, to values between 0 and 1: every
probability, and with a sigmoid every predicted voxel, would be wrong without any warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Logits
from esegeta.model import Activation, held_still, seeded
from esegeta.predict.predictor import Predictor

SLACK = 1e-5
"""How far beyond 0 and 1 rounding and blending may take a probability."""
SUM_SLACK = 1e-2
"""How far from 1 the sum over channels of a softmax in half precision may be."""
FEWEST = 64
"""Fewer values than these prove nothing."""
AMPLITUDES = (1.0, 30.0, 1000.0)
"""Amplitudes of noise on which logits would leave the range from 0 to 1."""


def probabilities_in(predictor: Predictor, x: Batch, logits: Float[Tensor, "B L *O"]) -> str:
    """Return a warning where the prediction of an image is probabilities, not logits.

    Args:
        predictor: predictor that made the prediction.
        x: the image, `B C *S`.
        logits: its prediction, `B L *O`; for a window, what its output covers.

    Returns:
        A sentence for the user; empty where they are logits.
    """
    extent = Extent()
    extent.take(logits)
    return doubt_of(predictor, x, extent)


class Extent:
    """What is known of the values of a prediction, taken part by part.

    Args:
        count: number of values.
        low: the lowest of them; NaN or infinite where one is.
        high: the highest of them, likewise.
        is_inside: whether any lies between 0 and 1.
        adds_up: whether they sum to 1 over the channels everywhere.
    """

    def __init__(self) -> None:
        self.count = 0
        self.low, self.high = math.inf, -math.inf
        self.is_inside = False
        self.adds_up = True

    def take(self, logits: Float[Tensor, "B L *O"]) -> None:
        """Add the values of a part."""
        part = Extent()
        part.count = logits.numel()
        part.low, part.high = (float(value) for value in torch.aminmax(logits.detach()))
        if part.in_range:
            part.is_inside = bool(((logits > 0) & (logits < 1)).any())
            part.adds_up = adds_up(logits)
        self.join(part)

    def join(self, other: Extent) -> None:
        """Add the values of another part."""
        # Neither min nor max passes on a NaN that comes second.
        self.low = other.low if math.isnan(other.low) else min(self.low, other.low)
        self.high = other.high if math.isnan(other.high) else max(self.high, other.high)
        self.count += other.count
        self.is_inside |= other.is_inside
        self.adds_up &= other.adds_up

    @property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def in_range(self) -> bool:
        """Whether all values lie in 0..1, to rounding."""
        return self.low >= -SLACK and self.high <= 1 + SLACK

    @property
    def could_be_probabilities(self) -> bool:
        """Whether all values lie in 0..1, some of them inside, and are enough to say so."""
        return self.count >= FEWEST and self.in_range and self.is_inside


def doubt_of(predictor: Predictor, x: Batch, extent: Extent) -> str:
    """Return the warning of `probabilities_in`, given what is known of the prediction's values."""
    if not extent.could_be_probabilities:
        return ""
    silent = replace(predictor, on_windows=None)
    windows = silent.windows(x)
    crop = next(silent.pieces(x[:1], windows, [0])).crops[:1]
    with torch.no_grad(), held_still(silent.network):
        if not stay_probabilities(lambda noise: silent.run(noise, windows), crop):
            return ""
    return describe_probabilities(predictor.labels.activation, adds_up=extent.adds_up)


def stay_probabilities(run: Callable[[Tensor], Tensor], like: Batch) -> bool:
    """Tell whether a network's output stays in 0..1 on loud noise, as only probabilities do.

    Logits of an image may happen to lie there. Noise that a network answers with NaN or Inf says
    nothing.

    Args:
        run: the network on windows.
        like: a window `1 C *W`; the noise has its shape.
    """
    with seeded(0):
        noise = torch.randn(like.shape).to(like)
    found = [run(amplitude * noise) for amplitude in AMPLITUDES]
    finite = [output for output in found if bool(output.isfinite().all())]
    return bool(finite) and all(_in_range(output) for output in finite)


def describe_probabilities(activation: Activation, *, adds_up: bool) -> str:
    """Return the sentence for the user."""
    what = "all lie between 0 and 1" + (" and sum to 1 over the channels" if adds_up else "")
    return (
        f"the network's output looks like probabilities, not logits: its values {what}, so that "
        f"`activation: {activation}` is applied to them a second time; remove the final "
        f"{'softmax' if adds_up else 'activation'} of the network"
    )


def adds_up(values: Logits) -> bool:
    """Tell whether values of several channels sum to 1 over them everywhere."""
    sums = values.float().sum(dim=1)
    return values.shape[1] > 1 and bool(((sums - 1).abs() <= SUM_SLACK).all())


def _in_range(values: Tensor) -> bool:
    low, high = torch.aminmax(values.detach())
    return float(low) >= -SLACK and float(high) <= 1 + SLACK  # neither, of NaN
