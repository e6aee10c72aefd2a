"""What memory is free and what is held, where the system says so in other words or not at all."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from esegeta.workflow import memory
from esegeta.workflow.memory import (
    free_bytes,
    held_bytes,
    limit_memory,
    release_heap,
    release_unused,
)
from tests.second_memory import MEMORY

GB = 2**30
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


def test_of_a_graphics_card_its_own_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (700 + device.index, 900))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 40 + device.index)
    assert free_bytes(CUDA) == 701
    assert held_bytes(CUDA) == 41


@pytest.mark.parametrize("text", ["Name: python\nThreads: 1\n", None], ids=["without", "gone"])
@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_a_system_that_tells_no_present_memory_tells_the_largest(
    text: str | None, platform: str, unit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "status").write_text(text)
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=70))
    assert held_bytes(CPU) == 70 * unit


@pytest.mark.parametrize("has_trim", [True, False])
def test_what_was_freed_is_given_back_where_the_c_library_can(
    has_trim: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    library = SimpleNamespace(malloc_trim=asked.append) if has_trim else SimpleNamespace()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    release_heap()
    assert asked == [0] * has_trim


def test_a_graphics_card_gives_no_more_than_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a share of its memory, of which there is at most one."""
    given: list[tuple[float, int]] = []
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda device: SimpleNamespace(total_memory=8 * GB)
    )
    monkeypatch.setattr(
        "torch.cuda.set_per_process_memory_fraction",
        lambda share, device: given.append((share, device.index)),
    )
    for limit in (2 * GB, 16 * GB):
        limit_memory(CUDA, limit)
    limit_memory(CPU, GB)
    assert given == [(0.25, 1), (1.0, 1)]


@pytest.mark.parametrize("is_used", [True, False])
def test_what_no_device_holds_any_more_is_given_back(
    is_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[str] = []
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: is_used)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: freed.append("cache"))
    release_unused()
    assert freed == ["cache"] * is_used


def test_every_kind_of_device_is_asked_for_its_own_memory(second: torch.device) -> None:
    module = torch.get_device_module(second)
    assert free_bytes(second) == MEMORY and held_bytes(second) == 0
    before = module.empties
    release_unused()
    assert module.empties == before + 1
    limit_memory(second, MEMORY / 4)
    assert module.share == 0.25
    limit_memory(second, MEMORY)
