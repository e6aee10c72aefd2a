"""Shared by all tests: annotations are checked at run time, seeds and threads are fixed."""

import tests.typecheck

# Before anything imports the package: its annotations become checks.
tests.typecheck.install("esegeta")

import gc  # noqa: E402
import os  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

from tests import order, second_device  # noqa: E402

torch.set_num_threads(1)
# What tests write need not outlast a loss of power: nobody waits for the disk, some forty times in
# a small run. That files are synced in their order is asked in tests/volume/test_atomic.py.
os.fsync = lambda handle: None

PRETRAINED = Path(__file__).parents[1] / "../shared/models"


@pytest.hookimpl(trylast=True)  # those that are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each process begin with slow tests: the short ones are left to even out the end."""
    items[:] = order.dealt(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over modules and thousands of collected tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def whole_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proof that parts of windows are enough: for tests that count passes of tiny networks."""
    monkeypatch.setattr("esegeta.predict.locality.PASSES_OF_PROOF", float("inf"))


@pytest.fixture(params=[2, 3], ids=["2d", "3d"])
def ndim(request: pytest.FixtureRequest) -> int:
    """Number of spatial axes: the test runs for both."""
    return request.param


@pytest.fixture(params=["softmax", "sigmoid"])
def activation(request: pytest.FixtureRequest) -> str:
    """Both activations: the test runs for each."""
    return request.param


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device beside the CPU that refuses what CUDA refuses."""
    monkeypatch.setattr(torch, "Generator", second_device.Generator)
    monkeypatch.setattr("esegeta.model.device.DEVICE_TYPES", ("cpu", "cuda", second_device.NAME))
    return second_device.DEVICE


@pytest.fixture
def pretrained() -> Path:
    """Folder of the real pretrained model; tests that use it skip where it is absent."""
    if not (PRETRAINED / "spleen_ct_unet.state_dict.pt").is_file():
        pytest.skip("the pretrained spleen model is not here")
    return PRETRAINED.resolve()
