"""How networks are trained: loss, optimizer and patches, built by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from esegeta.axes import Logits, Shape
from esegeta.config import RunConfig
from esegeta.config.retrain import RetrainKeys, Schedule, loss_classes, optimizer_classes
from esegeta.errors import ConfigError, suggest
from esegeta.model import Labels

LEARNING_RATE = 3e-3
"""Where `optimizer_args` name none."""

LOSS_DEFAULTS: dict[str, dict[str, Any]] = {
    "softmax": {"to_onehot_y": True, "softmax": True, "use_softmax": True},
    "sigmoid": {"sigmoid": True},
}
"""What a loss is told of the activation, where its signature has these arguments."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a network is trained.

    Args:
        loss: name of a class of `monai.losses`.
        loss_args: all its arguments, those of the activation included.
        optimizer: name of a class of `torch.optim`.
        optimizer_args: its arguments.
        schedule: of the learning rate: `cosine` lets it fall to zero along half a cosine.
        iterations: steps of the optimizer.
        batch_size: patches of a step.
        patch: lengths of a patch, in voxels; as many as the network has spatial axes.
        labels: what the output channels mean.
    """

    loss: str
    loss_args: Mapping[str, Any]
    optimizer: str
    optimizer_args: Mapping[str, Any]
    schedule: Schedule
    iterations: int
    batch_size: int
    patch: Shape
    labels: Labels

    def make_loss(self) -> nn.Module:
        """Build the loss; a list of weights becomes a tensor, which is what losses take."""
        args = {
            key: torch.tensor(value, dtype=torch.float32)
            if key == "weight" and isinstance(value, list)
            else value
            for key, value in self.loss_args.items()
        }
        loss: nn.Module = loss_classes()[self.loss](**args)
        return loss

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Build the optimizer of some parameters."""
        kind = optimizer_classes()[self.optimizer]
        optimizer: torch.optim.Optimizer = kind(parameters, **self.optimizer_args)
        return optimizer

    def make_schedule(
        self, optimizer: torch.optim.Optimizer
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return how the learning rate goes on, step by step."""
        from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, self.iterations)
        return LambdaLR(optimizer, lambda step: 1.0)

    def measure(self, loss: nn.Module, logits: Logits, truth: Int[Tensor, "B *S"]) -> Tensor:
        """Return the loss of a batch.

        Softmax: channel numbers `B 1 *S`, which the loss makes one-hot. Sigmoid: each label is a
        problem of its own, an image of one channel; losses with a cross entropy would put a
        softmax over several.
        """
        integers = named_labels(self.labels)
        channels = [self.labels.channel(integer) for integer in integers]
        if self.labels.activation == "softmax":
            target = torch.zeros_like(truth)
            for integer, channel in zip(integers, channels, strict=True):
                target[truth == integer] = channel
            target = target[:, None]
        else:
            present = torch.stack([truth == integer for integer in integers], dim=1)
            target = _one_channel(present.to(logits.dtype))
            logits = _one_channel(logits[:, channels])
        value: Tensor = loss(logits, target)
        return value

    def describe(self) -> dict[str, Any]:
        """Return the recipe as plain values."""
        return {
            "loss": self.loss,
            "loss_args": dict(self.loss_args),
            "optimizer": self.optimizer,
            "optimizer_args": dict(self.optimizer_args),
            "schedule": self.schedule,
            "iterations": self.iterations,
            "batch_size": self.batch_size,
            "patch": list(self.patch),
        }


def named_labels(labels: Labels) -> tuple[int, ...]:
    """Return the integers of all labels but the background."""
    return tuple(integer for integer in sorted(labels.names) if integer != 0)


def plan_recipe(config: RunConfig, keys: RetrainKeys, labels: Labels) -> Recipe:
    """Turn the keys into a recipe whose arguments the loss and the optimizer know.

    Raises:
        ConfigError: they do not; with the nearest that they know.
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
    return Recipe(
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


def _one_channel(data: Tensor) -> Tensor:
    return data.flatten(0, 1).unsqueeze(1)
