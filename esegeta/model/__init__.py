"""Networks, their weights, labels and layers."""

from esegeta.model.bundle import Bundle, open_bundle
from esegeta.model.capability import (
    Capability,
    capability_of,
    only_batch,
    require_batch,
    require_window,
)
from esegeta.model.checkpointing import without_checkpointing
from esegeta.model.decisions import Decided, DecidedByLogits, Decisions
from esegeta.model.device import (
    full_float32,
    held_still,
    modules_in_use,
    resolve_device,
    resolve_devices,
    seeded,
)
from esegeta.model.export import ExportedNetwork, from_program, load_exported
from esegeta.model.file_hash import file_sha256, hashes_kept_in
from esegeta.model.hooks import (
    Change,
    cut_at,
    held_at,
    is_watched,
    on_input,
    on_output,
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
from esegeta.model.label_maps import (
    Segmentation,
    foreign_integers,
    foreign_note,
    present_integers,
)
from esegeta.model.label_table import Activation
from esegeta.model.labels import Labels, LabelsGiven
from esegeta.model.layers import LayerRun, find_layer, holds_units_last
from esegeta.model.members import (
    LoadedMembers,
    State,
    copied_state,
    hold,
    join_members,
    load_members,
    state_of,
)
from esegeta.model.network import (
    COMPILED_NOTE,
    UnitNetwork,
    build_module_network,
    build_monai_network,
    convolution_signature,
    is_compiled,
    require_packages,
    without_wrappers,
)
from esegeta.model.nnunet import build_nnunet_network
from esegeta.model.output import FIRST, OutputChoice, first_tensor
from esegeta.model.pickled import load_pickled_network
from esegeta.model.plain_tensors import require_finite_parameters
from esegeta.model.postprocessing import Postprocessing, connected_components
from esegeta.model.single import to_single
from esegeta.model.torchscript import load_torchscript
from esegeta.model.weights import (
    LoadedWeights,
    load_weights,
    network_sha256,
    read_state,
)

__all__ = [
    "ALL_LAYERS",
    "COMPILED_NOTE",
    "FIRST",
    "Activation",
    "Bundle",
    "Capability",
    "Change",
    "Decided",
    "DecidedByLogits",
    "Decisions",
    "ExportedNetwork",
    "Labels",
    "LabelsGiven",
    "Layer",
    "LayerRun",
    "LoadedMembers",
    "LoadedWeights",
    "OutputChoice",
    "Postprocessing",
    "Segmentation",
    "State",
    "UnitLayer",
    "UnitNetwork",
    "build_module_network",
    "build_monai_network",
    "build_nnunet_network",
    "capability_of",
    "check_units",
    "connected_components",
    "convolution_signature",
    "copied_state",
    "cut_at",
    "deepest_layer",
    "file_sha256",
    "find_layer",
    "find_listed",
    "find_unit_layers",
    "first_tensor",
    "foreign_integers",
    "foreign_note",
    "from_program",
    "full_float32",
    "hashes_kept_in",
    "held_at",
    "held_still",
    "hold",
    "holds_units_last",
    "is_compiled",
    "is_watched",
    "join_members",
    "list_layers",
    "load_exported",
    "load_members",
    "load_pickled_network",
    "load_torchscript",
    "load_weights",
    "modules_in_use",
    "network_sha256",
    "on_input",
    "on_output",
    "only_batch",
    "open_bundle",
    "present_integers",
    "read_once",
    "read_state",
    "require_batch",
    "require_finite_parameters",
    "require_map",
    "require_packages",
    "require_window",
    "resolve_device",
    "resolve_devices",
    "run_up_to",
    "seeded",
    "state_of",
    "switched_off",
    "tap",
    "to_single",
    "without_checkpointing",
    "without_wrappers",
]
