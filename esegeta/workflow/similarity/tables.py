"""Rows of the tables: pairs of layers, pairs of cases, places in the plane of most variance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from esegeta.similarity import PWCCA, Moments, PrincipalPlane, cka_of_cases, evenly, num_directions
from esegeta.workflow.similarity.build import Comparison
from esegeta.workflow.similarity.estimates import Estimate, Matched

ALL_LABELS = "(all)"
"""Stands for the whole data set among labels."""

MOST_POINTS = 500
"""Positions of a layer that are listed and drawn."""

PAIR_COLUMNS = (
    "method",
    "label",
    "network_a",
    "layer_a",
    "network_b",
    "layer_b",
    "value",
    "low",
    "high",
    "null",
    "p",
    "biased",
    "positions",
    "cases",
)
CASE_COLUMNS = ("network", "layer", "case_a", "case_b", "value")
POINT_COLUMNS = (
    "network",
    "layer",
    "kind",
    "case",
    "label",
    "pc1",
    "pc2",
    "share1",
    "share2",
)
LAYER_COLUMNS = ("network", "layer", "units", "directions", "positions")


def pair_rows(
    comparison: Comparison,
    label: str,
    estimates: Mapping[str, Estimate],
    counts: Mapping[str, int],
    num_cases: int,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each pair of layers and measure; PWCCA tells (a, b) from (b, a).

    Args:
        comparison: comparison with the layers.
        label: label whose positions are used.
        estimates: estimates by measure.
        counts: number of positions by measure.
        num_cases: number of cases that hold the label.
    """
    places = comparison.places
    for method, estimate in estimates.items():
        for first, (network_a, layer_a) in enumerate(places):
            for second, (network_b, layer_b) in enumerate(places):
                if second == first or (second < first and method != PWCCA):
                    continue
                yield {
                    "method": method,
                    "label": label,
                    "network_a": network_a,
                    "layer_a": layer_a,
                    "network_b": network_b,
                    "layer_b": layer_b,
                    **{
                        name: _cell(getattr(estimate, name), first, second)
                        for name in ("value", "low", "high", "null", "p", "biased")
                    },
                    "positions": counts[method],
                    "cases": num_cases,
                }


def _cell(table: Tensor | None, row: int, column: int) -> float | None:
    if table is None or math.isnan(value := float(table[row, column])):
        return None
    return value


def case_rows(
    comparison: Comparison, parts: Sequence[Moments]
) -> tuple[list[dict[str, Any]], list[Tensor]]:
    """Return a row for each layer and pair of cases, and the whole table of each layer."""
    rows, tables = [], []
    names = comparison.groups
    for place, (network, layer) in enumerate(comparison.places):
        table = cka_of_cases(parts, place)
        tables.append(table)
        for first, case_a in enumerate(names):
            for second in range(first + 1, len(names)):
                pair = {"case_a": case_a, "case_b": names[second]}
                value = _cell(table, first, second)
                rows.append({"network": network, "layer": layer, **pair, "value": value})
    return rows, tables


def layer_rows(comparison: Comparison, whole: Moments) -> list[dict[str, Any]]:
    """Return a row for each layer: how many directions hold 99 % of its variance."""
    found = zip(comparison.places, comparison.layout.widths, num_directions(whole), strict=True)
    return [
        {
            "network": network,
            "layer": layer,
            "units": units,
            "directions": directions,
            "positions": int(whole.count),
        }
        for (network, layer), units, directions in found
    ]


def point_rows(
    comparison: Comparison,
    whole: Moments,
    matched: Matched,
    means: Sequence[tuple[int, int, Tensor]],
) -> list[dict[str, Any]]:
    """Return where positions, and the mean of each case and label, lie in each layer's plane.

    Args:
        comparison: comparison with the layers.
        whole: sums over everything, from which the planes are found.
        matched: matched positions.
        means: number of the case, number of the label, mean activations.
    """
    chosen = evenly(len(matched.case), min(MOST_POINTS, len(matched.case)))
    cases = [*matched.case[chosen].tolist(), *(number for number, _, _ in means)]
    labels = [*matched.stratum[chosen].tolist(), *(number for _, number, _ in means)]
    data = torch.cat([matched.data[chosen].double(), *(mean[None] for _, _, mean in means)])
    rows: list[dict[str, Any]] = []
    for place, (network, layer) in enumerate(comparison.places):
        plane = PrincipalPlane.of(whole, place)
        points = plane.coordinates(data[:, comparison.layout.columns[place]]).tolist()
        shares = [*plane.shares.tolist(), 0.0][:2]
        for number, (case, label, point) in enumerate(zip(cases, labels, points, strict=True)):
            rows.append(
                {
                    "network": network,
                    "layer": layer,
                    "kind": "position" if number < len(chosen) else "case",
                    "case": comparison.groups[case],
                    "label": comparison.strata[label],
                    "pc1": point[0],
                    "pc2": point[1],
                    "share1": shares[0],
                    "share2": shares[1],
                }
            )
    return rows
