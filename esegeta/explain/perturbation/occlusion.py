"""Occlusion: how the target falls when a box is replaced; only windows it touches are re-run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from esegeta.axes import Image, Shape
from esegeta.errors import ConfigError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.objective import Objective
from esegeta.model import held_still
from esegeta.predict import Box, Windows, spot

Lengths = float | tuple[float, ...]


@dataclass(frozen=True)
class Patch:
    """One occlusion: a box of the volume, in some channels.

    Args:
        index: its place among all patches.
        box: in voxels of the volume.
        channels: that are replaced.
    """

    index: int
    box: Box
    channels: slice

    @property
    def region(self) -> tuple[slice, ...]:
        """Channels and box, to index `C *S`."""
        return (self.channels, *self.box)


@dataclass(frozen=True)
class Occlusion(Explainer):
    """How much the target falls when a box of the image is replaced by a baseline.

        a(v) = mean over boxes b that hold v of  R(x) - R(x with b replaced)

    Positive: the box holds what raises the target. Unit: target. Only windows that touch both
    the box and the target are run again; the result is that of brute force.

    Args:
        box: side of the box in voxels, one or one an axis; a quarter of the window by default.
        box_mm: the same in millimetres.
        stride: distance between boxes in voxels; the box's side by default.
        stride_mm: the same in millimetres.
        baseline: zero, mean, minimum, blur, or an image file.
        channels: replace `each` channel by itself, or all `together`.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014,
    section 4.2; overlapping boxes are averaged as captum does.
    """

    box: Lengths | None = None
    box_mm: Lengths | None = None
    stride: Lengths | None = None
    stride_mm: Lengths | None = None
    baseline: Baseline | str = "mean"
    channels: Literal["each", "together"] = "each"

    name: ClassVar[str] = "occlusion"
    traits: ClassVar[Traits] = Traits("perturbation", additive=True)
    zero_hint: ClassVar[str] = (
        "no box changes the target; is the image equal to its baseline, or the box too small?"
    )

    def __post_init__(self) -> None:
        for one, other in (("box", "box_mm"), ("stride", "stride_mm")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ConfigError(f"occlusion: give {one} or {other}, not both")
        for name in ("box", "box_mm", "stride", "stride_mm"):
            value = getattr(self, name)
            if value is not None and min(value if isinstance(value, tuple) else (value,)) <= 0:
                raise ConfigError(f"occlusion: {name}: {value} must be above zero")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> str:
        """For each box the active windows that it touches, forward."""
        return "1 F for each box, of the windows it touches"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map; its channels are told apart unless replaced together."""
        volume = objective.volume
        box, stride = self._lengths(objective)
        patches = list_patches(volume.grid.shape, box, stride, self._channel_slices(objective))
        baseline = parse_baseline(self.baseline).of(volume)
        falls = falls_of_target(objective, patches, baseline)
        total = torch.zeros_like(volume.data)
        count = torch.zeros_like(volume.data)
        for patch, fall in zip(patches, falls.to(total).unbind(), strict=True):
            total[patch.region] += fall
            count[patch.region] += 1
        data = total / count
        more = {"box_vox": list(box), "stride_vox": list(stride), "boxes": len(patches)}
        return RawMap(data[:1] if self.channels == "together" else data, more=more)

    def _channel_slices(self, objective: Objective) -> list[slice]:
        channels = objective.volume.num_channels
        if self.channels == "together":
            return [slice(0, channels)]
        return [slice(channel, channel + 1) for channel in range(channels)]

    def _lengths(self, objective: Objective) -> tuple[Shape, Shape]:
        shape, spacing = objective.volume.grid.shape, objective.volume.grid.spacing_mm
        default = tuple(max(1, length // 4) for length in objective.windows.size)
        box = _in_voxels(self.box, self.box_mm, spacing) or default
        stride = _in_voxels(self.stride, self.stride_mm, spacing) or box
        if any(s > b for s, b in zip(stride, box, strict=True)):
            raise ConfigError(
                f"occlusion: stride {list(stride)} voxels is wider than the box {list(box)}",
                hint="voxels between the boxes would get no value; lower the stride",
            )
        box = tuple(min(b, n) for b, n in zip(box, shape, strict=True))
        return box, tuple(min(s, b) for s, b in zip(stride, box, strict=True))


def list_patches(shape: Shape, box: Shape, stride: Shape, channels: Sequence[slice]) -> list[Patch]:
    """Return boxes every `stride` voxels until the volume is covered; the last may be cut."""
    starts = [
        [place * s for place in range(1 + math.ceil((n - b) / s))]
        for n, b, s in zip(shape, box, stride, strict=True)
    ]
    corners = itertools.product(channels, *starts)
    return [
        Patch(
            index,
            tuple(
                slice(start, min(start + b, n))
                for start, b, n in zip(corner, box, shape, strict=True)
            ),
            channel,
        )
        for index, (channel, *corner) in enumerate(corners)
    ]


def falls_of_target(objective: Objective, patches: Sequence[Patch], baseline: Image) -> Tensor:
    """Return `R(x) - R(x with patch replaced by baseline)` of every patch, float64.

    A linear target needs only the windows that touch both patch and target; their logits are
    reduced at once. Any other target is formed on the prediction with the touched windows' change
    put in; the rest of the prediction is reused.
    """
    if objective.target.is_linear:
        return _falls_of_linear_target(objective, patches, baseline)
    return _falls_of_any_target(objective, patches, baseline)


def _falls_of_linear_target(
    objective: Objective, patches: Sequence[Patch], baseline: Image
) -> Tensor:
    predictor, windows, cotangent = objective.predictor, objective.windows, objective.cotangent()
    active = objective.active(cotangent)
    before = predictor.contributions(objective.x, cotangent, active)[0]
    worth = dict(zip(active, before, strict=True))
    shares = predictor.shares(windows, cotangent)
    falls = torch.zeros(len(patches), dtype=torch.float64, device=before.device)
    pairs = (
        (patch, window)
        for patch in patches
        for window in windows.touching_box(patch.box)
        if window in worth
    )
    objective.tally.windows_run += len(active)
    with torch.no_grad(), held_still(predictor.network):
        for group in _grouped(pairs, predictor.batch_size):
            crops = _occluded(objective, group, windows, baseline)
            share = shares.at([window for _, window in group], crops.device)
            after = predictor.inner(crops, share, windows).to(falls.device) * shares.scale
            objective.tally.windows_run += len(group)
            for place, (patch, window) in enumerate(group):
                falls[patch.index] += worth[window] - after[place]
    objective.tally.evaluations += len(patches) + 1
    return falls


def _falls_of_any_target(objective: Objective, patches: Sequence[Patch], baseline: Image) -> Tensor:
    windows, logits = objective.windows, objective.logits()
    seen = set(objective.target.touched(windows))
    coverage = windows.coverage(logits.device, logits.dtype)
    value = objective.target.value(logits)[0]
    before = _RecentLogits(objective)
    falls = []
    with torch.no_grad(), held_still(objective.predictor.network):
        for patch in patches:
            touched = [window for window in windows.touching_box(patch.box) if window in seen]
            change = _change_of_prediction(objective, patch, touched, baseline, before)
            moved = logits + windows.crop(change / coverage)
            falls.append(value - objective.target.value(moved)[0])
    objective.tally.evaluations += len(patches) + 1
    return torch.stack(falls)


def _change_of_prediction(
    objective: Objective,
    patch: Patch,
    touched: Sequence[int],
    baseline: Image,
    before: _RecentLogits,
) -> Tensor:
    """Return by how much the weighted sum of logits changes, `1 L *S` of the padded volume."""
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    importance = windows.importance(x.device, x.dtype)
    change = x.new_zeros((1, predictor.labels.num_outputs, *windows.padded_shape))
    for group in _grouped(((patch, window) for window in touched), predictor.batch_size):
        after = predictor.run(_occluded(objective, group, windows, baseline), windows).to(x)
        objective.tally.windows_run += len(group)
        for (_, window), logits in zip(group, after, strict=True):
            change[spot(0, windows.boxes[window])] += (logits - before.of(window)) * importance
    return change


class _RecentLogits:
    """The unperturbed logits of windows, of which the latest few are kept.

    Neighbouring patches touch the same windows, so that few are ever run twice, in the memory of
    a few windows.
    """

    KEPT = 16

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._known: dict[int, Tensor] = {}

    def of(self, window: int) -> Tensor:
        """Return `net(x_t)`, `L *W`, on the input's device."""
        if window not in self._known:
            objective = self._objective
            while len(self._known) >= self.KEPT:
                self._known.pop(next(iter(self._known)))
            crops = _untouched(objective, [window], objective.windows)
            logits = objective.predictor.run(crops, objective.windows)[0]
            objective.tally.windows_run += 1
            self._known[window] = logits.to(objective.x)
        return self._known[window]


def _untouched(objective: Objective, group: Sequence[int], windows: Windows) -> Tensor:
    padded = windows.pad(objective.x)
    crops = [padded[spot(0, windows.boxes[window])] for window in group]
    return torch.stack(crops).to(objective.predictor.device_for(padded))


def _occluded(
    objective: Objective,
    group: Sequence[tuple[Patch, int]],
    windows: Windows,
    baseline: Image,
) -> Tensor:
    crops = _untouched(objective, [window for _, window in group], windows)
    lows = [low for low, _ in windows.padding]
    for crop, (patch, window) in zip(crops, group, strict=True):
        inside, source = [], []
        for part, side, low in zip(patch.box, windows.boxes[window], lows, strict=True):
            start, stop = max(part.start + low, side.start), min(part.stop + low, side.stop)
            inside.append(slice(start - side.start, stop - side.start))
            source.append(slice(start - low, stop - low))
        crop[(patch.channels, *inside)] = baseline[(patch.channels, *source)].to(crop)
    return crops


def _in_voxels(
    vox: Lengths | None, mm: Lengths | None, spacing_mm: Sequence[float]
) -> Shape | None:
    given = vox if vox is not None else mm
    if given is None:
        return None
    lengths = given if isinstance(given, tuple) else (given,) * len(spacing_mm)
    if len(lengths) != len(spacing_mm):
        raise ConfigError(
            f"occlusion: {list(lengths)} for a {len(spacing_mm)}D image",
            hint=f"give one length, or {len(spacing_mm)}",
        )
    units = spacing_mm if vox is None else (1.0,) * len(lengths)
    return tuple(max(1, round(value / unit)) for value, unit in zip(lengths, units, strict=True))


def _grouped(pairs: Iterable[tuple[Patch, int]], size: int) -> Iterator[list[tuple[Patch, int]]]:
    rest = iter(pairs)
    while group := list(itertools.islice(rest, size)):
        yield group
