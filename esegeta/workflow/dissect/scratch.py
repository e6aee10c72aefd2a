"""What a dissection can make again at any time, kept on disk to be made but once.

Nothing waits until it is safely on the disk, as records do: of a small image that took longer than
the work itself. After a loss of power such a file may be there and hold zeros. Its header says what
its bytes sum up to, so that one that does not is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from torch import Tensor

from esegeta.volume import output_faults, temporary_name
from esegeta.workflow.cache import MARK, on_host, save_with_header, tensors_with_header

SUM = "sum"
WORD = np.dtype(np.uint64)


def keep_scratch(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors with a fingerprint, whole or not at all as long as the system runs.

    Raises:
        OutputError: the folder cannot be written.
    """
    whole = on_host(tensors)
    temporary = path.with_name(temporary_name(f"scratch{path.suffix}"))
    try:
        with output_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_with_header(temporary, {MARK: key, SUM: _sum(whole)}, whole)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_scratch(path: Path, key: str) -> dict[str, Tensor] | None:
    """Return the tensors; None where none are kept under this fingerprint, or not as written."""
    found = tensors_with_header(path, key)
    if found is None:
        return None
    header, tensors = found
    return tensors if header.get(SUM) == _sum(tensors) else None


def _sum(tensors: Mapping[str, Tensor]) -> int:
    """Return the sum of the tensors' words of 64 bits, modulo 2^64, and of the bytes left over."""
    total = 0
    for tensor in tensors.values():
        data = tensor.numpy().reshape(-1).view(np.uint8)
        end = len(data) - len(data) % WORD.itemsize
        total += int(data[:end].view(WORD).sum(dtype=WORD)) + int(data[end:].sum())
    return total % 2**64
