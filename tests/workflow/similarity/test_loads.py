"""Which maps of units go through the network together, so that they fit into memory."""

from __future__ import annotations

from esegeta.model import UnitLayer
from esegeta.workflow.similarity.sample import BYTES, MB, loads


def test_maps_that_do_not_fit_into_memory_are_made_in_several_passes() -> None:
    """There is room for 5 maps of the first layer, and for none of the last: each goes alone."""
    layers = [UnitLayer("a", 7, (8, 8)), UnitLayer("b", 3, (4, 4)), UnitLayer("c", 2, (99, 99))]
    positions = [64, 16, 10**4]
    room = 5 * 64 * BYTES / MB
    found = [
        [(one.layer, one.first, one.stop) for one in load]
        for load in loads(layers, positions, room_mb=room)
    ]
    assert found == [
        [("a", 0, 5)],
        [("a", 5, 7), ("b", 0, 3)],
        [("c", 0, 1)],  # there is no room for it, so that it goes alone
        [("c", 1, 2)],
    ]
