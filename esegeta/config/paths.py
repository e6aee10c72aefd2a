"""From a path as it is written in a config to where it leads; what can be no path is refused."""

from __future__ import annotations

import os
from pathlib import Path

from esegeta.config.keys import NO_LETTERS, can_be_written
from esegeta.errors import DataError

LONGEST_PATH = 4096
LONGEST_PART = 255
"""Bytes that systems take; of a longer one they say no more than that they do not."""


def as_path(text: str) -> Path:
    """Return a path, `~` and `~user` replaced.

    Raises:
        DataError: it is empty or too long, or there is no such user.
    """
    if not text.strip():
        raise DataError(f"{text!r} is not a path", hint="give the path of a file or a folder")
    if "\0" in text:
        raise DataError(f"{text[:60]!r} is not a path; it holds a NUL character")
    if not can_be_written(text):
        raise DataError(f"{text[:60]!a} is not a path here: {NO_LETTERS}")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        user = text.partition("/")[0]
        raise DataError(
            f'{text}: there is no user "{user.removeprefix("~")}" here',
            hint="write the folder itself instead of ~",
        ) from error
    longest = max(map(num_bytes, path.parts), default=0)
    if longest > LONGEST_PART or num_bytes(str(path)) > LONGEST_PATH:
        what = (
            f"a name has {longest}" if longest > LONGEST_PART else f"it has {num_bytes(str(path))}"
        )
        most = LONGEST_PART if longest > LONGEST_PART else LONGEST_PATH
        raise DataError(f"{text[:60]}...: {what} bytes, but at most {most} are allowed")
    return path


def num_bytes(text: str) -> int:
    """Return how long a name is where files are."""
    return len(os.fsencode(text))


def is_there(path: Path) -> bool:
    """Tell whether there is a file or a folder.

    Raises:
        DataError: that cannot be known, such as in a folder that may not be read.
    """
    try:
        return path.exists()
    except OSError as error:
        raise DataError(
            f"{str(path)[:200]}: cannot be accessed ({error.strerror})",
            hint="check the path, and the permissions of its folders",
        ) from error


def find_beside(text: str, folder: Path) -> Path:
    """Return a path: relative to a folder, else to where we are.

    `..` behind a link to a folder leads to the parent of the folder itself, as for any program;
    where the parent of the link holds a file of that name too, nobody can know which is meant.

    Raises:
        DataError: it can be no path, or it could be two files.
    """
    given = as_path(text)
    beside = folder / given
    tidy = Path(os.path.normpath(beside))
    as_path(str(beside))
    if ".." in beside.parts and not _is_same(beside, tidy):
        if is_there(beside) and is_there(tidy):
            raise DataError(
                f"{text}: could be {tidy} or {beside.resolve()}, because the path goes through a "
                "symbolic link",
                hint="give the path from the root",
            )
        tidy = tidy if is_there(tidy) else beside
    return tidy if is_there(tidy) or not is_there(given) else given


def _is_same(one: Path, other: Path) -> bool:
    return is_there(one) == is_there(other) and (not is_there(one) or one.samefile(other))
