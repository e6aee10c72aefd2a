"""Cases of a folder or a glob: nnU-Net's names, one file a sequence, DICOM folders, or files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from esegeta.errors import DataError, some_of, suggest
from esegeta.volume import (
    Case,
    dicom_volumes,
    foreign_suffix,
    holds_dicom,
    how_to_convert,
    image_stem,
    is_dicom_name,
    is_image,
    not_supported,
)

CHANNEL_SUFFIX = re.compile(r"_(\d{4})$")
NNUNET_FOLDERS = {"imagesTr": "labelsTr", "imagesTs": "labelsTs"}
"""nnU-Net's folders of images, and the folder of their labels beside each."""

LABEL_WORDS = ("seg", "label", "labels", "mask", "segmentation")
"""Names of the label map that lies beside files of one sequence each."""
WORD_ENDS = "_-."


def cases_in_folder(folder: Path, channels: Sequence[str]) -> list[Case]:
    """Return the cases of a folder.

    It is one case where it holds the slices of a DICOM series itself; files of several frames are
    one case each. Otherwise each image in it is a case, or each group of images named after the
    channels; without any image, each folder in it that holds DICOM or such images is a case.

    Raises:
        DataError: a channel of a case is missing, or is there twice.
    """
    inside = (folder / name for name in NNUNET_FOLDERS)
    images_folder = next((path for path in inside if path.is_dir()), folder)
    if images_folder is folder and holds_dicom(folder):
        volumes = dicom_volumes(folder)
        if len(volumes) > 1:
            return [Case(image_stem(path.name), (path,)) for path in volumes]
        return [Case(folder.absolute().name, (folder,))]
    found = list(_seen(images_folder))
    cases = cases_of_images(found, channels)
    if cases or images_folder is not folder:
        return cases
    folders = sorted(path for path in found if path.is_dir() and not foreign_suffix(path.name))
    return [case for path in folders if (case := _case_of_folder(path, channels)) is not None]


def cases_of_paths(paths: Sequence[Path], channels: Sequence[str]) -> list[Case]:
    """Return the cases of what a glob matches: images, folders, or slices of DICOM folders."""
    folders = {path for path in paths if path.is_dir() and not foreign_suffix(path.name)}
    folders |= {path.parent for path in paths if is_dicom_name(path.name) and path.is_file()}
    files = [path for path in paths if not path.is_dir()]
    found = [_case_of_folder(path, channels) for path in sorted(folders)]
    return [*(case for case in found if case is not None), *cases_of_images(files, channels)]


def _case_of_folder(folder: Path, channels: Sequence[str]) -> Case | None:
    """Return the case that a folder holds; None where it holds no image.

    Raises:
        DataError: it holds several images, and no channels say which is which.
    """
    if holds_dicom(folder):
        return Case(folder.name, (folder,))
    images, label = images_of_folder(folder, channels)
    return Case(folder.name, images, label) if images else None


def images_of_folder(folder: Path, channels: Sequence[str]) -> tuple[tuple[Path, ...], Path | None]:
    """Return the images of one patient's folder, in the order of the channels, and its label map.

    A file or DICOM folder is that of a channel where its name ends with the channel's.

    Raises:
        DataError: a channel is missing or there twice, or nothing says which image is meant.
    """
    inside = [
        path
        for path in sorted(_seen(folder))
        if (path.is_dir() and holds_dicom(path)) or _is_case_file(path)
    ]
    inside = _without_voxels(inside)
    labels = [path for path in inside if _ends_with(path, LABEL_WORDS)]
    images = [path for path in inside if path not in labels]
    label = labels[0] if len(labels) == 1 else None
    if len(images) == 1 and len(channels) < 2:
        return tuple(images), label
    if not images:
        return (), None
    if len(channels) < 2:
        names = some_of(path.name for path in images)
        raise DataError(
            f"{folder}: holds {len(images)} images: {names}; it is not known which are channels",
            hint="name the channels as the files end: channels: [t1, t2]",
        )
    return tuple(_of_channel(images, channel, folder) for channel in channels), label


def _of_channel(images: Sequence[Path], channel: str, folder: Path) -> Path:
    found = [path for path in images if _ends_with(path, (channel,))]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(path.name for path in found)
        raise DataError(
            f'{folder}: {len(found)} images of channel "{channel}": {names}',
            hint="move one of them elsewhere",
        )
    names_there = [image_stem(path.name) for path in images]
    raise DataError(
        f'{folder}: no image of channel "{channel}"; it holds {some_of(names_there)}',
        hint=f"file names must end with the name of the channel, as in case_{channel}.nii.gz; "
        f"{suggest(channel, [_last_word(name) for name in names_there])}",
    )


def _ends_with(path: Path, words: Iterable[str]) -> bool:
    return bool(_prefix(image_stem(path.name), words)[1])


def _prefix(stem: str, words: Iterable[str]) -> tuple[str, str]:
    """Return a name's part before its last word, and that word; both empty if there is none."""
    lower = stem.lower()
    for word in sorted(words, key=len, reverse=True):
        before = stem[: len(stem) - len(word)]
        if lower.endswith(word.lower()) and (not before or before[-1] in WORD_ENDS):
            return before.rstrip(WORD_ENDS), word
    return "", ""


def _last_word(stem: str) -> str:
    return re.split(r"[_\-.]", stem)[-1]


def _seen(folder: Path) -> Iterable[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _is_case_file(path: Path) -> bool:
    return is_image(path.name) and not path.name.startswith(".") and not path.is_dir()


def _without_voxels(paths: Sequence[Path]) -> list[Path]:
    """Leave out the voxels of .hdr/.img pairs, which their headers stand for."""
    headers = {path.with_suffix("") for path in paths if path.suffix.lower() == ".hdr"}
    return [
        path
        for path in paths
        if path.suffix.lower() != ".img" or path.with_suffix("") not in headers
    ]


def cases_of_images(paths: Sequence[Path], channels: Sequence[str]) -> list[Case]:
    """Return the cases of some image files; other files are ignored.

    Raises:
        DataError: a channel of a case is missing, or is there twice.
    """
    images = [
        path
        for path in _without_voxels(sorted(paths))
        if _is_case_file(path) and not is_dicom_name(path.name)
    ]
    by_channel = _cases_by_channel(images, channels)
    return by_channel if by_channel else _cases_by_name(images)


def _cases_by_channel(images: Sequence[Path], channels: Sequence[str]) -> list[Case]:
    """Return the cases of images that are all named after several channels, or label maps."""
    words = (*channels, *LABEL_WORDS)
    if len(channels) < 2 or not images:
        return []
    groups: dict[tuple[Path, str], list[Path]] = {}
    for image in images:
        before, word = _prefix(image_stem(image.name), words)
        if not word:
            return []
        groups.setdefault((image.parent, before), []).append(image)
    cases = []
    for (folder, before), group in groups.items():
        labels = [path for path in group if _ends_with(path, LABEL_WORDS)]
        found = [path for path in group if path not in labels]
        if not found:
            return []
        where = folder / before if before else folder
        chosen = tuple(_of_channel(found, channel, where) for channel in channels)
        label = labels[0] if len(labels) == 1 else None
        cases.append(Case(before or folder.absolute().name, chosen, label))
    return cases


def _cases_by_name(images: Sequence[Path]) -> list[Case]:
    """Return one case per image; nnU-Net's `_0000`, `_0001` are channels of one."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for image in images:
        name = image_stem(image.name)
        if image.absolute().parent.name in NNUNET_FOLDERS and _label_of(image, name) is None:
            name = CHANNEL_SUFFIX.sub("", name)
        groups.setdefault((image.parent, name), []).append(image)
    return [
        Case(name, tuple(group), _label_of(group[0], name)) for (_, name), group in groups.items()
    ]


def _label_of(image: Path, name: str) -> Path | None:
    """Return the file of that name among nnU-Net's labels, or None where there is none."""
    folder = image.absolute().parent.name
    if folder not in NNUNET_FOLDERS:
        return None
    suffix = image.name.removeprefix(image_stem(image.name))
    label = image.parent.parent / NNUNET_FOLDERS[folder] / f"{name}{suffix}"
    return label if label.is_file() else None


def refuse_foreign(paths: Sequence[Path], place: str) -> None:
    """Raise an error where all that was found are images of formats that are not read.

    Raises:
        DataError: all are of such formats.
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
