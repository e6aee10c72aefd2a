"""Which experiment a folder of results belongs to, and by which configs it has come about."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from esegeta.config import RunConfig
from esegeta.errors import OutputError
from esegeta.report import read_sidecar
from esegeta.report.files import read_record_head
from esegeta.volume import write_json
from esegeta.workflow.cache import fingerprint

NAME = ".experiment.json"
"""Says in every folder of results whose it is; run.json of a run says the same."""
LINEAGE = "lineage"
ELSEWHERE = ("output", "device", "report", "cluster")
"""Keys that decide where and how an experiment is run, not what it is."""


SAME = ("config_file", "from_results", "config_sha256")
"""Any of these tells that two configs are of one experiment."""


@dataclass(frozen=True)
class Edition:
    """A config as it was when a command ran it.

    Args:
        config_file: the config's path.
        from_results: the same path, as it leads there from the folder of results.
        config_sha256: hash of its keys, but for those of where and how.
        since: when a command first ran it here.
    """

    config_file: str
    from_results: str
    config_sha256: str
    since: str

    @classmethod
    def of(cls, config: RunConfig, root: Path) -> Edition:
        """Return the edition that a config is now, for a folder of results."""
        keys = {key: value for key, value in config.resolved().items() if key not in ELSEWHERE}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        path = config.document.path.resolve()
        return cls(str(path), os.path.relpath(path, root.resolve()), fingerprint(keys), now)

    def is_of(self, other: Edition) -> bool:
        """Tell whether two editions are of one experiment.

        That is one file, moved together with the results or not, or the same content.
        """
        same = (getattr(self, name) == getattr(other, name) for name in SAME)
        return any(same)


def claim(root: Path, config: RunConfig, *, anew: bool) -> tuple[Edition, ...]:
    """Enter a config into the lineage of a folder, and return the whole of it, oldest first.

    Args:
        root: the output folder, which this process holds.
        config: what is about to run.
        anew: take the folder over from a different experiment.

    Raises:
        OutputError: the folder belongs to a different experiment.
    """
    before, edition = lineage_in(root), Edition.of(config, root)
    if before and not edition.is_of(before[-1]):
        if not anew:
            raise _foreign(root, config, before[-1])
        before = ()
    if before and before[-1].config_sha256 == edition.config_sha256:
        edition, before = replace(edition, since=before[-1].since), before[:-1]
    lineage = (*before, edition)
    content = {"name": config.keys.name, LINEAGE: as_plain(lineage)}
    if read_sidecar(root / NAME) != content:
        write_json(root / NAME, content)
    return lineage


def lineage_in(root: Path) -> tuple[Edition, ...]:
    """Return the editions that have written into a folder, oldest first; none of an unknown one."""
    record = read_sidecar(root / NAME) or read_record_head(root)
    told = record.get(LINEAGE)
    found = (_edition(one) for one in (told if isinstance(told, list) else ()))
    return tuple(one for one in found if one is not None)


def as_plain(lineage: Iterable[Edition]) -> list[dict[str, str]]:
    """Return a lineage as plain values, as records hold it."""
    return [dict(vars(one)) for one in lineage]


def _edition(told: Any) -> Edition | None:
    names = [one.name for one in fields(Edition)]
    if not isinstance(told, Mapping) or not all(isinstance(told.get(n), str) for n in names):
        return None
    return Edition(*(told[name] for name in names))


def _foreign(root: Path, config: RunConfig, owner: Edition) -> OutputError:
    return OutputError(
        f"{root}: contains the results of {owner.config_file}, a different config with the "
        f'name "{config.keys.name}"',
        hint="give this one another `name` (--set name=...) or another folder (-o), or replace "
        "those results with --overwrite",
    )
