"""Tiny networks, volumes, affines and predictors that all tests build on; everything is seeded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from esegeta.model import Labels
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import Scene
from esegeta.volume import Volume, volume_from_tensor

SHAPES = {2: (13, 11), 3: (9, 11, 7)}
"""Odd, unequal lengths for 2D and 3D."""

NORMS = {
    "relu_batch": {"act": "RELU", "norm": "BATCH"},
    "prelu_batch": {"act": "PRELU", "norm": "BATCH"},
    "relu_instance": {"act": "RELU", "norm": ("INSTANCE", {"affine": True})},
}
"""Activations and norms of `unet`."""


def small_parts(seed: int = 0) -> nn.Module:
    """Return a convolution and a batch norm, whose weights and buffers are saved and loaded."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def unet(
    ndim: int,
    kind: str = "relu_batch",
    *,
    in_channels: int = 1,
    out_channels: int = 2,
    num_res_units: int = 0,
    seed: int = 0,
) -> nn.Module:
    """Return a MONAI U-Net of two levels whose norms are randomised, in eval mode.

    Windows must be of even lengths. Runs in well under a millisecond on 8^3 voxels.
    """
    from monai.networks.nets import UNet

    torch.manual_seed(seed)
    network = UNet(
        spatial_dims=ndim,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=(4, 8),
        strides=(2,),
        num_res_units=num_res_units,
        **NORMS[kind],
    )
    return randomise_norms(network).eval()


def randomise_norms(network: nn.Module) -> nn.Module:
    """Give every norm affine parameters and running statistics as after training."""
    for module in network.modules():
        if getattr(module, "weight", None) is not None and "Norm" in type(module).__name__:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        if getattr(module, "running_var", None) is not None:
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def convolution(ndim: int) -> type[nn.Module]:
    """Return `nn.Conv2d` or `nn.Conv3d`."""
    return nn.Conv2d if ndim == 2 else nn.Conv3d


def pointwise(ndim: int, in_channels: int = 1, out_channels: int = 2, seed: int = 0) -> nn.Module:
    """Return a smooth nonlinear network that sees one voxel at a time: windowed equals whole."""
    torch.manual_seed(seed)
    conv = convolution(ndim)
    layers = [conv(in_channels, 5, 1), nn.Tanh(), conv(5, out_channels, 1)]
    return nn.Sequential(*layers).eval()


def linear(
    ndim: int, in_channels: int = 1, out_channels: int = 2, *, kernel: int = 1, seed: int = 0
) -> nn.Module:
    """Return one convolution without bias: every logit is `w . x`, of the voxels around it."""
    torch.manual_seed(seed)
    conv = convolution(ndim)
    return conv(in_channels, out_channels, kernel, padding=kernel // 2, bias=False).eval()


def labels(num_outputs: int = 2, activation: str = "softmax") -> Labels:
    """Return labels "one", "two", ... after a background for softmax, without one for sigmoid."""
    words = ("one", "two", "three", "four")
    count = num_outputs - 1 if activation == "softmax" else num_outputs
    return Labels(dict(enumerate(words[:count], start=1)), activation, num_outputs)


def labels_of(*integers: int) -> Labels:
    """Return softmax labels of these integers, called `label1` and so on."""
    return Labels({one: f"label{one}" for one in integers}, "softmax", max(integers) + 1)


def predictor(
    network: nn.Module,
    window: tuple[int, ...] = (8, 8, 8),
    *,
    overlap: float = 0.5,
    blend: str = "gaussian",
    batch_size: int = 2,
    num_outputs: int = 2,
    activation: str = "softmax",
) -> Predictor:
    """Return a predictor of a network over windows."""
    plan = WindowPlan(window, overlap=overlap, blend=blend)
    return Predictor(network, plan, labels(num_outputs, activation), batch_size=batch_size)


def volume(
    shape: tuple[int, ...],
    num_channels: int = 1,
    *,
    affine: np.ndarray | None = None,
    seed: int = 0,
) -> Volume:
    """Return a volume of standard normal noise."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn((num_channels, *shape), generator=generator)
    return volume_from_tensor(data, affine=affine)


def scene(
    logits: Tensor,
    *,
    activation: str = "softmax",
    truth: Tensor | None = None,
    affine: np.ndarray | None = None,
    of: Volume | None = None,
) -> Scene:
    """Return a scene whose prediction is given, `1 L *S`; its network is never run."""
    shape = tuple(logits.shape[2:])
    image = volume(shape, affine=affine) if of is None else of
    network = linear(len(shape), out_channels=logits.shape[1])
    model = predictor(
        network, (2,) * len(shape), num_outputs=logits.shape[1], activation=activation
    )
    return Scene(model, image, truth=truth, known_logits=logits)


def rotation(*degrees: float) -> np.ndarray:
    """Return the rotation about x, then y, then z, 3 x 3."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def affine_of(kind: str, ndim: int = 3) -> np.ndarray:
    """Return a voxel-to-RAS affine, 4 x 4.

    Kinds: `anisotropic`, `flipped` (x to the left), `oblique` (turned and anisotropic; within
    the plane for 2D), `sheared` (oblique and with axes that are not at right angles).
    """
    affine = np.eye(4)
    scale = np.diag([0.7, 1.9, 3.1])
    turn = rotation(0, 0, 17) if ndim == 2 else rotation(11, -7, 17)
    shear = np.eye(3)
    shear[0, 1] = 0.2
    parts = {
        "anisotropic": scale,
        "flipped": np.diag([-1.0, 1.0, 1.0]) @ scale,
        "oblique": turn @ scale,
        "sheared": turn @ shear @ scale,
    }
    affine[:3, :3] = parts[kind]
    affine[:3, 3] = (12.5, -40.0, 7.25)
    return affine
