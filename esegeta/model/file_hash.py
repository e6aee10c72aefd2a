"""The SHA-256 of files: read once a process, or not at all where a book knows them from before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

FileState = tuple[int, int]
"""Size in bytes and time of the last change in ns."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; it is read again only when it has changed."""
    known = path.stat()
    return _sha256(path, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns)


@runtime_checkable
class HashBook(Protocol):
    """Hashes that outlive a process."""

    def find(self, path: Path, state: FileState) -> str | None:
        """Return the hash of a file as it was found before, None where it is another now."""

    def keep(self, path: Path, state: FileState, sha256: str) -> None:
        """Take the hash of a file."""


_BOOKS: list[HashBook] = []


@contextmanager
def hashes_kept_in(book: HashBook) -> Iterator[None]:
    """Look for hashes of files in a book before they are read, in this block."""
    _BOOKS.append(book)
    try:
        yield
    finally:
        _BOOKS.remove(book)


@lru_cache(maxsize=4096)
def _sha256(path: Path, *state: int) -> str:
    known: FileState = (state[1], state[2])
    for book in _BOOKS:
        found = book.find(path, known)
        if found is not None:
            return found
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    for book in _BOOKS:
        book.keep(path, known, sha256)
    return sha256
