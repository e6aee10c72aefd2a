"""Boxes that depend on the image: around its foreground, or of a size about its centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esegeta.axes import Image, Mask, Shape
from esegeta.errors import ConfigError, StepError, suggest
from esegeta.volume.grid import Grid
from esegeta.volume.intensity import AFTER, BEFORE
from esegeta.volume.space import Cut, require_length

BEFORE_INTENSITY, AFTER_INTENSITY = "before_intensity", "after_intensity"


@dataclass(frozen=True)
class Crop:
    """Cuts an image down to the box of its foreground, over all channels.

    Args:
        above: foreground is above this value; None: it is not 0 (nnU-Net's crop_to_nonzero).
            Above 0 it is MONAI's CropForeground, whose margin pads where it leaves the image.
        margin: voxels on each side of the box, as far as the image reaches.
        when: whether to crop on the voxels of the file, or on those of the network's spacing.
    """

    above: float | None = None
    margin: int = 0
    when: str = BEFORE

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise ConfigError(f"crop: margin: {self.margin} must be 0 or more")
        _require_known("crop", self.when, (BEFORE, AFTER))

    def resolve(self, data: Image, grid: Grid, name: str) -> Cut:
        """Return the box of an image `C *S`.

        Args:
            data: image `C *S`.
            grid: its grid.
            name: the case, for messages.

        Raises:
            StepError: nothing is left; the message names the case, the threshold and the image's
                range.
        """
        found = self._foreground(data)
        start, stop = [], []
        for axis in range(found.ndim):
            others = [other for other in range(found.ndim) if other != axis]
            places = found.any(dim=others).nonzero() if others else found.nonzero()
            if not len(places):
                raise StepError(self._refusal(data, name), hint=self._hint(), step=("crop",))
            start.append(max(int(places[0]) - self.margin, 0))
            stop.append(min(int(places[-1]) + 1 + self.margin, grid.shape[axis]))
        return Cut(tuple(start), tuple(b - a for a, b in zip(start, stop, strict=True)))

    def _foreground(self, data: Image) -> Mask:
        data = data.detach()
        return ((data != 0) if self.above is None else (data > self.above)).any(dim=0)

    def _refusal(self, data: Image, name: str) -> str:
        if self.above is None:
            return f"{name}: crop leaves nothing: every voxel is 0"
        wanted = f"is above {self.above:g}"
        low, high = float(data.min()), float(data.max())
        return f"{name}: crop leaves nothing: no voxel {wanted}; its values are {low:g} to {high:g}"

    def _hint(self) -> str:
        without = "leave out preprocess.crop"
        return without if self.above is None else f"choose a lower `above`, or {without}"


@dataclass(frozen=True)
class CropOrPad:
    """Brings every axis to a length, cutting off or padding on both ends alike.

    Args:
        size: the lengths, in voxels.
        value: value of the voxels that are added.
        when: whether it comes before the intensity steps, which then see the padding, or after
            them.

    Source: MONAI's ResizeWithPadOrCrop(size, mode="constant", value=value).
    """

    size: Shape
    value: float = 0.0
    when: str = AFTER_INTENSITY

    def __post_init__(self) -> None:
        if not self.size or min(self.size) < 1:
            raise ConfigError(f"crop_or_pad: {list(self.size)} must be lengths of 1 or more")
        _require_known("crop_or_pad", self.when, (BEFORE_INTENSITY, AFTER_INTENSITY))

    def resolve(self, data: Image, grid: Grid, name: str) -> Cut:
        """Return the box about the centre.

        Args:
            data: image `C *S`.
            grid: its grid.
            name: the case, for messages.
        """
        return self.cut(grid)

    def cut(self, grid: Grid) -> Cut:
        """Return the box about the centre of a grid.

        Args:
            grid: grid whose centre is kept.
        """
        require_length("crop_or_pad", self.size, grid.ndim)
        start = tuple(
            old // 2 - new // 2 if new < old else -((new - old) // 2)
            for old, new in zip(grid.shape, self.size, strict=True)
        )
        return Cut(start, self.size, self.value)


def _require_known(key: str, when: str, known: Sequence[str]) -> None:
    if when not in known:
        raise ConfigError(f'{key}: when: "{when}" is not known', hint=suggest(when, known))


def crop_of(written: str | Mapping[str, Any] | Crop | None) -> Crop | None:
    """Return a crop as a config writes it: `foreground`, or `{above: 0, margin: 2}`.

    Raises:
        ConfigError: with the nearest name where a word or key is unknown.
    """
    if written is None or isinstance(written, Crop):
        return written
    if isinstance(written, str):
        _require_word("crop", written, ("foreground",))
        return Crop()
    return Crop(**_known("crop", written, ("above", "margin", "when")))


def crop_or_pad_of(
    written: Sequence[int] | Mapping[str, Any] | CropOrPad | None,
) -> CropOrPad | None:
    """Return a size as a config writes it: a list, or `{size: [...], value: -1}`.

    Raises:
        ConfigError: with the nearest name where a key is unknown.
    """
    if written is None or isinstance(written, CropOrPad):
        return written
    if not isinstance(written, Mapping):
        if not isinstance(written, (list, tuple)):
            raise ConfigError(
                f"crop_or_pad: {written!r} is not a list of lengths", hint="such as [96, 96, 96]"
            )
        return CropOrPad(tuple(written))
    keys = _known("crop_or_pad", written, ("size", "value", "when"))
    if "size" not in keys:
        raise ConfigError("crop_or_pad: size is missing", hint="such as size: [96, 96, 96]")
    return CropOrPad(**{**keys, "size": tuple(keys["size"])})


def _require_word(key: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise ConfigError(f'{key}: "{word}" is not known', hint=suggest(word, known))


def _known(key: str, written: object, known: Sequence[str]) -> dict[str, Any]:
    if not isinstance(written, Mapping):
        raise ConfigError(f"{key}: {written!r} is not a block of {', '.join(known)}")
    for name in written:
        if name not in known:
            raise ConfigError(f'{key}: unknown key "{name}"', hint=suggest(name, known))
    return dict(written)
