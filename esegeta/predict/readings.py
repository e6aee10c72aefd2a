"""What layers and the network put out for the same windows, in one forward pass."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack

from torch import Tensor

from esegeta.axes import Batch
from esegeta.errors import ModelError
from esegeta.model import find_layer, tap
from esegeta.predict.predictor import Predictor
from esegeta.predict.windows import Windows

OUTPUT = "(logits)"
"""Stands for the network's logits among names of layers."""


def read_windows(
    predictor: Predictor, crops: Batch, windows: Windows, layers: Collection[str]
) -> dict[str, Tensor]:
    """Run windows and return the outputs of some layers, and the logits as `OUTPUT`.

    Units that are switched off around this are seen as switched off, also in their own layer.
    A 2D network's outputs have two spatial axes, over volumes too.

    Returns:
        `N K *layer` by name.

    Raises:
        LayerError: there is no such layer.
        ModelError: one of them does not run.
    """
    with ExitStack() as stack:
        read = {
            name: stack.enter_context(tap(find_layer(predictor.network, name))) for name in layers
        }
        logits = predictor.run(crops, windows)
    silent = sorted(name for name, latest in read.items() if not latest)
    if silent:
        raise ModelError(f"layers that do not run: {', '.join(silent)}")
    thin = windows.slice_axis
    found = {name: latest[0] for name, latest in read.items()}
    # In full precision, also under autocast, as logits are.
    found = {name: output.to(crops.dtype) for name, output in found.items()}
    return {**found, OUTPUT: logits if thin is None else logits.squeeze(thin + 2)}
