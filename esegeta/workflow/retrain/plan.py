"""From the config's keys to a recipe that is known to work: one step of it is taken beforehand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from esegeta.config import RunConfig, blamed_on
from esegeta.config.schema import RetrainKeys
from esegeta.errors import ConfigError, is_out_of_memory, suggest
from esegeta.model import FIRST, Labels, OutputChoice
from esegeta.retraining import TrainingRecipe, loss_classes, optimizer_classes, train_logits

Made = TypeVar("Made")

LEARNING_RATE = 3e-3
"""Where `optimizer_args` name none."""

LOSS_DEFAULTS: dict[str, dict[str, Any]] = {
    "softmax": {"to_onehot_y": True, "softmax": True, "use_softmax": True},
    "sigmoid": {"sigmoid": True},
}
"""What a loss is told of the activation, where its signature has these arguments."""


def plan_recipe(config: RunConfig, keys: RetrainKeys, labels: Labels) -> TrainingRecipe:
    """Turn the keys into a recipe whose arguments the loss and the optimizer accept.

    Raises:
        ConfigError: they do not accept one; gives the nearest valid name.
    """
    known = _parameters(loss_classes()[keys.loss])
    _check_names(config, "loss_args", keys.loss_args, known, keys.loss)
    _check_names(
        config,
        "optimizer_args",
        keys.optimizer_args,
        _parameters(optimizer_classes()[keys.optimizer]) - {"params"},
        keys.optimizer,
    )
    window = config.keys.inference.window
    patch = keys.patch or window
    if len(patch) != len(window):
        raise ConfigError(
            f"{config.document.place(('retrain', 'patch'))}: retrain.patch has {len(patch)} "
            f"lengths, inference.window has {len(window)}",
            hint=f"give {len(window)} lengths",
        )
    defaults = LOSS_DEFAULTS[labels.activation]
    return TrainingRecipe(
        loss=keys.loss,
        loss_args={
            **{key: value for key, value in defaults.items() if key in known},
            **keys.loss_args,
        },
        optimizer=keys.optimizer,
        optimizer_args={"lr": LEARNING_RATE, **keys.optimizer_args},
        schedule=keys.schedule,
        iterations=keys.iterations,
        batch_size=keys.batch_size,
        patch=patch,
        labels=labels,
    )


def _parameters(kind: type[Any]) -> set[str]:
    return {*inspect.signature(kind).parameters}


def _check_names(
    config: RunConfig, key: str, args: Mapping[str, Any], known: set[str], name: str
) -> None:
    for argument in args:
        if argument not in known:
            place = config.document.place(("retrain", key, argument))
            raise ConfigError(
                f"{place}: retrain.{key}.{argument}: {name} has no such argument",
                hint=suggest(argument, sorted(known)),
            )


def rehearse(
    recipe: TrainingRecipe,
    network: nn.Module,
    num_channels: int,
    config: RunConfig,
    *,
    output: OutputChoice = FIRST,
) -> None:
    """Take one step of the recipe on noise, so that what cannot work is known before hours of it.

    Args:
        recipe: recipe to try.
        network: a new network, on its device, which is used up by the step.
        num_channels: number of channels C of the patches.
        config: config, for places in messages.
        output: tensor to train, where the network returns several.

    Raises:
        ConfigError: loss or optimizer refuse their arguments or what they are given.
        ModelError: the network cannot be trained on a batch of patches.
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    size = (recipe.batch_size, *recipe.patch)
    images = torch.randn((size[0], num_channels, *recipe.patch), generator=generator)
    choices = torch.tensor(recipe.labels.known_integers)
    truth = choices[torch.randint(len(choices), size, generator=generator)].to(device)
    network.train()
    loss = _tried(config, "loss", recipe.loss, lambda: recipe.make_loss().to(device))
    with blamed_on(config, "retrain"):
        logits = train_logits(network, images.to(device), output)
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


def _tried(config: RunConfig, key: str, name: str, work: Callable[[], Made]) -> Made:
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
