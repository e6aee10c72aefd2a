"""Tasks that make pictures and write them: NIfTI or PNG, planes, numbers; and the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from esegeta.axes import Image
from esegeta.features import (
    Dream,
    LayerObjective,
    high_frequency_share,
    largest_apart,
)
from esegeta.report import read_sidecar
from esegeta.report.feature_figures import (
    Column,
    draw_columns,
    draw_dream,
    save_picture,
    save_planes,
)
from esegeta.volume import Source, Volume, atomic_path, grid_of_spacing, write_map, write_source_map
from esegeta.workflow.cache import FILES, keep_json, keep_tensors
from esegeta.workflow.features.build import FeatureJob
from esegeta.workflow.features.fits import material_of
from esegeta.workflow.features.paint import case_volume, paint, values_of
from esegeta.workflow.features.variants import Variant
from esegeta.workflow.task import Content, Desk, Task


def make_picture(task: Task, desk: Desk) -> Content:
    """Make a variant's pictures of an objective, measure and write them.

    Raises:
        EsegetaError: a case cannot be read, or a picture is not finite.
    """
    job: FeatureJob = desk.job
    planned = job.objectives[task.data["objective"]]
    variant = _variant(job, task)
    material_of(desk)
    desk.begin(task.name, [task], job.keys.steps * job.keys.seeds)
    painted = paint(desk, planned, variant, planned.name)
    assert task.record is not None and task.key is not None
    stem = task.record.with_suffix("")
    files = write_picture(job, stem, painted.pictures[0][0], material_of(desk).real.data)
    stacked = {f"seed{number}": one for number, one in enumerate(painted.pictures)}
    keep_tensors(task.files[0], task.key, stacked)
    content = {
        **painted.content,
        "objective": planned.objective.describe(),
        "size": list(job.keys.size),
        "spacing_mm": list(job.spacing_mm),
        "values": painted.values,
        FILES: [str(file.relative_to(task.record.parent)) for file in files],
    }
    keep_json(task.record, task.key, content)
    return content


def write_picture(job: FeatureJob, stem: Path, picture: Image, real: Tensor) -> list[Path]:
    """Write a picture: NIfTI, one a channel, and its planes in 3D; a PNG in 2D.

    Args:
        job: what it belongs to.
        stem: path without an ending.
        picture: `C *S`.
        real: patches whose grey values say what is black and white.
    """
    names = channel_names(job, len(picture))
    grid = grid_of_spacing(tuple(picture.shape[1:]), job.spacing_mm)
    grey = grey_of(real)
    files = []
    if picture.ndim == 4:
        for name, data in zip(names, picture, strict=True):
            part = f"_chan-{name}" if len(names) > 1 else ""
            path = stem.with_name(f"{stem.name}{part}.nii.gz")
            write_source_map(path, data, Source(grid))
            files.append(path)
    planes = stem.with_name(f"{stem.name}{'_planes' if picture.ndim == 4 else ''}.png")
    with atomic_path(planes) as temporary:
        if picture.ndim == 4:
            save_planes(temporary, picture.numpy(), job.spacing_mm, grey, names)
        else:
            save_picture(temporary, picture.numpy(), grey)
    return [*files, planes]


def channel_names(job: FeatureJob, count: int) -> tuple[str, ...]:
    """Return the names of the channels of a picture."""
    given = job.basis.reading.channels
    return tuple(given) if given else tuple(str(number) for number in range(count))


def grey_of(real: Tensor) -> list[tuple[float, float]]:
    """Return what is drawn black and white in each channel: 1st and 99th percentile of the data."""
    found = []
    for channel in real.transpose(0, 1).flatten(1):
        step = max(1, len(channel) // 1_000_000)
        edges = torch.quantile(channel[::step].float(), torch.tensor([0.01, 0.99]))
        low, high = edges.tolist()
        found.append((low, max(high, low + 1e-6)))
    return found


def draw_objective(task: Task, desk: Desk) -> Content:
    """Draw the pictures of an objective side by side, and the real patches that have most of it."""
    job: FeatureJob = desk.job
    planned = job.objectives[task.data["objective"]]
    material, values = material_of(desk), values_of(desk, planned)
    assert task.record is not None and task.key is not None
    columns = []
    for variant in job.variants(planned):
        stem = task.record.with_name(variant.name)
        content = read_sidecar(stem.with_suffix(".json")) or {}
        columns += _columns_of(content, stem.with_suffix(".safetensors"), variant)
    chosen = largest_apart(values, material.real.places, job.box, job.keys.shown)
    for rank, number in enumerate(chosen, start=1):
        case, start = material.real.places[number]
        words = f"{values[number]:.3g}\nhigh freq. {float(material.real.fine[number]):.3f}"
        title = f"real patch, number {rank}\n{case}, from {list(start)}"
        columns.append(Column(title, material.real.data[number].numpy(), words, is_real=True))
    path = task.files[0]
    title = f"{job.basis.config.keys.name}: {planned.name}, {planned.objective.describe()}"
    with atomic_path(path) as temporary:
        draw_columns(temporary, columns, job.spacing_mm, grey_of(material.real.data), title)
    keep_json(task.record, task.key, {"real": [list(material.real.places[n]) for n in chosen]})
    return {}


def _columns_of(content: dict[str, Any], tensors: Path, variant: Variant) -> list[Column]:
    pictures = load_file(tensors)["seed0"]
    images = content["images"]
    found = []
    for number, (picture, numbers) in enumerate(zip(pictures, images, strict=True)):
        title = variant.title if len(images) == 1 else f"{variant.title}\nimage {number + 1}"
        found.append(Column(title, picture.numpy(), _words(content, numbers)))
    return found


def _words(content: dict[str, Any], numbers: dict[str, Any]) -> str:
    """Return the honest numbers below a picture."""
    lines = [f"{numbers['activation']:.3g} (above {numbers['percentile']:.0f} % of real)"]
    lines.append(
        f"high freq. {numbers['high_frequency']:.3f} (real {numbers['high_frequency_real']:.3f})"
    )
    if numbers["total_variation"] is not None:
        lines.append(f"total variation {numbers['total_variation']:.2g} x real")
    usual = numbers["distance_real"]
    real = "" if usual is None else f" (real {usual:.2f})"
    lines.append(f"to nearest real {numbers['distance']:.2f} sd{real}")
    if content["stability"] is not None:
        lines.append(f"alike over seeds {content['stability']:.2f}")
    return "\n".join(lines)


def dream_on(task: Task, desk: Desk) -> Content:
    """Dream on a case, and write it on the grid of its image, with a figure before and after.

    Raises:
        EsegetaError: the case cannot be read.
    """
    job: FeatureJob = desk.job
    keys = job.keys.dream
    assert keys is not None and task.record is not None and task.key is not None
    volume = case_volume(desk, keys.case).to(job.basis.device)
    dream = Dream(
        job.keys.size,
        keys.octaves,
        keys.ratio,
        keys.steps,
        keys.rate,
        job.basis.predictor.batch_size,
    )
    image, place = _dreamt_part(job, volume)
    desk.begin(task.name, [task], dream.passes(tuple(image.shape[1:])))
    flat = image.flatten(1)
    bounds = (flat.min(1).values, flat.max(1).values) if job.keys.clip else None
    objective = LayerObjective(keys.layer)
    made = dream(
        job.subject,
        objective,
        image,
        seed=job.basis.config.keys.seed,
        std=float(image.std()) or 1.0,
        bounds=bounds,
        on_tiles=desk.listener.advance,
    )
    folder = task.record.parent
    files = _write_dream(job, volume, image, made, place, folder)
    before, after = image[None].cpu(), made[None].cpu()
    content = {
        "case": volume.name,
        "objective": objective.describe(),
        "octaves": keys.octaves,
        "change": float((made - image).square().mean().sqrt() / (image.std() + 1e-12)),
        "high_frequency": float(high_frequency_share(after, job.spacing_mm)[0]),
        "high_frequency_real": float(high_frequency_share(before, job.spacing_mm)[0]),
        "slice": place,
        FILES: [str(file.relative_to(folder)) for file in files],
    }
    keep_json(task.record, task.key, content)
    return content


def _dreamt_part(job: FeatureJob, volume: Volume) -> tuple[Image, int | None]:
    """Return what is dreamt on: all of a case; of a 3D case of a 2D network, the middle slice."""
    if job.thin is None:
        return volume.data, None
    place = volume.grid.shape[job.thin] // 2
    return volume.data.select(job.thin + 1, place), place


def _write_dream(
    job: FeatureJob, volume: Volume, image: Image, made: Image, place: int | None, folder: Path
) -> list[Path]:
    files, layer = [], job.keys.dream.layer if job.keys.dream else ""
    names = channel_names(job, len(made))
    whole = made
    if place is not None and job.thin is not None:  # one slice was dreamt on, the others stay
        whole = volume.data.clone()
        whole.select(job.thin + 1, place).copy_(made)
    for name, data in zip(names, whole.cpu(), strict=True):
        part = f"_chan-{name}" if len(names) > 1 else ""
        path = folder / f"{volume.name}{part}_dream.nii.gz"
        write_map(path, data, volume)
        files.append(path)
    picture = folder / f"{volume.name}_dream.png"
    real = image[None].cpu()
    with atomic_path(picture) as temporary:
        title = f"{volume.name}: before, and after dreaming of {layer}"
        draw_dream(
            temporary, image.cpu().numpy(), made.cpu().numpy(), job.spacing_mm, grey_of(real), title
        )
    return [*files, picture]


def _variant(job: FeatureJob, task: Task) -> Variant:
    planned = job.objectives[task.data["objective"]]
    return next(one for one in job.variants(planned) if one.name == task.data["variant"])
