"""Keys that a MONAI bundle stands for: its inference config, where our config is silent.

`model: {kind: bundle, path: ...}` is written out in the keys of any other model, before these are
checked, so that whatever follows knows one kind of config, and a run's record says it all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from esegeta.config.bundle_output import (
    BundleDecisions,
    formats,
    inference_keys,
    input_names,
    label_keys,
    output_names,
)
from esegeta.config.bundle_space import IGNORED, take
from esegeta.config.bundle_steps import Steps, UnmappedError
from esegeta.config.lines import Document, Path_
from esegeta.config.paths import find_beside
from esegeta.errors import ConfigError, EsegetaError, ModelError
from esegeta.model.bundle import Bundle, BundleComponent, open_bundle

IMAGE = "image"
"""The key under which bundles read images."""

WHOLE = ("labels", "postprocessing", "crop", "crop_or_pad", "intensity")
"""Blocks that a config gives as a whole, or not at all."""

INSTEAD = {
    "data.preprocess": "preprocessing",
    "inference": "inferer",
    "postprocessing": "postprocessing",
}
"""Keys that stand in for a section of the bundle where they are given."""


def with_bundle_keys(document: Document) -> Document:
    """Return a config with the keys that its bundle stands for; others as they are.

    Raises:
        ConfigError: the bundle cannot be used, or something it does has no counterpart and no
            keys that stand in for it; the message names the transforms.
    """
    content = document.content
    model = content.get("model")
    if not isinstance(model, dict) or model.get("kind") != "bundle":
        return document
    path = model.get("path")
    if not isinstance(path, str) or not path:
        return document  # whose refusal comes from the keys of `model`
    try:
        folder = _find(document, path)
        bundle = open_bundle(folder)
        keys = bundle_keys(bundle, content)
        weights = None if model.get("weights") else _weights(bundle, path)
        if weights is not None:
            keys["model"] = {"weights": weights}
    except EsegetaError as error:
        place = document.place(("model", "path"))
        raise ConfigError(f"{place}: model: {error.message}", hint=error.hint) from error
    found = Document(document.path, _merge(keys, content), document.lines, document.options)
    for keys_of in _new(keys, content):
        if keys_of[0] != "model":
            found = found.given_by(str(bundle.config), keys_of)
    return found


def bundle_keys(bundle: Bundle, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a config that a bundle stands for.

    Args:
        bundle: the folder.
        content: keys of the config, which stand in for parts of the bundle.

    Raises:
        ModelError: something it does has no counterpart, and the config does not stand in for it.
    """
    data = content.get("data")
    given = {
        "data.preprocess": isinstance(data, dict) and data.get("preprocess") is not None,
        "inference": content.get("inference") is not None,
        "postprocessing": "postprocessing" in content,
    }
    ndim, channels = _dimensions(bundle)
    steps = _steps(bundle, ndim, channels, is_given=given["data.preprocess"])
    inference = _inference(bundle, ndim, steps, content)
    names = output_names(bundle.metadata)
    decisions = _decisions(bundle, names, given["postprocessing"])
    keys: dict[str, Any] = {"activation": "softmax", **decisions.keys, "inference": inference}
    activation = content.get("activation") or keys["activation"]
    if names and not content.get("labels"):
        keys["labels"] = label_keys(names, activation)
    if activation != "sigmoid":
        keys.pop("threshold", None)
    named = input_names(bundle.metadata)
    keys["data"] = {"preprocess": steps.keys, "picture_axes": "xy"}
    if len(named) == channels > 1 and len(set(named)) == len(named):
        keys["data"]["channels"] = named
    return keys


def _steps(bundle: Bundle, ndim: int, channels: int, *, is_given: bool) -> Steps:
    """Return what the bundle does before the network; nothing where the config stands in for it."""
    steps = Steps(ndim, channels)
    if is_given and bundle.section("preprocessing") is None:
        return steps
    parts = list(_transforms(bundle, "preprocessing"))
    images = _image_keys(parts)
    for part in parts:
        if part.name == "ConcatItems":
            images = {str(part.args.get("name")): 0}
        if part.name in IGNORED and part.is_monai:
            continue
        keys = _keys_of(part)
        taken = [key for key in keys if key in images]
        if not taken:
            continue  # of the ground truth, or of something else
        whole = len(set(taken)) == len(images)
        channels_of = None if whole else [images[key] for key in taken]
        take(steps, part, channels_of, place=keys.index(taken[0]))
    if steps.unmapped and is_given:
        return Steps(ndim, channels)
    _refuse(steps.unmapped, bundle, "data.preprocess")
    return steps


def _image_keys(parts: list[BundleComponent]) -> dict[str, int]:
    """Return the dictionary keys that the image is read under, with the channel of each."""
    for part in parts:
        if part.name == "ConcatItems":
            return {key: place for place, key in enumerate(_keys_of(part))}
    loads = next((part for part in parts if part.name == "LoadImage"), None)
    keys = _keys_of(loads) if loads is not None else []
    return {keys[0] if keys and IMAGE not in keys else IMAGE: 0}


def _keys_of(part: BundleComponent) -> list[str]:
    keys = part.args.get("keys", [])
    return [keys] if isinstance(keys, str) else [str(key) for key in keys]


def _inference(
    bundle: Bundle, ndim: int, steps: Steps, content: Mapping[str, Any]
) -> dict[str, Any]:
    own = content.get("inference")
    own = own if isinstance(own, dict) else {}
    inferer = bundle.section("inferer")
    size = steps.keys.get("crop_or_pad", {}).get("size")
    keys: dict[str, Any] = {}
    if isinstance(inferer, BundleComponent):
        try:
            keys = inference_keys(inferer, ndim=ndim, size=size)
        except UnmappedError as fault:
            if "window" not in own:
                _refuse([f"{inferer.target} ({fault})"], bundle, "inference")
    window = own.get("window") or keys.get("window")
    if steps.pads is not None and window is not None:
        larger = [pad > length for pad, length in zip(steps.pads, window, strict=False)]
        if any(larger) or len(larger) != len(steps.pads):
            why = f"pads to {list(steps.pads)}, beyond the window {list(window)}"
            _refuse([f"SpatialPadd ({why})"], bundle, "data.preprocess")
    return keys


def _decisions(bundle: Bundle, names: Mapping[int, str], is_given: bool) -> BundleDecisions:
    decisions = BundleDecisions(names)
    for part in _transforms(bundle, "postprocessing", may_lack=True):
        decisions.take(part)
    if not is_given:
        _refuse(decisions.unmapped, bundle, "postprocessing")
    return decisions


def _transforms(
    bundle: Bundle, section: str, *, may_lack: bool = False
) -> Iterator[BundleComponent]:
    """Yield the transforms of a section, those of a `Compose` one by one."""
    found = bundle.section(section)
    if found is None and may_lack:
        return
    if found is None:
        raise ModelError(
            f'{bundle.config}: has no section "{section}"',
            hint="give data.preprocess in the config, which replaces it",
        )
    for item in _flat(found):
        if not isinstance(item, BundleComponent):
            raise ModelError(
                f"{bundle.config}: {section}: {type(item).__name__} is not a transform with a "
                "`_target_`, so what it does cannot be read",
                hint=_instead(section),
            )
        yield item


def _flat(found: Any) -> Iterator[Any]:
    if isinstance(found, (list, tuple)):
        for item in found:
            yield from _flat(item)
    elif isinstance(found, BundleComponent) and found.name == "Compose":
        yield from _flat(found.args.get("transforms") or [])
    else:
        yield found


def _refuse(unmapped: list[str], bundle: Bundle, key: str) -> None:
    if unmapped:
        section = INSTEAD[key]
        raise ModelError(
            f"{bundle.config}: {section}: cannot be mapped to keys of a config: "
            f"{', '.join(unmapped)}",
            hint=_instead(section),
        )


def _instead(section: str) -> str:
    key = next(key for key, name in INSTEAD.items() if name == section)
    return f"give `{key}` in the config, which replaces the bundle's {section}"


def _dimensions(bundle: Bundle) -> tuple[int, int]:
    """Return the spatial axes of the network and its input channels, as the bundle says them."""
    network = bundle.section("network_def")
    args = network.args if isinstance(network, BundleComponent) else {}
    image = next(iter(formats(bundle.metadata, "inputs")), {})
    shape = image.get("spatial_shape") or []
    ndim = args.get("spatial_dims") or args.get("dimensions") or len(shape) or 3
    channels = args.get("in_channels") or image.get("num_channels") or 1
    return int(ndim), int(channels)


def _weights(bundle: Bundle, path: str) -> str | None:
    """Return the path of the weights as the config would write it; None for TorchScript.

    Raises:
        ModelError: there are neither weights nor TorchScript.
    """
    if bundle.weights is not None and bundle.has_network():
        return f"{path.rstrip('/')}/models/{bundle.weights.name}"
    if bundle.script is None:
        raise ModelError(
            f"{bundle.folder}: has no weights: neither models/model.pt nor models/model.ts",
            hint="nothing is downloaded: put the weights there, or name them: "
            "--set model.weights=FILE, or weights=FILE from Python",
        )
    return None


def _find(document: Document, path: str) -> Path:
    return find_beside(path, document.path.parent)


def _merge(keys: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bundle's keys below those that the config gives."""
    merged = dict(content)
    for key, value in keys.items():
        own = merged.get(key)
        if key not in merged:
            merged[key] = value
        elif isinstance(own, dict) and isinstance(value, dict) and key not in WHOLE:
            merged[key] = _merge(value, own)
    return merged


def _new(keys: Mapping[str, Any], content: Mapping[str, Any], above: Path_ = ()) -> Iterator[Path_]:
    """Yield the paths of the keys that the config does not give."""
    for key, value in keys.items():
        own = content.get(key)
        if key not in content:
            yield (*above, key)
        elif isinstance(own, dict) and isinstance(value, dict) and key not in WHOLE:
            yield from _new(value, own, (*above, key))
