"""Networks, their weights, labels and layers."""

from esegeta.model.census import ALL_LAYERS, UnitLayer, find_unit_layers
from esegeta.model.device import full_float32, resolve_device
from esegeta.model.labels import Activation, Labels
from esegeta.model.layers import Layer, deepest_layer, find_layer, first_tensor, list_layers, tap
from esegeta.model.network import (
    build_module_network,
    build_monai_network,
    convolution_signature,
)
from esegeta.model.stillness import held_still
from esegeta.model.switch import held_at, switched_off
from esegeta.model.unit import UnitNetwork, check_units
from esegeta.model.weights import file_sha256, load_weights, network_sha256, read_state

__all__ = [
    "ALL_LAYERS",
    "Activation",
    "Labels",
    "Layer",
    "UnitLayer",
    "UnitNetwork",
    "build_module_network",
    "build_monai_network",
    "check_units",
    "convolution_signature",
    "deepest_layer",
    "file_sha256",
    "find_layer",
    "find_unit_layers",
    "first_tensor",
    "full_float32",
    "held_at",
    "held_still",
    "list_layers",
    "load_weights",
    "network_sha256",
    "read_state",
    "resolve_device",
    "switched_off",
    "tap",
]
