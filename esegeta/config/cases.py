"""From the config's `cases` to the files of each case."""

from __future__ import annotations

import glob
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esegeta.config.keys import NAME_PATTERN
from esegeta.config.parse import RunConfig
from esegeta.config.schema import CaseKeys
from esegeta.errors import ConfigError, DataError
from esegeta.volume import (
    Case,
    foreign_suffix,
    how_to_convert,
    image_stem,
    is_image,
    not_supported,
)

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
        cases = _cases_from_text(entries, config, place)
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
    return Case(keys.name or image_stem(images[0].name), images, label, expected)


def _case_from_path(path: Path) -> Case:
    return Case(image_stem(path.name), (path,))


def _cases_from_text(text: str, config: RunConfig, place: str) -> list[Case]:
    path = config.find_file(text)
    if path.is_dir() and not foreign_suffix(path.name):
        found = _in_folder(path)
    elif path.suffix == ".json":
        return _cases_in_datalist(path, config)
    else:
        names, base = glob.glob(text, recursive=True, root_dir=config.folder), config.folder
        if not names:
            names, base = glob.glob(text, recursive=True), Path()
        found = [base / name for name in names]
    cases = _cases_of_images(found)
    if not cases:
        _refuse_foreign(found, f"{place}: data.cases: {text!r}")
    return cases


def _refuse_foreign(paths: Sequence[Path], place: str) -> None:
    """Say so where all that was found are images of formats that are not read.

    Raises:
        DataError: there are such images.
    """
    counts = Counter(suffix for path in paths if (suffix := foreign_suffix(path.name)))
    if not counts:
        return
    suffix, count = counts.most_common(1)[0]
    raise DataError(
        f"{place} matches {count} {suffix} file{'s' * (count != 1)} and no image that can be read; "
        f"{not_supported(suffix)}",
        hint=how_to_convert(suffix),
    )


def _in_folder(folder: Path) -> list[Path]:
    inside = (folder / name for name in NNUNET_FOLDERS)
    images_folder = next((path for path in inside if path.is_dir()), folder)
    return list(images_folder.iterdir())


def _cases_of_images(paths: Sequence[Path]) -> list[Case]:
    groups: dict[tuple[Path, str], list[Path]] = {}
    headers = {path.with_suffix("") for path in paths if path.suffix.lower() == ".hdr"}
    for image in sorted(paths):
        if image.suffix.lower() == ".img" and image.with_suffix("") in headers:
            continue  # the voxels of a pair, which its header stands for
        if is_image(image.name) and not image.name.startswith("."):
            name = image_stem(image.name)
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
    suffix = image.name.removeprefix(image_stem(image.name))
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
        cases.append(Case(keys.name or image_stem(images[0].name), images, label, expected))
    return cases


def _beside(datalist: Path, name: str, config: RunConfig) -> Path:
    beside = datalist.parent / name
    return beside if beside.exists() else config.find_file(name)
