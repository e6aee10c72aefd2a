"""Files that a pattern matches, found without walking through a whole machine; their order."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from esegeta.errors import DataError

MOST_FOLDERS = 100_000
"""Folders that `**` looks through; more are no data set, but a disk."""
OF_THE_SYSTEM = ("/proc", "/sys", "/dev")
"""Folders of Linux that hold no files; what lies in them is endless."""
SHARED_MEMORY = "/dev/shm"
"""Holds files, as any folder does."""
ANY_DEPTH = "**"


def find_all(pattern: str, folder: Path) -> list[Path]:
    """Return what a pattern matches below a folder; `**` stands for folders of any depth.

    A folder that several links lead to is looked through once, and hidden ones are not.

    Raises:
        DataError: the pattern leads into folders of the system, or to more than a data set holds.
    """
    parts = Path(pattern).expanduser().parts
    if ANY_DEPTH not in parts:
        return [folder / name for name in glob.glob(str(Path(*parts)), root_dir=folder)]
    at = parts.index(ANY_DEPTH)
    behind = [part for part in parts[at:] if part != ANY_DEPTH]  # a second one adds no folder
    start, rest = Path(*parts[:at]), str(Path(*(behind or ("*",))))
    tops = find_all(str(start), folder) if parts[:at] else [folder]
    found: dict[Path, None] = {}
    for inside in _folders_below(tops, pattern):
        found |= dict.fromkeys(inside / name for name in glob.glob(rest, root_dir=inside))
    return list(found)


def _folders_below(tops: Sequence[Path], pattern: str) -> Iterator[Path]:
    """Yield folders and those in them, each once."""
    seen: set[tuple[int, int]] = set()
    for top in tops:
        _refuse_system(str(top), pattern)
        for path, names, _ in os.walk(top, followlinks=True):
            inside = Path(path)
            status = inside.stat()
            if inside.is_symlink() or inside.is_mount():
                _refuse_system(path, pattern)
            if (status.st_dev, status.st_ino) in seen:
                names.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            if len(seen) > MOST_FOLDERS:
                raise DataError(
                    f"{pattern!r} matches in more than {MOST_FOLDERS} folders",
                    hint="start it with the folder of the data set",
                )
            names[:] = sorted(name for name in names if not name.startswith("."))
            yield inside


def system_folder(path: Path) -> str:
    """Return the folder of the system that a path leads into, or nothing."""
    real = path.resolve()
    if real.is_relative_to(SHARED_MEMORY):
        return ""
    return next((top for top in OF_THE_SYSTEM if real.is_relative_to(top)), "")


def _refuse_system(path: str, pattern: str) -> None:
    if system := system_folder(Path(path)):
        raise DataError(f"{pattern!r} searches {system}, which contains no images")


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a key by which unit 2 comes before unit 10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
