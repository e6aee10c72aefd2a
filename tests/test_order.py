"""Each process begins with slow tests and ends with fast ones; none is lost or run twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.order import dealt


@dataclass(frozen=True)
class Item:
    """A test as far as its order goes."""

    number: int
    path: Path
    slow: bool

    def get_closest_marker(self, name: str) -> object:
        """Return something where the test is slow."""
        return self if self.slow and name == "slow" else None


def items_of(*files: str) -> list[Item]:
    """Return tests by files of letters: `s` is slow, `f` is fast."""
    pairs = [(name, letter) for name, letters in enumerate(files) for letter in letters]
    return [Item(n, Path(str(name)), one == "s") for n, (name, one) in enumerate(pairs)]


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("files", [("sfs", "ffff", "ss", "fsf"), ("sss", "f"), ("ff", "f"), ()])
def test_every_process_gets_slow_tests_first(files: tuple[str, ...], processes: int) -> None:
    items = items_of(*files)
    found = dealt(items, processes)
    assert sorted(found, key=lambda item: item.number) == items
    left = list(found)
    for place in range(processes):  # as xdist hands them out
        part = [left.pop(0) for _ in range(len(left) // (processes - place))]
        if files != ("sss", "f"):  # one file is never split, and fills more than a part
            assert [item.slow for item in part] == sorted(
                (item.slow for item in part), reverse=True
            )


def test_tests_of_a_file_stay_on_one_process() -> None:
    found = "".join(item.path.name for item in dealt(items_of("ssff", "ssff", "sfff", "ffff"), 2))
    assert found == "00200112" + "11223333"
