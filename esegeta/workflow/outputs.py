"""What cannot be written, refused before hours of work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from esegeta.config import RunConfig
from esegeta.config.globbing import system_folder
from esegeta.config.keys import twins_in
from esegeta.config.paths import LONGEST_PART, is_there, num_bytes
from esegeta.errors import ConfigError, DataError, OutputError
from esegeta.explain import Explainer
from esegeta.model import Labels
from esegeta.report import CurveFiles, PredictionFiles, TaskFiles
from esegeta.volume import Case, Reading, require_dicom_output
from esegeta.workflow.checks import layer_names
from esegeta.workflow.plans import TargetPlan

COMPONENT = "#999"
"""What the name of one component of a target ends with, at its longest."""


def check_written(config: RunConfig, cases: list[Case], reading: Reading) -> None:
    """Refuse to write DICOM for cases that are not DICOM, or without the package for it.

    Raises:
        ConfigError: names the case.
    """
    if not config.keys.writes_dicom:
        return
    place = config.document.place(("write",))
    for case in cases:
        try:
            require_dicom_output(case.images[0], case.readings(reading)[0].series)
        except DataError as error:
            raise ConfigError(
                f"{place}: write: dicom: {case.name}: {error.message}", hint=error.hint
            ) from error


def check_file_names(
    config: RunConfig,
    cases: Sequence[Case],
    targets: Sequence[TargetPlan],
    methods: Mapping[str, Explainer],
    labels: Labels,
) -> None:
    """Refuse names that do not fit together into the name of a file, or of which two look alike.

    Raises:
        ConfigError: gives the longest name and its parts, or the two.
    """
    named = {
        "targets": [plan.name for plan in targets],
        "methods": [*methods],
        "scores": [*config.scores],
        "data.channels": [*(config.keys.data.channels or ())],
    }
    for key, names in named.items():
        if twins := twins_in(names):
            at = config.document.place(tuple(key.split(".")))
            raise ConfigError(f"{at}: {key}: {twins}", hint="give one of them another name or `id`")
    case = _longest(case.name for case in cases)
    target = _longest(plan.name + COMPONENT * plan.splits for plan in targets)
    method = _longest(methods)
    channel = _longest(config.keys.data.channels or ())
    layers = [layer for explainer in methods.values() for layer in layer_names(explainer)]
    files = TaskFiles(Path(), case, target, method)
    own = PredictionFiles(Path(), case)
    paths = [
        files.channel_standard_error(channel),
        files.layer_map(_longest(layers)),
        files.member_map(99),
        CurveFiles(Path(), case, target).of_score(_longest(config.scores)),
        own.probability(_longest(labels.foreground)),
    ]
    name = _longest(path.name for path in paths)
    length = num_bytes(name)
    if length > LONGEST_PART:
        parts = {"case": case, "target": target, "method": method, "channel": channel}
        lengths = ", ".join(f"{what} {num_bytes(part)}" for what, part in parts.items() if part)
        raise ConfigError(
            f"{config.document.path}: the name of a file would have {length} bytes, but file "
            f"systems allow {LONGEST_PART} ({name[:80]}...)",
            hint=f"shorten names (bytes: {lengths}); `id` names a method",
        )


def _longest(names: Iterable[str]) -> str:
    return max(names, key=num_bytes, default="")


def check_writable(root: Path) -> None:
    """Refuse an output folder that cannot be written, before hours of work; leaves nothing.

    Raises:
        OutputError: says which folder on the way to it does not let it be.
    """
    existing = root
    while not is_there(existing) and existing != existing.parent and not existing.is_symlink():
        existing = existing.parent
    if fault := _fault_of_folder(existing):
        raise OutputError(
            f"{root}: cannot be written ({existing} {fault})",
            hint="choose another folder with `output:` or -o",
        )


def _fault_of_folder(folder: Path) -> str:
    """Say why nothing can be written into what is there; root may write where nothing lasts."""
    if folder.is_symlink() and not folder.exists():
        return "is a broken link"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return "is not a folder that you may write to"
    if system := system_folder(folder):
        return f"is part of {system}, where no files are kept"
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return "is on a read-only disk"
    return ""
