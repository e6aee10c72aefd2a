"""What convolutions weigh: a table of all, and pictures of those that are looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from esegeta.features import Draws, Filters, find_filters
from esegeta.features.filters import CONVOLUTIONS
from esegeta.model import held_still, on_input
from esegeta.predict import empty_window
from esegeta.report import write_rows
from esegeta.report.file_names import hyphenated
from esegeta.report.inside_figures import draw_filters
from esegeta.volume import Volume, atomic_path
from esegeta.workflow.cache import FILES, keep_json
from esegeta.workflow.inside.build import Inspection
from esegeta.workflow.task import Content, Desk, Task

COLUMNS = (
    "layer",
    "filters",
    "inputs",
    "kernel",
    "norm_mean",
    "norm_min",
    "norm_max",
    "largest_singular",
    "smallest_singular",
    "effective_rank",
    "most_alike",
    "cosine",
    "in_image",
)
LINEAR = 0.999
"""Part of the variance of the network's input that a line in the file's values must explain."""


def weigh(task: Task, desk: Desk) -> Content:
    """Write the table of all convolutions and the figures of those that are looked at.

    Raises:
        EsegetaError: the first case, of whose grey values the first filters are, cannot be read.
    """
    job: Inspection = desk.job
    assert task.record is not None and task.key is not None
    network, folder = job.basis.predictor.network, task.record.parent
    names = [layer.name for layer in job.layers]
    first = set(layers_on_image(job))
    every = [
        replace(filters, in_image=filters.layer in first) for filters in find_filters(network, [])
    ]
    write_rows(folder / "weights.csv", COLUMNS, [_row(filters) for filters in every])
    files = ["weights.csv"]
    wanted = {filters.layer for filters in find_filters(network, names)} | first
    slopes = slopes_of(job, job.basis.read(job.basis.cases[0])[0]) if first else None
    for filters in every:
        if filters.layer not in wanted:
            continue
        shown, unit = filters, ""
        if filters.in_image and slopes is not None:
            shown, unit = filters.in_units(slopes), "per unit of the image's file"
        path = folder / f"layer-{hyphenated(filters.layer)}_filters.png"
        with atomic_path(path) as temporary:
            draw_filters(
                temporary,
                shown.weights.numpy(),
                filters.similarity.numpy(),
                filters.singular_values.numpy(),
                _title(filters, unit),
            )
        files.append(path.name)
    notes = _notes(every, first, slopes)
    desk.note(*notes)
    content: dict[str, Any] = {"slopes": slopes, "notes": notes, FILES: files}
    keep_json(task.record, task.key, content)
    return content


def layers_on_image(job: Inspection) -> list[str]:
    """Return the convolutions that are handed the image itself."""
    predictor = job.basis.predictor
    network = predictor.network
    empty = empty_window(network, predictor.plan.size, job.basis.reading.num_channels)
    window = Draws.of(0).normal_like(empty)  # which nothing but the image itself equals
    watched = {
        name: module for name, module in network.named_modules() if isinstance(module, CONVOLUTIONS)
    }
    found: list[str] = []

    def note(name: str, x: Tensor | None) -> None:
        if x is not None and x.shape == window.shape and torch.equal(x, window):
            found.append(name)

    with torch.no_grad(), held_still(network), on_input(watched, note):
        network(window)
    return found


def slopes_of(job: Inspection, volume: Volume) -> list[float] | None:
    """Return how much the network's input changes with a grey value of the file, a channel each.

    A line is fitted to the voxels of a case that no bound of the preprocessing has clipped; None
    where a line does not describe what happens to grey values.
    """
    if volume.origin is None:
        return None
    grey, _ = volume.route.move(volume.origin.image, volume.source.grid, resampling="bilinear")
    found = []
    for before, after in zip(
        grey.flatten(1).double(), volume.data.flatten(1).double(), strict=True
    ):
        inside = (after > after.min()) & (after < after.max())
        x, y = before[inside], after[inside]
        if len(x) < 2 or float(x.var()) == 0:
            return None
        x, y = x - x.mean(), y - y.mean()
        slope = float((x * y).sum() / x.square().sum())
        left = float((y - slope * x).square().sum() / y.square().sum().clamp(min=1e-300))
        if 1 - left < LINEAR:
            return None
        found.append(slope)
    return found


def _row(filters: Filters) -> dict[str, Any]:
    norms, values = filters.norms, filters.singular_values
    pair = filters.most_alike()
    return {
        "layer": filters.layer,
        "filters": len(filters.weights),
        "inputs": filters.weights.shape[1],
        "kernel": "x".join(str(length) for length in filters.weights.shape[2:]),
        "norm_mean": float(norms.mean()),
        "norm_min": float(norms.min()),
        "norm_max": float(norms.max()),
        "largest_singular": float(values[0]),
        "smallest_singular": float(values[-1]),
        "effective_rank": filters.effective_rank,
        "most_alike": "" if pair is None else f"{pair[0]} {pair[1]}",
        "cosine": None if pair is None else pair[2],
        "in_image": filters.in_image,
    }


def _title(filters: Filters, unit: str) -> str:
    count, inputs, *kernel = filters.weights.shape
    words = "x".join(str(length) for length in kernel)
    tail = f", {unit}" if unit else ""
    return f"{filters.layer}: {count} filters of {inputs} x {words}{tail}"


def _notes(every: list[Filters], first: set[str], slopes: list[float] | None) -> list[str]:
    if not every:
        return ["inspect.weights: the network has no 2D or 3D convolution"]
    if not first:
        return ["inspect.weights: no convolution takes the image itself"]
    if slopes is None:
        return [
            "inspect.weights: preprocessing is not linear in the file's grey values, so "
            "first-layer filters are in units of the network's input"
        ]
    return []
