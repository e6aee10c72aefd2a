"""How volumes of any size are cut into windows: checked, and laid over a volume's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from esegeta.axes import Shape
from esegeta.errors import ConfigError, suggest
from esegeta.predict.coverage import Coverage
from esegeta.predict.padding import Padding
from esegeta.predict.passes import Average, Pass
from esegeta.predict.tiling import Blend, Placing
from esegeta.predict.windows import Windows


@dataclass(frozen=True)
class WindowPlan:
    """How volumes of any size are cut into windows.

    Args:
        size: size of one window, in voxels; two lengths for a 2D network.
        overlap: fraction that neighbouring outputs share, in [0, 1); one, or one per axis.
        blend: importance of an output's voxels: `gaussian` (sigma 1/8 of its lengths),
            `constant`, or `nnunet`; see `tiling`.
        slice_axis: the axis along which a 2D network goes through a 3D volume.
        padding: what lies outside of the image.
        coverage: voxels of a window that the network's output covers; None for all of them, one
            position per voxel.
        passes: how each window goes through the networks; flips are of the axes that these see.
        average: what is averaged over passes: logits; or probabilities, of mirrored passes in each
            window, and of networks in the blended prediction.
        positions: positions of outputs: at `fixed` steps, or `even`; see `tiling`.
    """

    size: Shape
    overlap: float | tuple[float, ...] = 0.5
    blend: Blend = "gaussian"
    slice_axis: int = 2
    padding: Padding = "zeros"
    coverage: Coverage | None = None
    passes: tuple[Pass, ...] = (Pass(),)
    average: Average = "logits"
    positions: Placing = "fixed"

    def __post_init__(self) -> None:
        if len(self.size) not in (2, 3) or min(self.size) < 1:
            raise ConfigError(
                f"inference.window: {list(self.size)} is not a window",
                hint="give two or three lengths above zero",
            )
        overlaps = self.overlap if isinstance(self.overlap, tuple) else (self.overlap,)
        if not all(0 <= value < 1 for value in overlaps):
            raise ConfigError(f"inference.overlap: {self.overlap} is outside [0, 1)")
        if len(overlaps) not in (1, len(self.size)):
            raise ConfigError(f"inference.overlap: {self.overlap} does not fit the window")
        if self.slice_axis not in (0, 1, 2):
            raise ConfigError(f"inference.slice_axis: {self.slice_axis} is not 0, 1 or 2")
        for key, value, known in (
            ("blend", self.blend, get_args(Blend)),
            ("padding", self.padding, get_args(Padding)),
            ("average", self.average, get_args(Average)),
            ("positions", self.positions, get_args(Placing)),
        ):
            if value not in known:
                raise ConfigError(
                    f'inference.{key}: "{value}" is not known', hint=suggest(value, known)
                )
        for axis in {axis for one in self.passes for axis in one.flips}:
            if axis not in range(len(self.size)):
                raise ConfigError(
                    f"inference.mirror: the network has no axis {axis}",
                    hint=f"it is given windows with the axes {list(range(len(self.size)))}",
                )

    @property
    def output(self) -> Shape:
        """Voxels in the middle of a window that the network's output covers."""
        return self.size if self.coverage is None else self.coverage.within(self.size)

    @property
    def num_members(self) -> int:
        """Networks that the prediction is the mean of."""
        return len({one.member for one in self.passes})

    @property
    def inner_flips(self) -> tuple[tuple[int, ...], ...]:
        """Mirrored passes whose probabilities are averaged within each window; none for logits."""
        flips = tuple(dict.fromkeys(one.flips for one in self.passes))
        return flips if self.average == "probabilities" and len(flips) > 1 else ()

    def of_one_network(self) -> WindowPlan:
        """Return the plan of a network alone, mirrored as those of the ensemble are."""
        flips = dict.fromkeys(one.flips for one in self.passes)
        return replace(self, passes=tuple(Pass(0, own) for own in flips))

    def members(self) -> list[WindowPlan]:
        """Return the plan of each network alone; of one network, of each mirrored pass."""
        numbers = dict.fromkeys(one.member for one in self.passes)
        if len(numbers) == 1:
            return [replace(self, passes=(one,)) for one in self.passes]
        return [
            replace(self, passes=tuple(one for one in self.passes if one.member == number))
            for number in numbers
        ]

    def lay(self, shape: Sequence[int]) -> Windows:
        """Return the windows over a volume of this spatial shape.

        A 2D window over a 3D volume becomes one slice thick along `slice_axis`.

        Raises:
            ConfigError: the volume has another number of axes than the window.
        """
        overlap = self._overlaps()
        sliced = self.slice_axis if len(shape) == len(self.size) + 1 else None
        if sliced is not None:
            overlap.insert(sliced, 0.0)
        elif len(shape) != len(self.size):
            raise ConfigError(
                f"inference.window: {list(self.size)} for a {len(shape)}D volume",
                hint=f"give {len(shape)} lengths",
            )
        coverage = self.coverage
        return Windows(
            tuple(shape),
            _thick(self.size, sliced),
            tuple(overlap),
            self.blend,
            sliced,
            _thick(self.output, sliced),
            self.padding,
            self._laid_passes(sliced),
            self.num_members if self.average == "probabilities" else 1,
            {} if coverage is None else {n: _thick(e, sliced) for n, e in coverage.layers.items()},
            self.positions,
        )

    def ending_at(self, layer: str) -> WindowPlan:
        """Return the plan of a network whose output is a layer's, on the voxels that it covers."""
        if self.coverage is None:
            return self
        extent = self.coverage.layers.get(layer, self.size)
        own = None if extent == self.size else Coverage(extent, extent, self.coverage.layers)
        return replace(self, coverage=own)

    def _laid_passes(self, slice_axis: int | None) -> tuple[Pass, ...]:
        """Return the passes that are windows of their own, with flips of the volume's axes."""
        if self.inner_flips:
            return tuple(dict.fromkeys(replace(one, flips=()) for one in self.passes))
        if slice_axis is None:
            return self.passes
        return tuple(
            replace(one, flips=tuple(axis + (axis >= slice_axis) for axis in one.flips))
            for one in self.passes
        )

    def _overlaps(self) -> list[float]:
        if isinstance(self.overlap, tuple):
            return list(self.overlap) if len(self.overlap) > 1 else [*self.overlap] * len(self.size)
        return [self.overlap] * len(self.size)


def _thick(lengths: Shape, slice_axis: int | None) -> Shape:
    """Give lengths of a 2D network the axis that it goes along, of length one."""
    if slice_axis is None:
        return lengths
    return (*lengths[:slice_axis], 1, *lengths[slice_axis:])
