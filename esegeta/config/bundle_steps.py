"""What MONAI's transforms before a network are in the keys of `data.preprocess`.

A bundle does its steps in any order, esegeta in one of its own (`volume/preprocess.py`). Each
transform takes the earliest place of its kind that comes after those before it; where there is
none, or a parameter has no counterpart, it is named as one that cannot be mapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esegeta.model.bundle import Part

IGNORED = (
    *("LoadImage", "EnsureChannelFirst", "EnsureType", "CastToType", "ToTensor", "ToDevice"),
    *("AddChannel", "AsChannelFirst", "Identity", "DeleteItems", "SelectItems", "ConcatItems"),
    *("ToNumpy", "CopyItems"),
)
"""Transforms that change no value and no voxel of the image, or that reading does."""

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
    """A transform has no counterpart; the text says why."""


@dataclass
class Steps:
    """The keys of `data.preprocess`, as they are gathered from transforms.

    Args:
        ndim: spatial axes of the network.
        num_channels: of the image.
        keys: so far.
        stage: the place of the last step.
        pads: sizes that the image is padded to last of all, which windows do as well.
        unmapped: transforms without a counterpart, and why.
    """

    ndim: int
    num_channels: int
    keys: dict[str, Any] = field(default_factory=dict)
    stage: int = -1
    pads: tuple[int, ...] | None = None
    unmapped: list[str] = field(default_factory=list)

    def take(self, part: Part, channels: list[int] | None, *, place: int = 0) -> None:
        """Take a transform of the image, or of some of its channels.

        Args:
            part: the transform.
            channels: that it is for; None for all of them.
            place: of the image among the keys of the transform.
        """
        try:
            if self.pads is not None:
                raise UnmappedError("comes after SpatialPad, which windows do last of all")
            if not part.is_monai or part.name not in TAKES:
                raise UnmappedError("is not known")
            if channels is not None and part.name not in INTENSITIES:
                raise UnmappedError("changes the space of some channels alone")
            TAKES[part.name](self, Args(part, place), channels)
        except UnmappedError as fault:
            self.unmapped.append(f"{part.target} ({fault})")

    def move_to(self, *stages: int) -> int:
        """Go on to the first of some places that is not behind us.

        Raises:
            UnmappedError: all are; says what the step comes after.
        """
        for stage in stages:
            several = stage in (STEPS_BEFORE, STEPS_AFTER)
            if stage > self.stage or (stage == self.stage and several):
                self.stage = stage
                return stage
        raise UnmappedError(f"comes after {STAGE_WORDS[self.stage]}, and esegeta does it before")

    def add_intensity(self, rules: Sequence[Mapping[str, Any]], channels: list[int] | None) -> None:
        """Add steps of intensity, at the place where we are."""
        when = BEFORE if self.move_to(STEPS_BEFORE, STEPS_AFTER) == STEPS_BEFORE else AFTER
        own: dict[str, Any] = {} if channels is None else {"channels": channels}
        self.keys.setdefault("intensity", []).extend(
            {**rule, **own, "when": when} for rule in rules
        )


class Args:
    """The arguments of a transform; each that is asked for is known.

    Args:
        part: the transform.
        place: of the image, where an argument has a value for each key.
    """

    def __init__(self, part: Part, place: int = 0) -> None:
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
        """Refuse arguments that are not as usual, and all that nobody asked for."""
        for key, wanted in usual.items():
            found = self.first(key, wanted)
            if found != wanted and found is not None:
                raise UnmappedError(f"{key}: {found}")
        left = {key: value for key, value in self._args.items() if value is not None}
        if left:
            raise UnmappedError(", ".join(f"{key}: {value}" for key, value in left.items()))


def _orientation(steps: Steps, args: Args, channels: list[int] | None) -> None:
    codes = args.get("axcodes")
    codes = "RAS" if args.get("as_closest_canonical", False) else codes
    args.get("labels")  # of the axes that RAS names anyway
    args.require()
    steps.move_to(ORIENT)
    steps.keys["orientation"] = str(codes)[: max(steps.ndim, 3)]


ORDERS = {"nearest": 0, "bilinear": 1, 0: 0, 1: 1}


def _spacing(steps: Steps, args: Args, channels: list[int] | None) -> None:
    given = args.get("pixdim")
    mode = args.first("mode", "bilinear")
    args.first("align_corners", False)  # both lay voxel centres alike
    args.get("ensure_same_shape")
    args.get("recompute_affine")
    if mode not in ORDERS:
        raise UnmappedError(f"mode: {mode}")
    padding = str(args.first("padding_mode", "border"))
    if padding != "border":
        raise UnmappedError(f"padding_mode: {padding}")
    args.require(diagonal=False, scale_extent=False)
    lengths = list(given) if isinstance(given, (list, tuple)) else [given] * steps.ndim
    steps.move_to(SPACE)
    steps.keys["spacing_mm"] = [
        float(length) if length is not None and float(length) > 0 else None for length in lengths
    ]
    if ORDERS[mode] != 1:
        steps.keys["order"] = ORDERS[mode]


def _crop(steps: Steps, args: Args, channels: list[int] | None) -> None:
    margin = _one(args.get("margin", 0))
    if margin and not args.get("allow_smaller", False):
        raise UnmappedError("a margin that pads, without allow_smaller: true")
    for key in ("source_key", "start_coord_key", "end_coord_key", "allow_smaller", "mode"):
        args.get(key)
    select = args.get("select_fn")
    if select is not None and getattr(select, "__name__", "") != "is_positive":
        raise UnmappedError("select_fn of its own")
    args.require(channel_indices=None, k_divisible=1)
    above = 0.0
    if steps.stage in (STEPS_BEFORE, STEPS_AFTER) and "crop" not in steps.keys:
        # The box of values above 0 is known before pointwise rules: where they pass 0.
        above = _zero_of(steps.keys["intensity"], steps.stage)
        when = BEFORE if steps.stage == STEPS_BEFORE else AFTER
    else:
        when = BEFORE if steps.move_to(CROP_BEFORE, CROP_AFTER) == CROP_BEFORE else AFTER
    steps.keys["crop"] = {"above": above, "margin": margin, "when": when}


def _one(margin: Any) -> int:
    lengths = list(margin) if isinstance(margin, (list, tuple)) else [margin]
    if len(set(lengths)) > 1:
        raise UnmappedError(f"margin: {lengths}")
    return int(lengths[0])


def _zero_of(rules: Sequence[Mapping[str, Any]], stage: int) -> float:
    """Return the value that rising pointwise rules map to 0, with what is above it above 0.

    Raises:
        UnmappedError: a rule depends on the image, or does not rise through 0.
    """
    when = BEFORE if stage == STEPS_BEFORE else AFTER
    level = 0.0
    for rule in reversed([rule for rule in rules if rule["when"] == when]):
        if "channels" in rule:
            raise UnmappedError("comes after an intensity of some channels alone")
        level = _before(rule, level)
    return level


def _before(rule: Mapping[str, Any], level: float) -> float:
    if "window" in rule:
        low, high = rule["window"]
        if 0 <= level < 1:
            return float(low + level * (high - low))
    elif "clip" in rule:
        low, high = rule["clip"]
        if low <= level < high:
            return level
    elif isinstance(rule.get("rescale"), Mapping) and rule["rescale"]["scale"] > 0:
        scale, offset = rule["rescale"]["scale"], rule["rescale"]["offset"]
        return float((level - offset) / scale)
    raise UnmappedError("comes after an intensity that the image decides, and esegeta crops before")


def _size(steps: Steps, args: Args, channels: list[int] | None) -> None:
    size, value = args.get("spatial_size"), _pad_value(args)
    args.require(method="symmetric")
    lengths = _lengths(size, steps.ndim)
    steps.move_to(SIZE_AFTER)
    steps.keys["crop_or_pad"] = {"size": lengths, "value": value}


def _pad(steps: Steps, args: Args, channels: list[int] | None) -> None:
    size, value = args.get("spatial_size"), _pad_value(args)
    args.require(method="symmetric")
    if value != 0:
        raise UnmappedError(f"value: {value:g}; windows pad with 0")
    if "intensity" not in steps.keys:
        raise UnmappedError("pads before the intensity")
    steps.pads = tuple(_lengths(size, steps.ndim))


def _pad_value(args: Args) -> float:
    mode = str(args.first("mode", "constant"))
    if mode != "constant":
        raise UnmappedError(f"mode: {mode}")
    value, older = args.get("value"), args.get("constant_values")
    return float(value if value is not None else older or 0)


def _lengths(size: Any, ndim: int) -> list[int]:
    lengths = [int(n) for n in size] if isinstance(size, (list, tuple)) else [int(size)] * ndim
    if min(lengths) < 1:
        raise UnmappedError(f"spatial_size: {lengths}, which keeps an axis")
    return lengths


def _range(steps: Steps, args: Args, channels: list[int] | None) -> None:
    low, high = float(args.get("a_min")), float(args.get("a_max"))
    floor, top, clip = args.get("b_min"), args.get("b_max"), bool(args.get("clip", False))
    args.require()
    if low == high:
        raise UnmappedError("a_min equals a_max")
    floor, top = (0.0, 1.0) if floor is None or top is None else (float(floor), float(top))
    if clip and (floor, top) == (0.0, 1.0) and low < high:
        steps.add_intensity([{"window": [low, high]}], channels)
        return
    scale = (top - floor) / (high - low)
    rules: list[dict[str, Any]] = [{"rescale": {"scale": scale, "offset": floor - scale * low}}]
    if clip:
        rules.append({"clip": sorted([floor, top])})
    steps.add_intensity(rules, channels)


def _scale(steps: Steps, args: Args, channels: list[int] | None) -> None:
    low, high, factor = args.get("minv", 0.0), args.get("maxv", 1.0), args.get("factor")
    by_channel = bool(args.get("channel_wise", False))
    args.require()
    if low is None or high is None:
        rule: dict[str, Any] = {"rescale": {"scale": 1.0 + float(factor or 0), "offset": 0.0}}
        steps.add_intensity([rule], channels)
        return
    _require_by_channel(steps, by_channel, channels)
    rule = {"minmax": True} if (low, high) == (0, 1) else {"rescale": [float(low), float(high)]}
    steps.add_intensity([rule], channels)


def _percentiles(steps: Steps, args: Args, channels: list[int] | None) -> None:
    low, high = float(args.get("lower")), float(args.get("upper"))
    floor, top = args.get("b_min"), args.get("b_max")
    clip, by_channel = args.get("clip", False), bool(args.get("channel_wise", False))
    args.require(relative=False)
    if not clip:
        raise UnmappedError("without clip: true")
    _require_by_channel(steps, by_channel, channels)
    rules: list[dict[str, Any]] = [{"percentile": [low, high]}]
    if floor is not None and top is not None and (floor, top) != (0, 1):
        rules.append({"rescale": {"scale": float(top - floor), "offset": float(floor)}})
    steps.add_intensity(rules, channels)


def _normalise(steps: Steps, args: Args, channels: list[int] | None) -> None:
    mean, std = args.get("subtrahend"), args.get("divisor")
    nonzero, by_channel = bool(args.get("nonzero", False)), bool(args.get("channel_wise", False))
    args.require()
    if mean is None and std is None:
        _require_by_channel(steps, by_channel, channels)
        steps.add_intensity([{"zscore": {"over": "nonzero" if nonzero else "all"}}], channels)
        return
    if mean is None or std is None or nonzero:
        raise UnmappedError("subtrahend and divisor with a statistic of the image")
    pairs = [_as_list(mean), _as_list(std)]
    if any(len(values) > 1 for values in pairs) and not by_channel:
        raise UnmappedError("subtrahend of each voxel")
    count = max(len(values) for values in pairs)
    means, stds = (values * count if len(values) == 1 else values for values in pairs)
    shared = len(set(zip(means, stds, strict=True))) == 1
    chosen = channels if channels is not None else list(range(len(means)))
    for place, (one, other) in enumerate(zip(means, stds, strict=True)):
        if other == 0:
            other = 1.0  # as MONAI has it
        rule = {"rescale": {"scale": 1.0 / other, "offset": -one / other}}
        steps.add_intensity([rule], channels if shared else [chosen[place]])
        if shared:
            return


def _as_list(values: Any) -> list[float]:
    listed = values.tolist() if hasattr(values, "tolist") else values
    return [float(v) for v in listed] if isinstance(listed, (list, tuple)) else [float(listed)]


def _threshold(steps: Steps, args: Args, channels: list[int] | None) -> None:
    limit, above = float(args.get("threshold")), bool(args.get("above", True))
    value = float(args.get("cval", 0.0))
    args.require()
    if value != limit:
        raise UnmappedError(f"cval: {value:g}, which is not the threshold")
    steps.add_intensity([{"clip": [limit, math.inf] if above else [-math.inf, limit]}], channels)


def _shift(steps: Steps, args: Args, channels: list[int] | None) -> None:
    offset = float(args.get("offset"))
    args.require(safe=False)
    steps.add_intensity([{"rescale": {"scale": 1.0, "offset": offset}}], channels)


def _require_by_channel(steps: Steps, by_channel: bool, channels: list[int] | None) -> None:
    several = channels is None and steps.num_channels > 1
    if several and not by_channel:
        raise UnmappedError("over all channels at once, without channel_wise: true")


Take = Callable[[Steps, Args, "list[int] | None"], None]

INTENSITIES: Mapping[str, Take] = {
    "NormalizeIntensity": _normalise,
    "ScaleIntensity": _scale,
    "ScaleIntensityRange": _range,
    "ScaleIntensityRangePercentiles": _percentiles,
    "ShiftIntensity": _shift,
    "ThresholdIntensity": _threshold,
}
TAKES: Mapping[str, Take] = {
    **INTENSITIES,
    "CropForeground": _crop,
    "Orientation": _orientation,
    "ResizeWithPadOrCrop": _size,
    "Spacing": _spacing,
    "SpatialPad": _pad,
}
"""What each of MONAI's transforms adds to the keys."""
