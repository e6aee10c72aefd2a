"""Weights are data: safetensors, or a state dict that torch loads with `weights_only=True`."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from esegeta.errors import WeightsError, suggest

NESTED_KEYS = ("state_dict", "model_state_dict", "network_weights", "model", "network")
NAMED_AT_MOST = 6


def load_weights(network: nn.Module, path: Path) -> None:
    """Load weights into a network; every tensor must fit and none may be left over.

    Raises:
        WeightsError: the file is missing or more than plain tensors, or does not fit; the
            message names the missing, unexpected and misshapen keys.
    """
    state = read_state(path)
    expected = network.state_dict()
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    misshapen = [
        f"{key} is {tuple(state[key].shape)}, the network's is {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    misfits = [
        f"{kind}: {_some(keys)}"
        for kind, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("wrong shape", misshapen),
        )
        if keys
    ]
    if misfits:
        hint = "do model.network and model.args match the network that was trained?"
        if missing and unexpected:
            hint += f' For "{missing[0]}" {suggest(missing[0], unexpected)}'
        raise WeightsError(f"{path}: the weights do not fit: {'; '.join(misfits)}", hint=hint)
    network.load_state_dict(dict(state))


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict; a common wrapper (`state_dict`, `module.`) is taken off.

    Raises:
        WeightsError: the file is missing, or is not a plain state dict.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file", hint="check model.weights")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in NESTED_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not _all_tensors(content):
        raise WeightsError(
            f"{path}: holds a {type(content).__name__}, not a state dict",
            hint="save it with torch.save(network.state_dict(), path)",
        )
    if content and all(str(key).startswith("module.") for key in content):
        return {str(key).removeprefix("module."): value for key, value in content.items()}
    return content


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; it is read again only when it has changed."""
    known = path.stat()
    return _sha256(path, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: Path, *state: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def network_sha256(network: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers of a network."""
    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error})") from error


def _read_torch(path: Path) -> Any:
    if _is_torchscript(path):
        raise WeightsError(
            f"{path}: is a TorchScript network, not weights",
            hint="use model.kind: torchscript, or save network.state_dict() where it was traced",
        )
    try:
        # Torch warns of what it is about to refuse; the error below says it better.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # On bytes that are no pickle its restricted unpickler fails with any exception there is.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path}: is a pickle that is not plain weights, or is damaged; loading it could run "
            f"code, so it was not loaded ({reason[:160]})",
            hint="where you trust it, save torch.save(network.state_dict(), path) and use that",
        ) from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _all_tensors(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _some(keys: list[str]) -> str:
    shown = ", ".join(keys[:NAMED_AT_MOST])
    return f"{shown} and {len(keys) - NAMED_AT_MOST} more" if len(keys) > NAMED_AT_MOST else shown
