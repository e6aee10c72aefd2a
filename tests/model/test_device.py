"""Devices by name, and errors for those that are not there."""

import pytest
import torch

from esegeta.errors import DeviceError
from esegeta.model import resolve_device


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Pretend that this many CUDA devices are there."""
    count = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("cuda", "name", "expected"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["cuda"],
)
def test_available_devices_are_resolved(cuda: None, name: str, expected: str) -> None:
    assert resolve_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("cuda", "name", "message"),
    [
        (0, "cuda", "finds no CUDA.*auto"),
        (0, "cuda:1", "finds no CUDA"),
        (2, "cuda:2", "there are 2 devices"),
        (1, "gpu", '"gpu" is not a device'),
        (1, "", "is not a device"),
        (1, "meta", "is not supported"),
    ],
    indirect=["cuda"],
)
def test_unavailable_devices_are_refused(cuda: None, name: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        resolve_device(name)
