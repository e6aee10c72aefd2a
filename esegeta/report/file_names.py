"""How names that users choose stand in names of files: fit for them, and no two the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping
from typing import TypeVar

UNFIT_FOR_FILES = re.compile(r'[\s./\\:*?"<>|]')
"""What separates the parts of a layer's name, and what no file name should hold."""

RUN_OF_UNFIT = re.compile(rf"{UNFIT_FOR_FILES.pattern}+")

Key = TypeVar("Key", bound=Hashable)


def file_part(name: str) -> str:
    """Return a name as it stands in names of files, one hyphen for all that is unfit in a row.

    Names that only differ there are the same then; see `distinct_parts`.
    """
    return RUN_OF_UNFIT.sub("-", name)


def distinct_parts(names: Mapping[Key, str]) -> dict[Key, str]:
    """Return each name as it stands in names of files, such that no two are one file.

    Of names that are the same there, also on systems that do not tell letters apart by case, the
    first stays and the others are numbered: `a-b`, `a-b-2`.
    """
    parts = {key: file_part(name) for key, name in names.items()}
    owners: dict[str, Key] = {}
    for key, part in parts.items():
        owners.setdefault(_folded(part), key)
    for key, part in parts.items():
        number, own = 1, part
        while owners.setdefault(_folded(own), key) != key:
            number += 1
            own = f"{part}-{number}"
        parts[key] = own
    return parts


def _folded(part: str) -> str:
    return unicodedata.normalize("NFC", part).casefold()


def hyphenated(name: str) -> str:
    """Return a name as it stands in names of files, a hyphen for each that is unfit."""
    return UNFIT_FOR_FILES.sub("-", name)
