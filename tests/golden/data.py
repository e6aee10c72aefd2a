"""Tiny images, label maps, masks and random networks on disk; everything is seeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch import nn

SHAPES = {2: (25, 22), 3: (14, 13, 9)}
"""Odd lengths that no window divides."""

NETWORKS = {
    2: {
        "spatial_dims": 2,
        "in_channels": 2,
        "out_channels": 3,
        "channels": [4, 8, 8],
        "strides": [2, 2],
        "num_res_units": 1,
        "act": "RELU",
        "norm": "BATCH",
    },
    3: {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 3,
        "channels": [4, 6],
        "strides": [2],
        "num_res_units": 1,
        "act": "PRELU",
        "norm": "BATCH",
    },
}
"""Arguments of MONAI's U-Net, by the number of axes."""

SLICED = NETWORKS[2] | {"in_channels": 1, "out_channels": 2, "channels": [4, 6], "strides": [2]}
"""The network that goes through a volume slice by slice."""


def write_data(folder: Path) -> None:
    """Write the weights w2, w3, ws and the cases a2 to f2 and a3 to c3 into a folder."""
    for place, name in enumerate("abcdef"):
        _write_case(folder, f"{name}2", SHAPES[2], num_channels=2, seed=place)
    for place, name in enumerate("abc"):
        _write_case(folder, f"{name}3", SHAPES[3], num_channels=1, seed=10 + place)
    _write_weights(folder / "w2.safetensors", NETWORKS[2], folder, "a2", seed=1)
    _write_weights(folder / "w3.safetensors", NETWORKS[3], folder, "a3", seed=2)
    _write_weights(folder / "ws.safetensors", SLICED, folder, "a3", seed=3)


def images_of(name: str) -> list[str]:
    """Return the names of the image files of a case, a channel each."""
    return [f"{name}_{channel}.nii" for channel in range(2 if name.endswith("2") else 1)]


def _write_case(
    folder: Path, name: str, shape: tuple[int, ...], *, num_channels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    truth = _truth(shape, random)
    for channel, path in enumerate(images_of(name)):
        noise = random.standard_normal(shape)
        image = (1 + channel) * truth / 2 + gaussian_filter(noise, 0.7) - channel
        _save(folder / path, image.astype(np.float32))
    _save(folder / f"{name}_label.nii", truth.astype(np.int16))
    _save(folder / f"{name}_mask.nii", (truth == 1).astype(np.uint8))
    quarters = sum(
        (np.arange(length) >= length // 2).reshape(
            [-1 if a == axis else 1 for a in range(truth.ndim)]
        )
        * 2**axis
        for axis, length in enumerate(shape[:2])
    )
    _save(folder / f"{name}_quarters.nii", np.broadcast_to(quarters + 1, shape).astype(np.int16))


def _truth(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Return two balls of label 1 and one of label 2."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    truth = np.zeros(shape, int)
    for label, share, radius in ((1, 0.25, 0.22), (1, 0.8, 0.12), (2, 0.55, 0.2)):
        centre = np.array(shape) * (share + random.uniform(-0.05, 0.05, len(shape)))
        inside = np.linalg.norm((grid - centre) / np.array(shape), axis=-1) < radius
        truth[inside] = label
    return truth


def _save(path: Path, array: np.ndarray) -> None:
    """Write an array on an anisotropic grid that is turned in the plane, uncompressed."""
    turn = np.deg2rad(17)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:3, :3] = affine[:3, :3] @ np.diag([0.7, 1.9, 3.1])
    affine[:3, 3] = (12.5, -40.0, 7.25)
    nib.save(nib.Nifti1Image(array, affine), path)


def _write_weights(path: Path, args: dict[str, Any], folder: Path, case: str, seed: int) -> None:
    """Write random weights with which each output is the largest at about as many voxels."""
    from monai.networks.nets import UNet

    torch.manual_seed(seed)
    network = UNet(**args).eval()
    for module in network.modules():
        if isinstance(getattr(module, "running_var", None), torch.Tensor):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    last = [module for module in network.modules() if isinstance(module, kinds)][-1]
    with torch.no_grad():
        logits = network(_batch(folder, case, args["spatial_dims"]))
        last.bias -= logits.transpose(0, 1).flatten(1).median(1).values
    save_file(network.state_dict(), path)


def _batch(folder: Path, case: str, ndim: int) -> torch.Tensor:
    """Return a case as (B, C, *spatial) with even lengths, slices as the batch where they are."""
    arrays = [np.asarray(nib.load(folder / path).dataobj) for path in images_of(case)]
    data = torch.from_numpy(np.stack(arrays))[None]
    if data.ndim - 2 > ndim:
        data = data[0].movedim(-1, 0)
    even = [slice(0, length - length % 4) for length in data.shape[2:]]
    return data[(slice(None), slice(None), *even)].float()
