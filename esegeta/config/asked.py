"""What one command line asks for: a model, images, a label, methods, and words for a region."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

from esegeta.config.listing import CHANNEL_SUFFIX, NNUNET_FOLDERS
from esegeta.config.targets import Over
from esegeta.errors import DataError, TargetError, suggest
from esegeta.volume import holds_dicom, image_stem, is_image

LISTS = (".json", ".csv", ".tsv")
"""Suffixes of files that list cases rather than being images."""

VOXEL = "voxel"
"""The command line's word for a point that is given as a voxel of the image."""

DEFAULT_OVER = "predicted"


@dataclass(frozen=True)
class Asked:
    """The arguments of `explain` and of `init --from`.

    Args:
        model: folder or file of the model.
        images: one file per channel, a DICOM folder, or a folder of cases, as typed.
        label: name or integer of the label; None for the largest predicted one.
        methods: names of methods; none for the cheapest one that works.
        over: the region, such as `component` or `voxel:10,20,30`.
        device: auto, cpu, cuda or cuda:1.
        overrides: overrides as `key=value`.
    """

    model: Path
    images: Sequence[str] = ()
    label: str | int | None = None
    methods: Sequence[str] = ()
    over: str = DEFAULT_OVER
    device: str = "auto"
    overrides: Sequence[str] = ()


def asked_of(
    model: Path,
    images: Sequence[str],
    label: str | None,
    methods: Sequence[str] | None,
    over: str,
    device: str | None,
    overrides: Sequence[str] | None,
) -> Asked:
    """Return arguments as a command line hands them over; a label of digits is an integer."""
    return Asked(
        model,
        images,
        int(label) if label is not None and label.isdigit() else label,
        methods or (),
        over,
        device or "auto",
        overrides or (),
    )


def target_of(label: str | int, over: str) -> dict[str, Any]:
    """Return the keys of a target.

    Raises:
        TargetError: the region is unknown, or what follows its colon is not what it takes.
    """
    word, _, rest = over.partition(":")
    word = "point" if word == VOXEL else word
    known = get_args(Over)
    if word not in known:
        words = [VOXEL if name == "point" else name for name in known]
        raise TargetError(f'--over: "{over}" is not a region', hint=suggest(word, words))
    keys: dict[str, Any] = {"label": label, "of": "logit", "over": word}
    try:
        keys |= _parameters(word, rest)
    except ValueError as error:
        raise TargetError(f'--over: "{over}" is not understood', hint=FORMS[word]) from error
    if over != DEFAULT_OVER:
        shown = re.sub(r"[^\w.]+", "-", over if word != "roi" else "roi").strip("-")
        keys = {"name": f"{label}-{shown.replace('_', '-')}", **keys}
    return keys


FORMS = {
    "point": "write the voxel's indices as in the file, counted from 0: voxel:10,20,30",
    "box": "write the first voxel, and one past the last: box:0,0,0:8,8,8",
    "roi": "name the mask's file: roi:mask.nii.gz",
    "component": "write component, component:2 for the second largest, or component:each",
    "boundary": "write boundary, or boundary:3 for the voxels within 3 mm of the surface",
    **dict.fromkeys(
        ("predicted", "label", "false_positive", "false_negative", "otsu", "all"),
        "it takes nothing after a colon",
    ),
}
"""How each region is written on a command line."""


def _parameters(word: str, rest: str) -> dict[str, Any]:
    """Return the keys of a region from the text behind its colon."""
    if word == "point":
        return {"point": [float(text) if "." in text else int(text) for text in rest.split(",")]}
    if word == "box":
        first, last = rest.split(":")
        return {"box": [[int(text) for text in corner.split(",")] for corner in (first, last)]}
    if word == "roi":
        if not rest:
            raise ValueError(word)
        return {"roi": str(Path(rest).expanduser().absolute())}
    if word == "component" and rest:
        return {"component": rest if rest in ("each", "largest") else int(rest)}
    if word == "boundary" and rest:
        return {"within_mm": float(rest)}
    if rest:
        raise ValueError(word)
    return {}


def cases_of(images: Sequence[str], *, is_nnunet: bool) -> str | list[dict[str, Any]]:
    """Return `data.cases` of some images.

    Args:
        images: the images, as typed.
        is_nnunet: whether files ending in `_0000`, `_0001` are channels, in any folder.

    Raises:
        DataError: one of them is not there.
    """
    if len(images) == 1 and not os.path.lexists(images[0]) and glob.glob(images[0], recursive=True):
        return str(Path(images[0]).absolute())
    paths = [_found(text) for text in images]
    first = paths[0]
    if len(paths) == 1 and first.is_dir() and not holds_dicom(first):
        grouped = _by_number(first) if is_nnunet else []
        return grouped or str(first)
    if len(paths) == 1 and first.suffix.lower() in LISTS:
        return str(first)
    if _numbered(paths):
        paths = sorted(paths, key=lambda path: image_stem(path.name))
    named = [str(path) for path in paths]
    return [{"name": _name_of(paths), "image": named[0] if len(named) == 1 else named}]


def _found(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if path.exists():
        return path
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(
        f"IMAGE: {text}: no such file or folder",
        hint=suggest(path.name, sorted(beside)) if beside else "check the path",
    )


def _numbered(paths: Sequence[Path]) -> bool:
    """Whether files are the channels 0, 1, ... of one case, as nnU-Net numbers them."""
    stems = [image_stem(path.name) for path in paths]
    cut = {CHANNEL_SUFFIX.sub("", stem) for stem in stems}
    return len(paths) > 1 and len(cut) == 1 and cut.isdisjoint(stems)


def _by_number(folder: Path) -> list[dict[str, Any]]:
    """Return the cases of a folder whose images are all numbered as nnU-Net numbers channels."""
    if folder.name in NNUNET_FOLDERS or any((folder / name).is_dir() for name in NNUNET_FOLDERS):
        return []
    images = [path for path in sorted(folder.iterdir()) if path.is_file() and is_image(path.name)]
    groups: dict[str, list[str]] = {}
    for path in images:
        stem = image_stem(path.name)
        if not CHANNEL_SUFFIX.search(stem):
            return []
        groups.setdefault(CHANNEL_SUFFIX.sub("", stem), []).append(str(path))
    return [
        {"name": name, "image": files[0] if len(files) == 1 else files}
        for name, files in groups.items()
    ]


def _name_of(paths: Sequence[Path]) -> str:
    """Return the name of the case that some files make up: the common start of their names."""
    stems = [CHANNEL_SUFFIX.sub("", image_stem(path.name)) for path in paths]
    alike = zip(*stems, strict=False)
    common = "".join(letters[0] for letters in takewhile(lambda them: len({*them}) == 1, alike))
    return common.rstrip("_-. ").lstrip(". ") or stems[0].lstrip(". ") or "case"
