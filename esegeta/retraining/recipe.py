"""How networks are trained: loss, optimizer and patches, built by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from esegeta.axes import Logits, Shape
from esegeta.model import Activation, Labels

Schedule = Literal["cosine", "constant"]
"""Schedule of the learning rate."""


@dataclass(frozen=True, eq=False)
class TrainingRecipe:
    """How a network is trained.

    Args:
        loss: name of a class of `monai.losses`.
        loss_args: all its arguments, including those of the activation.
        optimizer: name of a class of `torch.optim`.
        optimizer_args: its arguments.
        schedule: course of the learning rate; `cosine` lets it fall to zero along half a cosine.
        iterations: steps of the optimizer.
        batch_size: patches per step.
        patch: lengths of a patch, in voxels; as many as the network has spatial axes.
        labels: meaning of the output channels.
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

    def measure(
        self,
        loss: nn.Module,
        logits: Logits,
        truth: Int[Tensor, "B *S"],
        *,
        inside: Bool[Tensor, "B *S"] | None = None,
    ) -> Tensor:
        """Return the loss of a batch.

        Softmax: channel numbers `B 1 *S`, which the loss makes one-hot. Sigmoid: each label is a
        problem of its own, an image of one channel; losses with a cross entropy would put a
        softmax over several. Where the ground truth is ignored, and in padding (not `inside`),
        the logits are replaced by those of certain background, which is what it is taken for:
        nothing there moves the network.
        """
        labels = self.labels
        if labels.ignore_label is not None:
            logits = _certain_background(logits, labels.valid(truth), labels.activation)
        if inside is not None:
            truth = truth.masked_fill(~inside, 0)
            logits = _certain_background(logits, inside, labels.activation)
        if labels.activation == "softmax":
            target = labels.channel_map(truth)[:, None]
        else:
            names = labels.foreground
            present = torch.stack([labels.truth(truth, name) for name in names], dim=1)
            target = _one_channel(present.to(logits.dtype))
            logits = _one_channel(logits[:, [labels.channel(name) for name in names]])
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


CERTAIN = 50.0
"""A logit of which softmax and sigmoid leave nothing to the others, in float32 and finite."""


def _certain_background(
    logits: Logits, known: Bool[Tensor, "B *S"], activation: Activation
) -> Logits:
    certain = torch.full_like(logits, -CERTAIN)
    if activation == "softmax":
        certain[:, 0] = CERTAIN
    return torch.where(known[:, None], logits, certain)


def _one_channel(data: Tensor) -> Tensor:
    return data.flatten(0, 1).unsqueeze(1)


def loss_classes() -> dict[str, type[Any]]:
    """Return the losses of MONAI by name."""
    from monai import losses
    from torch import nn

    return _classes_of(vars(losses), nn.Module)


def optimizer_classes() -> dict[str, type[Any]]:
    """Return the optimizers of torch by name."""
    from torch import optim

    found = _classes_of(vars(optim), optim.Optimizer)
    return {name: kind for name, kind in found.items() if kind is not optim.Optimizer}


def _classes_of(items: Mapping[str, Any], base: type) -> dict[str, type[Any]]:
    """Return the classes among some items by their own names; aliases are left out."""
    return {
        name: item
        for name, item in items.items()
        if isinstance(item, type) and issubclass(item, base) and item.__name__ == name
    }
