"""The whole windowed prediction's target as a function that Captum's methods take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from esegeta.axes import Batch, Scalars
from esegeta.errors import DataError
from esegeta.explain.objective import Objective


class CaptumFunction:
    """A target of the whole windowed prediction, `B C *S` to `B`; slopes flow back to the input.

        f(x)_b = R(prediction of x_b)

    Each image of the batch is predicted window by window, so that memory does not grow with the
    volume's number of windows. The target's mask stays frozen. A second derivative is refused, and
    so are hooks on layers, which would see windows.

    Args:
        objective: the frozen target on its volume.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.__name__ = f"target on {objective.volume.name}"

    def __call__(self, inputs: Batch) -> Scalars:
        """Return the target of each image, float64.

        Args:
            inputs: images of the volume's shape.

        Raises:
            DataError: they have another shape.
        """
        wanted = tuple(self.objective.volume.data.shape)
        if tuple(inputs.shape[1:]) != wanted:
            found = tuple(inputs.shape)
            raise DataError(
                f"{self.objective.volume.name}: inputs have shape {found}, and the volume is "
                f"{wanted}",
                hint="pass volume.batch, `1 C *S`",
            )
        values: Tensor = _Value.apply(inputs, self.objective)  # type: ignore[no-untyped-call]
        return values

    def __repr__(self) -> str:
        return f"<CaptumFunction of {self.objective.target!r}>"


class _Value(torch.autograd.Function):
    """The target of each image; its slope is found with it, where one is wanted."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, objective: Objective) -> Tensor:
        data = inputs.detach()
        if not ctx.needs_input_grad[0]:
            return objective.values(data).to(inputs.device)
        values, slopes = [], torch.empty_like(data)
        for place, image in enumerate(data):
            at = objective.at(image)
            found = at.pull_back()
            slopes[place] = found.gradient[0]
            values.append(float(found.value[0]) if at.target.is_linear else at.value())
        ctx.save_for_backward(slopes)
        return torch.tensor(values, dtype=torch.float64, device=inputs.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        shape = (-1, *(1,) * (slopes.ndim - 1))
        return slopes * upstream.reshape(shape).to(slopes.dtype), None
