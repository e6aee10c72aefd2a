"""What is said of a network over windows before it starts: of windows, outputs and labels."""

import pytest

import esegeta
from esegeta.predict import Coverage, WindowPlan
from esegeta.predict.notes import notes_on_windows
from tests.builders import linear

MIDDLE = (
    "which cover the 4x2 voxels in its middle: those tile the volume, and windows reach beyond "
    "them (inference.padding: edge)"
)
BETWEEN = "which are interpolated linearly to voxels"


@pytest.mark.parametrize(
    ("positions", "voxels", "said"),
    [
        ((8, 6), (8, 6), ["8x6"]),
        ((4, 6), (8, 6), ["4x6", BETWEEN]),
        ((4, 2), (4, 2), ["4x2", MIDDLE]),
        ((2, 1), (4, 2), ["2x1", MIDDLE, BETWEEN]),
    ],
    ids=["whole", "coarse", "valid", "valid and coarse"],
)
def test_what_becomes_of_an_output_of_another_shape_is_said(
    positions: tuple[int, int], voxels: tuple[int, int], said: list[str]
) -> None:
    plan = WindowPlan((8, 6), coverage=Coverage(positions, voxels, {}), padding="edge")
    (note,) = notes_on_windows(plan)
    assert note == f"the network turns a window of 8x6 into {', '.join(said)}"


def test_a_network_from_python_comes_with_the_notes_of_one_from_a_config() -> None:
    labels = {"whole": [1, 3, 2], "core": 2}
    model = esegeta.load_model(
        linear(2),
        window=(4, 4),
        labels=labels,
        activation="sigmoid",
        region_order=["whole", "core"],
        mirror=(0, 1),
    )
    painted, passes = model.notes
    assert '"whole" is painted as 1' in painted
    assert "4 forward passes per window" in passes
