"""The direct effect of one node on a later one: what the later one loses while it is off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.dissection.chance import q_values
from esegeta.dissection.information import Bins, dependence
from esegeta.dissection.trails import TrailEdge, TrailNode

RESOLUTION = 1e-5
"""A change of fewer of the target's standard deviations is rounding, and is none."""


@dataclass(frozen=True, eq=False)
class NodeScale:
    """Mean and standard deviation of a node's units over the samples, by which they are added."""

    mean: Float[Tensor, " K"]
    spread: Float[Tensor, " K"]

    @classmethod
    def of(cls, values: Float[Tensor, "K N"]) -> NodeScale:
        """Return the scale of units; one that does not change is not stretched."""
        spread = values.std(dim=1, correction=0)
        return cls(values.mean(dim=1), torch.where(spread > 0, spread, torch.ones_like(spread)))

    def activation(self, values: Float[Tensor, "K *any"]) -> Float[Tensor, "*any"]:
        """Return the activation of the node: the mean of its units, each standardised."""
        column = (-1, *[1] * (values.ndim - 1))
        return ((values - self.mean.view(column)) / self.spread.view(column)).mean(dim=0)

    def change(self, values: Float[Tensor, "K N"]) -> Float[Tensor, " N"]:
        """Return the change of the node's activation, given its units' changes."""
        return (values / self.spread[:, None]).mean(dim=0)


def direct_effect(
    pair: tuple[TrailNode, TrailNode],
    activation: Float[Tensor, " N"],
    change: Float[Tensor, " N"],
    bins: Bins,
    drawn: Int[Tensor, "D N"],
) -> TrailEdge:
    """Return the edge between a source and a target, its q still 1.

    Args:
        pair: source and target.
        activation: of the source, in all samples.
        change: of the target's activation while the source is off.
        bins: of the source's activation.
        drawn: bins of the source's activation in each draw of chance.
    """
    # The target's activation has a standard deviation near one: changes are in these.
    change = torch.where(change.abs() > RESOLUTION, change, torch.zeros_like(change))
    codes = Bins.of(change).codes(change)
    found = dependence(bins.codes(activation), codes, drawn)
    influence = float(change.double().square().mean().sqrt())
    return TrailEdge(
        *pair,
        weight=found.weight,
        information=found.information,
        chance=found.chance,
        influence=influence,
        correlation=_correlation(activation.double(), change.double()),
        p=found.p,
        q=1.0,
    )


def _correlation(x: Tensor, y: Tensor) -> float:
    x, y = x - x.mean(), y - y.mean()
    length = float(x.norm() * y.norm())
    return float(x @ y) / length if length else 0.0


def adjust_edges(edges: Sequence[TrailEdge]) -> list[TrailEdge]:
    """Return edges with their p adjusted for all tests that were made (Benjamini-Hochberg)."""
    # A target that does not change at all is no test: the network says so, not the samples.
    p = [edge.p if edge.influence > 0 else math.nan for edge in edges]
    q = q_values(torch.tensor(p, dtype=torch.float64)).nan_to_num(nan=1.0).tolist()
    return [replace(edge, q=value) for edge, value in zip(edges, q, strict=True)]
