"""What a dissection can make again at any time, kept on disk to be made but once.

Nothing waits until it is safely on the disk, as records do: of a small image that took longer than
the work itself. After a loss of power such a file may be there and hold zeros. Its header says what
its bytes sum up to, so that one that does not is made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from esegeta.volume import output_faults, temporary_name
from esegeta.workflow.cache import MARK, RECORD, header_of_tensors

SUM = "sum"
WORD = np.dtype(np.uint64)


def keep_scratch(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors with a fingerprint, whole or not at all as long as the system runs.

    Raises:
        OutputError: the folder cannot be written.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps({MARK: key, SUM: _sum(whole)})
    temporary = path.with_name(temporary_name(f"scratch{path.suffix}"))
    try:
        with output_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(whole, temporary, metadata={RECORD: header})
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_scratch(path: Path, key: str) -> dict[str, Tensor] | None:
    """Return the tensors; None where none are kept under this fingerprint, or not as written."""
    try:
        with safe_open(path, framework="pt") as file:
            header = header_of_tensors(file.metadata())
            if header.get(MARK) != key:
                return None
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError):
        return None
    return found if header.get(SUM) == _sum(found) else None


def _sum(tensors: Mapping[str, Tensor]) -> int:
    """Return the sum of the tensors' words of 64 bits, modulo 2^64, and of the bytes left over."""
    total = 0
    for tensor in tensors.values():
        data = tensor.numpy().reshape(-1).view(np.uint8)
        end = len(data) - len(data) % WORD.itemsize
        total += int(data[:end].view(WORD).sum(dtype=WORD)) + int(data[end:].sum())
    return total % 2**64
