"""From the config's `cases` to the files of each case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from esegeta.config.bids import cases_in_bids
from esegeta.config.data import CaseKeys
from esegeta.config.datalist import DELIMITERS, read_datalist, read_table
from esegeta.config.globbing import find_all
from esegeta.config.keys import fault_of_name, twins_in
from esegeta.config.listing import (
    cases_in_folder,
    cases_of_paths,
    images_of_folder,
    refuse_foreign,
)
from esegeta.config.parse import RunConfig, blamed_on
from esegeta.config.paths import as_path, is_there
from esegeta.config.reserved import fault_of_folder
from esegeta.errors import ConfigError, DataError
from esegeta.volume import Case, foreign_suffix, holds_dicom, image_stem

FindFile = Callable[[str], Path]


def list_cases(config: RunConfig) -> list[Case]:
    """Return the cases of a config: a list, a glob, a folder, a datalist (JSON), or a table (CSV).

    Images in a folder called `imagesTr` or `imagesTs` are nnU-Net's: `_0000`, `_0001` are
    channels of one case, whose label lies in `labelsTr` or `labelsTs` beside the folder. Images
    that are named after `data.channels` are channels of one case. Any other image of a glob or
    folder is a case, and so is a folder of DICOM slices.

    Raises:
        ConfigError: two cases share a name, or a name cannot be that of a folder.
        DataError: a pattern, folder or datalist yields nothing, or a case lacks a channel.
    """
    entries = config.keys.data.cases
    place = config.document.place(("data", "cases"))
    if isinstance(entries, str):
        with blamed_on(config, "data", "cases"):
            cases = _cases_from_text(entries, config)
    else:
        cases = [_case_of_entry(config, index, entry) for index, entry in enumerate(entries)]
    if not cases:
        raise DataError(f"{place}: data.cases: {entries!r} matches no image")
    repeated = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if repeated:
        raise ConfigError(
            f'{place}: data.cases: two cases have the name "{repeated[0]}"',
            hint="give each case a `name` of its own",
        )
    if twins := twins_in(case.name for case in cases):
        raise ConfigError(
            f"{place}: data.cases: {twins}", hint="give each case a `name` of its own"
        )
    for case in cases:
        if fault := fault_of_name(case.name) or fault_of_folder(case.name):
            raise ConfigError(f"{place}: data.cases: {fault}", hint="give the case a `name`")
    series = config.keys.data.series
    if series is None:
        return cases
    return [case if case.series else replace(case, series=(series,)) for case in cases]


def _case_of_entry(config: RunConfig, index: int, entry: CaseKeys | str) -> Case:
    keys = CaseKeys(image=entry) if isinstance(entry, str) else entry
    with blamed_on(config, "data", "cases", index):
        return _case_from_keys(keys, config, config.find_file)


def _case_from_keys(keys: CaseKeys, config: RunConfig, find: FindFile) -> Case:
    """Return the case of an entry; a folder without DICOM holds one file per channel."""
    named = [keys.image] if isinstance(keys.image, str) else keys.image
    images = tuple(find(name) for name in named)
    first, label = images[0], find(keys.label) if keys.label is not None else None
    if len(images) == 1 and first.is_dir() and not foreign_suffix(first.name):
        if holds_dicom(first):
            images *= len(keys.series or (1,))
        else:
            images, beside = images_of_folder(first, config.keys.data.channels)
            label = label or beside
            if not images:
                raise DataError(
                    f"{first}: the folder holds no image that can be read",
                    hint="give the folder of a DICOM series, or one with a file per channel",
                )
    return Case(
        keys.name or image_stem(first.absolute().name),
        images,
        label,
        find(keys.expected) if keys.expected is not None else None,
        spacing_mm=keys.spacing_mm,
        series=keys.series or (),
    )


def _cases_from_text(text: str, config: RunConfig) -> list[Case]:
    data = config.keys.data
    path = config.find_file(text)
    if data.bids is not None:
        if not path.is_dir():
            raise DataError(f"data.cases: {text!r} is not a folder, which `bids` needs")
        return cases_in_bids(path, data.bids)
    if path.suffix.lower() in (".json", *DELIMITERS):
        read = read_datalist if path.suffix.lower() == ".json" else read_table
        find = _finder(path, config)
        cases = []
        for place, keys in read(path):
            try:
                cases.append(_case_from_keys(keys, config, find))
            except DataError as error:
                error.message = f"{place}: {error.message}"
                raise
        return cases
    if path.is_dir() and not foreign_suffix(path.name):
        found = list(path.iterdir())
        cases = cases_in_folder(path, data.channels)
    else:
        found = find_all(text, config.folder) or find_all(text, Path())
        cases = cases_of_paths(found, data.channels)
    if not cases:
        refuse_foreign(found, f"data.cases: {text!r}")
    return cases


def _finder(datalist: Path, config: RunConfig) -> FindFile:
    """Return what finds the files that a list names: beside the list, else as for the config."""

    def find(name: str) -> Path:
        beside = datalist.parent / as_path(name)
        return beside if is_there(beside) else config.find_file(name)

    return find
