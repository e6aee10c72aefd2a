"""Cases listed in a file: JSON as the Medical Decathlon and MONAI write it, or CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esegeta.config.data import CaseKeys
from esegeta.errors import DataError, some_of, suggest
from esegeta.plain_json import parse_json

COLUMNS = ("name", "image", "label", "expected", "spacing_mm", "series")
"""Keys that are read from an entry; it may hold more."""
LISTS = ("training", "validation", "test")
CHANNEL_COLUMN = re.compile(r"image_(\d+)")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
BETWEEN_FILES = ";"


def read_datalist(path: Path) -> list[tuple[str, CaseKeys]]:
    """Return the entries of a JSON datalist, each with where it stands.

    A list, or the first of `training`, `validation` and `test` that holds any entry.

    Raises:
        DataError: the file is missing or not JSON, or an entry is not a case.
    """
    try:
        content: Any = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such datalist") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    entries = content
    if isinstance(content, dict):
        entries = next((content[key] for key in LISTS if content.get(key)), None)
    if not isinstance(entries, list):
        raise DataError(
            f"{path}: a datalist holds a list of cases, or one under `training`",
            hint="for an nnU-Net data set, name the folder instead",
        )
    found = []
    for index, entry in enumerate(entries):
        values = {"image": entry} if isinstance(entry, str) else entry
        place = f"{path}: entry {index}"
        if not isinstance(values, dict):
            raise DataError(f"{place}: {values!r} is neither a path nor a case")
        known = {key: values[key] for key in COLUMNS if key in values}
        found.append((place, _case_keys(known, place)))
    return found


def read_table(path: Path) -> list[tuple[str, CaseKeys]]:
    """Return the rows of a CSV or TSV of cases, each with where it stands.

    Columns are `name`, `image`, `label`, `expected`, `spacing_mm` and `series`; several channels
    are columns `image_0`, `image_1`, or paths with `;` between them. Others are passed over.

    Raises:
        DataError: the file is missing or not text, has no column of images, or a row is not a case.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such table of cases") from error
    except ValueError as error:
        raise DataError(f"{path}: not a text in UTF-8 ({error})") from error
    rows = csv.reader(text.splitlines(), delimiter=DELIMITERS[path.suffix.lower()])
    header = [name.strip() for name in next(rows, [])]
    _require_images(header, path)
    found = []
    for row in rows:
        place = f"{path}:{rows.line_num}"
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(header):
            raise DataError(
                f"{place}: {len(row)} cells in a row of {len(header)} columns",
                hint='put cells that contain the separator in quotes: "a,b"',
            )
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=False)}
        found.append((place, _case_keys(dict(_values(cells, place)), place)))
    return found


def _require_images(header: list[str], path: Path) -> None:
    if "image" in header or any(CHANNEL_COLUMN.fullmatch(name) for name in header):
        return
    names = some_of(header) or "nothing"
    if len(header) == 1 and BETWEEN_FILES in header[0]:
        hint = "its columns are separated by `;`; save it with commas"
    else:
        hint = f"{suggest('image', header)}; channels are image_0, image_1, ..."
    raise DataError(f"{path}:1: no column `image`; the columns are {names}", hint=hint)


def _values(cells: dict[str, str], place: str) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a case that a row holds."""
    images = [
        (int(match[1]), cell)
        for name, cell in cells.items()
        if (match := CHANNEL_COLUMN.fullmatch(name)) and cell
    ]
    if images and cells.get("image"):
        raise DataError(f"{place}: both `image` and `image_{images[0][0]}` name files")
    if images:
        yield "image", [cell for _, cell in sorted(images)]
    for name in COLUMNS:
        cell = cells.get(name, "")
        if not cell:
            continue
        several = [part.strip() for part in cell.split(BETWEEN_FILES)]
        is_list = name in ("image", "series") and len(several) > 1
        yield (
            name,
            re.split(r"[;,\s]+", cell) if name == "spacing_mm" else (several if is_list else cell),
        )


def _case_keys(values: dict[str, Any], place: str) -> CaseKeys:
    try:
        return CaseKeys.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{place}: {key}: {problem['msg']}") from error
