"""MONAI's transforms in the keys of `data.preprocess`: orientation, spacing, size; the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from esegeta.config.bundle_intensity import INTENSITIES
from esegeta.config.bundle_steps import (
    AFTER,
    BEFORE,
    CROP_AFTER,
    CROP_BEFORE,
    ORIENT,
    SIZE_AFTER,
    SPACE,
    STEPS_AFTER,
    STEPS_BEFORE,
    Args,
    Steps,
    Take,
    UnmappedError,
)
from esegeta.model.bundle import BundleComponent

IGNORED = (
    *("LoadImage", "EnsureChannelFirst", "EnsureType", "CastToType", "ToTensor", "ToDevice"),
    *("AddChannel", "AsChannelFirst", "Identity", "DeleteItems", "SelectItems", "ConcatItems"),
    *("ToNumpy", "CopyItems"),
)
"""Transforms that leave the image as it is, or that reading it does already."""


def take(
    steps: Steps, part: BundleComponent, channels: list[int] | None, *, place: int = 0
) -> None:
    """Take a transform of the image, or of some of its channels.

    Args:
        steps: steps gathered so far.
        part: the transform.
        channels: channels that it is for; None for all of them.
        place: place of the image among the keys of the transform.
    """
    try:
        if steps.pads is not None:
            raise UnmappedError("comes after SpatialPad, but windows pad after all other steps")
        if not part.is_monai or part.name not in TAKES:
            raise UnmappedError("is not known")
        if channels is not None and part.name not in INTENSITIES:
            raise UnmappedError("changes the space of only some channels")
        TAKES[part.name](steps, Args(part, place), channels)
    except UnmappedError as fault:
        steps.unmapped.append(f"{part.target} ({fault})")
    except (TypeError, ValueError) as error:  # what MONAI would refuse too
        steps.unmapped.append(f"{part.target} (its arguments: {error})")


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
        raise UnmappedError("a custom select_fn")
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
    """Return the value that rising pointwise rules map to 0, so that higher ones end above 0.

    Raises:
        UnmappedError: a rule depends on the image, or does not rise through 0.
    """
    when = BEFORE if stage == STEPS_BEFORE else AFTER
    level = 0.0
    for rule in reversed([rule for rule in rules if rule["when"] == when]):
        if "channels" in rule:
            raise UnmappedError("comes after an intensity step of only some channels")
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
    raise UnmappedError(
        "comes after an intensity step that depends on the image; esegeta crops first"
    )


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
        raise UnmappedError("pads before the intensity steps")
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


TAKES: Mapping[str, Take] = {
    **INTENSITIES,
    "CropForeground": _crop,
    "Orientation": _orientation,
    "ResizeWithPadOrCrop": _size,
    "Spacing": _spacing,
    "SpatialPad": _pad,
}
"""What each of MONAI's transforms adds to the keys."""
