"""However activations lie in memory, every map is the same but for rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.contracts.explainers import ALL, ROWS, mostly_in_2d
from tests.contracts.rows import make_case
from tests.oracles import relative_gap


@pytest.mark.slow
@pytest.mark.parametrize(("ndim", "method"), mostly_in_2d(ALL))
def test_a_map_does_not_depend_on_how_activations_lie_in_memory(ndim: int, method: str) -> None:
    case = make_case(ndim, 1, shape=(10, 9, 6)[:ndim])
    last = replace(case.model, memory_format="channels_last")
    seen: list[torch.Tensor] = []
    handle = case.model.network.register_forward_pre_hook(
        lambda network, inputs: seen.append(inputs[0])
    )
    found = ROWS[method].explain(last, case.volume, case.target)
    handle.remove()
    wanted = torch.channels_last if ndim == 2 else torch.channels_last_3d
    assert seen or method in ("random_map", "edge_map")
    assert all(one.is_contiguous(memory_format=wanted) for one in seen)
    expected = ROWS[method].explain(case.model, case.volume, case.target)
    assert relative_gap(found.data, expected.data) < 1e-4
