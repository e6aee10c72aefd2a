"""The figures of a comparison: tables in colour, curves over networks, planes of most variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from esegeta.report.file_names import distinct_parts
from esegeta.report.similarity_figures import (
    Heat,
    LayerPath,
    Scatter,
    draw_curves,
    draw_heats,
    draw_scatters,
)
from esegeta.similarity import CKA
from esegeta.volume import atomic_path
from esegeta.workflow.similarity.build import Comparison
from esegeta.workflow.similarity.estimates import Estimate
from esegeta.workflow.similarity.tables import ALL_LABELS

LEAST_STAGES = 2
"""Fewest other trained networks for which a curve is drawn."""

Estimates = Mapping[str, Mapping[str, Estimate]]


def draw_pictures(
    comparison: Comparison,
    estimates: Estimates,
    points: Sequence[Mapping[str, Any]],
    cases: Sequence[Tensor],
) -> list[Path]:
    """Draw all figures and return their files."""
    name = comparison.basis.config.keys.name
    files = []
    for method in estimates[ALL_LABELS]:
        files.append(comparison.folder / f"{method}.png")
        heat = _heat(comparison, estimates[ALL_LABELS][method], "all labels")
        with atomic_path(files[-1]) as temporary:
            draw_heats(temporary, [heat], f"{name}: {method} of layers")
    if CKA in estimates[ALL_LABELS] and len(estimates) > 2:
        files.append(comparison.folder / f"{CKA}_labels.png")
        heats = [
            _heat(comparison, own[CKA], label)
            for label, own in estimates.items()
            if label != ALL_LABELS
        ]
        with atomic_path(files[-1]) as temporary:
            draw_heats(temporary, heats, f"{name}: {CKA} of layers, label by label")
    files += _curves(comparison, estimates)
    files += _scatters(comparison, points)
    files += _cases(comparison, cases)
    return files


def _heat(comparison: Comparison, estimate: Estimate, title: str) -> Heat:
    ends, total = [], 0
    for network in comparison.networks:
        total += len(network.layers)
        ends.append((network.name, total))
    names = [layer for _, layer in comparison.places]
    return Heat(title, names, estimate.value.tolist(), tuple(ends))


def _curves(comparison: Comparison, estimates: Estimates) -> list[Path]:
    """Draw how alike each layer of the first network is to the same one of the others, in order."""
    places = {place: number for number, place in enumerate(comparison.places)}
    first, *others = comparison.networks
    trained = [one for one in others if not one.is_untrained]
    if len(trained) < LEAST_STAGES:
        return []
    files = []
    for method, estimate in estimates[ALL_LABELS].items():
        paths = []
        for layer in (layer.name for layer in first.layers):
            pairs = [(places[first.name, layer], places.get((one.name, layer))) for one in trained]
            own = [
                _cell(estimate, row, column) if column is not None else None
                for row, column in pairs
            ]
            if any(own):
                paths.append(LayerPath(layer, own))
        if paths:
            files.append(comparison.folder / f"{method}_curves.png")
            title = f"{comparison.basis.config.keys.name}: {method} with the same layer of others"
            with atomic_path(files[-1]) as temporary:
                draw_curves(temporary, [one.name for one in trained], paths, title)
    return files


def _cell(estimate: Estimate, row: int, column: int) -> tuple[float, float, float]:
    value = float(estimate.value[row, column])
    if estimate.low is None or estimate.high is None:
        return value, value, value
    return value, float(estimate.low[row, column]), float(estimate.high[row, column])


def _parts(comparison: Comparison) -> dict[str, str]:
    return distinct_parts({network.name: network.name for network in comparison.networks})


def _scatters(comparison: Comparison, points: Sequence[Mapping[str, Any]]) -> list[Path]:
    files, parts = [], _parts(comparison)
    for network in comparison.networks if points else ():
        panels = []
        for layer in network.layers:
            own = [
                row
                for row in points
                if (row["network"], row["layer"]) == (network.name, layer.name)
            ]
            panels.append(Scatter(layer.name, own))
        files.append(comparison.folder / f"pca_{parts[network.name]}.png")
        title = f"{network.name}: positions (dots) and means of cases (rings)"
        with atomic_path(files[-1]) as temporary:
            draw_scatters(temporary, panels, comparison.strata, title)
    return files


def _cases(comparison: Comparison, cases: Sequence[Tensor]) -> list[Path]:
    files, parts = [], _parts(comparison)
    names = list(comparison.groups)
    tables = dict(zip(comparison.places, cases, strict=True)) if cases else {}
    for network in comparison.networks if cases else ():
        heats = [
            Heat(layer.name, names, tables[network.name, layer.name].tolist(), ())
            for layer in network.layers
            if not bool(torch.isnan(tables[network.name, layer.name]).all())
        ]
        if heats:
            files.append(comparison.folder / f"cases_{parts[network.name]}.png")
            title = f"{network.name}: how alike cases make units vary together"
            with atomic_path(files[-1]) as temporary:
                draw_heats(temporary, heats, title)
    return files
