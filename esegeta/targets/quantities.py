"""Quantities of the logits: one number per voxel, for one label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from esegeta.axes import Field, Logits
from esegeta.model import Labels


@dataclass(frozen=True)
class Quantity:
    """One number per voxel, for one label.

    Args:
        name: name that the config's `of` gives it.
        field: function from logits `B L *S`, labels and one of these to `B *S`.
        unit: unit of one voxel.
        is_linear: linear in the logits, so that its sum splits exactly into windows.
        meaning: one line for people; says what the sign means.
        plain: what it is, for a reader unfamiliar with logits; `{label}` stands for the label.
    """

    name: str
    field: Callable[[Logits, Labels, str | int], Field]
    unit: str
    is_linear: bool
    meaning: str
    plain: str


def logit(logits: Logits, labels: Labels, label: str | int) -> Field:
    """Return the label's blended logit, `y_k`; of a union S of channels `log sum exp y_k`."""
    return labels.logit_of(logits, label)


def probability(logits: Logits, labels: Labels, label: str | int) -> Field:
    """Return the label's probability in 0..1; of a union of channels, the sum of theirs."""
    return labels.probability_of(logits, label)


def log_probability(logits: Logits, labels: Labels, label: str | int) -> Field:
    """Return the natural logarithm of the label's probability, at most 0."""
    channels = labels.channels(label)
    if labels.activation == "softmax":
        found = logits.log_softmax(dim=1)
        return found[:, channels[0]] if len(channels) == 1 else found[:, channels].logsumexp(dim=1)
    return torch.nn.functional.logsigmoid(logits[:, channels[0]])


def margin(logits: Logits, labels: Labels, label: str | int) -> Field:
    """Return by how much the label leads; above 0 where it is predicted.

    Softmax: `max_{k in S} y_k - max_{j not in S} y_j`, S the label's channels, mostly one.
    Sigmoid: `y_k - log(t / (1 - t))`, t the label's threshold: `y_k` for 1/2.
    """
    return labels.margin_of(logits, label)


def entropy(logits: Logits, labels: Labels, label: str | int) -> Field:
    """Return the voxel's predictive entropy in nats.

    Softmax: `-sum_k p_k log p_k` over all channels; sigmoid: the binary entropy of the label.
    """
    if labels.activation == "softmax":
        return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)
    log_sigmoid = torch.nn.functional.logsigmoid
    y = labels.logit_of(logits, label)
    return -(y.sigmoid() * log_sigmoid(y) + (-y).sigmoid() * log_sigmoid(-y))


QUANTITIES: dict[str, Quantity] = {
    "logit": Quantity(
        "logit",
        logit,
        "logit",
        True,
        "the score before softmax or sigmoid",
        "the {label} score",
    ),
    "probability": Quantity(
        "probability", probability, "probability", False, "0..1", "the probability of {label}"
    ),
    "log_probability": Quantity(
        "log_probability",
        log_probability,
        "nat",
        False,
        "log of the probability, at most 0",
        "the probability of {label}",
    ),
    "margin": Quantity(
        "margin",
        margin,
        "logit",
        False,
        "lead over the best other label; above 0 where predicted",
        "the lead of {label} over other labels",
    ),
    "entropy": Quantity(
        "entropy",
        entropy,
        "nat",
        False,
        "uncertainty; 0 where certain",
        "the uncertainty about {label}",
    ),
}
"""Quantities with one value per voxel; `dice` and `volume_ml` have one for the whole map."""
