"""MONAI's transforms of grey values, as steps of `preprocess.intensity`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from esegeta.config.bundle_steps import Args, Steps, Take, UnmappedError


def _range(steps: Steps, args: Args, channels: list[int] | None) -> None:
    low, high = float(args.get("a_min")), float(args.get("a_max"))
    floor, top, clip = args.get("b_min"), args.get("b_max"), bool(args.get("clip", False))
    args.require()
    if low == high:
        raise UnmappedError("a_min equals a_max")
    if clip and floor is None and top is None:
        raise UnmappedError("clip: true, without b_min and b_max")
    if clip and floor is not None and top is not None and floor > top:
        raise UnmappedError("clip: true, with b_min above b_max")
    if clip and (floor, top) == (0, 1) and low < high:
        steps.add_intensity([{"window": [low, high]}], channels)
        return
    to_low, to_high = (0.0, 1.0) if floor is None or top is None else (float(floor), float(top))
    scale = (to_high - to_low) / (high - low)
    rules: list[dict[str, Any]] = [{"rescale": {"scale": scale, "offset": to_low - scale * low}}]
    if clip:
        ends = (-math.inf if floor is None else floor, math.inf if top is None else top)
        rules.append({"clip": sorted(map(float, ends))})
    steps.add_intensity(rules, channels)


def _scale(steps: Steps, args: Args, channels: list[int] | None) -> None:
    low, high, factor = args.get("minv", 0.0), args.get("maxv", 1.0), args.get("factor")
    by_channel = bool(args.get("channel_wise", False))
    args.require()
    if low is None and high is None:
        rule: dict[str, Any] = {"rescale": {"scale": 1.0 + float(factor or 0), "offset": 0.0}}
        steps.add_intensity([rule], channels)
        return
    if low is None or high is None:
        low, high = 0.0, 1.0  # as MONAI has it, whatever the other is
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
    if floor is None or top is None:
        raise UnmappedError("clip: true, without b_min and b_max")
    _require_by_channel(steps, by_channel, channels)
    rules: list[dict[str, Any]] = [{"percentile": [low, high]}]
    if (floor, top) != (0, 1):
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
    chosen = channels if channels is not None else list(range(steps.num_channels))
    for values in pairs:
        if len(values) not in (1, len(chosen)):
            ends = "s" * (len(chosen) != 1)
            raise UnmappedError(f"{len(values)} values for {len(chosen)} channel{ends}")
    means, stds = (values * len(chosen) if len(values) == 1 else values for values in pairs)
    shared = len(set(zip(means, stds, strict=True))) == 1
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


INTENSITIES: Mapping[str, Take] = {
    "NormalizeIntensity": _normalise,
    "ScaleIntensity": _scale,
    "ScaleIntensityRange": _range,
    "ScaleIntensityRangePercentiles": _percentiles,
    "ShiftIntensity": _shift,
    "ThresholdIntensity": _threshold,
}
"""What each of MONAI's transforms adds to the steps."""
