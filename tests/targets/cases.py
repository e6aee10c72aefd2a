"""Predictions that target tests share, and the softmax rewritten in NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from esegeta.targets import Scene
from tests.builders import SHAPES, affine_of, scene

NUM_OUTPUTS = 3


def noise_logits(ndim: int, batch: int = 1, *, seed: int = 0) -> Tensor:
    """Return logits of three channels, wide enough that every label is predicted somewhere."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn((batch, NUM_OUTPUTS, *SHAPES[ndim]), generator=generator)


def noise_scene(ndim: int, activation: str = "softmax") -> Scene:
    """Return a scene of noise logits and a noise ground truth, oblique and anisotropic."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(0, NUM_OUTPUTS, SHAPES[ndim], generator=generator)
    return scene(
        noise_logits(ndim), activation=activation, truth=truth, affine=affine_of("oblique", ndim)
    )


def logits_of(mask: Tensor) -> Tensor:
    """Return two channels of logits, `1 2 *S`, that predict label 1 exactly in the mask."""
    return torch.stack([torch.zeros(mask.shape), torch.where(mask, 3.0, -3.0)])[None]


def probabilities(logits: Tensor, activation: str) -> np.ndarray:
    """Return probabilities `B L *S` in float64."""
    y = logits.double().numpy()
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-y))
    weights = np.exp(y - y.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
