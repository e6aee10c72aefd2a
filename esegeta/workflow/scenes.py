"""The scene for 3D Slicer of one case and target, made when its maps are there.

It is not a result of its own: nothing depends on it, and if it cannot be made a note says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from esegeta.errors import EsegetaError
from esegeta.report import (
    PredictionFiles,
    SceneImage,
    SceneMap,
    SlicerScene,
    TaskFiles,
    grey_range,
    scene_file,
    scene_key,
    shown_colours,
    write_scene,
)
from esegeta.report.shapes import MapTold, read_told
from esegeta.volume import (
    Segment,
    Volume,
    read_source_labels,
    read_volume,
    write_segments,
    write_source_map,
)
from esegeta.workflow.build import Experiment
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import OF_CASE, OpenCase, open_case
from esegeta.workflow.task import Content, Desk, Kind, Task

NIFTI = (".nii", ".nii.gz")

LEAST_WIDTH_MM = 1.0


def scene_task(step: Task, target: str, maps: Mapping[str, Task]) -> Task:
    """Return the step that makes a scene.

    Args:
        step: prediction of the case.
        target: name of the target.
        maps: tasks of its maps, by method.
    """
    return Task(
        name=f"{step.data['names']['case']} / {target}: scene",
        kind=SCENE,
        key=None,
        data={
            "case": step.data["case"],
            "names": {**step.data["names"], "target": target},
            "maps": {method: task.key for method, task in maps.items()},
            "prediction": step.key,
        },
        needs=(step.name,),
        is_step=True,
    )


def make_scene(task: Task, desk: Desk) -> Content:
    """Write a scene of the maps that are there, unless it is there already."""
    experiment: Experiment = desk.job
    case, target = task.data["names"]["case"], task.data["names"]["target"]
    path = scene_file(experiment.root, case, target)
    files = {
        method: TaskFiles(experiment.root, case, target, method) for method in task.data["maps"]
    }
    there = {method: one for method, one in files.items() if one.map.is_file()}
    if not there:
        path.unlink(missing_ok=True)
        return {}
    made_of = {method: task.data["maps"][method] for method in there}
    colors = experiment.config.keys.colors
    key = fingerprint(
        {"maps": made_of, "prediction": task.data["prediction"], "colors": dict(colors)}
    )
    if scene_key(path) == key:
        return {}
    try:
        opened = open_case(desk, task.data["case"])
        if opened.volume.source.grid.ndim == 3 and not opened.volume.source.is_picture:
            with TemporaryDirectory() as folder:
                scene = _scene_of(desk, opened, list(there.values()), Path(folder))
                write_scene(path, scene, key)
    except EsegetaError as error:
        desk.note(f"{case} / {target}: no scene for 3D Slicer: {error}")
    return {}


SCENE = Kind(make_scene)


def _scene_of(desk: Desk, case: OpenCase, files: Sequence[TaskFiles], folder: Path) -> SlicerScene:
    images = list(_images(desk, case, folder))
    segmentation = folder / f"{case.files.name}_desc-prediction.seg.nrrd"
    source = case.volume.source
    write_segments(segmentation, _segments(case), source.grid)
    maps, places = [], []
    for one in files:
        display = (read_told(one.sidecar, MapTold) or {}).get("display", {})
        high = float(display.get("high") or 1.0)
        maps.append(SceneMap(one.method, one.map, high, display.get("negative") is not None))
        places.append(display.get("position_mm"))
    middle = source.grid.to_mm([(length - 1) / 2 for length in source.grid.shape])
    x, y, z = next((place for place in places if place), middle)
    sides = np.multiply(source.grid.spacing_mm, source.grid.shape)
    width = max(float(sides.max()), LEAST_WIDTH_MM)
    return SlicerScene(images, segmentation, maps, (float(x), float(y), float(z)), width)


def _images(desk: Desk, case: OpenCase, folder: Path) -> Iterator[SceneImage]:
    """Yield the channels: the user's own files where Slicer reads them, else written anew."""

    def read() -> Volume:
        return read_volume(case.files, case.experiment.reading)

    raw = desk.once("raw image", read, depth=OF_CASE)
    own = len(case.files.images) == raw.num_channels
    for place, (channel, data) in enumerate(zip(raw.channels, raw.data, strict=True)):
        path = case.files.images[place] if own else Path()
        if not (own and path.name.endswith(NIFTI)):
            path = folder / f"{case.files.name}_chan-{place}.nii.gz"
            write_source_map(path, data, raw.source)
        low, high = grey_range(data.numpy(), (case.experiment.preprocess.grey_window,))
        name = case.files.name if raw.num_channels == 1 else channel
        yield SceneImage(name, path, low, high)


def _segments(case: OpenCase) -> Iterator[Segment]:
    """Yield the predicted labels, as they were written."""
    experiment, source = case.experiment, case.volume.source
    labels, files = experiment.predictor.labels, PredictionFiles(experiment.root, case.files.name)
    colours = shown_colours(labels, experiment.config.keys.colors)
    written = read_source_labels(files.segmentation, case.files.name, source)
    for name in labels.foreground:
        mask = labels.shown(written, name)
        if labels.may_overlap and files.mask(name).is_file():
            mask = read_source_labels(files.mask(name), case.files.name, source) > 0
        yield Segment(name, colours[name], mask)
