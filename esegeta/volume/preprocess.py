"""What happens to an image before the network sees it: a chain of steps, and its adjoint.

    orientation, transpose, crop, intensity (before_resampling), spacing_mm, crop
    (after_resampling), crop_or_pad (before_intensity), intensity, crop_or_pad (after_intensity)

Steps in space are remembered by the volume as its route, so that label maps go the same way and
maps find their way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, StepError
from esegeta.volume.cropping import AFTER_INTENSITY, BEFORE_INTENSITY, Crop, CropOrPad
from esegeta.volume.grid import Grid
from esegeta.volume.intensity import (
    AFTER,
    BEFORE,
    Intensity,
    IntensityStep,
    IntensitySteps,
    fix_steps,
    spans_of,
    take_steps,
)
from esegeta.volume.intensity_rules import Clip, Ct, Span, Window
from esegeta.volume.resampling import Resampling, SeparateAxis
from esegeta.volume.route import Route
from esegeta.volume.space import Move, Orient, Respace, Transpose
from esegeta.volume.volume import Provenance, Volume

UNCHANGED = Intensity()
Stage = Move | Crop | CropOrPad | dict[int, IntensityStep]


@dataclass(frozen=True)
class Preprocess:
    """A chain of steps, in the order above; each may be left out.

    Lengths and axes of `spacing_mm` and `crop_or_pad` are those after `transpose`.

    Args:
        orientation: axis codes such as `RAS`; None keeps the axes of the file.
        spacing_mm: voxel size in mm to resample to; None keeps that of the file, also on one axis.
        intensity: one rule for all channels, or steps.
        order: order of the interpolation between voxels, 0, 1 or 3; see `Respace`.
        separate_axis: whether a coarse axis is resampled by itself; see `Respace`.
        crop: a crop to the box of the foreground.
        crop_or_pad: a crop or padding to a size about the centre.
        transpose: the order of the axes that the network takes.
    """

    orientation: str | None = None
    spacing_mm: tuple[float | None, ...] | None = None
    intensity: Intensity | IntensitySteps = UNCHANGED
    order: int = 1
    separate_axis: SeparateAxis = False
    crop: Crop | None = None
    crop_or_pad: CropOrPad | None = None
    transpose: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self._stages()  # whose parts refuse what is impossible
        if self.spacing_mm is None and (self.order != 1 or self.separate_axis is not False):
            raise ConfigError(
                "preprocess: order and separate_axis say how to resample, and there is no "
                "spacing_mm to resample to"
            )

    def __call__(self, volume: Volume, *, like: Volume | None = None) -> Volume:
        """Return the volume as the network takes it; its source stays what it was.

        Args:
            volume: an image on the grid of its file.
            like: an image of the same grid that was preprocessed: its boxes are taken.

        Raises:
            StepError: a step cannot take the image.
        """
        before = volume.route.moves
        known = () if like is None else like.route.moves[len(before) :]
        data, moves = self._run(self._working(volume.data), volume, self._stages(), known=known)
        grid = Route(moves).onto(volume.grid)
        route = Route((*before, *moves))
        return replace(
            volume,
            data=_as_float32(data, volume.name),
            grid=grid,
            route=route,
            spans=self._spans(volume),
            # Of an image that was preprocessed before, this chain is but a part of the way.
            origin=None if before or volume.origin else Provenance(volume.data.cpu(), self),
        )

    def move(
        self, data: Shaped[Tensor, "C *S"], grid: Grid, *, resampling: Resampling
    ) -> tuple[Tensor, Grid]:
        """Bring data `C *S` from its own grid onto the network's; grey values stay.

        Args:
            data: `C *S` on `grid`.
            grid: grid of the data.
            resampling: `linear` or `nearest`.
        """
        return self.route(grid).move(data, grid, resampling=resampling)

    def route(self, grid: Grid) -> Route:
        """Return the way from a grid to the network's, where the grid alone decides it.

        Args:
            grid: grid of the file.

        Raises:
            ConfigError: there is a crop to the foreground, which the image decides.
        """
        if self.crop is not None:
            raise ConfigError("preprocess.crop depends on the image, not on its grid alone")
        return Route(_moves_of(self._stages(), grid))

    def network_route(self, volume: Volume) -> Route:
        """Return the way of an image to the network's grid; takes no step that it need not.

        Args:
            volume: image on the grid of its file.

        Raises:
            StepError: the crop leaves nothing of the image.
        """
        stages = self._stages()
        looks = [place for place, stage in enumerate(stages) if isinstance(stage, Crop)]
        done = looks[0] + 1 if looks else 0
        moves: tuple[Move, ...] = ()
        if looks:
            _, moves = self._run(self._working(volume.data), volume, stages[:done])
        return Route((*moves, *_moves_of(stages[done:], Route(moves).onto(volume.grid))))

    def adjoint(
        self, gradient: Float[Tensor, "C *T"], volume: Volume, *, like: Volume | None = None
    ) -> Float[Tensor, "C *S"]:
        """Carry a gradient from the network's grid back to the voxels of the file, exactly.

            <J v, gradient> = <v, adjoint(gradient)>   for every small change v of the image,

        with J the Jacobian of the whole chain at the image, statistics such as the mean of a
        z-score and the clipping of splines included; boxes count as fixed. Computed in float64.

        Args:
            gradient: gradient of any number by the network's input, `C *T`.
            volume: the image before preprocessing, `C *S`.
            like: the image after it, whose boxes and flips are taken.

        Returns:
            The gradient of that number by the grey values of the file, in the type of `gradient`.
        """
        image = volume.data.detach().double().requires_grad_()
        with torch.enable_grad():
            seen, _ = self._run(image, volume, self._stages(), known=_moves_to(like))
        if tuple(seen.shape) != tuple(gradient.shape):
            raise ValueError(f"a gradient {tuple(gradient.shape)} for an input {tuple(seen.shape)}")
        if not seen.requires_grad:  # every channel is constant
            return torch.zeros_like(volume.data, dtype=gradient.dtype)
        (carried,) = torch.autograd.grad(seen, image, gradient.to(seen), allow_unused=True)
        return carried.to(gradient.dtype)

    def fixed(self, volume: Volume, *, like: Volume | None = None) -> Preprocess:
        """Return the chain with the statistics of one image as numbers, such as a z-score's mean.

        Grey values then change voxel by voxel.

        Args:
            volume: the image before preprocessing.
            like: the image after it, whose boxes are taken.
        """
        found: list[IntensityStep] = []

        def fix(steps: dict[int, IntensityStep], data: Image, names: Sequence[str]) -> Image:
            fixed, data = fix_steps(steps, data, names)
            found.extend(fixed)
            return data

        known = _moves_to(like)
        self._run(volume.data.double(), volume, self._stages(), known=known, take=fix)
        return replace(self, intensity=tuple(found))

    def before_resampling(
        self, volume: Volume, *, like: Volume | None = None
    ) -> tuple[Float[Tensor, "C *R"], Route]:
        """Return an image with all intensity steps taken, and every step in space that only picks.

        Its voxels are those of the file, turned and cropped, in the units of the network. Of a
        chain that is `fixed`: statistics would be those of other voxels.

        Args:
            volume: the image before preprocessing.
            like: the image after it, whose boxes are taken.

        Returns:
            The image in float64, and the way to it.
        """
        stages = self._stages_of_file()
        num_moves = sum(not isinstance(stage, dict) for stage in stages)
        known = _moves_to(like)[:num_moves]
        data, moves = self._run(volume.data.double(), volume, stages, known=known)
        return take_steps(self._steps(AFTER), data, volume.channels), Route(moves)

    def _stages(self) -> list[Stage]:
        return [*self._stages_of_file(), *self._stages_of_network()]

    def _stages_of_file(self) -> list[Stage]:
        """Return the stages that leave the voxels those of the file: none is made, none moved."""
        stages: list[Stage | None] = [
            None if self.orientation is None else Orient(self.orientation),
            None if self.transpose is None else Transpose(self.transpose),
            self.crop if self.crop and self.crop.when == BEFORE else None,
            self._steps(BEFORE),
        ]
        return [stage for stage in stages if stage]

    def _stages_of_network(self) -> list[Stage]:
        stages: list[Stage | None] = [
            (
                None
                if self.spacing_mm is None
                else Respace(self.spacing_mm, self.order, self.separate_axis)
            ),
            self.crop if self.crop and self.crop.when == AFTER else None,
            self._resized(BEFORE_INTENSITY),
            self._steps(AFTER),
            self._resized(AFTER_INTENSITY),
        ]
        return [stage for stage in stages if stage]

    def _steps(self, when: str) -> dict[int, IntensityStep]:
        if isinstance(self.intensity, Intensity):
            plain = self.intensity.kind == "none" or when == BEFORE
            return {} if plain else {0: IntensityStep(self.intensity.rule)}
        return {place: step for place, step in enumerate(self.intensity) if step.when == when}

    def _spans(self, volume: Volume) -> tuple[Span | None, ...]:
        """Return the values that the steps, one after the other, leave each channel between."""
        steps = [*self._steps(BEFORE).values(), *self._steps(AFTER).values()]
        return spans_of(steps, volume.channels)

    @property
    def grey_window(self) -> Span | None:
        """The grey values of the file that the first step keeps apart; None where it keeps all."""
        steps = (*self._steps(BEFORE).values(), *self._steps(AFTER).values())
        rule = steps[0].rule if steps else None
        return (rule.low, rule.high) if isinstance(rule, Window | Clip | Ct) else None

    def _resized(self, when: str) -> CropOrPad | None:
        return self.crop_or_pad if self.crop_or_pad and self.crop_or_pad.when == when else None

    def _working(self, data: Image) -> Image:
        """Return data in the type that steps are taken in.

        One rule over values that float32 holds exactly is taken in float32, as always; all else in
        float64, so that a large offset costs a normalisation no digits.
        """
        single = data.float()
        if isinstance(self.intensity, Intensity) and torch.equal(single.to(data.dtype), data):
            return single
        return data.double()

    def _run(
        self,
        data: Image,
        volume: Volume,
        stages: Sequence[Stage],
        *,
        known: tuple[Move, ...] = (),
        take: Callable[[dict[int, IntensityStep], Image, Sequence[str]], Image] = take_steps,
    ) -> tuple[Tensor, tuple[Move, ...]]:
        """Take stages; those in space are the known moves, where there are any.

        Known moves beyond the stages are flips of a volume that was preprocessed this way.
        """
        grid, waiting = volume.grid, list(known)
        moves: list[Move] = []
        for stage in stages:
            if isinstance(stage, dict):
                data = take(stage, data, volume.channels)
                continue
            if waiting:
                moves.append(waiting.pop(0))
            else:
                moves.append(_resolved(stage, data, grid, volume.name))
            data, grid = Route((moves[-1],)).move(data, grid, resampling="bilinear")
        data, _ = Route(tuple(waiting)).move(data, grid, resampling="bilinear")
        return data, (*moves, *waiting)


def _moves_to(volume: Volume | None) -> tuple[Move, ...]:
    return () if volume is None else volume.route.moves


def _moves_of(stages: Sequence[Stage], grid: Grid) -> tuple[Move, ...]:
    """Return the moves of stages that look at no values."""
    moves: list[Move] = []
    for stage in stages:
        if not isinstance(stage, dict):
            moves.append(_resolved(stage, torch.empty((0, *grid.shape)), grid, ""))
            grid = moves[-1].onto(grid)
    return tuple(moves)


def _resolved(stage: Move | Crop | CropOrPad, data: Image, grid: Grid, name: str) -> Move:
    return stage if isinstance(stage, Move) else stage.resolve(data, grid, name)


def _as_float32(data: Image, name: str) -> Image:
    """Return data as networks take them; refuse values that float32 cannot hold."""
    single = data.float().contiguous()
    if data.dtype == torch.float64 and not bool(single.isfinite().all()):
        raise StepError(
            f"{name}: values reach {float(data.abs().max()):g} after preprocessing, which the "
            "network's float32 cannot hold",
            hint="scale them with preprocess.intensity",
            step=("intensity",),
        )
    return single
