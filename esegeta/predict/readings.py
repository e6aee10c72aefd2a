"""What layers and the network put out for the same windows, in one forward pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack

from torch import Tensor

from esegeta.axes import Batch
from esegeta.errors import LayerError
from esegeta.model import held_at, tap
from esegeta.predict.predictor import Predictor
from esegeta.predict.windows import Windows

OUTPUT = "(logits)"
"""Stands for the network's logits among names of layers."""


def read_windows(
    predictor: Predictor,
    crops: Batch,
    windows: Windows,
    layers: Collection[str],
    *,
    held: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Run windows and return the outputs of some layers, and the logits as `OUTPUT`.

    Units that are switched off around this are seen as switched off, also in their own layer.
    A 2D network's outputs have two spatial axes, over volumes too.

    Args:
        predictor: whose network runs.
        crops: of the image, preprocessed.
        windows: they are of.
        layers: names.
        held: outputs of the same windows by layer, which the network goes on with in place of
            the layer's own; what is returned is the layer's own.

    Returns:
        `N K *layer` by name.

    Raises:
        LayerError: there is no such layer, one does not run, or one cannot be held.
    """
    with ExitStack() as stack:
        read = stack.enter_context(tap(predictor.network, *layers))
        for name, output in (held or {}).items():
            # After the taps: hooks run in their order, and a tap is to see what the layer did.
            stack.enter_context(held_at(predictor.network, name, output))
        logits = predictor.run(crops, windows)
    silent = sorted(set(layers) - set(read))
    if silent:
        raise LayerError(
            f"layers that do not run, or return no tensor: {', '.join(silent)}",
            hint="name other layers",
        )
    thin = windows.slice_axis
    # In full precision, also under autocast, as logits are.
    found = {name: read[name].to(crops.dtype) for name in layers}
    return {**found, OUTPUT: logits if thin is None else logits.squeeze(thin + 2)}
