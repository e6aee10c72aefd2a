#!/usr/bin/env python3
"""Train the demonstration networks in data_samples/models/ on the sample volumes beside them.

Each network gets a file of weights and a model card, whose figures are those measured here.
The networks overfit one volume on purpose; they only serve to show the explanations.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from demo_recipes import RECIPES, Recipe, Sample
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    ClassesToIndicesd,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    RandCropByLabelClassesd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
    ScaleIntensityRanged,
)
from monai.utils import set_determinism
from safetensors.torch import save_file
from training_command import read_options

SEED = 0
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-4


def load_volume(sample: Sample) -> dict[str, Any]:
    """Load an image and its labels in RAS, with the sample's intensities scaled to [0, 1]."""
    keys = ["image", "label"]
    load = Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            Orientationd(keys, axcodes="RAS", labels=None),
            ScaleIntensityRanged("image", *sample.window, 0.0, 1.0, clip=True),
            ClassesToIndicesd("label", num_classes=len(sample.labels)),
        ]
    )
    data = load(sample.files())
    # Plain tensors: the crops need no record of where they were taken.
    data["image"], data["label"] = data["image"].as_tensor(), data["label"].as_tensor().long()
    return dict(data)


def make_sampler(recipe: Recipe) -> Compose:
    """Build the random crops and changes of intensity.

    There are no flips: in the CT left and right tell the liver from the spleen.
    """
    sampler = Compose(
        [
            RandCropByLabelClassesd(
                ["image", "label"],
                label_key="label",
                spatial_size=recipe.patch,
                ratios=list(recipe.sample.ratios),
                num_classes=len(recipe.sample.labels),
                num_samples=recipe.batch,
                warn=False,
                indices_key="label_cls_indices",
                allow_smaller=False,
            ),
            RandScaleIntensityd("image", factors=0.1, prob=0.5),
            RandShiftIntensityd("image", offsets=0.05, prob=0.5),
            RandGaussianNoised("image", prob=0.3, std=0.03),
        ]
    )
    sampler.set_random_state(seed=SEED)
    return sampler


def draw_batch(
    sampler: Compose, volume: dict[str, Any], spatial_dims: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a batch of patches; for a 2D network they are axial slices of thickness one."""
    samples = sampler(dict(volume))
    batch = {
        key: torch.stack([torch.as_tensor(sample[key]) for sample in samples])
        for key in ("image", "label")
    }
    if spatial_dims == 2:
        batch = {key: tensor.squeeze(-1) for key, tensor in batch.items()}
    return batch["image"].float(), batch["label"]


def train(recipe: Recipe, volume: dict[str, Any], iterations: int) -> UNet:
    """Train a network from its seed and return it in eval mode."""
    set_determinism(SEED)
    net = UNet(**recipe.args).train()
    sampler = make_sampler(recipe)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for iteration in range(1, iterations + 1):
        image, label = draw_batch(sampler, volume, recipe.args["spatial_dims"])
        optimizer.zero_grad()
        loss = loss_function(net(image), label)
        loss.backward()
        optimizer.step()
        schedule.step()
        if iteration % 100 == 0 or iteration == iterations:
            print(f"{recipe.name} {iteration}/{iterations} loss {loss.item():.4f}", flush=True)
    return net.eval()


@torch.no_grad()
def predict(recipe: Recipe, net: Callable[..., Any], image: torch.Tensor) -> torch.Tensor:
    """Segment the whole volume with a sliding window; a 2D network goes slice by slice."""
    two_dimensional = recipe.args["spatial_dims"] == 2
    # A 2D network sees the axial slices, that is axis 2 of the RAS volume, as a batch.
    inputs = image.permute(3, 0, 1, 2) if two_dimensional else image[None]
    logits = sliding_window_inference(inputs, recipe.window, 4, net, 0.5, mode="gaussian")
    assert isinstance(logits, torch.Tensor)
    labels = logits.argmax(dim=1)
    return labels.permute(1, 2, 0) if two_dimensional else labels[0]


def dice_per_label(
    labels: tuple[str, ...], prediction: torch.Tensor, truth: torch.Tensor
) -> dict[str, float]:
    """Return the Dice coefficient of each label but the background."""
    scores = {}
    for index, name in enumerate(labels[1:], start=1):
        found, wanted = prediction == index, truth == index
        overlap = int((found & wanted).sum())
        scores[name] = 2 * overlap / max(1, int(found.sum()) + int(wanted.sum()))
    return scores


def batch_norm_range(net: UNet) -> str:
    """Describe the running statistics of the batch norms; stop if they are not finite."""
    state = net.state_dict()
    means = torch.cat([v for k, v in state.items() if k.endswith("running_mean")])
    variances = torch.cat([v for k, v in state.items() if k.endswith("running_var")])
    if not (means.isfinite().all() and variances.isfinite().all()):
        raise SystemExit("the batch norm statistics are not finite")
    return (
        f"means {means.min():.3g} to {means.max():.3g}, "
        f"variances {variances.min():.3g} to {variances.max():.3g}"
    )


CARD = """\
# {name}

A demonstration model, overfits one {one}; not for clinical use.

- Architecture: MONAI `UNet`, {parameters} parameters. The line for a configuration file:

```yaml
args: {args}
```

- Weights: `{name}.safetensors`, a plain state dict; the arguments are also in its metadata.
- Labels: {labels}.
- Data: `data_samples/{folder}/`, {data}
- Preprocessing: orientation RAS, {intensity} scaled to
  [0, 1] and clipped.{slices}
- Inference: sliding window {window}, overlap 0.5, gaussian weighting.
- Training: {iterations} iterations of {batch} patches of {patch}, centred on a voxel of
  background or one of the labels with weights {ratios}; cross entropy + Dice loss, AdamW,
  learning rate {rate:g} with cosine decay, weight decay {decay:g}, seed {seed}; random
  scaling, shift and noise of the intensities, no flips {no_flips}.
- Training time: {seconds:.0f} s on {threads} CPU threads (PyTorch {torch}).
- Batch norm running statistics: {batch_norm}.

Dice on the training volume, in eval mode:

| Label | Dice |
|---|---|
{table}

There is no validation data: these figures say how well the network fits the {one} it was
trained on and nothing about other {one}s.
"""


def make_card(
    recipe: Recipe, net: UNet, scores: dict[str, float], iterations: int, seconds: float
) -> str:
    """Fill in the model card with what was measured."""
    sample = recipe.sample
    args = {k: v if isinstance(v, (int, list)) else str(v) for k, v in recipe.args.items()}
    slices = "\n  Input: axial slices, along axis 2 of the RAS volume."
    return CARD.format(
        name=recipe.name,
        parameters=f"{sum(p.numel() for p in net.parameters()):,}",
        args="{" + ", ".join(f"{key}: {value}" for key, value in args.items()) + "}",
        labels=", ".join(f"{index} {name}" for index, name in enumerate(sample.labels)),
        folder=sample.folder,
        one=sample.one,
        data=sample.data,
        intensity=sample.intensity,
        no_flips=sample.no_flips,
        slices=slices if recipe.args["spatial_dims"] == 2 else "",
        window=" x ".join(map(str, recipe.window)),
        iterations=iterations,
        batch=recipe.batch,
        patch=" x ".join(map(str, recipe.patch)),
        ratios=":".join(map(str, sample.ratios)),
        rate=LEARNING_RATE,
        decay=WEIGHT_DECAY,
        seed=SEED,
        seconds=seconds,
        threads=torch.get_num_threads(),
        torch=torch.__version__.split("+")[0],
        batch_norm=batch_norm_range(net),
        table="\n".join(f"| {label} | {score:.3f} |" for label, score in scores.items()),
    )


def save_weights(recipe: Recipe, net: UNet, folder: Path) -> None:
    """Write the state dict, with the network's arguments as JSON in the metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{recipe.name}.safetensors"
    state = {key: tensor.contiguous() for key, tensor in net.state_dict().items()}
    # One key only: safetensors writes several in an order that varies from run to run.
    save_file(state, path, metadata={"args": json.dumps(recipe.args)})
    # safetensors leaves the file readable to its owner only.
    path.chmod(0o644)


def run(recipe: Recipe, iterations: int, folder: Path) -> None:
    """Train, evaluate and save one network."""
    volume = load_volume(recipe.sample)
    start = time.perf_counter()
    net = train(recipe, volume, iterations)
    seconds = time.perf_counter() - start
    prediction = predict(recipe, net, volume["image"])
    scores = dice_per_label(recipe.sample.labels, prediction, volume["label"][0])
    print(f"{recipe.name}: {seconds:.0f} s, batch norm {batch_norm_range(net)}")
    print(f"{recipe.name}: Dice " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
    save_weights(recipe, net, folder)
    card = make_card(recipe, net, scores, iterations, seconds)
    (folder / f"{recipe.name}.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Run the command line."""
    options = read_options(__doc__, RECIPES)
    for name in options.models:
        run(RECIPES[name], options.iterations or RECIPES[name].iterations, options.out)
    options.list_in_readme()


if __name__ == "__main__":
    main()
