"""Where a map is looked at: a voxel of its target, the same for all methods, and what is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Mask
from esegeta.explain import Attribution
from esegeta.model import connected_components
from esegeta.report.grey import grey_range
from esegeta.report.outlines import Line
from esegeta.report.planes import (
    Letters,
    Plane,
    canonical,
    canonical_image,
    letters_of,
    planes_of,
    size_of,
    spans_shown,
)
from esegeta.report.unit_figures import channel_name, telling_channel
from esegeta.targets import FrozenTarget, UnitScene
from esegeta.volume import Grid, Volume

TARGET_LINE = Line()
SEGMENTATION_LINE = Line("#ffe14d", "dashed")
TRUTH_LINE = Line("#7fdfff", "dotted", 1.3)

SMALL = 0.2
"""Targets that take up less than this part of a plane along both sides are also shown enlarged."""


@dataclass(frozen=True, eq=False)
class Outline:
    """The edge of a mask, and what it is the edge of.

    Args:
        words: its words in the legend.
        mask: the mask, turned as the image is.
        line: style in which it is drawn.
    """

    words: str
    mask: np.ndarray
    line: Line


@dataclass(frozen=True, eq=False)
class View:
    """An image turned so that axes point right, anterior and superior, and where it is cut.

    Args:
        image: grey values, or a picture's colours along a last axis of three.
        grey: values that are drawn black and white.
        spacing_mm: spacing of the voxels, in mm.
        voxel: voxel that all planes go through.
        position_mm: position of that voxel in RAS.
        place: that position in words.
        planes: the planes that are drawn.
        letters: letters at each plane's edges.
        outlines: outlines; the first one is drawn last.
        part: the part of the target that the voxel lies in.
        channel: name of the channel that is drawn; empty where there is only one.
    """

    image: np.ndarray
    grey: tuple[float, float]
    spacing_mm: tuple[float, ...]
    voxel: tuple[int, ...]
    position_mm: tuple[float, float, float]
    place: str
    planes: tuple[Plane, ...]
    letters: tuple[Letters, ...]
    outlines: tuple[Outline, ...]
    part: np.ndarray
    channel: str = ""

    def size_mm(self, plane: Plane) -> tuple[float, float]:
        """Return width and height of a plane."""
        shape = self.part.shape[plane.vertical], self.part.shape[plane.horizontal]
        return size_of(shape, plane, self.spacing_mm)


def view_of(attribution: Attribution) -> View:
    """Return where a map is looked at, which its target decides and its values do not."""
    volume, target = attribution.volume, attribution.target
    part = largest_part(shown_mask(target))
    channel = 0 if volume.is_colour else telling_channel(volume, part)
    image, grid = canonical_image(volume, channel)
    turned = turn(part, volume)
    voxel = voxel_within(turned, grid.spacing_mm)
    planes = planes_of(turned.shape)
    one_of_several = volume.num_channels > 1 and not volume.is_colour
    return View(
        image,
        grey_range(image, spans_shown(volume, channel)),
        grid.spacing_mm,
        voxel,
        grid.to_mm(voxel),
        _place(volume, grid, voxel),
        planes,
        tuple(letters_of(plane, volume, grid) for plane in planes),
        outlines_of(target, volume),
        turned,
        channel_name(volume, channel) if one_of_several else "",
    )


def turn(mask: Mask, volume: Volume) -> np.ndarray:
    """Return a mask turned so that axes point right, anterior and superior."""
    turned: np.ndarray = canonical(mask.float(), volume)[0] > 0.5
    return turned


def shown_mask(target: FrozenTarget) -> Mask:
    """Return the voxels a target is about: its own, or its label's if it covers all voxels."""
    if bool(target.mask.all()):
        predicted = predicted_mask(target)
        if predicted is not None and bool(predicted.any()):
            return predicted
    return target.mask


def predicted_mask(target: FrozenTarget) -> Mask | None:
    """Return where the label of a target is predicted; None where it is about none."""
    if target.label is None or isinstance(target.scene, UnitScene):
        return None
    return target.scene.predicted(target.label)


def largest_part(mask: Mask) -> Mask:
    """Return the largest connected part of a mask; the mask itself where it is empty or all."""
    if not bool(mask.any()) or bool(mask.all()):
        return mask
    return connected_components(mask) == 1


def voxel_within(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[int, ...]:
    """Return the voxel of a mask that is nearest to its centre; the middle where it is empty."""
    places = np.argwhere(mask)
    if not len(places):
        return tuple((length - 1) // 2 for length in mask.shape)
    distances = (((places - places.mean(axis=0)) * spacing_mm) ** 2).sum(axis=1)
    return tuple(int(value) for value in places[int(distances.argmin())])


def _place(volume: Volume, grid: Grid, voxel: tuple[int, ...]) -> str:
    """Return a voxel in the words of the image's file: its index there, and mm where known."""
    index = volume.source.grid.to_index(grid.to_mm(voxel))
    return volume.source.describe_place([round(value) for value in index])


def outlines_of(target: FrozenTarget, volume: Volume) -> tuple[Outline, ...]:
    """Return the outlines of target, segmentation and ground truth, and what they are.

    Args:
        target: target on the volume's grid.
        volume: image that is drawn.
    """
    predicted = predicted_mask(target)
    truth: Tensor | None = None
    if predicted is not None and target.label is not None and target.scene.truth is not None:
        truth = target.scene.truth_of(target.label, "the picture")
    found = []
    words = _words_of_target(target.mask, predicted, truth)
    if words:
        found.append(Outline(words, turn(target.mask, volume), TARGET_LINE))
    if predicted is not None and not torch.equal(predicted, target.mask):
        found.append(Outline("segmentation", turn(predicted, volume), SEGMENTATION_LINE))
    if truth is not None:
        found.append(Outline("ground truth", turn(truth, volume), TRUTH_LINE))
    return tuple(found)


def _words_of_target(mask: Mask, predicted: Mask | None, truth: Mask | None) -> str:
    """Return what the target's voxels are; nothing where they are all, and have no outline."""
    if bool(mask.all()):
        return ""
    if predicted is not None and torch.equal(predicted, mask):
        return "target voxels = segmentation"
    if predicted is not None and truth is not None:
        if not bool((mask & (truth | ~predicted)).any()):
            return "target voxels: errors, segmented but not in the ground truth"
        if not bool((mask & (predicted | ~truth)).any()):
            return "target voxels: errors, in the ground truth but not segmented"
    return "target voxels"
