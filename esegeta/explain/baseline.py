"""Baselines: what an image looks like with its information taken out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import Image
from esegeta.errors import ConfigError, DataError, suggest
from esegeta.explain.finite import FiniteParameters
from esegeta.model import full_float32
from esegeta.volume import Volume, names_image

BaselineKind = Literal["zero", "mean", "minimum", "blur", "file"]

KERNEL_RADIUS_SIGMAS = 4.0

SAME_AS_BASELINE = "is the image equal to its baseline? choose another `baseline`"
"""Why the map of a change from a baseline may be zero everywhere."""


@dataclass(frozen=True)
class Baseline(FiniteParameters):
    """A reference image for one volume.

    `zero`, each channel's `mean` or `minimum`, the image under a Gaussian `blur` (edges
    repeated), or a `file` on the image's grid. Values are those of the network's input.

    Args:
        kind: one of these words.
        sigma_mm: width of the blur, the standard deviation of a Gaussian in mm.
        file: path of the image, or one per channel; `{case}` stands for the case's name.
        values: the file's image, preprocessed, `C *S`; filled in by the run.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "arbitrary_types_allowed": True,
        "allow_inf_nan": False,
    }

    kind: BaselineKind = "blur"
    sigma_mm: float = 10.0
    file: str | tuple[str, ...] | None = None
    values: Tensor | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.file is not None:
            object.__setattr__(self, "kind", "file")
        if self.kind == "file" and not self.file:
            raise ConfigError("baseline: file: no file is named", hint="baseline: {file: PATH}")
        if self.sigma_mm <= 0:
            raise ConfigError(f"baseline: sigma_mm: {self.sigma_mm:g} must be above zero")

    def of(self, volume: Volume) -> Image:
        """Return the baseline of a volume, `C *S`.

        Args:
            volume: image that the baseline takes the place of.

        Raises:
            DataError: the file's image has another shape.
        """
        data = volume.data
        axes = tuple(range(1, data.ndim))
        if self.kind == "zero":
            return torch.zeros_like(data)
        if self.kind == "mean":
            return data.mean(dim=axes, keepdim=True).expand_as(data).contiguous()
        if self.kind == "minimum":
            return data.amin(dim=axes, keepdim=True).expand_as(data).contiguous()
        if self.kind == "blur":
            return blur(data, [self.sigma_mm / spacing for spacing in volume.grid.spacing_mm])
        if self.values is None or self.values.shape != data.shape:
            found = None if self.values is None else tuple(self.values.shape)
            raise DataError(
                f"baseline {self.file}: shape {found}, but the image has {tuple(data.shape)}",
                hint="a baseline must lie on the image's grid and have its channels",
            )
        return self.values.to(data)

    def with_values(self, values: Image) -> Baseline:
        """Return the same baseline with its file's image.

        Args:
            values: the file's image, `C *S` on the volume's grid.
        """
        return replace(self, values=values)

    def flipped(self, axis: int) -> Baseline:
        """Return the baseline of the flipped volume; only a file's image is bound to its voxels.

        Args:
            axis: spatial axis, from 0.
        """
        if self.values is None:
            return self
        return replace(self, values=self.values.flip(axis + 1))


def baselines_of(method: Any) -> Iterator[tuple[str, int | None, Baseline]]:
    """Yield the baselines of a method: the field, the place in it where it is a list, and each."""
    for item in fields(method):
        value = getattr(method, item.name)
        if isinstance(value, Baseline):
            yield item.name, None, value
        elif isinstance(value, tuple):
            for place, entry in enumerate(value):
                if isinstance(entry, Baseline):
                    yield item.name, place, entry


def parse_baseline(value: Baseline | str) -> Baseline:
    """Turn `blur`, or the path of an image, into a baseline.

    Raises:
        ConfigError: the word is neither.
    """
    if isinstance(value, Baseline):
        return value
    kinds = get_args(BaselineKind)
    if value in kinds:
        return Baseline(kind=next(kind for kind in kinds if kind == value))
    if names_image(value):
        return Baseline(kind="file", file=value)
    raise ConfigError(f'baseline: "{value}" is not known', hint=suggest(value, kinds))


def blur(
    data: Image, sigmas_vox: list[float], *, radius_sigmas: float = KERNEL_RADIUS_SIGMAS
) -> Image:
    """Blur `C *S` with a Gaussian along each axis, repeating the voxels at the edge."""
    result = data
    for axis, sigma in enumerate(sigmas_vox, start=1):
        length = data.shape[axis]
        if length == 1:
            continue
        radius = max(1, math.ceil(radius_sigmas * sigma))
        steps = torch.arange(-radius, radius + 1, device=data.device, dtype=data.dtype)
        kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
        kernel = (kernel / kernel.sum())[None, None]
        lines = result.movedim(axis, -1)
        flat = F.pad(lines.reshape(-1, 1, length), (radius, radius), mode="replicate")
        with full_float32():
            result = F.conv1d(flat, kernel).reshape(lines.shape).movedim(-1, axis)
    return result.contiguous()
