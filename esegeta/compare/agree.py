"""What folders must agree on to be compared, and which of them are of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from esegeta.compare.folder import RunFolder, owners_of
from esegeta.errors import RunError
from esegeta.report import PredictionFiles
from esegeta.report.shapes import PredictionTold, read_told

ABSENT = "missing"


def require_same_scores(folders: Sequence[RunFolder]) -> None:
    """Refuse scores that were computed with other parameters in another run, the seed apart.

    Raises:
        RunError: names the score, the runs and what differs.
    """

    def used(folder: RunFolder) -> Iterator[str]:
        for metric in dict.fromkeys(row.score for row in folder.rows):
            yield from owners_of(metric, folder.score_names)

    for identity, folder, differing in _disagreements(folders, "scores", used):
        name = folder.score_names[identity]
        raise RunError(
            f'score "{identity}" was computed with different parameters: {differing}; such '
            "values cannot share a table",
            hint=f"give it an id of its own in one run, as in `{{name: {name}, "
            f"id: {identity}_2, ...}}`, and run that again, or compare each run alone",
        )


def require_same_targets(folders: Sequence[RunFolder]) -> None:
    """Refuse targets that share a name but are not the same.

    Raises:
        RunError: names the target, the runs and what differs.
    """

    def used(folder: RunFolder) -> Iterable[str]:
        return (row.target.partition("#")[0] for row in folder.rows)

    for name, _, differing in _disagreements(folders, "targets", used):
        raise RunError(
            f'target "{name}" is not the same in all runs: {differing}',
            hint="give it another `name` in one run and run that again, or compare each run alone",
        )


def require_same_methods(folders: Sequence[RunFolder]) -> None:
    """Refuse methods of one model that share an id but are not the same, the seed apart.

    Raises:
        RunError: names the method, the runs and what differs.
    """
    for identity, _, differing in _disagreements(folders, "methods", _methods):
        raise RunError(
            f'method "{identity}" has different parameters in runs of one model: {differing}',
            hint="give it an id of its own in one run and run that again",
        )


def require_same_images(folders: Sequence[RunFolder]) -> None:
    """Refuse cases of one model that share a name but no input file.

    Raises:
        RunError: names the case and the runs.
    """
    for case, first, second in _other_images(folders):
        raise RunError(
            f'case "{case}" is a different image in {second.path} than in {first.path}: their '
            "input files have nothing in common",
            hint="give the case of one run another `name` and run it again",
        )


def notes_between_models(models: Mapping[str, Sequence[RunFolder]]) -> list[str]:
    """Say where models differ in what shares a name: methods' parameters and cases' images."""
    folders = [folder for group in models.values() for folder in group]
    notes = [
        f'method "{identity}" is not the same for all models: {differing}'
        for identity, _, differing in _disagreements(folders, "methods", _methods)
    ]
    notes += [
        f'case "{case}" is a different image in {second.path} than in {first.path}: models are '
        "paired on different images"
        for case, first, second in _other_images(folders)
    ]
    return notes


def differing_keys(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the keys whose values differ, in order."""
    keys = dict.fromkeys([*one, *other])
    return [key for key in keys if one.get(key, ABSENT) != other.get(key, ABSENT)]


def _methods(folder: RunFolder) -> Iterable[str]:
    return (row.method for row in folder.rows)


def _disagreements(
    folders: Sequence[RunFolder], block: str, used: Callable[[RunFolder], Iterable[str]]
) -> Iterator[tuple[str, RunFolder, str]]:
    """Yield what differs from the first run that has it: identity, run, and how, in words."""
    seen: dict[str, RunFolder] = {}
    for folder in folders:
        for identity in dict.fromkeys(used(folder)):
            first = seen.setdefault(identity, folder)
            one, other = first.parameters(block, identity), folder.parameters(block, identity)
            if not one or not other:  # a record that does not say
                seen[identity] = first if one else folder
                continue
            parts = [
                f"{key} is {one.get(key, ABSENT)} in {first.path} and {other.get(key, ABSENT)} in "
                f"{folder.path}"
                for key in differing_keys(one, other)
            ]
            if parts:
                yield identity, folder, ", ".join(parts)


def _other_images(folders: Iterable[RunFolder]) -> Iterator[tuple[str, RunFolder, RunFolder]]:
    """Yield case and runs wherever a case's input files have nothing in common."""
    seen: dict[str, tuple[RunFolder, set[str]]] = {}
    for folder in folders:
        for case in dict.fromkeys(row.case for row in folder.rows):
            hashes = _inputs_sha256(folder.path, case)
            if not hashes:
                continue
            first, known = seen.setdefault(case, (folder, hashes))
            if not known & hashes:
                yield case, first, folder


def _inputs_sha256(root: Path, case: str) -> set[str]:
    sidecar = read_told(PredictionFiles(root, case).sidecar, PredictionTold) or {}
    inputs = sidecar.get("inputs_sha256")
    return {str(value) for value in inputs.values()} if isinstance(inputs, dict) else set()


def group_by_model(
    folders: Sequence[RunFolder],
) -> tuple[dict[str, list[RunFolder]], list[str]]:
    """Return the runs of each model by its name, and what the reader should know about the names.

    Runs are of one model if name, weights, and all else that decides a prediction are the same.
    Models whose runs share a name are distinguished by their folders.
    """
    groups: dict[tuple[object, ...], list[RunFolder]] = {}
    for folder in folders:
        parts = tuple(sorted(folder.model_parts.items()))
        groups.setdefault((folder.name, folder.weights_sha256, parts), []).append(folder)
    models: dict[str, list[RunFolder]] = {}
    notes = []
    for name in dict.fromkeys(folder.name for folder in folders):
        alike = [group for group in groups.values() if group[0].name == name]
        if len(alike) == 1:
            models[name] = alike[0]
            continue
        for tail, group in zip(_tails([group[0].path for group in alike]), alike, strict=True):
            models[f"{name} ({tail})"] = group
            if group is not alike[0]:
                notes.append(_told_apart(alike[0][0], group[0]))
    return {_model_of(group[0], models): group for group in groups.values()}, [
        *notes,
        *_same_weights(models),
    ]


def _model_of(folder: RunFolder, models: dict[str, list[RunFolder]]) -> str:
    return next(name for name, group in models.items() if group[0] is folder)


def _tails(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that distinguish them, without the end they share."""
    parts = [path.resolve().parts for path in paths]
    while len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    tails = (
        ["/".join(part[-length:]) for part in parts]
        for length in range(1, max(map(len, parts)) + 1)
    )
    return next(found for found in tails if len(set(found)) == len(found))


def _told_apart(first: RunFolder, other: RunFolder) -> str:
    if first.weights_sha256 != other.weights_sha256:
        why = "different weights"
    else:
        keys = differing_keys(first.model_parts, other.model_parts)
        why = f"the same weights, but a different {', '.join(keys)}"
    return (
        f"{other.path} has the name of {first.path} and {why}: treated as two models, named by "
        "folder"
    )


def _same_weights(models: dict[str, list[RunFolder]]) -> list[str]:
    """Say where models of different names hold the same weights."""
    seen: dict[str, RunFolder] = {}
    notes = []
    for group in models.values():
        folder = group[0]
        first = seen.setdefault(folder.weights_sha256, folder)
        if folder.weights_sha256 and first.name != folder.name:
            notes.append(
                f"{folder.path} and {first.path} hold the same weights under two names: "
                "treated as two models"
            )
    return notes
