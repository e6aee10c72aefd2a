"""What earlier configs of an experiment left in its folder, and the present one does not make."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from esegeta.report import TaskFiles, read_sidecar, scene_key, write_record
from esegeta.report.contents import CONTENTS, is_sealed
from esegeta.report.files import CURVES_ENDING, ENDINGS, read_record_head, scene_file
from esegeta.report.shapes import RunTold, misfit, read_told
from esegeta.report.style import comment_of
from esegeta.results_folder import RUN_RECORD, STALE
from esegeta.workflow.lock import locked

LISTED = "stale"
"""The key of run.json under which they stand."""
PRINT = re.compile(r"[0-9a-f]{64}")
"""What figures of curves and scenes bear: the fingerprint of what they show."""
OF_TASK = re.compile(rf"label-.+_desc-.+_({ENDINGS.pattern})")
OF_PREDICTION = re.compile(r"(label-.+_)?desc-prediction_(dseg|mask|probseg)\.[a-z.]+")
OF_TARGET = re.compile(rf"label-.+_score-.+{re.escape(CURVES_ENDING)}|.+\.mrb")


def find_stale(
    root: Path, tasks: Iterable[Mapping[str, Any]], predictions: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Return the files of cases that no task of a run accounts for, relative to the root.

    Only files that a run has written count: what else lies there, even under such a name, is left
    alone.

    Args:
        root: the run's folder.
        tasks: its tasks, with case, target and method of each.
        predictions: its predictions, with the case of each.
    """
    methods: dict[str, dict[str, list[str]]] = {}
    for task in tasks:
        names = (str(task.get(key)) for key in ("case", "target", "method"))
        case, target, method = map(sys.intern, names)  # few words, said of many tasks
        methods.setdefault(case, {}).setdefault(target, []).append(method)
    cases = {str(one.get("case")) for one in predictions} | set(methods)
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name != STALE)
    return [
        f"{folder.name}/{name}"
        for folder in folders
        for name in _own(
            folder,
            [
                name
                for name in sorted(_written_in(folder))
                if folder.name not in cases
                or not _is_known(folder, name, methods.get(folder.name, {}))
            ],
        )
    ]


def _own(case: Path, names: Sequence[str]) -> list[str]:
    """Return those of some files that a run has written, and nobody else under such a name.

    They are in the list of a sealed sidecar, or bear the mark of a figure or scene of a run.
    """
    listed: set[str] = set()
    for path in case.glob("*.json") if names else ():
        content = read_sidecar(path) or {}
        if isinstance(content.get(CONTENTS), dict) and is_sealed(content):
            listed |= {path.name, *content[CONTENTS]}
    return [name for name in names if name in listed or _is_marked(case / name)]


def _is_marked(path: Path) -> bool:
    if path.suffix == ".mrb":
        return PRINT.fullmatch(scene_key(path)) is not None
    return path.name.endswith(CURVES_ENDING) and PRINT.fullmatch(comment_of(path)) is not None


def _written_in(case: Path) -> Iterator[str]:
    """Yield the names of files in the folder of a case that a run could have written."""
    start = f"{case.name}_"
    for path in case.iterdir():
        rest = path.name.removeprefix(start)
        patterns = (OF_TASK, OF_PREDICTION, OF_TARGET)
        if rest != path.name and any(one.fullmatch(rest) for one in patterns) and path.is_file():
            yield path.name


def _is_known(case: Path, name: str, targets: Mapping[str, Collection[str]]) -> bool:
    """Tell whether a file of a case is of its prediction, or of a target and a method of its."""
    rest = name.removeprefix(f"{case.name}_")
    if OF_PREDICTION.fullmatch(rest):
        return True
    if OF_TARGET.fullmatch(rest):
        starts = tuple(f"label-{target}_score-" for target in targets)
        scenes = {scene_file(case.parent, case.name, target).name for target in targets}
        return rest.startswith(starts) or name in scenes
    return any(
        TaskFiles(case.parent, case.name, target, method).owns(name)
        for target, methods in targets.items()
        for method in methods
    )


def stale_in(root: Path) -> list[str]:
    """Return what the record of a run lists as stale."""
    head = read_record_head(root)  # it stands before the tasks, which may be very many
    record = head if misfit(head, RunTold) is None and LISTED in head else None
    return (record or read_told(root / RUN_RECORD, RunTold) or {}).get(LISTED) or []


def prune(root: Path) -> list[str]:
    """Move what a run's record lists as stale to its folder `stale`, and return what was moved.

    A file of the same name that was moved there earlier is replaced.

    Raises:
        OutputError: another process holds the folder, or it cannot be written.
    """
    with locked(root):
        record = read_told(root / RUN_RECORD, RunTold)
        if record is None:
            return []
        tasks, predictions = record.get("units") or (), record.get("predictions") or ()
        listed = set(stale_in(root))
        moved = [name for name in find_stale(root, tasks, predictions) if name in listed]
        for name in moved:
            target = root / STALE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (root / name).replace(target)
            if not any((root / name).parent.iterdir()):
                (root / name).parent.rmdir()
        write_record(root, {**record, LISTED: []})
    return moved
