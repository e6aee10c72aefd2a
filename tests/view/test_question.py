"""What a page may ask, and all else that is refused."""

from typing import Any

import pytest

from esegeta.errors import ConfigError
from esegeta.view.question import Question

GOOD = {"label": "liver", "method": "saliency", "about": "component", "place_mm": [1, 2.5, -3]}


def test_a_question_is_read() -> None:
    found = Question.of(GOOD, ["liver"], ["saliency"])
    assert found == Question("liver", "saliency", "component", (1.0, 2.5, -3.0))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "an object"),
        (None, "an object"),
        ({**GOOD, "lable": 1}, 'did you mean "label"'),
        ({**GOOD, "label": "livr"}, 'did you mean "liver"'),
        ({**GOOD, "label": 1}, 'label: "1"'),
        ({**GOOD, "method": "occlusion"}, 'method: "occlusion"'),
        ({**GOOD, "about": "organ"}, 'about: "organ"'),
        ({**GOOD, "place_mm": [1, 2]}, "three numbers"),
        ({**GOOD, "place_mm": "123"}, "three numbers"),
        ({**GOOD, "place_mm": [1, 2, True]}, "three numbers"),
        ({**GOOD, "place_mm": [1, 2, float("nan")]}, "three numbers"),
        ({**GOOD, "place_mm": [1, 2, None]}, "three numbers"),
    ],
)
def test_invalid_questions_are_refused(values: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Question.of(values, ["liver"], ["saliency"])
    assert said in str(refused.value)
