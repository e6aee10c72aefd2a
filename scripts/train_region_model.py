#!/usr/bin/env python3
"""Train the network of nested regions in data_samples/models/ on data_samples/synthetic_tumour/.

One sigmoid channel a region, as in the BraTS challenge: whole tumour, core, enhancing part. The
network overfits one drawn volume on purpose; it only serves to show explanations of regions.
About a minute on two cores.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.utils import set_determinism
from safetensors.torch import save_file
from synthetic_tumour import CHANNELS
from training_command import SAMPLES, read_options

NAME = "tumour_unet3d"
REGIONS = {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}
ARGS = {
    "spatial_dims": 3,
    "in_channels": len(CHANNELS),
    "out_channels": len(REGIONS),
    "channels": [6, 12, 24],
    "strides": [2, 2],
    "num_res_units": 1,
    "act": "RELU",
    "norm": "BATCH",
}
PATCH = (24, 24, 24)
WINDOW = (32, 32, 32)
BATCH = 4
ITERATIONS = 350
LEARNING_RATE = 1e-2
SEED = 0

CARD = """\
# {name}

A demonstration model of nested regions, overfits one drawn volume that shows nobody; not for
clinical use.

- Architecture: MONAI `UNet`, {parameters:,} parameters. The line for a configuration file:

```yaml
args: {args}
```

- Weights: `{name}.safetensors`, a plain state dict; the arguments are also in its metadata.
- Input: the channels {channels}, in this order. Output: one sigmoid channel a region,
  in this order: whole (integers 1, 2, 4 of the labels), core (1, 4), enhancing (4).
- Data: `data_samples/synthetic_tumour/`, drawn from ellipsoids.
- Preprocessing: orientation and spacing as stored (RAS, 3 mm); each channel less its mean, divided
  by its standard deviation, both over all voxels.
- Inference: sliding window {window}, overlap 0.5, gaussian weighting.
- Training: {iterations} iterations of {batch} patches of {patch}, half of them centred on
  a voxel of the tumour; binary cross entropy + Dice loss, AdamW, learning rate {rate:g} with
  cosine decay, seed {seed}; random scaling, shift and noise of the intensities.
- Training time: {seconds:.0f} s on {threads} CPU threads (PyTorch {torch}).

Dice on the training volume, in eval mode:

| Region | Dice |
|---|---|
{table}

There is no validation data: these figures say how well the network fits the volume it was
trained on and nothing about others.
"""


def load_sample() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the image `C *S`, each channel of mean 0 and deviation 1, and its regions `L *S`."""
    stem = SAMPLES / "synthetic_tumour"
    image = np.stack([read(stem / f"synthetic_tumour_{name}.nii.gz") for name in CHANNELS])
    axes = (1, 2, 3)
    image = (image - image.mean(axes, keepdims=True)) / image.std(axes, keepdims=True)
    labels = read(stem / "synthetic_tumour_labels.nii.gz")
    regions = np.stack([np.isin(labels, integers) for integers in REGIONS.values()])
    return torch.from_numpy(image).float(), torch.from_numpy(regions).float()


def read(path: Path) -> np.ndarray:
    """Return the voxels of a NIfTI file."""
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return np.asarray(image.get_fdata())


def draw_batch(
    image: torch.Tensor, regions: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw patches, half of them centred on a voxel of the tumour, and change their intensities."""
    shape = image.shape[1:]
    tumour = regions[0].nonzero()
    images, truths = [], []
    for place in range(BATCH):
        if place % 2:
            centre = tumour[int(torch.randint(len(tumour), (1,), generator=generator))].tolist()
        else:
            centre = [int(torch.randint(n, (1,), generator=generator)) for n in shape]
        starts = [
            min(max(c - side // 2, 0), n - side)
            for c, side, n in zip(centre, PATCH, shape, strict=True)
        ]
        box = (slice(None), *(slice(a, a + side) for a, side in zip(starts, PATCH, strict=True)))
        scale = 1 + 0.1 * torch.randn(len(image), 1, 1, 1, generator=generator)
        shift = 0.1 * torch.randn(len(image), 1, 1, 1, generator=generator)
        noise = 0.05 * torch.randn(image[box].shape, generator=generator)
        images.append(image[box] * scale + shift + noise)
        truths.append(regions[box])
    return torch.stack(images), torch.stack(truths)


def train(image: torch.Tensor, regions: torch.Tensor, iterations: int) -> UNet:
    """Train a network from its seed and return it in eval mode."""
    set_determinism(SEED)
    generator = torch.Generator().manual_seed(SEED)
    net = UNet(**ARGS).train()
    loss_function = DiceCELoss(sigmoid=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for iteration in range(1, iterations + 1):
        images, truths = draw_batch(image, regions, generator)
        optimizer.zero_grad()
        # Each region is a problem of its own: a cross entropy over several would be a softmax.
        loss = loss_function(
            net(images).flatten(0, 1).unsqueeze(1), truths.flatten(0, 1).unsqueeze(1)
        )
        loss.backward()
        optimizer.step()
        schedule.step()
        if iteration % 100 == 0 or iteration == iterations:
            print(f"{NAME} {iteration}/{iterations} loss {loss.item():.4f}", flush=True)
    return net.eval()


@torch.no_grad()
def dice_per_region(net: UNet, image: torch.Tensor, regions: torch.Tensor) -> dict[str, float]:
    """Return the Dice of each region over the whole volume."""
    logits = sliding_window_inference(image[None], WINDOW, 4, net, 0.5, mode="gaussian")
    assert isinstance(logits, torch.Tensor)
    found, wanted = logits[0] > 0, regions > 0
    return {
        name: 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))
        for name, a, b in zip(REGIONS, found, wanted, strict=True)
    }


def main() -> None:
    """Run the command line."""
    options = read_options(__doc__, [NAME])
    iterations = options.iterations or ITERATIONS
    image, regions = load_sample()
    start = time.perf_counter()
    net = train(image, regions, iterations)
    seconds = time.perf_counter() - start
    scores = dice_per_region(net, image, regions)
    print(f"{NAME}: {seconds:.0f} s, Dice " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{NAME}.safetensors"
    state = {key: tensor.contiguous() for key, tensor in net.state_dict().items()}
    save_file(state, path, metadata={"args": json.dumps(ARGS)})
    # safetensors leaves the file readable to its owner only.
    path.chmod(0o644)
    card = CARD.format(
        name=NAME,
        parameters=sum(p.numel() for p in net.parameters()),
        args="{" + ", ".join(f"{key}: {value}" for key, value in ARGS.items()) + "}",
        channels=", ".join(CHANNELS),
        window=" x ".join(map(str, WINDOW)),
        iterations=iterations,
        batch=BATCH,
        patch=" x ".join(map(str, PATCH)),
        rate=LEARNING_RATE,
        seed=SEED,
        seconds=seconds,
        threads=torch.get_num_threads(),
        torch=torch.__version__.split("+")[0],
        table="\n".join(f"| {name} | {score:.3f} |" for name, score in scores.items()),
    )
    (options.out / f"{NAME}.md").write_text(card, encoding="utf-8")
    options.list_in_readme()


if __name__ == "__main__":
    main()
