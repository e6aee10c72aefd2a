"""Training of one network from scratch, and one step of it to see beforehand that it works."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from esegeta.axes import Batch, Logits
from esegeta.config import RunConfig
from esegeta.errors import ConfigError, ModelError
from esegeta.model import first_tensor
from esegeta.retrain.patches import Patches
from esegeta.retrain.recipe import Recipe, named_labels
from esegeta.run.checks import blamed_on
from esegeta.run.unit import is_out_of_memory

Value = TypeVar("Value")


def train_network(
    network: nn.Module, patches: Patches, recipe: Recipe, *, heard: Callable[[int], None]
) -> list[float]:
    """Train a network in place and return the loss of every step; it ends in eval mode.

    Args:
        network: new, on the device where it is to be trained.
        patches: to draw batches from.
        recipe: loss, optimizer, steps.
        heard: is told how many patches went through, step by step.

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
        images, truth = (tensor.to(device) for tensor in patches.draw(recipe.batch_size))

        def evaluate(images: Tensor = images, truth: Tensor = truth) -> Tensor:
            optimizer.zero_grad()
            value = recipe.measure(loss, train_logits(network, images), truth)
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
        heard(recipe.batch_size)
    network.eval()
    return history


def rehearse(recipe: Recipe, network: nn.Module, num_channels: int, config: RunConfig) -> None:
    """Take one step of the recipe on noise, so that what cannot work is known before hours of it.

    Args:
        recipe: to be tried.
        network: a new one, on its device, which is spent on it.
        num_channels: C of the patches.
        config: for places in messages.

    Raises:
        ConfigError: loss or optimizer refuse their arguments or what they are given.
        ModelError: the network cannot be trained on a batch of patches.
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    size = (recipe.batch_size, *recipe.patch)
    images = torch.randn((size[0], num_channels, *recipe.patch), generator=generator)
    choices = torch.tensor([0, *named_labels(recipe.labels)])
    truth = choices[torch.randint(len(choices), size, generator=generator)].to(device)
    network.train()
    loss = _tried(config, "loss", recipe.loss, lambda: recipe.make_loss().to(device))
    with blamed_on(config, "retrain"):
        logits = train_logits(network, images.to(device))
    value = _tried(config, "loss", recipe.loss, lambda: recipe.measure(loss, logits, truth))
    if value.numel() != 1 or not value.requires_grad:
        raise ConfigError(
            f"{config.document.place(('retrain', 'loss'))}: retrain.loss: {recipe.loss} gives "
            f"{value.numel()} numbers{'' if value.requires_grad else ' without a gradient'}",
            hint="training needs one number with a gradient; leave out `reduction: none`",
        )

    def step() -> None:
        value.backward()  # type: ignore[no-untyped-call]
        recipe.make_optimizer(network.parameters()).step(lambda: float(value.detach()))

    _tried(config, "optimizer", recipe.optimizer, step)


def train_logits(network: nn.Module, images: Batch) -> Logits:
    """Return the logits of a network in train mode.

    Raises:
        ModelError: it fails, or its output is not of the patch's size.
    """
    size = list(images.shape[2:])
    try:
        logits = first_tensor(network(images))
    except (RuntimeError, ValueError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"the network fails in train mode on {len(images)} patches of {size}: {error}",
            hint="try a larger retrain.patch or retrain.batch_size: norms need several values",
        ) from error
    if logits is None or list(logits.shape[2:]) != size:
        found = "no tensor" if logits is None else f"logits of {list(logits.shape[2:])}"
        raise ModelError(
            f"in train mode the network turns a patch of {size} into {found}",
            hint="segmentation networks must keep the shape of the patch",
        )
    return logits


def _tried(config: RunConfig, key: str, name: str, work: Callable[[], Value]) -> Value:
    try:
        return work()
    except Exception as error:  # whatever it raises is why it cannot be used
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{config.document.place(('retrain', key))}: retrain.{key}: {name} cannot be used "
            f"here ({reason})",
            hint=f"check retrain.{key}_args, or take another {key}",
        ) from error
