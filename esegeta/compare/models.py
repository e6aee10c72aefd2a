"""Which runs are of one model, and what models are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esegeta.compare.agree import differing_keys
from esegeta.compare.folder import RunFolder


def group_by_model(
    folders: Sequence[RunFolder],
) -> tuple[dict[str, list[RunFolder]], list[str]]:
    """Return the runs of each model by its name, and what the reader should know of the names.

    Runs are of one model if name, weights, and all else that decides a prediction are the same.
    Models whose runs share a name are told apart by their folders.
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
    """Return the shortest ends of paths that tell them apart, without the end they share."""
    parts = [path.resolve().parts for path in paths]
    while len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    for length in range(1, max(map(len, parts)) + 1):
        tails = ["/".join(part[-length:]) for part in parts]
        if len(set(tails)) == len(tails):
            return tails
    raise AssertionError("the same folder twice")


def _told_apart(first: RunFolder, other: RunFolder) -> str:
    if first.weights_sha256 != other.weights_sha256:
        why = "other weights"
    else:
        keys = differing_keys(first.model_parts, other.model_parts)
        why = f"the same weights, but another {', '.join(keys)}"
    return f"{other.path} has the name of {first.path} and {why}: two models, told apart by folder"


def _same_weights(models: dict[str, list[RunFolder]]) -> list[str]:
    """Say where models of different names hold the same weights."""
    seen: dict[str, RunFolder] = {}
    notes = []
    for group in models.values():
        folder = group[0]
        first = seen.setdefault(folder.weights_sha256, folder)
        if folder.weights_sha256 and first.name != folder.name:
            notes.append(
                f"{folder.path} and {first.path} hold the same weights under two names: two models"
            )
    return notes
