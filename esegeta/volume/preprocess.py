"""What happens to an image before the network sees it, through MONAI's transforms.

Only the geometry has to be undone on the way back, and `inverse.py` does that from the two
grids alone, so nothing is remembered here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from esegeta.errors import ConfigError, DataError
from esegeta.volume.grid import Grid
from esegeta.volume.volume import Volume

Resampling = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class Intensity:
    """How grey values become what the network takes, each channel for itself.

    Args:
        kind: `window` clips to [low, high] and scales to [0, 1]; `percentile` does so between
            two percentiles of the image; `minmax` scales to [0, 1]; `zscore` to mean 0 and
            standard deviation 1; `none` leaves the values alone.
        low: lower bound, in grey values (window) or percent (percentile).
        high: upper bound, likewise.
    """

    kind: Literal["window", "zscore", "minmax", "percentile", "none"] = "none"
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        if self.kind in ("window", "percentile") and not self.low < self.high:
            raise ConfigError(
                f"intensity {self.kind}: [{self.low:g}, {self.high:g}] is empty",
                hint="give the lower bound first, e.g. window: [-250, 400]",
            )
        if self.kind == "percentile" and not (self.low >= 0 and self.high <= 100):
            raise ConfigError(
                f"intensity percentile: [{self.low:g}, {self.high:g}] must lie within 0..100"
            )


@dataclass(frozen=True)
class Preprocess:
    """Orientation, spacing and intensity, in this order; each may be left out.

    Args:
        orientation: axis codes such as `RAS`; None keeps the axes of the file.
        spacing_mm: voxel size to resample to; None keeps that of the file.
        intensity: None keeps the grey values.
    """

    orientation: str | None = None
    spacing_mm: tuple[float, ...] | None = None
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        if self.orientation is not None:
            check_orientation(self.orientation)
        if self.spacing_mm is not None and min(self.spacing_mm) <= 0:
            raise ConfigError(f"spacing_mm: {list(self.spacing_mm)} must be above zero")

    def __call__(self, volume: Volume) -> Volume:
        """Return the volume as the network takes it; its source stays what it was."""
        data, grid = self.move(volume.data, volume.grid, resampling="bilinear")
        return replace(volume, data=rescale(data.float(), self.intensity), grid=grid)

    def move(
        self, data: Shaped[Tensor, "C *S"], grid: Grid, *, resampling: Resampling
    ) -> tuple[Tensor, Grid]:
        """Bring data `C *S` from its own grid onto the network's; grey values stay."""
        from monai.data import MetaTensor
        from monai.transforms import Orientation, Spacing

        if self.orientation is None and self.spacing_mm is None:
            return data, grid
        if self.spacing_mm is not None and len(self.spacing_mm) != grid.ndim:
            raise ConfigError(
                f"preprocess.spacing_mm has {len(self.spacing_mm)} values for a {grid.ndim}D image",
                hint=f"give {grid.ndim} values",
            )
        if grid.ndim == 2 and not np.allclose(grid.affine[2, :2], 0.0, atol=1e-4):
            raise DataError(
                "a 2D image that does not lie in the x-y plane cannot be reoriented or resampled",
                hint="leave out preprocess.orientation and preprocess.spacing_mm",
            )
        image: Any = MetaTensor(data, affine=torch.as_tensor(grid.affine, dtype=torch.float64))
        if self.orientation is not None:
            image = Orientation(axcodes=self.orientation[: grid.ndim], labels=AXIS_LABELS)(image)
        if self.spacing_mm is not None:
            image = Spacing(
                pixdim=self.spacing_mm, mode=resampling, padding_mode="border", dtype=torch.float64
            )(image)
        affine = np.asarray(image.affine, dtype=np.float64)
        moved = image.as_tensor().to(data.dtype).contiguous()
        return moved, Grid(tuple(moved.shape[1:]), _affine_4x4(affine))


AXIS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def check_orientation(codes: str) -> None:
    """Refuse axis codes that do not name each anatomical axis at most once."""
    axes = [next((i for i, pair in enumerate(AXIS_LABELS) if code in pair), -1) for code in codes]
    if -1 in axes or len(set(axes)) != len(axes) or len(axes) not in (2, 3):
        raise ConfigError(
            f'orientation: "{codes}" is not a set of axis codes',
            hint="use one letter of each of L/R, P/A and I/S, such as RAS or LPS",
        )


def rescale(data: Tensor, intensity: Intensity) -> Tensor:
    """Apply an intensity rule to `C *S`, each channel for itself."""
    from monai import transforms

    rules: dict[str, Any] = {
        "window": lambda: transforms.ScaleIntensityRange(
            intensity.low, intensity.high, b_min=0.0, b_max=1.0, clip=True
        ),
        "percentile": lambda: transforms.ScaleIntensityRangePercentiles(
            intensity.low, intensity.high, b_min=0.0, b_max=1.0, clip=True, channel_wise=True
        ),
        "minmax": lambda: transforms.ScaleIntensity(channel_wise=True),
        "zscore": lambda: transforms.NormalizeIntensity(channel_wise=True),
    }
    if intensity.kind == "none":
        return data
    if intensity.kind == "percentile":
        _require_spread(data, intensity)
    # A copy, for NormalizeIntensity writes into what it is given.
    scaled: Any = rules[intensity.kind]()(data.clone())
    return torch.as_tensor(scaled).as_subclass(Tensor).float().contiguous()


def _require_spread(data: Tensor, intensity: Intensity) -> None:
    """Refuse channels whose two percentiles coincide, unless they are constant anyway."""
    for number, channel in enumerate(data):
        low, high = np.percentile(channel.cpu().numpy(), (intensity.low, intensity.high))
        if low >= high and bool((channel != channel.flatten()[0]).any()):
            raise DataError(
                f"intensity percentile: in channel {number} the {intensity.low:g}th and the "
                f"{intensity.high:g}th percentile are both {low:g}",
                hint="choose percentiles further apart, or another intensity rule",
            )


def _affine_4x4(affine: np.ndarray) -> np.ndarray:
    if affine.shape == (4, 4):
        return affine
    size = affine.shape[0] - 1
    full = np.eye(4)
    full[:size, :size] = affine[:size, :size]
    full[:size, 3] = affine[:size, size]
    return full
