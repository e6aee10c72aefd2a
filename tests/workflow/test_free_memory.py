"""What memory is free and what is held, where the system says so in other words or not at all."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from esegeta.workflow import free_memory
from esegeta.workflow.free_memory import free_bytes, held_bytes, release_heap

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


def test_memory_of_a_gpu_is_counted_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (700 + device.index, 900))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 40 + device.index)
    assert free_bytes(CUDA) == 701
    assert held_bytes(CUDA) == 41


@pytest.mark.parametrize("text", ["Name: python\nThreads: 1\n", None], ids=["without", "gone"])
@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_stands_in_where_current_memory_is_unknown(
    text: str | None, platform: str, unit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "status").write_text(text)
    monkeypatch.setattr(free_memory, "STATUS", tmp_path / "status")
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=70))
    assert held_bytes(CPU) == 70 * unit


@pytest.mark.parametrize("has_trim", [True, False])
def test_freed_memory_is_returned_to_the_system_if_the_c_library_can(
    has_trim: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    library = SimpleNamespace(malloc_trim=asked.append) if has_trim else SimpleNamespace()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    release_heap()
    assert asked == [0] * has_trim
