"""Whether a class of Captum takes the arguments that it is given, found without a prediction."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from esegeta.axes import Batch, Scalars, Shape
from esegeta.errors import ConfigError

if TYPE_CHECKING:
    from esegeta.explain.captum_method import Captum

CALLS = 2
"""Calls of the function after which a class is taken to have read all of its arguments."""

SIDE = 8
"""Voxels along each axis of the image that is tried, where no argument speaks of the real one's."""

FITS_IMAGE = ("sliding_window_shapes", "strides")
"""Arguments whose values must fit the image."""


class _EnoughError(Exception):
    """The class has called the function often enough."""


class _Sum:
    """The sum over an image in the place of a prediction's target; ends after some calls."""

    def __init__(self) -> None:
        self.__name__ = "sum"
        self.calls = 0

    def __call__(self, inputs: Batch) -> Scalars:
        if self.calls == CALLS:
            raise _EnoughError
        self.calls += 1
        return inputs.double().flatten(1).sum(dim=1)


def try_arguments(method: Captum, num_channels: int, shape: Shape) -> None:
    """Run a class of Captum on the sum over an image until it has evaluated it twice.

    Args:
        method: the class with its arguments.
        num_channels: channels of the image.
        shape: voxels along each axis of the image, `*S`.

    Raises:
        ConfigError: the class refuses an argument; in its own words.
    """
    fits = any(key in method.arguments for key in FITS_IMAGE)
    size = shape if fits else tuple(min(length, SIDE) for length in shape)
    image = torch.linspace(0.0, 1.0, num_channels * _product(size)).reshape(num_channels, *size)
    given = method.given_arguments() | _stand_ins(method, image)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            method.build(_Sum()).attribute(image[None], **given)
        except _EnoughError:
            return
        except Exception as error:  # on a sum, whatever a class raises is about its arguments
            said = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"captum: {method.class_name} refuses its arguments: {said}",
                hint="see Captum's documentation of the class",
            ) from error


def _stand_ins(method: Captum, image: Tensor) -> dict[str, Any]:
    """Return a small mask of features and a baseline, for those that need the real image."""
    found: dict[str, Any] = {}
    takes = inspect.signature(method.kind.attribute).parameters
    if "feature_mask" in takes and "feature_mask" not in method.arguments:
        found["feature_mask"] = (image[None] > 0.5).long()
    if method.baseline is not None:
        found["baselines"] = torch.zeros_like(image)[None]
    return found


def _product(size: Shape) -> int:
    return int(torch.tensor(size).prod())
