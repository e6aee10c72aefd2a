"""What a bundle does with windows and outputs, in the keys of `inference` and of labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from esegeta.config.bundle_steps import Args, UnmappedError
from esegeta.errors import ModelError
from esegeta.model.bundle import BundleComponent

PADDINGS = {"constant": "zeros", "replicate": "edge", "reflect": "reflect"}
"""MONAI's word for what windows see outside of an image, and ours."""

QUIET = (
    *("sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps"),
    *("buffer_dim",),
)
"""Arguments of a sliding window that do not change the result."""


def inference_keys(
    inferer: BundleComponent, *, ndim: int, size: Sequence[int] | None
) -> dict[str, Any]:
    """Return the keys of `inference` that an inferer stands for.

    Args:
        inferer: inferer of the bundle.
        ndim: number of spatial axes of the network.
        size: size of the image after preprocessing, where it is always the same.

    Raises:
        UnmappedError: it has no counterpart; says why.
    """
    if inferer.name == "SimpleInferer":
        if size is None:
            raise UnmappedError(
                "runs whole images, whose size is not known; give `window` as large as the image "
                "is after preprocessing"
            )
        return {"window": list(size), "overlap": 0.0, "blend": "constant"}
    if inferer.name not in ("SlidingWindowInferer", "SliceInferer") or not inferer.is_monai:
        raise UnmappedError("is not known")
    args = Args(inferer)
    for key in QUIET:
        args.get(key)
    sizes = args.get("roi_size")
    lengths = list(sizes) if isinstance(sizes, (list, tuple)) else [sizes] * ndim
    if any(not isinstance(length, int) or length < 1 for length in lengths):
        raise UnmappedError(f"roi_size {lengths} takes whole axes; give `window`")
    keys: dict[str, Any] = {
        "window": lengths,
        "overlap": args.get("overlap", 0.25),
        "blend": _word(args.get("mode", "constant")),
        "batch_size": args.get("sw_batch_size", 1),
    }
    padding = _word(args.get("padding_mode", "constant"))
    if padding not in PADDINGS:
        raise UnmappedError(f"padding_mode: {padding}")
    if padding != "constant":
        keys["padding"] = PADDINGS[padding]
    if inferer.name == "SliceInferer":
        keys["slice_axis"] = args.get("spatial_dim", 0)
    usual = {"sigma_scale": 0.125} if keys["blend"] == "gaussian" else {}
    if keys["blend"] == "constant":
        args.get("sigma_scale")
    args.require(cval=0.0, with_coord=False, **usual)
    return keys


def _word(value: Any) -> str:
    """Return a word of MONAI's enumerations, or a plain one."""
    return str(getattr(value, "value", value)).lower()


NO_DECISION = (
    *("SaveImage", "EnsureType", "CastToType", "ToTensor", "ToNumpy", "ToDevice", "DeleteItems"),
    *("SelectItems", "CopyItems", "Identity", "EnsureChannelFirst", "SaveClassification"),
)
"""Transforms after a network that decide nothing."""


class BundleDecisions:
    """How a bundle turns outputs into a label map, gathered from its transforms.

    Args:
        names: names of labels, by output channel.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self.keys: dict[str, Any] = {}
        self.unmapped: list[str] = []
        self._is_decided = False

    def take(self, part: BundleComponent) -> None:
        """Take a transform."""
        try:
            if part.name in NO_DECISION and part.is_monai:
                return
            if part.name not in self._takes or not part.is_monai:
                raise UnmappedError("is not known")
            self._takes[part.name](self, Args(part))
        except UnmappedError as fault:
            self.unmapped.append(f"{part.target} ({fault})")
        except (TypeError, ValueError) as error:  # what MONAI would refuse too
            self.unmapped.append(f"{part.target} (its arguments: {error})")

    def _activate(self, args: Args) -> None:
        soft, sigmoid = args.first("softmax", False), args.first("sigmoid", False)
        args.require(other=None)
        if soft and sigmoid:
            raise UnmappedError("softmax and sigmoid")
        if soft or sigmoid:
            self.keys["activation"] = "softmax" if soft else "sigmoid"

    def _decide(self, args: Args) -> None:
        argmax, threshold = args.first("argmax", False), args.first("threshold", None)
        args.get("to_onehot")
        args.require(rounding=None)
        if argmax and self.keys.get("activation") == "sigmoid":
            raise UnmappedError("argmax of sigmoids")
        if not argmax and threshold is None:
            return
        self._is_decided = True
        self.keys.setdefault("activation", "softmax" if argmax else "sigmoid")
        if not argmax and threshold is not None:
            if self.keys["activation"] == "softmax":
                raise UnmappedError("a threshold of softmax")
            self.keys["threshold"] = float(threshold)

    def _invert(self, args: Args) -> None:
        done = "activation" in self.keys
        rule = "labels" if self._is_decided else "probabilities" if done else "logits"
        self.keys["prediction"] = {"resample": rule}

    def _keep_largest(self, args: Args) -> None:
        chosen = args.get("applied_labels")
        args.get("is_onehot")
        independent = args.get("independent", True)
        args.require(connectivity=None, num_components=1)
        labels = self._labels(chosen)
        if not independent and (labels is True or len(labels) > 1) and len(self._names) > 2:
            raise UnmappedError("independent: false, over several labels at once")
        self.keys.setdefault("postprocessing", {})["keep_largest"] = labels

    def _fill(self, args: Args) -> None:
        chosen = args.get("applied_labels")
        args.require(connectivity=None)
        self.keys.setdefault("postprocessing", {})["fill_holes"] = self._labels(chosen)

    def _labels(self, chosen: Any) -> Any:
        if chosen is None:
            return True
        numbers = list(chosen) if isinstance(chosen, (list, tuple)) else [chosen]
        unknown = [number for number in numbers if number not in self._names]
        if unknown:
            raise UnmappedError(f"applied_labels: {unknown[0]} has no name; give `postprocessing`")
        return [self._names[number] for number in numbers]

    _takes: ClassVar[Mapping[str, Callable[[BundleDecisions, Args], None]]] = {
        "Activations": _activate,
        "AsDiscrete": _decide,
        "Invert": _invert,
        "KeepLargestConnectedComponent": _keep_largest,
        "FillHoles": _fill,
    }


def formats(metadata: Mapping[str, Any], which: str) -> list[dict[str, Any]]:
    """Return what a bundle's metadata says about `inputs` or `outputs`, one block per tensor."""
    found: Any = metadata.get("network_data_format")
    blocks = found.get(which) if isinstance(found, dict) else None
    listed = blocks.values() if isinstance(blocks, dict) else ()
    return [block for block in listed if isinstance(block, dict)]


def output_names(metadata: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the output channels in a bundle's metadata; empty where it has none."""
    for output in formats(metadata, "outputs"):
        named = output.get("channel_def")
        if isinstance(named, dict) and named:
            return dict(_named(named))
    return {}


def input_names(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of the input channels in a bundle's metadata, in their order."""
    for one in formats(metadata, "inputs"):
        named = one.get("channel_def")
        if isinstance(named, dict) and named:
            return [name for _, name in sorted(_named(named))]
    return []


def _named(channels: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for number, name in channels.items():
        try:
            yield int(number), file_word(str(name))
        except ValueError as error:
            raise ModelError(
                f'metadata.json: channel_def: "{number}" is not a channel', hint="give `labels`"
            ) from error


def file_word(name: str) -> str:
    """Return a name that can be part of a file name."""
    return re.sub(r'[\s/\\:*?"<>|]+', "_", name.strip()).strip("._") or "unnamed"


def label_keys(names: Mapping[int, str], activation: str) -> dict[int, str]:
    """Return `labels` for the named output channels: channel k is integer k.

    Under sigmoid without a background, channel k is integer k + 1, since 0 is what no label is.
    """
    background = names.get(0, "").casefold() in ("background", "bg")
    if activation == "sigmoid" and not background and 0 in names:
        return {number + 1: name for number, name in names.items()}
    return {number: name for number, name in names.items() if number > 0}
