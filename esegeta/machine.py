"""What this machine has, and what it lacks."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container says how much memory it may have."""


USERS = ("LOGNAME", "USER", "LNAME", "USERNAME")
"""Where Python looks for the name of who works here, before it asks the system."""


MOST_COUNTED = 10_000
"""Of workers, parts, and what each of them has: more is a mistake, and nobody's machine."""


def name_the_user() -> None:
    """Give a user id without a name, as containers have, one that libraries can ask for.

    MONAI asks as it is imported, and the system would answer with a KeyError.
    """
    if any(os.environ.get(name) for name in USERS):
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ[USERS[0]] = f"user-{os.getuid()}"


def memory_bytes() -> int:
    """Return the memory of this machine, or what its container may have of it."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in CGROUPS:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found = min(found, int(text))
    return found
