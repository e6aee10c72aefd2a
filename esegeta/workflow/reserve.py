"""Space that is set aside while a command runs, so that a full disk takes its last record."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from esegeta.results_folder import RUN_RECORD
from esegeta.volume import temporary_name

RESERVE_BYTES = 128 * 1024
NOT_HERE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
"""What systems say that set no space aside."""


@dataclass(eq=False)
class Reserve:
    """A temporary file whose space is given back when there is no other.

    Args:
        folder: folder of the results.
    """

    folder: Path
    _path: Path | None = field(default=None, init=False)

    def fill(self) -> None:
        """Set the space aside, twice what the record of an earlier run took at least.

        Raises:
            OSError: there is not even this much.
        """
        record = self.folder / RUN_RECORD
        num_bytes = RESERVE_BYTES + 2 * (record.stat().st_size if record.is_file() else 0)
        self._path = self.folder / temporary_name("reserve")
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(handle, 0, num_bytes)
            finally:
                os.close(handle)
        except OSError as error:
            self.release()
            if error.errno not in NOT_HERE:
                raise

    def release(self) -> None:
        """Give the space back."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
