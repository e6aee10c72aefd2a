"""The layers that are dissected: which are asked for, found in the network, and tried out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch

from esegeta.axes import Batch
from esegeta.config import RunConfig, blamed_on
from esegeta.config.dissection import DissectionKeys, layer_names
from esegeta.errors import ConfigError
from esegeta.model import UnitLayer, find_unit_layers, held_still, switched_off
from esegeta.predict import empty_window
from esegeta.workflow import Basis


def with_layers(config: RunConfig, layers: Sequence[str]) -> RunConfig:
    """Return a config with other layers, which are known to come from the option."""
    if config.keys.dissection is None:
        return config
    option = f"--layers {','.join(layers)}"
    try:
        names = layer_names(list(layers))
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from error
    keys = config.keys.dissection.model_copy(update={"layers": names})
    document = config.document.given_by(option, ("dissection", "layers"))
    changed = config.keys.model_copy(update={"dissection": keys})
    return replace(config, keys=changed, document=document)


def find_layers(basis: Basis, keys: DissectionKeys) -> tuple[UnitLayer, ...]:
    """Return the layers that the config's `dissection` names, by one window of zeros."""
    predictor = basis.predictor
    with held_still(predictor.network):
        return find_unit_layers(predictor.network, keys.layers, window_of_zeros(basis))


def without_other_layers(keys: DissectionKeys, found: Collection[str]) -> DissectionKeys:
    """Return the keys with an ablation of only the layers that the command line asks for."""
    if keys.ablation is None or keys.ablation.layers == "all":
        return keys
    left = [name for name in keys.ablation.layers if name in found]
    ablation = keys.ablation.model_copy(update={"layers": left}) if left else None
    return keys.model_copy(update={"ablation": ablation})


def window_of_zeros(basis: Basis) -> Batch:
    """Return a window of zeros, `1 C *W`, to try the network out with."""
    predictor = basis.predictor
    return empty_window(predictor.network, predictor.plan.size, basis.reading.num_channels)


def check_switches(basis: Basis, layers: Sequence[str], block: str) -> None:
    """Switch a unit of each of some layers off for a window of zeros.

    Raises:
        LayerError: a layer returns more than one tensor; placed at a block of `dissection`.
    """
    network, window = basis.predictor.network, window_of_zeros(basis)
    with blamed_on(basis.config, "dissection", block), torch.no_grad(), held_still(network):
        for layer in layers:
            with switched_off(network, layer, [0]):
                network(window)
