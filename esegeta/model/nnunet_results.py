"""What nnU-Net v2 leaves after training: a folder with dataset.json, plans.json and folds.

nnUNet_results/Dataset012_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres/
    dataset.json  plans.json  fold_0/checkpoint_final.pth  fold_1/...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from esegeta.errors import ModelError, ResultsKeyError, some_of, suggest
from esegeta.model.checkpoint import read_checkpoint
from esegeta.plain_json import parse_json

FILES = ("dataset.json", "plans.json")
PARTS = "__"
"""Separates trainer, plans and configuration in the name of a results folder."""

FINAL = "checkpoint_final.pth"
Fold = int | Literal["all"]


@dataclass(frozen=True, eq=False)
class NnunetResults:
    """A trained nnU-Net, as its folder describes it.

    Args:
        folder: folder that holds `dataset.json` and `plans.json`.
        dataset: contents of `dataset.json`.
        plans: contents of `plans.json`.
        name: name of the configuration, such as `3d_fullres`.
        configuration: what the plans say about the configuration, including all that it inherits.
        checkpoints: checkpoints of the folds, in the order asked for.
        trainer: name of the class that trained it.
        mirror: axes of the network's input that training mirrored, so that inference may mirror
            them too.
    """

    folder: Path
    dataset: Mapping[str, Any]
    plans: Mapping[str, Any]
    name: str
    configuration: Mapping[str, Any]
    checkpoints: tuple[Path, ...]
    trainer: str
    mirror: tuple[int, ...]


def read_nnunet_results(
    path: Path,
    *,
    configuration: str | None = None,
    folds: Sequence[Fold] | Literal["all"] = "all",
    checkpoint: str = FINAL,
) -> NnunetResults:
    """Read the folder that training left, without its weights.

    Args:
        path: the folder, or one above it: of the data set, or of all results.
        configuration: chooses among several, such as `3d_fullres`.
        folds: numbers, or `all` for the folds that exist. The fold of all data is in use where
            there are no others, or as `["all"]`.
        checkpoint: file name in each fold.

    Raises:
        ModelError: something is missing, does not fit together, or is not supported; the message
            names what was found.
    """
    folder = _find_folder(path, configuration)
    dataset, plans = (_read_json(folder / name) for name in FILES)
    checkpoints = _find_checkpoints(folder, folds, checkpoint)
    facts = _read_facts(checkpoints[0])
    args = facts.get("init_args")
    trained = args.get("configuration") if isinstance(args, Mapping) else None
    name = configuration or trained or folder.name.rpartition(PARTS)[2]
    if trained is not None and name != trained:
        raise ResultsKeyError(
            f'{checkpoints[0]}: was trained as configuration "{trained}", not "{name}"',
            hint=f"write configuration: {trained}, or name the folder of {name}",
            key="configuration",
        )
    resolved = _resolve(plans, name, folder / "plans.json")
    _refuse_cascade(resolved, name, folder)
    return NnunetResults(
        folder=folder,
        dataset=dataset,
        plans=plans,
        name=name,
        configuration=resolved,
        checkpoints=checkpoints,
        trainer=str(facts.get("trainer_name", folder.name.partition(PARTS)[0])),
        mirror=tuple(int(axis) for axis in facts.get("inference_allowed_mirroring_axes") or ()),
    )


def _find_folder(path: Path, configuration: str | None) -> Path:
    if not path.exists():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        raise ModelError(f"{path}: no such folder", hint=_suggest_files(path.name, beside))
    if not path.is_dir():
        raise ModelError(
            f"{path}: is a file; kind: nnunet reads the folder that training wrote",
            hint=f"name the folder with {' and '.join(FILES)}",
        )
    if path.name.startswith("fold_") and _is_results(path.parent):
        path = path.parent
    if any((path / name).is_file() for name in FILES):
        return path
    below = sorted(
        folder for pattern in (f"*{PARTS}*", f"*/*{PARTS}*") for folder in path.glob(pattern)
    )
    found = [folder for folder in below if _is_results(folder)]
    # One of the two files alone: the reader then names the other, and not the whole folder.
    torn = [folder for folder in below if any((folder / name).is_file() for name in FILES)]
    if not found and len(torn) == 1:
        return torn[0]
    if not found:
        raise ModelError(
            f"{path}: holds no trained nnU-Net v2: neither {' and '.join(FILES)} nor a folder "
            "trainer__plans__configuration with them",
            hint="name the folder below nnUNet_results, such as "
            "Dataset012_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres",
        )
    names = [_configuration_of(folder) for folder in found]
    wanted = [folder for folder in found if configuration in (None, _configuration_of(folder))]
    if not wanted:
        raise ResultsKeyError(
            f'{path}: no results of configuration "{configuration}"',
            hint=suggest(configuration, names),
            key="configuration",
        )
    if len(wanted) > 1:
        shown = ", ".join(str(folder.relative_to(path)) for folder in wanted)
        key = "`configuration`, or name one in `path`" if configuration is None else "`path`"
        raise ModelError(f"{path}: holds several results: {shown}", hint=f"choose with {key}")
    return wanted[0]


def _is_results(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def _configuration_of(folder: Path) -> str:
    return folder.name.rpartition(PARTS)[2]


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content: Any = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: is missing",
            hint=f"nnU-Net's training writes {' and '.join(FILES)} next to the folds; copy both",
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a mapping")
    return content


def _find_checkpoints(
    folder: Path, folds: Sequence[Fold] | Literal["all"], checkpoint: str
) -> tuple[Path, ...]:
    there = {path.name.removeprefix("fold_"): path for path in folder.glob("fold_*")}
    if not there:
        raise ResultsKeyError(
            f"{folder}: holds no fold",
            hint=f"its weights should be in fold_0/{FINAL} and so on",
            key="folds",
        )
    if folds == "all":
        with_it = [fold for fold, path in there.items() if (path / checkpoint).is_file()]
        numbered = sorted((fold for fold in with_it if fold.isdigit()), key=int)
        chosen = numbered or [fold for fold in with_it if fold == "all"] or sorted(there)[:1]
    else:
        chosen = [str(fold) for fold in folds]
    for fold in chosen:
        if fold not in there:
            raise ResultsKeyError(
                f"{folder}: no fold_{fold}", hint=suggest(fold, sorted(there)), key="folds"
            )
    paths = tuple(there[fold] / checkpoint for fold in chosen)
    for path in paths:
        if not path.is_file():
            raise ResultsKeyError(
                f"{path}: no such checkpoint",
                hint=_suggest_files(checkpoint, path.parent.glob("*.pth")),
                key="checkpoint",
            )
    return paths


def _suggest_files(name: str, paths: Any) -> str:
    names = sorted(path.name for path in paths)
    return suggest(name, names) if names else "the folder is empty or missing"


def _read_facts(path: Path) -> Mapping[str, Any]:
    content = read_checkpoint(path)
    if not isinstance(content, Mapping) or "network_weights" not in content:
        there = some_of(content) if isinstance(content, Mapping) else ""
        raise ModelError(
            f'{path}: is not a checkpoint of nnU-Net v2: it has no "network_weights" '
            f"(its keys: {there or 'none'})"
        )
    return content


def _resolve(plans: Mapping[str, Any], name: str, where: Path) -> Mapping[str, Any]:
    """Return a configuration of the plans with what it inherits; its own values win."""
    known = plans.get("configurations")
    if not isinstance(known, Mapping):
        raise ModelError(
            f"{where}: has no configurations", hint="are these the plans of nnU-Net v1?"
        )
    resolved: dict[str, Any] = {}
    visited: list[str] = []
    while name:
        if name not in known:
            raise ResultsKeyError(
                f'{where}: no configuration "{name}"',
                hint=suggest(name, known),
                key="configuration",
            )
        if name in visited:
            raise ResultsKeyError(
                f'{where}: configuration "{name}" inherits from itself', key="configuration"
            )
        visited.append(name)
        resolved = {**known[name], **resolved}
        name = known[name].get("inherits_from", "")
    return resolved


def _refuse_cascade(configuration: Mapping[str, Any], name: str, folder: Path) -> None:
    previous = configuration.get("previous_stage")
    if previous:
        raise ResultsKeyError(
            f'{folder}: configuration "{name}" is the second stage of a cascade: besides the image '
            f'it takes the segmentation of "{previous}", one channel per label, which esegeta '
            "does not compute",
            hint=f"explain configuration {previous}, or 3d_fullres",
            key="configuration",
        )
