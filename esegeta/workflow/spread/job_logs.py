"""What a job of a batch system printed: which files are its own, and how they end."""

from __future__ import annotations

import re
from pathlib import Path

FORMS = (
    r".*-{}\.(?:err|out)",  # Slurm, LSF
    r".*-{}\.\d+\.(?:err|out)",  # HTCondor, whose jobs have a process each
    r".*\.[eo]{}",  # PBS, SGE
    r"{}\..*\.(?:ER|OU)",  # PBS, for a folder
)
"""How batch systems call the logs of a job by its number: errors sort before what is printed."""


def logs_of(folder: Path, number: str) -> list[Path]:
    """Return the logs of one job, that of its errors first.

    Args:
        folder: where all jobs leave theirs.
        number: of the job.
    """
    form = re.compile("|".join(form.format(re.escape(number)) for form in FORMS))
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if form.fullmatch(path.name))


def last_words(logs: list[Path]) -> tuple[Path, str] | None:
    """Return the last line that says anything, and the log that it stands in; None without any."""
    for path in logs:
        lines = path.read_text(errors="replace").split("\n")
        for line in reversed(lines):
            if line.strip():
                return path, line.strip()
    return None
