"""Networks, their weights, labels and layers."""

from esegeta.model.device import full_float32, held_still, resolve_device, seeded
from esegeta.model.hooks import (
    Change,
    checkpoints_named,
    cut_at,
    held_at,
    inside_checkpoint,
    on_input,
    read_once,
    run_up_to,
    switched_off,
    tap,
)
from esegeta.model.inspection import (
    ALL_LAYERS,
    Layer,
    UnitLayer,
    check_units,
    deepest_layer,
    find_listed,
    find_unit_layers,
    list_layers,
    require_map,
)
from esegeta.model.labels import Activation, Labels
from esegeta.model.layers import find_layer, first_tensor
from esegeta.model.members import State, copied_state, hold, join_members, load_members, state_of
from esegeta.model.network import (
    build_module_network,
    build_monai_network,
    convolution_signature,
)
from esegeta.model.unit import UnitNetwork
from esegeta.model.weights import file_sha256, load_weights, network_sha256, read_state

__all__ = [
    "ALL_LAYERS",
    "Activation",
    "Change",
    "Labels",
    "Layer",
    "State",
    "UnitLayer",
    "UnitNetwork",
    "build_module_network",
    "build_monai_network",
    "check_units",
    "checkpoints_named",
    "convolution_signature",
    "copied_state",
    "cut_at",
    "deepest_layer",
    "file_sha256",
    "find_layer",
    "find_listed",
    "find_unit_layers",
    "first_tensor",
    "full_float32",
    "held_at",
    "held_still",
    "hold",
    "inside_checkpoint",
    "join_members",
    "list_layers",
    "load_members",
    "load_weights",
    "network_sha256",
    "on_input",
    "read_once",
    "read_state",
    "require_map",
    "resolve_device",
    "run_up_to",
    "seeded",
    "state_of",
    "switched_off",
    "tap",
]
