"""A whole network in a pickle: code, which is run only where the user says that it is trusted."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from esegeta.errors import ModelError
from esegeta.model.checkpoint import reason_of, require_kind
from esegeta.own_classes import make_importable


def load_pickled_network(path: Path, folder: Path) -> nn.Module:
    """Load what `torch.save(network, path)` wrote; this runs the code in the file.

    Args:
        path: the file; the caller has been told to trust it.
        folder: searched for the modules of its classes first, beside the installed packages.

    Raises:
        ModelError: it is missing, of another kind (which is named), cannot be loaded, or holds no
            network.
    """
    require_kind(path, "pickle")
    make_importable(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.load(path, map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{path}: the network needs the module {error.name}, which was not found",
            hint=f"put it next to the config ({folder}) or install it",
        ) from error
    except Exception as error:  # whatever the pickle's own code raises
        raise ModelError(
            f"{path}: the pickle cannot be loaded ({type(error).__name__}: {reason_of(error)})"
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{path}: holds a {type(network).__name__}, not a network",
            hint="weights alone belong to `weights`, with `class` or kind: monai",
        )
    return network
