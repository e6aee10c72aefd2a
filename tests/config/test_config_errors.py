"""Unknown keys in blocks of somebody else's classes: the nearest key, where the block is known."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import ConfigError
from tests.config.short import keys_of
from tests.own_work import TEXT

NUMBERS = count()
BLOCKS = '''

from typing import Annotated, Any
from pydantic import BaseModel, ConfigDict, Tag


@dataclass(frozen=True)
class Part:
    width: int = 1


@dataclass(frozen=True)
class Group:
    part: Part = Part()


class Foreign(BaseModel):
    """A block of another package, which tells its keys to nobody here."""

    model_config = ConfigDict(extra="forbid")
    height: int = 1


@dataclass(frozen=True)
class Mine(TimesInput):
    parts: dict[str, Part] | None = None
    either: Part | Group | None = None
    foreign: Foreign | None = None
    amount: Annotated[int, Tag("some")] | Annotated[str, Tag("word")] = 1
'''


def of_own_class(folder: Path, **parameters: Any) -> None:
    """Load a config whose method is a class beside it, which no other test has imported."""
    name = f"own_blocks_{next(NUMBERS)}"
    (folder / f"{name}.py").write_text(TEXT + BLOCKS, encoding="utf-8")
    keys_of(folder, methods=[{"class": f"{name}:Mine", **parameters}])


@pytest.mark.parametrize(
    ("parameters", "place", "said"),
    [
        ({"parts": {"a": {"widht": 3}}}, "parts.a.widht", 'did you mean "width"?'),
        ({"either": {"part": {"widht": 3}}}, "either.part.widht", "none are known"),
        ({"foreign": {"heigth": 3}}, "foreign.heigth", "none are known"),
    ],
)
def test_an_unknown_key_is_reported_with_its_place(
    parameters: dict[str, Any], place: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        of_own_class(tmp_path, **parameters)
    lines = str(caught.value).splitlines()
    assert any(line.endswith(f": methods[0].{place}: unknown key; {said}") for line in lines), lines


@pytest.mark.parametrize("amount", [3, "many"])
def test_a_choice_with_labels_takes_each_of_them(amount: Any, tmp_path: Path) -> None:
    of_own_class(tmp_path, amount=amount)


def test_a_boolean_is_refused_as_a_number_beside_choices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"methods\[0\]\.amount: should be "):
        of_own_class(tmp_path, amount=True)
