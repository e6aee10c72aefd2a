"""What MONAI's transforms before a network are in the keys of `data.preprocess`.

A bundle takes its steps in any order, esegeta in a fixed one (`volume/preprocess.py`). Each
transform takes the earliest place of its kind that comes after those before it; where there is
none, or a parameter has no counterpart, it is named as one that cannot be mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esegeta.model.bundle import BundleComponent

BEFORE, AFTER = "before_resampling", "after_resampling"
ORIENT, CROP_BEFORE, STEPS_BEFORE, SPACE, CROP_AFTER, STEPS_AFTER, SIZE_AFTER = range(7)
"""Places in the order in which esegeta takes steps."""
STAGE_WORDS = {
    ORIENT: "orientation",
    CROP_BEFORE: "crop",
    STEPS_BEFORE: "intensity",
    SPACE: "spacing_mm",
    CROP_AFTER: "crop",
    STEPS_AFTER: "intensity",
    SIZE_AFTER: "crop_or_pad",
}


class UnmappedError(Exception):
    """A transform without a counterpart; the text says why."""


@dataclass
class Steps:
    """The keys of `data.preprocess`, as they are gathered from transforms.

    Args:
        ndim: number of spatial axes of the network.
        num_channels: number of channels of the image.
        keys: keys so far.
        stage: place of the last step.
        pads: sizes that the image is padded to last of all, which windows do as well.
        unmapped: transforms without a counterpart, and why.
    """

    ndim: int
    num_channels: int
    keys: dict[str, Any] = field(default_factory=dict)
    stage: int = -1
    pads: tuple[int, ...] | None = None
    unmapped: list[str] = field(default_factory=list)

    def move_to(self, *stages: int) -> int:
        """Move on to the first of some places that has not been passed.

        Raises:
            UnmappedError: all have been passed; says what the step comes after.
        """
        for stage in stages:
            several = stage in (STEPS_BEFORE, STEPS_AFTER)
            if stage > self.stage or (stage == self.stage and several):
                self.stage = stage
                return stage
        raise UnmappedError(f"comes after {STAGE_WORDS[self.stage]}, but esegeta does it before")

    def add_intensity(self, rules: Sequence[Mapping[str, Any]], channels: list[int] | None) -> None:
        """Add intensity steps at the current place."""
        when = BEFORE if self.move_to(STEPS_BEFORE, STEPS_AFTER) == STEPS_BEFORE else AFTER
        own: dict[str, Any] = {} if channels is None else {"channels": channels}
        self.keys.setdefault("intensity", []).extend(
            {**rule, **own, "when": when} for rule in rules
        )


class Args:
    """The arguments of a transform, which remembers those that were read.

    Args:
        part: the transform.
        place: place of the image, where an argument has a value for each key.
    """

    def __init__(self, part: BundleComponent, place: int = 0) -> None:
        self._place = place
        self._args = {
            key: value for key, value in part.args.items() if key not in ("keys", "lazy", "dtype")
        }
        self._args.pop("allow_missing_keys", None)

    def get(self, key: str, default: Any = None) -> Any:
        """Return an argument."""
        return self._args.pop(key, default)

    def first(self, key: str, default: Any) -> Any:
        """Return the image's value of an argument that may have one for each key."""
        value = self.get(key, default)
        if not isinstance(value, (list, tuple)) or not value:
            return value
        return value[min(self._place, len(value) - 1)]

    def require(self, **usual: Any) -> None:
        """Refuse unusual values of some arguments, and all arguments that were never read."""
        for key, wanted in usual.items():
            found = self.first(key, wanted)
            if found != wanted and found is not None:
                raise UnmappedError(f"{key}: {found}")
        left = {key: value for key, value in self._args.items() if value is not None}
        if left:
            raise UnmappedError(", ".join(f"{key}: {value}" for key, value in left.items()))


Take = Callable[[Steps, Args, "list[int] | None"], None]
"""Adds a transform to the steps: for all channels with None, else for these."""
