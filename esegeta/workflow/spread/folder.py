"""Where processes that share a command leave what others need to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esegeta.plain_json import parse_json

HIDDEN = ".cluster"


@dataclass(frozen=True)
class SharedFolder:
    """The hidden folder of one command in an output folder: a few files a process, none a task.

    Args:
        root: the output folder.
        command: its name, such as run.
    """

    root: Path
    command: str

    @property
    def path(self) -> Path:
        """Where everything lies."""
        return self.root / HIDDEN / self.command

    @property
    def origin(self) -> Path:
        """What the command was started from."""
        return self.path / "origin.json"

    @property
    def gathered(self) -> Path:
        """SHA-256 of the origin of what was gathered last."""
        return self.path / "gathered"

    @property
    def submission(self) -> Path:
        """Which job its controller is, where that was submitted."""
        return self.path / "submitted.json"

    @property
    def journals(self) -> list[Path]:
        """The journals that are there, of parts and of workers, in the order of their names."""
        return sorted((self.path / "journals").glob("*.jsonl"))

    def journal(self, name: str) -> Path:
        """The journal of one process."""
        return self.path / "journals" / f"{name}.jsonl"

    @property
    def processes(self) -> Path:
        """Who has worked on the command, a line each."""
        return self.path / "processes.jsonl"

    def shares(self, count: int) -> Path:
        """Which of so many parts each place belongs to."""
        return self.path / f"parts-of-{count}.json"

    @property
    def logs(self) -> Path:
        """What workers print."""
        return self.path / "logs"


def told_in(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; nothing where there is none."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def commands_in(root: Path) -> list[SharedFolder]:
    """Return the folders of all commands that were shared in an output folder."""
    found = sorted((root / HIDDEN).glob("*/origin.json"))
    return [SharedFolder(root, path.parent.name) for path in found]


def submitted_in(root: Path) -> list[SharedFolder]:
    """Return the folders of commands whose controllers were submitted, and have begun nothing."""
    found = [
        SharedFolder(root, path.parent.name)
        for path in sorted((root / HIDDEN).glob("*/submitted.json"))
    ]
    return [folder for folder in found if not folder.origin.exists()]
