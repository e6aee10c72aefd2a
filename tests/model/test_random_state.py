"""What is drawn without a generator can be repeated, and nobody else's draws change."""

import pytest
import torch
from torch import Tensor

from esegeta.model import seeded
from tests.second_device import MODULE

HOST = torch.device("cpu")


def states() -> list[Tensor]:
    return [torch.get_rng_state(), MODULE.get_rng_state()]


@pytest.fixture(params=["cpu", "testdevice"])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def test_draws_are_decided_by_the_seed(device: torch.device) -> None:
    def drawn(seed: int) -> Tensor:
        with seeded(seed, device):
            return torch.cat([torch.rand(3, device=device).cpu(), torch.rand(3)])

    assert torch.equal(drawn(5), drawn(5))
    assert not torch.isclose(drawn(5), drawn(6)).any()
    torch.manual_seed(5)
    assert torch.equal(drawn(5), torch.cat([torch.rand(3, device=device).cpu(), torch.rand(3)]))


def test_states_are_as_before_also_after_an_exception(device: torch.device) -> None:
    before = states()
    with pytest.raises(ZeroDivisionError), seeded(5, device):
        torch.rand(3, device=device)
        torch.rand(3)
        raise ZeroDivisionError
    assert all(torch.equal(one, other) for one, other in zip(states(), before, strict=True))


def test_other_devices_are_left_alone() -> None:
    before = MODULE.get_rng_state()
    with seeded(5, HOST):
        assert torch.equal(MODULE.get_rng_state(), before)
