"""From the config's `cases` to the files of each case."""

from __future__ import annotations

import glob
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esegeta.config.parse import RunConfig
from esegeta.config.schema import NAME_PATTERN, CaseKeys
from esegeta.errors import ConfigError, DataError
from esegeta.volume import Case

IMAGE_PATTERN = re.compile(r"\.(nii|nii\.gz|png|jpg|jpeg)$", re.IGNORECASE)
CHANNEL_SUFFIX = re.compile(r"_(\d{4})$")
NNUNET_FOLDERS = ("imagesTr", "imagesTs")


def list_cases(config: RunConfig) -> list[Case]:
    """Return the cases of a config: a list, a glob, a folder, or a datalist JSON.

    A folder may be laid out as nnU-Net's (`imagesTr` or `imagesTs`, `labelsTr`, channels
    `_0000`); otherwise each image in it is a case.

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
        raise DataError(f"{place}: data.cases: {entries!r} yields no image")
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
    return Case(keys.name or _stem(images[0]), images, label)


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
    images = sorted(base / name for name in found if IMAGE_PATTERN.search(name))
    return [_case_from_path(image) for image in images]


def _cases_in_folder(folder: Path) -> list[Case]:
    images_folder = folder / "imagesTr" if (folder / "imagesTr").is_dir() else folder
    labels_folder = folder / "labelsTr"
    numbers_are_channels = images_folder.name in NNUNET_FOLDERS
    groups: dict[str, list[Path]] = {}
    for image in sorted(images_folder.iterdir()):
        if IMAGE_PATTERN.search(image.name) and not image.name.startswith("."):
            stem = _stem(image)
            name = CHANNEL_SUFFIX.sub("", stem) if numbers_are_channels else stem
            groups.setdefault(name, []).append(image)
    cases = []
    for name, images in groups.items():
        suffix = images[0].name.removeprefix(_stem(images[0]))
        label = labels_folder / f"{name}{suffix}"
        cases.append(Case(name, tuple(images), label if label.is_file() else None))
    return cases


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
        known = {key: values[key] for key in ("name", "image", "label") if key in values}
        try:
            keys = CaseKeys.model_validate(known)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise DataError(f"{path}: entry {index}: {key}: {problem['msg']}") from error
        beside = [keys.image] if isinstance(keys.image, str) else keys.image
        images = tuple(_beside(path, name, config) for name in beside)
        label = _beside(path, keys.label, config) if keys.label else None
        cases.append(Case(keys.name or _stem(images[0]), images, label))
    return cases


def _beside(datalist: Path, name: str, config: RunConfig) -> Path:
    beside = datalist.parent / name
    return beside if beside.exists() else config.find_file(name)


def _stem(path: Path) -> str:
    return IMAGE_PATTERN.sub("", path.name)
