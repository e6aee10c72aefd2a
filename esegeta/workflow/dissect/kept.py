"""What a dissection keeps between its passes, so that it can go on where it was killed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from esegeta.volume import atomic_path

MARK = "fingerprint"


def keep(path: Path, tensors: Mapping[str, Tensor], fingerprint: str) -> None:
    """Write tensors with the fingerprint of what decides them, whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(whole, temporary, metadata={MARK: fingerprint})


def kept(path: Path, fingerprint: str) -> dict[str, Tensor] | None:
    """Return the tensors of a file, or None where there is none of this fingerprint."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(MARK) != fingerprint:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def clear(folder: Path) -> None:
    """Remove what was kept."""
    shutil.rmtree(folder, ignore_errors=True)
