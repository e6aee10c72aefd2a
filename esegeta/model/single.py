"""Networks compute in float32: one of another precision is converted, with a note."""

from __future__ import annotations

import torch
from torch import nn


def to_single(network: nn.Module) -> str:
    """Convert a network to float32 where parameters are of another precision, and say so.

    Volumes are float32, and torch multiplies no two precisions. Half precision is chosen by
    `precision`, which leaves the parameters as they are.

    Returns:
        A note for the user; empty where all parameters were float32.
    """
    kinds = {one.dtype for one in network.parameters() if one.is_floating_point()}
    others = sorted(str(kind).removeprefix("torch.") for kind in kinds - {torch.float32})
    if not others:
        return ""
    network.float()
    return f"the network's parameters are {' and '.join(others)}; it was converted to float32"
