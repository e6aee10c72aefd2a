"""torchvision beside a torch of another build: its networks need none of its compiled operations.

The wheel of torchvision that PyPI has for Linux is linked against CUDA's torch. Beside a CPU torch
its library cannot be loaded, which it bears, but then its Python code gives shapes to two
operations that nobody has declared, and stops: "operator torchvision::nms does not exist". Both
find boxes, which no network of segmentation does; declared without a body, they are never called.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest
import torch

BOXES = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def need_torchvision() -> None:
    """Import torchvision, whatever torch it was built for; skip the test where it is missing."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    if "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in BOXES:
            torch.library.define(f"torchvision::{name}", SCHEMA)
        importlib.import_module("torchvision")
