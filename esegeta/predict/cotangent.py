"""The cotangent dR/dy that goes back to windows: one number for each logit, or a few masks.

A dense cotangent is as large as the prediction, `L *S`; that of a linear target, such as the sum of
the liver's logits over a mask, is one mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from esegeta.predict.tiling import Box
from esegeta.predict.windows import Windows


@dataclass(frozen=True, eq=False)
class Term:
    """`scale * <weights, y[channel]>`.

    Args:
        channel: output channel of the logits.
        weights: weight of each voxel, `*S`; a mask stands for ones and zeros.
        scale: factor for all voxels.
    """

    channel: int
    weights: Bool[Tensor, "*S"] | Float[Tensor, "*S"]
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class LinearForm:
    """`<g, y> = sum_i scale_i <weights_i, y[channel_i]>`, without the `L *S` numbers of g.

    Args:
        terms: terms to add up; several may share a channel.
        num_outputs: L.
        shape: `*S`.
        dtype: type of the numbers that crops are made of.
    """

    terms: tuple[Term, ...]
    num_outputs: int
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    @classmethod
    def of_dense(cls, coefficients: Float[Tensor, "L *S"]) -> LinearForm:
        """Return the form of one number for each logit."""
        terms = tuple(Term(channel, plane) for channel, plane in enumerate(coefficients))
        shape = tuple(coefficients.shape[1:])
        return cls(terms, len(coefficients), shape, coefficients.dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.terms[0].weights.device

    @property
    def channels(self) -> list[int]:
        """Output channels that have a term."""
        return sorted({term.channel for term in self.terms})

    def scaled(self, factor: float) -> LinearForm:
        """Return `factor` times this form."""
        terms = tuple(replace(term, scale=factor * term.scale) for term in self.terms)
        return replace(self, terms=terms)

    def padded(self, windows: Windows) -> LinearForm:
        """Return the form over the padded volume; nothing is copied where there is no padding."""
        terms = tuple(replace(term, weights=windows.pad(term.weights)) for term in self.terms)
        return replace(self, terms=terms, shape=windows.padded_shape)

    def flipped(self, axis: int) -> LinearForm:
        """Return the form of logits whose spatial axis is stored from its other end."""
        terms = tuple(replace(term, weights=term.weights.flip(axis)) for term in self.terms)
        return replace(self, terms=terms)

    def crop(self, box: Box) -> Float[Tensor, "L *W"]:
        """Return the numbers of a box."""
        own = self.crop_channels(box)
        numbers = own.new_zeros((self.num_outputs, *own.shape[1:]))
        numbers[self.channels] = own
        return numbers

    def crop_channels(self, box: Box) -> Float[Tensor, "K *W"]:
        """Return the numbers of a box for those output channels alone that have a term."""
        places = {channel: place for place, channel in enumerate(self.channels)}
        size = self.terms[0].weights[box].shape
        numbers = torch.zeros((len(places), *size), dtype=self.dtype, device=self.device)
        for term in self.terms:
            own = numbers[places[term.channel]]
            own.add_(term.weights[box].to(self.dtype), alpha=term.scale)
        return numbers

    def plane(self, channel: int) -> Float[Tensor, "*S"]:
        """Return the numbers of one output channel."""
        numbers = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        for term in self.terms:
            if term.channel == channel:
                numbers.add_(term.weights.to(self.dtype), alpha=term.scale)
        return numbers

    def dense(self) -> Float[Tensor, "L *S"]:
        """Return one number for each logit."""
        return self.crop((slice(None),) * len(self.shape))

    def peak(self) -> float:
        """Return the largest magnitude of its numbers; a channel at a time is held."""
        return max(float(self.plane(channel).abs().max()) for channel in self.channels)

    def support(self) -> Bool[Tensor, "*S"]:
        """Return where it is not zero."""
        if len(self.terms) == 1 and self.terms[0].weights.dtype == torch.bool:
            only = self.terms[0]
            return only.weights if only.scale else torch.zeros_like(only.weights)
        found = torch.zeros(self.shape, dtype=torch.bool, device=self.device)
        for channel in self.channels:
            found |= self.plane(channel) != 0
        return found


def add_forms(forms: Sequence[LinearForm]) -> LinearForm:
    """Return the sum of forms over the same logits."""
    terms = tuple(term for form in forms for term in form.terms)
    return replace(forms[0], terms=terms)


Cotangent = Float[Tensor, "#B L *S"] | LinearForm
"""dR/dy: one for each image of a batch, or one for all of them, as a linear target's is."""


def power_of_two_above(cotangent: Cotangent) -> float:
    """Return the smallest power of two above every magnitude; 1 where all are zero."""
    if isinstance(cotangent, LinearForm):
        peak = cotangent.peak()
    else:
        peak = float(torch.linalg.vector_norm(cotangent, torch.inf))
    return 2.0 ** math.frexp(peak)[1] if peak > 0 else 1.0


def support_of(cotangents: Sequence[Cotangent]) -> Bool[Tensor, "*S"]:
    """Return where any of some cotangents is not zero, in any image."""
    found = [
        one.support() if isinstance(one, LinearForm) else one.any(dim=1).any(dim=0)
        for one in cotangents
    ]
    for other in found[1:]:
        found[0] = found[0] | other
    return found[0]


def active_windows(windows: Windows, cotangent: Cotangent) -> list[int]:
    """Return the windows on which a cotangent is not zero everywhere."""
    if isinstance(cotangent, LinearForm):
        return windows.touching(cotangent.support())
    return windows.touching(cotangent.any(dim=1).any(dim=0))
