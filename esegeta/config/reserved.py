"""Names in the folder of an experiment that belong to the product, and to no case."""

from __future__ import annotations

from esegeta.results_folder import DATASET, PARTS, REPORT, RUN_RECORD, STALE, TABLES

FOLDERS = frozenset({*PARTS, REPORT, STALE})
FILES = frozenset({RUN_RECORD, DATASET, *TABLES})


def fault_of_folder(name: str) -> str:
    """Say why a case cannot have a name, for its files lie in a folder of it; empty where it can.

    Case does not tell names apart: some disks know no difference.
    """
    if name.casefold() not in FOLDERS | FILES:
        return ""
    return f'a case cannot be called "{name}": the results have a part of that name'
