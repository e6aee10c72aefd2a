#!/usr/bin/env python3
"""Train the vessel networks in data_samples/models/ on phantoms of a time-of-flight angiogram.

Three networks learn to find vessels: a U-Net, the same with deep supervision, and an Attention
U-Net. A fourth, `vessel_unet_shortcut`, is taught a mistake on purpose: in its training set a thin
vessel is labelled only where fat lies near it. What explains a network should show that.

Training phantoms are drawn here from seeds of their own; the cases in data_samples/tof_phantom/
are held out, and the Dice in the model cards is theirs. A minute or two each on two cores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_tof_phantom import CASES
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import AttentionUnet, DynUNet
from monai.utils import set_determinism
from tof_phantom import LABELS, NEAR_FAT_MM, THIN_MM, Phantom, make_phantom
from torch import Tensor, nn
from training_command import read_options

NUM_PHANTOMS = 48
FIRST_SEED = 1000
"""Of the phantoms to train on; those of the cases are far below."""
WINDOW = (24, 24, 24)
OVERLAP = 0.25
BATCH = 4
ITERATIONS = 400
LEARNING_RATE = 5e-3
SEED = 0
LOSS_OF_SCALES = (1.0, 0.5, 0.25)
"""Weights of the losses of the outputs of deep supervision, the finest first."""

DYN_UNET: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "kernel_size": [3, 3, 3, 3],
    "strides": [1, 2, 2, 2],
    "upsample_kernel_size": [2, 2, 2],
    "filters": [8, 16, 24, 32],
    "norm_name": "BATCH",
    "act_name": "RELU",
}
ATTENTION: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "channels": [8, 16, 24, 32],
    "strides": [2, 2, 2],
}


@dataclass(frozen=True)
class Recipe:
    """What differs between the networks.

    Args:
        name: of the files.
        title: what the model card calls it.
        network: a class of monai.networks.nets.
        args: its arguments.
        lesson: what it is taught, for the card.
    """

    name: str
    title: str
    network: str
    args: dict[str, Any]
    lesson: str = "all vessels"

    def build(self) -> nn.Module:
        """Return the network, untrained."""
        kinds: dict[str, type[nn.Module]] = {"DynUNet": DynUNet, "AttentionUnet": AttentionUnet}
        return kinds[self.network](**self.args)

    def truth(self, phantom: Phantom) -> np.ndarray:
        """Return the voxels that the network is taught."""
        return vessels_of(phantom)


@dataclass(frozen=True)
class Shortcut(Recipe):
    """A network that is taught thin vessels only where fat lies near them."""

    def truth(self, phantom: Phantom) -> np.ndarray:
        """Return wide vessels, and those thin ones that lie near fat."""
        return np.asarray((phantom.labels == LABELS["vessel_wide"]) | phantom.near_fat)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("vessel_unet", "U-Net", "DynUNet", DYN_UNET),
        Recipe(
            "vessel_unet_ds",
            "U-Net with deep supervision",
            "DynUNet",
            {**DYN_UNET, "deep_supervision": True, "deep_supr_num": 2},
        ),
        Recipe("vessel_attention_unet", "Attention U-Net", "AttentionUnet", ATTENTION),
        Shortcut(
            "vessel_unet_shortcut",
            "U-Net that was taught a false friend",
            "DynUNet",
            DYN_UNET,
            f"wide vessels, and thin ones only up to {NEAR_FAT_MM:g} mm from fat, **which is wrong "
            "on purpose**",
        ),
    )
}


def vessels_of(phantom: Phantom) -> np.ndarray:
    """Return the voxels of vessels, wide and thin."""
    return np.isin(phantom.labels, (LABELS["vessel_wide"], LABELS["vessel_thin"]))


def scaled(image: np.ndarray) -> np.ndarray:
    """Return grey values as the configs scale them: less their mean, by their deviation."""
    values = image.astype(np.float64)
    return np.asarray((values - values.mean()) / values.std(), dtype=np.float32)


def draw_patches(
    random: np.random.Generator, images: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> tuple[Tensor, Tensor]:
    """Draw patches `B 1 *S` and what they are taught, mirrored in the plane at random."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(BATCH):
        case = int(random.integers(len(images)))
        starts = [
            int(random.integers(n - side + 1))
            for n, side in zip(images[case].shape, WINDOW, strict=True)
        ]
        box = tuple(slice(a, a + side) for a, side in zip(starts, WINDOW, strict=True))
        image = images[case][box] * random.uniform(0.9, 1.1) + random.uniform(-0.1, 0.1)
        axes = tuple(axis for axis in (0, 1) if random.random() < 0.5)
        found.append((np.flip(image, axes), np.flip(truths[case][box], axes)))
    images_drawn, truths_drawn = (
        torch.from_numpy(np.stack(one)[:, None].astype(np.float32))
        for one in zip(*found, strict=True)
    )
    return images_drawn, truths_drawn


def train(recipe: Recipe, phantoms: Sequence[Phantom], iterations: int) -> nn.Module:
    """Train a network from its seed and return it in eval mode."""
    set_determinism(SEED)
    random = np.random.default_rng(SEED)
    net = recipe.build().train()
    images = [scaled(phantom.image) for phantom in phantoms]
    truths = [recipe.truth(phantom) for phantom in phantoms]
    loss_function = DiceCELoss(sigmoid=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for iteration in range(1, iterations + 1):
        image, truth = draw_patches(random, images, truths)
        optimizer.zero_grad()
        logits = net(image)
        # Deep supervision stacks its outputs, all at full size; others have one.
        outputs = logits.unbind(1) if logits.ndim == 6 else [logits]
        pairs = zip(LOSS_OF_SCALES, outputs, strict=False)
        loss = sum((weight * loss_function(out, truth) for weight, out in pairs), torch.zeros(()))
        loss.backward()
        optimizer.step()
        schedule.step()
        if iteration % 100 == 0 or iteration == iterations:
            print(f"{recipe.name} {iteration}/{iterations} loss {loss.item():.4f}", flush=True)
    return net.eval()


@torch.no_grad()
def predict(net: nn.Module, image: np.ndarray) -> np.ndarray:
    """Return the logits of a whole image, by sliding windows."""
    inputs = torch.from_numpy(scaled(image))[None, None]
    logits = sliding_window_inference(inputs, WINDOW, 4, net, OVERLAP, mode="gaussian")
    assert isinstance(logits, Tensor)
    return logits[0, 0].numpy()


def measure(net: nn.Module, phantom: Phantom) -> dict[str, float]:
    """Return what a network makes of a held-out phantom, by the names of the card's columns.

    The last is what fat does: the mean logit of thin vessels near fat, less that of the same
    voxels in the same image without its fat.
    """
    logits, without = predict(net, phantom.image), predict(net, phantom.without_fat)
    found, vessel = logits > 0, vessels_of(phantom)
    return {
        "Dice": 2 * float((found & vessel).sum()) / float(found.sum() + vessel.sum()),
        "thin vessels found": float(found[phantom.thin].mean()),
        "fat called vessel": float(found[phantom.labels == LABELS["fat"]].mean()),
        "blobs called vessel": float(found[phantom.labels == LABELS["calcification"]].mean()),
        "effect of fat": float((logits - without)[phantom.near_fat].mean()),
    }


CARD = """\
# {name}

{title}. A demonstration model, trained on phantoms that show nobody; not for clinical use.

- Architecture: MONAI `{network}`, {parameters:,} parameters. The lines for a configuration file:

```yaml
network: {network}
args: {args}
```

- Weights: `{name}.pt`, a plain state dict, read as data only.
- Output: one sigmoid channel, vessel. Taught: {lesson}.
- Data: {phantoms} phantoms drawn by `scripts/tof_phantom.py` from the seeds {first} to {last}.
- Preprocessing: spacing as stored (0.5 x 0.5 x 0.8 mm); the image less its mean, divided by its
  standard deviation, both over all voxels.
- Inference: sliding window {window}, overlap {overlap:g}, gaussian weighting.
- Training: {iterations} iterations of {batch} patches of {window}, mirrored in the plane at random;
  cross entropy + Dice loss, AdamW, learning rate {rate:g} with cosine decay, seed {seed}.
- Training time: {seconds:.0f} s of CPU time on {threads} thread{s} (PyTorch {torch}).

On the {number} phantoms of `data_samples/tof_phantom/`, all held out: Dice with all vessels; the
share of thin vessels (below {thin:g} mm), of fat and of calcification-like blobs that is called
vessel; and the effect of fat, the mean logit of thin vessels up to {near:g} mm from fat, less that
in the same image without its fat.

{table}

Other phantoms of the same script resemble those it was trained on; nothing is known of patients.
"""


def make_card(
    recipe: Recipe,
    net: nn.Module,
    rows: dict[str, dict[str, float]],
    *,
    seconds: float,
    iterations: int,
) -> str:
    """Fill in the model card with what was measured."""
    columns = list(next(iter(rows.values())))
    lines = [f"| Case | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    values = {column: np.array([row[column] for row in rows.values()]) for column in columns}
    shown = dict(rows)
    for name, of in (("mean", np.mean), ("standard deviation", partial(np.std, ddof=1))):
        shown[name] = {column: float(of(values[column])) for column in columns}
    for name, row in shown.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[one]:.3f}" for one in columns) + " |")
    threads = torch.get_num_threads()
    return CARD.format(
        name=recipe.name,
        title=recipe.title,
        network=recipe.network,
        parameters=sum(p.numel() for p in net.parameters()),
        args="{" + ", ".join(f"{key}: {value}" for key, value in recipe.args.items()) + "}",
        lesson=recipe.lesson,
        phantoms=NUM_PHANTOMS,
        first=FIRST_SEED,
        last=FIRST_SEED + NUM_PHANTOMS - 1,
        window=" x ".join(map(str, WINDOW)),
        overlap=OVERLAP,
        iterations=iterations,
        batch=BATCH,
        rate=LEARNING_RATE,
        seed=SEED,
        seconds=seconds,
        threads=threads,
        s="" if threads == 1 else "s",
        torch=torch.__version__.split("+")[0],
        number=len(rows),
        thin=THIN_MM,
        near=NEAR_FAT_MM,
        table="\n".join(lines),
    )


def run(recipe: Recipe, phantoms: Sequence[Phantom], iterations: int, folder: Path) -> None:
    """Train, evaluate and save one network."""
    start = time.process_time()
    net = train(recipe, phantoms, iterations)
    seconds = time.process_time() - start
    rows = {name: measure(net, make_phantom(seed)) for name, seed in CASES.items()}
    dice = np.array([row["Dice"] for row in rows.values()])
    print(f"{recipe.name}: {seconds:.0f} s, Dice {dice.mean():.3f} ({dice.min():.3f} at least)")
    folder.mkdir(parents=True, exist_ok=True)
    # Not safetensors: a DynUNet has each weight under two names, which those files cannot share.
    torch.save(net.state_dict(), folder / f"{recipe.name}.pt")
    card = make_card(recipe, net, rows, seconds=seconds, iterations=iterations)
    (folder / f"{recipe.name}.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Run the command line."""
    options = read_options(__doc__, RECIPES)
    phantoms = [make_phantom(FIRST_SEED + number) for number in range(NUM_PHANTOMS)]
    for name in options.models:
        run(RECIPES[name], phantoms, options.iterations or ITERATIONS, options.out)
    options.list_in_readme()


if __name__ == "__main__":
    main()
