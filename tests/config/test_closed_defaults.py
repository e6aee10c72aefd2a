"""What an exported program says of its windows, and what has to be guessed."""

from pathlib import Path

import pytest

from esegeta.config.closed_defaults import GUESSED, closed_defaults
from tests.builders import pointwise
from tests.closed import save_export


@pytest.mark.parametrize("free", [(), (0, 2)], ids=["fixed", "free"])
def test_only_dynamic_window_lengths_of_a_program_are_guessed(
    free: tuple[int, ...], tmp_path: Path
) -> None:
    path = save_export(pointwise(2), (2, 1, 8, 4), tmp_path / "net.pt2", dynamic=free)
    found = closed_defaults({"kind": "export", "path": str(path)}, {}, 1)
    if free:
        assert found.content["inference"] == {"window": [256, 4]}
        assert found.comments["inference"] == GUESSED
    else:
        assert found.content["inference"] == {"window": [8, 4], "batch_size": 2}
        assert "inference" not in found.comments
