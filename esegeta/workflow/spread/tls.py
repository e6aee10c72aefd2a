"""Certificates of one run: nobody but its owner can speak to its ports, which accept pickles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed.security import Security

ROLES = ("client", "scheduler", "worker")


@contextmanager
def own_certificates(folder: Path) -> Iterator[Security]:
    """Yield the security of one run; its files are for their owner alone, and gone afterwards.

    Args:
        folder: where they lie; workers on other machines read them there.
    """
    made = Security.temporary()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    files: dict[str, str] = {}
    try:
        texts = {"tls_ca_file": made.tls_ca_file}
        for role in ROLES:
            for part in ("cert", "key"):
                name = f"tls_{role}_{part}"
                texts[name] = getattr(made, name)
        for name, text in texts.items():
            path = folder / f"{name}.pem"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as stream:
                stream.write(str(text))
            files[name] = str(path)
        yield Security(require_encryption=True, **files)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
