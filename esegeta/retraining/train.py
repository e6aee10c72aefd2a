"""Training of one network from scratch, and its random numbers.

Everything random about a training is derived from its seed and fold alone. So networks of one
seed and fold start from the same weights and see the same patches, whatever their images lack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from esegeta.axes import Batch, Logits
from esegeta.errors import ModelError, OutputChoiceError, is_out_of_memory
from esegeta.model import FIRST, OutputChoice
from esegeta.retraining.recipe import TrainingRecipe
from esegeta.retraining.samples import REFERENCE, UNTOUCHED, Patches, Removal


class Stream(IntEnum):
    """What random numbers are for; each use has a sequence of its own."""

    WEIGHTS = 0
    PATCHES = 1
    DROPOUT = 2
    TIES = 3


def seed_of(stream: Stream, *numbers: int) -> int:
    """Return a seed for one use, such as the weights of (seed, fold)."""
    sequence = np.random.SeedSequence([int(stream), *numbers])
    return int(sequence.generate_state(1)[0])


@dataclass(frozen=True)
class Training:
    """One network that is trained: on which images, from which seed, without which fold.

    Args:
        removal: what is removed from its images.
        seed: one of the seeds of the config.
        fold: the images that it is tested on.
    """

    removal: Removal
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Method, removal, seed and fold in one."""
        return f"{self.removal.method} / {self._images()} / seed {self.seed}, fold {self.fold}"

    def file(self, root: Path) -> Path:
        """Return where its result lies."""
        parts = [self.removal.method, self._images().replace(" ", "-")]
        return root / "units" / f"{'_'.join(parts)}_seed-{self.seed}_fold-{self.fold}.json"

    def _images(self) -> str:
        if self.removal.method == REFERENCE:
            return "untouched" if self.removal == UNTOUCHED else "empty"
        return f"{self.removal.mode} {self.removal.fraction!r}"

    def describe(self) -> dict[str, Any]:
        """Return what it is, as plain values."""
        return {**vars(self.removal), "seed": self.seed, "fold": self.fold}


def train_network(
    network: nn.Module,
    patches: Patches,
    recipe: TrainingRecipe,
    *,
    output: OutputChoice = FIRST,
    on_patches: Callable[[int], None],
) -> list[float]:
    """Train a network in place and return the loss of every step; it ends in eval mode.

    Args:
        network: a new network, on the device that trains it.
        patches: patches to draw batches from.
        recipe: loss, optimizer, steps.
        output: the tensor to train, if the network returns several.
        on_patches: called after each step with the number of patches that went through.

    Raises:
        ModelError: the loss is NaN or Inf.
    """
    device = next(network.parameters()).device
    network.train()
    loss = recipe.make_loss().to(device)
    optimizer = recipe.make_optimizer(network.parameters())
    schedule = recipe.make_schedule(optimizer)
    history: list[float] = []
    for _ in range(recipe.iterations):
        images, truth, inside = patches.draw(recipe.batch_size)
        images, truth = images.to(device), truth.to(device)
        inside = None if inside is None else inside.to(device)

        def evaluate(
            images: Tensor = images, truth: Tensor = truth, inside: Tensor | None = inside
        ) -> Tensor:
            optimizer.zero_grad()
            logits = train_logits(network, images, output)
            value = recipe.measure(loss, logits, truth, inside=inside)
            value.backward()  # type: ignore[no-untyped-call]
            return value.detach()

        # Some optimizers evaluate the loss several times a step.
        history.append(float(optimizer.step(evaluate)))  # type: ignore[arg-type]
        if not math.isfinite(history[-1]):
            raise ModelError(
                f"the loss is {history[-1]} at iteration {len(history)} of {recipe.iterations}",
                hint="lower optimizer_args.lr, or check the intensities of the images",
            )
        schedule.step()
        on_patches(recipe.batch_size)
    network.eval()
    return history


def train_logits(network: nn.Module, images: Batch, output: OutputChoice = FIRST) -> Logits:
    """Return the logits of a network in train mode.

    Raises:
        OutputChoiceError: the network does not return the chosen output.
        ModelError: the network fails, or its output does not have the size of the patch.
    """
    size = list(images.shape[2:])
    try:
        returned = network(images)
    except (RuntimeError, ValueError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"the network fails in train mode on {len(images)} patches of {size}: {error}",
            hint="try a larger retrain.patch or retrain.batch_size: norms need several values",
        ) from error
    try:
        logits = output.of(returned)
    except OutputChoiceError as error:
        error.message = f"in train mode: {error.message}"
        raise
    if logits is None or list(logits.shape[2:]) != size:
        found = "no tensor" if logits is None else f"logits of {list(logits.shape[2:])}"
        raise ModelError(
            f"in train mode the network turns a patch of {size} into {found}",
            hint="segmentation networks must keep the shape of the patch",
        )
    return logits
