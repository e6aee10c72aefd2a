"""Folders of cases: files without content, and what `data.cases` makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from esegeta.config.cases import list_cases
from esegeta.config.parse import load_config
from esegeta.volume import Case
from tests.experiments import pointwise_lab


def listed(folder: Path, **data: Any) -> list[Case]:
    """Return the cases that a config below a folder lists."""
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["data"] = data
    return list_cases(load_config(lab.write()))


def touch(folder: Path, names: Iterable[str]) -> None:
    """Make empty files, and the folders that they lie in."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def shown(cases: list[Case], root: Path) -> dict[str, tuple[list[str], str | None]]:
    """Return names, files and label of cases, relative to a folder."""

    def short(path: Path) -> str:
        return str(path.relative_to(root))

    return {
        case.name: (
            [short(path) for path in case.images],
            None if case.label is None else short(case.label),
        )
        for case in cases
    }
