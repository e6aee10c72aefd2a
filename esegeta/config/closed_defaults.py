"""What a TorchScript file or an exported program does not say, found out or set by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esegeta.errors import EsegetaError, ModelError
from esegeta.model import (
    OutputChoice,
    capability_of,
    convolution_signature,
    load_exported,
    load_torchscript,
)
from esegeta.predict import probe_output

LENGTHS: Mapping[int, int] = {2: 256, 3: 64}
"""Default length of a window, by its number of axes, where the training size is unknown."""

HOW_TO_SAY = "--set inference.window=[96,96,96], or a config.yaml next to the file"

GUESSED = (
    "the window is a guess: give the patch size that the network was trained with,",
    "such as --set inference.window=[96,96,96]",
)
UNPREPARED = (
    "no preprocessing is known, so none is done: say what training did to images,",
    'such as --set "data.preprocess={orientation: RAS, intensity: {window: [-250, 400]}}"',
)
NAMELESS = ('its labels have no names: give them, as --set "labels={1: liver}"',)


@dataclass(frozen=True)
class Defaults:
    """Keys that were missing, and comments on them.

    Args:
        content: keys by block.
        comments: lines by block.
    """

    content: Mapping[str, Any]
    comments: Mapping[str, tuple[str, ...]]


def closed_defaults(
    model: Mapping[str, Any], content: Mapping[str, Any], num_images: int
) -> Defaults:
    """Return the keys that a closed network needs beside its file; it is loaded and run once.

    Args:
        model: its keys, with kind torchscript or export.
        content: keys that are given already.
        num_images: number of files per case, where the network hides its channels.

    Raises:
        ModelError: the file is not what its kind says, or takes no window of the default size.
    """
    load = load_torchscript if model["kind"] == "torchscript" else load_exported
    network = load(Path(model["path"]))
    ndim, num_channels = convolution_signature(network) or (3, max(1, num_images))
    comments: dict[str, tuple[str, ...]] = {}
    inference = dict(content.get("inference") or {})
    capability = capability_of(network)
    if not inference.get("window"):
        fixed = capability.fixed_shape or (None,) * ndim
        inference["window"] = [length or LENGTHS.get(ndim, 64) for length in fixed]
        if None in fixed:
            comments["inference"] = GUESSED
    if capability.batch and not inference.get("batch_size"):
        inference["batch_size"] = capability.batch
    if (content.get("data") or {}).get("preprocess") is None:
        comments["data"] = UNPREPARED
    found: dict[str, Any] = {"inference": inference}
    if not content.get("labels"):
        size = tuple(inference["window"])
        outputs = _num_outputs(network, size, num_channels, model.get("output"))
        activation = content.get("activation") or ("softmax" if outputs > 1 else "sigmoid")
        last = outputs if activation == "sigmoid" else outputs - 1
        found["activation"] = activation
        found["labels"] = {number: f"label{number}" for number in range(1, last + 1)}
        comments["activation"] = (
            f"{outputs} outputs; softmax with the background first, or sigmoid:",
        )
        comments["labels"] = NAMELESS
    return Defaults(found, comments)


def _num_outputs(network: Any, size: tuple[int, ...], num_channels: int, output: Any) -> int:
    choice = OutputChoice() if output is None else OutputChoice(output)
    try:
        return probe_output(network, size, num_channels, output=choice).num_outputs
    except ModelError as error:
        hint = f"{error.hint}; {HOW_TO_SAY}" if error.hint else HOW_TO_SAY
        raise _same(error, hint) from error


def _same(error: EsegetaError, hint: str) -> EsegetaError:
    return type(error)(error.message, hint=hint)
