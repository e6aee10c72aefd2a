"""The keys of `data.preprocess` that the plans of nnU-Net v2 stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esegeta.errors import ModelError, suggest
from esegeta.model.nnunet_results import NnunetResults

READERS: Mapping[str, str | None] = {
    "SimpleITKIO": None,
    "SimpleITKIOWithReorient": "RAS",
    "NibabelIO": None,
    "NibabelIOWithReorient": "RAS",
    "NaturalImage2DIO": None,
}
"""nnU-Net's readers, and the orientation that they turn images to."""

ITK_ORDER = (2, 1, 0)
"""All readers of volumes hand over z, y, x, whatever the file's axes are."""

STEPS = {"when": "before_resampling"}


def preprocess_of(results: NnunetResults, *, num_channels: int) -> dict[str, Any]:
    """Return the preprocessing of a trained nnU-Net, as keys.

    The arrays that its network sees are those of its own reader: a volume's axes are z, y, x,
    and then as `transpose_forward` says.

    Args:
        results: what training left.
        num_channels: number of channels of the image.

    Raises:
        ModelError: the plans name a reader, preprocessor, normalisation or resampling that is
            none of nnU-Net's own.
    """
    where = results.folder / "plans.json"
    _require(results.configuration, "preprocessor_name", ("DefaultPreprocessor",), where)
    reader = _require(results.plans, "image_reader_writer", READERS, where)
    order = [int(axis) for axis in results.plans.get("transpose_forward", (0, 1, 2))]
    if sorted(order) != [0, 1, 2]:
        raise ModelError(f"{where}: transpose_forward: {order} is not an order of three axes")
    orientation = READERS[reader]
    flat = _has_pictures(results)
    return {
        **({"orientation": orientation} if orientation is not None else {}),
        "transpose": _picture_axes(reader, order) if flat else [ITK_ORDER[axis] for axis in order],
        "crop": "foreground",
        **_spacing(results, flat=flat),
        "intensity": [
            step
            for channel in range(num_channels)
            for step in [_intensity(results, channel)]
            if step is not None
        ]
        or "none",
    }


def _has_pictures(results: NnunetResults) -> bool:
    """Whether the training set was of 2D images, which nnU-Net holds as one slice."""
    if results.plans.get("image_reader_writer") == "NaturalImage2DIO":
        return True
    shape = results.plans.get("original_median_shape_after_transp")
    return isinstance(shape, Sequence) and len(shape) == 3 and shape[0] == 1


def _picture_axes(reader: str, order: Sequence[int]) -> list[int]:
    """Return the axes of a 2D image in the network's order; slices stay the first of three."""
    rows_first = (0, 1) if reader == "NaturalImage2DIO" else (1, 0)
    return [rows_first[axis - 1] for axis in order if axis != 0]


def _spacing(results: NnunetResults, *, flat: bool) -> dict[str, Any]:
    where = results.folder / "plans.json"
    configuration = results.configuration
    known = ("resample_data_or_seg_to_shape", "no_resampling_data_or_seg_to_shape")
    for key in ("resampling_fn_data", "resampling_fn_probabilities"):
        _require(configuration, key, known, where)
    if configuration["resampling_fn_data"] == known[1]:
        return {}
    _require_values(configuration, "resampling_fn_data_kwargs", ORDERS, where)
    _require_values(configuration, "resampling_fn_probabilities_kwargs", ORDERS_BACK, where)
    asked = configuration.get("resampling_fn_data_kwargs") or {}
    order, apart = asked.get("order", 3), asked.get("force_separate_z", False)
    spacing = list(configuration["spacing"])
    if len(spacing) == 2 and not flat:
        spacing = [None, *spacing]
    elif len(spacing) == 3 and flat:
        spacing = spacing[1:]
    return {
        "spacing_mm": spacing,
        "order": order,
        "separate_axis": "auto" if apart is None else apart,
    }


ORDERS: Mapping[str, tuple[Any, ...]] = {"is_seg": (False,), "order": (3,), "order_z": (0,)}
ORDERS_BACK = {**ORDERS, "order": (1,)}
"""What resampling of images and of logits may be asked for."""


def _require_values(
    configuration: Mapping[str, Any], key: str, served: Mapping[str, tuple[Any, ...]], where: Path
) -> None:
    """Refuse arguments of a resampling for which esegeta has no counterpart."""
    for name, values in served.items():
        asked = (configuration.get(key) or {}).get(name, values[0])
        if asked not in values:
            shown = " or ".join(str(value) for value in values)
            raise ModelError(f"{where}: {key}: {name}: {asked} is not supported, only {shown}")


def _intensity(results: NnunetResults, channel: int) -> dict[str, Any] | None:
    """Return the step that normalises a channel; None where it is left as it is."""
    where = results.folder / "plans.json"
    schemes = results.configuration["normalization_schemes"]
    scheme = _require(dict(enumerate(schemes)), channel, SCHEMES, where)
    own = {"channels": [channel], **STEPS}
    if scheme == "CTNormalization":
        return {"ct": _fingerprint(results, channel), **own}
    if scheme == "ZScoreNormalization":
        masked = results.configuration.get("use_mask_for_norm") or [False] * len(schemes)
        return {"zscore": {"over": "foreground" if masked[channel] else "all"}, **own}
    step = SCHEMES[scheme]
    return None if step is None else {**step, **own}


SCHEMES: Mapping[str, dict[str, Any] | None] = {
    "CTNormalization": {},
    "ZScoreNormalization": {},
    "NoNormalization": None,
    "RescaleTo01Normalization": {"minmax": True},
    "RGBTo01Normalization": {"rescale": {"scale": 1 / 255}},
}


def _fingerprint(results: NnunetResults, channel: int) -> dict[str, Any]:
    """Return the numbers of the training set by which CT is normalised."""
    where = results.folder / "plans.json"
    key = "foreground_intensity_properties_per_channel"
    plans = results.plans
    per_channel = plans.get(key, plans.get("foreground_intensity_properties_by_modality")) or {}
    numbers = per_channel.get(str(channel), {})
    wanted = ("percentile_00_5", "percentile_99_5", "mean", "std")
    missing = [name for name in wanted if not isinstance(numbers.get(name), (int, float))]
    if missing:
        raise ModelError(
            f"{where}: {key}: has no {', '.join(missing)} of channel {channel}, which "
            "CTNormalization needs"
        )
    low, high, mean, std = (float(numbers[name]) for name in wanted)
    return {"clip": [low, high], "mean": mean, "std": std}


def _require(content: Mapping[Any, Any], key: Any, known: Any, where: Any) -> str:
    """Return a name of the plans.

    Raises:
        ModelError: it is missing or unknown.
    """
    name = content.get(key)
    if name not in known:
        what = key if isinstance(key, str) else f"normalization_schemes of channel {key}"
        raise ModelError(
            f'{where}: {what}: "{name}" is not supported', hint=suggest(name, list(known))
        )
    return str(name)
