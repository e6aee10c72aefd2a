"""Names in the folder of an experiment that belong to the product, and to no case."""

from __future__ import annotations

FOLDERS = frozenset(
    {
        "stale",
        "dissection",
        "concepts",
        "similarity",
        "examples",
        "features",
        "inspect",
        "retrain",
        "report",
    }
)
FILES = frozenset(
    {
        "run.json",
        "scores.csv",
        "curves.csv",
        "regions.csv",
        "predictions.csv",
        "dataset_description.json",
    }
)


def fault_of_folder(name: str) -> str:
    """Say why a case cannot have a name, for its files lie in a folder of it; empty where it can.

    Case does not tell names apart: some disks know no difference.
    """
    if name.casefold() not in FOLDERS | FILES:
        return ""
    return f'a case cannot be called "{name}": the results have a part of that name'
