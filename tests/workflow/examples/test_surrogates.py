"""Tables of surrogates, before they are fitted."""

import numpy as np
import pytest

from esegeta.workflow.examples.surrogates import _plain


@pytest.mark.parametrize("unit", ["mm", "px"])
def test_only_the_distance_to_the_label_itself_is_left_out(unit: str) -> None:
    names = [f"to_heart_{unit}", f"to_heart_myocardium_{unit}", "mean"]
    columns = {name: np.arange(2.0) for name in names}
    assert list(_plain(columns, [0.5, 1.0], "heart")["columns"]) == names[1:]
