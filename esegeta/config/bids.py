"""Cases of a BIDS folder: images by their suffix and entities, one case for each set of these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from esegeta.config.data import BidsKeys
from esegeta.errors import DataError, suggest
from esegeta.volume import Case, image_stem, is_image

WHOLE_NUMBER = re.compile(r"0*(\d+)")
DERIVED = ("desc", "space", "res", "label", "seg", "atlas")
"""Entities of label maps that their images need not have."""

Entities = dict[str, str]


def cases_in_bids(folder: Path, keys: BidsKeys) -> list[Case]:
    """Return the cases of a BIDS folder: `sub-*/[ses-*/]datatype/..._suffix.nii.gz`.

    Case names are those of the files without the suffix, such as `sub-01_ses-02`.

    Raises:
        DataError: no image matches, a suffix of a case is missing or there twice, or a
            case has several label maps.
    """
    files = [path for path in _images_below(folder) if _is_wanted(path, keys)]
    groups: dict[str, dict[str, Path]] = {}
    for path in files:
        name, suffix = _split(path)
        group = groups.setdefault(name, {})
        if suffix in group:
            raise DataError(
                f'{folder}: two images of "{name}" with suffix {suffix}: {group[suffix]} '
                f"and {path}",
                hint="name the folder: bids: {datatype: anat}",
            )
        group[suffix] = path
    if not groups:
        raise DataError(
            f"{folder}: no image with suffix {' or '.join(keys.suffix)}{_told(keys)}",
            hint=_nearest(folder, keys),
        )
    labels = list(_label_maps(folder, keys.label)) if keys.label else []
    cases = []
    for name, group in sorted(groups.items()):
        missing = [suffix for suffix in keys.suffix if suffix not in group]
        if missing:
            raise DataError(
                f'{folder}: "{name}" has no image with suffix {missing[0]}, which is a channel',
                hint="leave the case out with `bids: {entities: ...}`, or list the cases by hand",
            )
        images = tuple(group[suffix] for suffix in keys.suffix)
        cases.append(Case(name, images, _label_of(name, labels)))
    return cases


def _images_below(folder: Path) -> Iterator[Path]:
    """Yield the images of subjects, in the raw data."""
    for subject in sorted(folder.glob("sub-*")):
        yield from sorted(path for path in subject.rglob("sub-*") if is_image(path.name))


def _split(path: Path) -> tuple[str, str]:
    """Return a file's entities as they are written, and its suffix."""
    name, _, suffix = image_stem(path.name).rpartition("_")
    return name, suffix


def _entities(name: str) -> Entities:
    parts = (part.partition("-") for part in name.split("_"))
    return {key: value for key, dash, value in parts if dash}


def _of_image(name: str) -> Entities:
    return {key: value for key, value in _entities(name).items() if key not in DERIVED}


def _is_wanted(path: Path, keys: BidsKeys) -> bool:
    name, suffix = _split(path)
    found = _entities(name)
    return (
        suffix in keys.suffix
        and (keys.datatype is None or path.parent.name == keys.datatype)
        and all(_same(found.get(key), str(value)) for key, value in keys.entities.items())
    )


def _same(found: str | None, wanted: str) -> bool:
    """Tell whether an entity is the wanted one; YAML reads `01` as 1."""
    if found is None or found == wanted:
        return found == wanted
    numbers = [WHOLE_NUMBER.fullmatch(text) for text in (found, wanted)]
    return all(numbers) and len({match[1] for match in numbers if match}) == 1


def _label_maps(folder: Path, suffix: str) -> Iterator[Path]:
    for path in sorted({*_images_below(folder), *(folder / "derivatives").rglob("sub-*")}):
        if is_image(path.name) and _split(path)[1] == suffix:
            yield path


def _label_of(name: str, labels: Sequence[Path]) -> Path | None:
    """Return the label map that has the entities of an image, and none that the image lacks.

    Raises:
        DataError: there are several.
    """
    wanted = _of_image(name)
    found = [path for path in labels if _of_image(_split(path)[0]) == wanted]
    if len(found) > 1:
        raise DataError(
            f'"{name}" has {len(found)} label maps: {found[0]} and {found[1]}',
            hint="list the cases in the config, each with the right `label`",
        )
    return found[0] if found else None


def _told(keys: BidsKeys) -> str:
    parts = [f"{key}-{value}" for key, value in keys.entities.items()]
    folder = [f"in {keys.datatype}/"] if keys.datatype else []
    return "".join(f" {part}" for part in (*folder, *(["with", *parts] if parts else [])))


def _nearest(folder: Path, keys: BidsKeys) -> str:
    suffixes = sorted({_split(path)[1] for path in _images_below(folder)})
    if not suffixes:
        return "a BIDS folder holds sub-*/anat/sub-*_T1w.nii.gz"
    return f"it holds {', '.join(suffixes)}; {suggest(keys.suffix[0], suffixes)}"
