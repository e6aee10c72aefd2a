"""What cannot be written, refused before hours of work."""

from __future__ import annotations

import os
from pathlib import Path

from esegeta.config import RunConfig
from esegeta.errors import ConfigError, DataError, OutputError
from esegeta.volume import Case, Reading, require_dicom_output


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


def check_writable(root: Path) -> None:
    """Refuse an output folder that cannot be written, before hours of work; leaves nothing."""
    existing = root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(
            f"{root}: cannot be written ({existing} is not a folder that you may write to)",
            hint="choose another folder with `output:` or -o",
        )
