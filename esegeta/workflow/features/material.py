"""Real patches of the cases: what pictures start from, are priced by and are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Image, LabelMap, Shape
from esegeta.errors import DataError
from esegeta.features import (
    Bounds,
    Draws,
    Parametrisation,
    RealPatches,
    Unmixed,
    cut_patches,
    mixing_of,
)
from esegeta.volume import Volume
from esegeta.workflow.cases import check_truth
from esegeta.workflow.features.build import FeatureJob

MOST_MB = 1024
"""Memory that real patches may take up."""
TRIES = 4
"""Draws for each patch that is wanted: those of one grey value, such as air, are left out."""
MOST_VALUES = 200_000
"""Voxels from which the covariance of the channels is taken."""


@dataclass(frozen=True, eq=False)
class Material:
    """What is known of the cases, on the host.

    Args:
        real: patches, measured.
        mean: of all patches, `C *S`.
        class_means: mean patch about the voxels of each label that a case has.
        bounds: smallest and largest value of each channel.
        unmixing: mean of each channel, and the root of their covariance.
        notes: what a reader must know.
    """

    real: RealPatches
    mean: Image = field(repr=False)
    class_means: Mapping[str, Image] = field(repr=False)
    bounds: Bounds
    unmixing: tuple[Tensor, Tensor]
    notes: tuple[str, ...]

    def unmixed(self, inner: Parametrisation) -> Unmixed:
        """Return a parametrisation of channels as the data has them uncorrelated."""
        return Unmixed(inner, *self.unmixing)

    def scaled(self, inner: Parametrisation) -> Unmixed:
        """Return a parametrisation of channels as they are, each in its standard deviations."""
        mean, mixing = self.unmixing
        return Unmixed(inner, mean, (mixing @ mixing).diagonal().sqrt().diag())

    def drawing(self, seed: int, device: torch.device) -> Callable[[int], Batch]:
        """Return what draws real patches for a training, on a device."""
        draws, data = Draws.of(seed), self.real.data

        def draw(count: int) -> Batch:
            return data[draws.integers(0, len(data) - 1, count)].to(device)

        return draw

    def small_patches(self, side: int, count: int, seed: int) -> Tensor:
        """Return about so many small patches at random places, flattened, `N D`."""
        draws, found, total = Draws.of(seed), [], 0
        data = self.real.data
        per_patch = max(1, math.ceil(count / len(data)))
        for one in data:
            shift = draws.integers(0, side - 1, one.ndim - 1)
            flat = cut_patches(one[None], side, shift)[0]
            chosen = draws.integers(0, len(flat) - 1, min(per_patch, 4 * len(flat)))
            found.append(flat[chosen])
            total += len(chosen)
        return torch.cat(found)


def collect(job: FeatureJob) -> Material:
    """Read all cases and take patches of them.

    Raises:
        DataError: a case cannot be read, or no case has a voxel of a label that is started from.
    """
    gatherer = _Gatherer(job)
    for place, case in enumerate(job.basis.cases):
        volume, truth = job.basis.read(case)
        if truth is not None:
            gatherer.notes += check_truth(truth, job.basis, case)
        gatherer.add(volume, truth, job.basis.config.keys.seed + place)
    return gatherer.result()


class _Gatherer:
    """Takes patches case by case."""

    def __init__(self, job: FeatureJob) -> None:
        self._job = job
        keys, cases = job.keys, job.basis.cases
        channels = job.basis.reading.num_channels
        room = max(2, int(MOST_MB * 2**20 / (4 * channels * math.prod(keys.size))))
        count = min(keys.patches, room)
        self.notes: list[str] = []
        if count < keys.patches:
            self.notes.append(
                f"features: {count} real patches instead of {keys.patches}: more would take up "
                f"more than {MOST_MB} MB"
            )
        self._per_case = max(1, math.ceil(count / len(cases)))
        self._patches: list[Image] = []
        self._places: list[tuple[str, Shape]] = []
        self._sums: dict[str, list[Tensor]] = {}
        self._edges: list[tuple[Tensor, Tensor]] = []
        labels = {job.start_label(item) for item in job.objectives} if job.needs_truth else set()
        self._labels = sorted(labels)

    def add(self, volume: Volume, truth: LabelMap | None, seed: int) -> None:
        """Take patches of a case."""
        draws, flat = Draws.of(seed), volume.data.flatten(1)
        self._edges.append((flat.min(1).values, flat.max(1).values))
        before, still = len(self._patches), []
        for _ in range(TRIES * self._per_case):
            start = self._anywhere(volume, draws)
            patch = self._cut(volume, start)
            if float(patch.amax() - patch.amin()) > 0:
                self._patches.append(patch)
                self._places.append((volume.name, start))
            else:
                still.append((patch, start))
            if len(self._patches) == before + self._per_case:
                break
        for patch, start in still[: max(0, 2 - len(self._patches) + before)]:
            self._patches.append(patch)
            self._places.append((volume.name, start))
        if truth is not None:
            for label in self._labels:
                self._add_about(label, volume, truth, draws)

    def _add_about(self, label: str, volume: Volume, truth: LabelMap, draws: Draws) -> None:
        here = self._job.basis.predictor.labels.truth(truth, label).nonzero()
        if not len(here):
            return
        count = min(self._per_case, len(here))
        chosen = here[draws.integers(0, len(here) - 1, count)].tolist()
        own = [self._cut(volume, self._about(volume, place)) for place in chosen]
        self._sums.setdefault(label, []).append(torch.stack(own))

    def result(self) -> Material:
        """Return what was gathered.

        Raises:
            DataError: no case has a label that is started from.
        """
        job = self._job
        for label in self._labels:
            if label not in self._sums:
                raise DataError(
                    f'features: no case has a voxel of "{label}", whose mean patch pictures start '
                    "from",
                    hint="name another label with features.start_label",
                )
        data = torch.stack(self._patches)
        values = data.transpose(0, 1).flatten(1)
        step = max(1, values.shape[1] // MOST_VALUES)
        low = torch.stack([edge[0] for edge in self._edges]).min(0).values
        high = torch.stack([edge[1] for edge in self._edges]).max(0).values
        return Material(
            RealPatches.of(data, job.spacing_mm, self._places, job.box),
            data.mean(0),
            {label: torch.cat(parts).mean(0) for label, parts in self._sums.items()},
            (low, high),
            mixing_of(values[:, ::step]),
            tuple(dict.fromkeys(self.notes)),
        )

    def _anywhere(self, volume: Volume, draws: Draws) -> Shape:
        room = zip(volume.grid.shape, self._job.box, strict=True)
        return tuple(draws.integers(0, length - side, 1)[0] for length, side in room)

    def _about(self, volume: Volume, place: list[int]) -> Shape:
        room = zip(place, volume.grid.shape, self._job.box, strict=True)
        return tuple(min(max(p - side // 2, 0), length - side) for p, length, side in room)

    def _cut(self, volume: Volume, start: Shape) -> Image:
        return cut_box(volume.data, start, self._job.box, self._job.thin).float().cpu()


def cut_box(data: Image, start: Shape, box: Shape, thin: int | None) -> Float[Tensor, "C *T"]:
    """Return a box of `C *S`, without the axis along which a 2D network goes."""
    place = tuple(slice(first, first + side) for first, side in zip(start, box, strict=True))
    found = data[(slice(None), *place)]
    return (found if thin is None else found.squeeze(thin + 1)).clone()


def centre_box(shape: Shape, box: Shape) -> Shape:
    """Return the first voxel of a box in the middle of a shape."""
    return tuple((length - side) // 2 for length, side in zip(shape, box, strict=True))
