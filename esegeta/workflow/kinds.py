"""From the keys of `model` to a network before its weights: one function per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from esegeta.config import RunConfig, blamed_on
from esegeta.model import (
    Capability,
    build_module_network,
    build_monai_network,
    build_nnunet_network,
    capability_of,
    load_exported,
    load_pickled_network,
    load_torchscript,
    open_bundle,
    require_batch,
    require_window,
)

CODE_NOTES: Mapping[str, str] = {
    "torchscript": "model.path {path} is code: a TorchScript network runs what is written in it",
    "export": "model.path {path} is code: a program runs what was exported",
    "bundle": "model.path {path} is code: the bundle's classes and expressions were run; its files "
    "stay where they are, and nothing is downloaded",
    "pickled": "model.path {path} is a pickle, which is code; it was run, since it is trusted",
}
"""What is said about networks that are more than data."""


def construct(config: RunConfig, device: torch.device) -> nn.Module:
    """Return the config's network, with its weights where they are of one file with it."""
    keys = config.keys.model
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "monai": lambda: build_monai_network(str(keys.network), keys.args, fetch=keys.fetch),
        "module": lambda: _module(config),
        "torchscript": lambda: load_torchscript(_path(config), device=device),
        "export": lambda: load_exported(_path(config), device=device),
        "bundle": lambda: _bundle(config, device),
        "nnunet": lambda: build_nnunet_network(str(keys.network), keys.args),
    }
    return makers[keys.kind]()


def code_notes(config: RunConfig) -> tuple[str, ...]:
    """Say which code was run to build the network."""
    keys = config.keys.model
    if keys.kind == "module" and not keys.is_pickled:
        return (f"model.class {keys.class_path} is code and was run to build the network",)
    note = CODE_NOTES.get("pickled" if keys.is_pickled else keys.kind)
    return () if note is None else (note.format(path=keys.path),)


def capability_in(config: RunConfig, network: nn.Module) -> Capability:
    """Return what can be done with the config's network; a pickled one cannot be rebuilt."""
    found = capability_of(network)
    return found.of_pickle() if config.keys.model.is_pickled else found


def network_file(config: RunConfig) -> Path:
    """Return the file that holds network and weights in one."""
    path = _path(config)
    script = open_bundle(path).script if config.keys.model.kind == "bundle" else None
    return path if script is None else script


def check_fixed_shape(config: RunConfig, network: nn.Module) -> None:
    """Refuse windows and batch sizes that an exported program was not exported for.

    Raises:
        ModelError: window or batch size differ from those of the export.
    """
    keys = config.keys.inference
    with blamed_on(config, "inference", "window"):
        require_window(network, keys.window)
    if keys.batch_size == "auto":
        return
    with blamed_on(config, "inference", "batch_size"):
        require_batch(network, keys.batch_size, key="inference.batch_size")


def _module(config: RunConfig) -> nn.Module:
    keys, folder = config.keys.model, config.folder.resolve()
    if keys.is_pickled:
        return load_pickled_network(_path(config), folder)
    return build_module_network(str(keys.class_path), keys.args, folder, fetch=keys.fetch)


def _bundle(config: RunConfig, device: torch.device) -> nn.Module:
    """Build the bundle's network, to be given its weights; or load it whole as TorchScript."""
    bundle = open_bundle(_path(config))
    if config.keys.model.weights_files or bundle.script is None:
        return bundle.network()
    return load_torchscript(bundle.script, device=device)


def _path(config: RunConfig) -> Path:
    return config.find_file(str(config.keys.model.path))
