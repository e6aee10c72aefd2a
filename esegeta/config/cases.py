"""From the config's `cases` to the files of each case."""

from __future__ import annotations

import glob
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esegeta.config.keys import NAME_PATTERN
from esegeta.config.parse import RunConfig
from esegeta.config.schema import CaseKeys
from esegeta.errors import ConfigError, DataError
from esegeta.volume import Case

IMAGE_PATTERN = re.compile(r"\.(nii|nii\.gz|png|jpg|jpeg)$", re.IGNORECASE)
CHANNEL_SUFFIX = re.compile(r"_(\d{4})$")
NNUNET_FOLDERS = {"imagesTr": "labelsTr", "imagesTs": "labelsTs"}
"""nnU-Net's folders of images, and the folder of their labels beside each."""

DATALIST_KEYS = ("name", "image", "label", "expected")
"""What is read of an entry of a datalist; it may hold more."""


def list_cases(config: RunConfig) -> list[Case]:
    """Return the cases of a config: a list, a glob, a folder, or a datalist JSON.

    Images in a folder called `imagesTr` or `imagesTs` are nnU-Net's: `_0000`, `_0001` are
    channels of one case, whose label lies in `labelsTr` or `labelsTs` beside the folder. Any
    other image of a glob or folder is a case.

    Raises:
        ConfigError: two cases share a name, or a name cannot be that of a folder.
        DataError: a pattern, folder or datalist yields nothing.
    """
    entries = config.keys.data.cases
    place = config.document.place(("data", "cases"))
    if isinstance(entries, str):
        cases = _cases_from_text(entries, config)
    else:
        cases = [
            _case_from_path(config.find_file(entry))
            if isinstance(entry, str)
            else _case_from_keys(entry, config)
            for entry in entries
        ]
    if not cases:
        raise DataError(f"{place}: data.cases: {entries!r} matches no image")
    repeated = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if repeated:
        raise ConfigError(
            f'{place}: data.cases: two cases have the name "{repeated[0]}"',
            hint="give each case a `name` of its own",
        )
    for case in cases:
        if not NAME_PATTERN.match(case.name):
            raise ConfigError(f'{place}: data.cases: "{case.name}" cannot be a folder name')
    return cases


def _case_from_keys(keys: CaseKeys, config: RunConfig) -> Case:
    paths = [keys.image] if isinstance(keys.image, str) else keys.image
    images = tuple(config.find_file(path) for path in paths)
    label = config.find_file(keys.label) if keys.label is not None else None
    expected = config.find_file(keys.expected) if keys.expected is not None else None
    return Case(keys.name or _stem(images[0]), images, label, expected)


def _case_from_path(path: Path) -> Case:
    return Case(_stem(path), (path,))


def _cases_from_text(text: str, config: RunConfig) -> list[Case]:
    path = config.find_file(text)
    if path.is_dir():
        return _cases_in_folder(path)
    if path.suffix == ".json":
        return _cases_in_datalist(path, config)
    found = glob.glob(text, recursive=True, root_dir=config.folder)
    base = config.folder
    if not found:
        found, base = glob.glob(text, recursive=True), Path()
    return _cases_of_images(base / name for name in found)


def _cases_in_folder(folder: Path) -> list[Case]:
    inside = (folder / name for name in NNUNET_FOLDERS)
    images_folder = next((path for path in inside if path.is_dir()), folder)
    return _cases_of_images(images_folder.iterdir())


def _cases_of_images(paths: Iterable[Path]) -> list[Case]:
    groups: dict[tuple[Path, str], list[Path]] = {}
    for image in sorted(paths):
        if IMAGE_PATTERN.search(image.name) and not image.name.startswith("."):
            name = _stem(image)
            if image.absolute().parent.name in NNUNET_FOLDERS and _label_of(image, name) is None:
                name = CHANNEL_SUFFIX.sub("", name)
            groups.setdefault((image.parent, name), []).append(image)
    return [
        Case(name, tuple(images), _label_of(images[0], name))
        for (_, name), images in groups.items()
    ]


def _label_of(image: Path, name: str) -> Path | None:
    """Return the file of that name among nnU-Net's labels, or None where there is none."""
    folder = image.absolute().parent.name
    if folder not in NNUNET_FOLDERS:
        return None
    suffix = image.name.removeprefix(_stem(image))
    label = image.parent.parent / NNUNET_FOLDERS[folder] / f"{name}{suffix}"
    return label if label.is_file() else None


def _cases_in_datalist(path: Path, config: RunConfig) -> list[Case]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such datalist") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    entries = content
    if isinstance(content, dict):
        entries = next(
            (content[key] for key in ("training", "validation", "test") if content.get(key)), None
        )
    if not isinstance(entries, list):
        raise DataError(f"{path}: a datalist holds a list of cases, or one under `training`")
    cases = []
    for index, entry in enumerate(entries):
        values = {"image": entry} if isinstance(entry, str) else entry
        if not isinstance(values, dict):
            raise DataError(f"{path}: entry {index}: {values!r} is neither a path nor a case")
        known = {key: values[key] for key in DATALIST_KEYS if key in values}
        try:
            keys = CaseKeys.model_validate(known)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise DataError(f"{path}: entry {index}: {key}: {problem['msg']}") from error
        beside = [keys.image] if isinstance(keys.image, str) else keys.image
        images = tuple(_beside(path, name, config) for name in beside)
        label = _beside(path, keys.label, config) if keys.label else None
        expected = _beside(path, keys.expected, config) if keys.expected else None
        cases.append(Case(keys.name or _stem(images[0]), images, label, expected))
    return cases


def _beside(datalist: Path, name: str, config: RunConfig) -> Path:
    beside = datalist.parent / name
    return beside if beside.exists() else config.find_file(name)


def _stem(path: Path) -> str:
    return IMAGE_PATTERN.sub("", path.name)
