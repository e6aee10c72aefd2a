"""The tables, the figure and retrain.json: what was trained, how, on what, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from esegeta.explain import parameters_of
from esegeta.report import draw_retraining, write_dice, write_dice_points
from esegeta.results_folder import PARTS
from esegeta.retraining import REFERENCE, DiceRow, RemovalMode, Training
from esegeta.retraining.summary import MEAN, summarize_dice, verdict
from esegeta.workflow.command import CommandState
from esegeta.workflow.record import describe_experiment, ending
from esegeta.workflow.retrain.build import Retraining
from esegeta.workflow.standing import EarlierNotes, TaskRecord, sha256_by_path
from esegeta.workflow.task import Content, Desk, Ended


class RetrainingRecorder:
    """Writes tables, figure and retrain.json from how trainings ended, each time whole.

    Args:
        retraining: retraining that is run.
        inputs: SHA-256 of every file, by case and path.
    """

    def __init__(self, retraining: Retraining, inputs: Mapping[str, Mapping[str, str]]) -> None:
        self._retraining = retraining
        keys, path = retraining.keys, retraining.root / PARTS["retrain"]
        self._earlier = EarlierNotes(path)
        head = {
            **describe_experiment(retraining.experiment),
            "methods": {key: parameters_of(value) for key, value in retraining.methods.items()},
            "recipe": retraining.recipe.describe(),
            "target": retraining.target.name,
            "rank_by": keys.rank_by,
            "baseline": keys.baseline.model_dump(mode="json"),
            "modes": keys.modes,
            "fractions": keys.fractions,
            "seeds": keys.seeds,
            "folds": keys.folds,
            "random": retraining.random,
            "interval": "95 %, random effects of seeds and folds, Satterthwaite's t",
            "inputs_sha256": sha256_by_path(inputs),
        }
        self._record = TaskRecord(path, head)

    def write(self, results: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
        """Write tables and record as things stand."""
        retraining = self._retraining
        rows = dice_rows(results, retraining.keys.modes)
        write_dice(retraining.root, rows)
        write_dice_points(retraining.root, summarize_dice(rows, retraining.random))
        self._record.write(state, notes, map(_described, results))

    def close(self, results: Sequence[Ended], desk: Desk) -> None:
        """Draw the figure, and note what the curves amount to.

        Where nothing was left to do, the notes of the run that did it are repeated.
        """
        retraining = self._retraining
        self._earlier.repeat(results, desk)
        rows = dice_rows(results, retraining.keys.modes)
        desk.note(*verdict(rows, retraining.label))
        summary = summarize_dice(rows, retraining.random)
        if summary:
            labels = list(dict.fromkeys((retraining.label, MEAN)))
            title = _title(retraining)
            draw_retraining(retraining.root, summary, labels, retraining.random, title)


def _title(retraining: Retraining) -> str:
    keys, name = retraining.keys, retraining.experiment.config.keys.name
    return (
        f"{name}: Dice after retraining without (ROAR) or with only (KAR) the voxels that rank "
        f"highest for {retraining.target.name}\n"
        f"mean over {len(keys.seeds)} seeds x {keys.folds} folds with 95 % confidence interval "
        f"(seeds and folds random); in place of removed voxels: {keys.baseline.kind}"
    )


def _described(ended: Ended) -> dict[str, Any]:
    """Return which training ended, and how, as plain values."""
    training: Training = ended.task.data["training"]
    return {**training.describe(), **ending(ended)}


def recall_training(content: Content) -> Content:
    """Return the Dice that a record holds, of each label and their mean."""
    return {"dice": content["dice"]}


def dice_rows(results: Iterable[Ended], modes: Sequence[RemovalMode]) -> list[DiceRow]:
    """Return one row per network and label; references are at the ends of every mode.

    `fraction` is the share removed in ROAR and the share kept in KAR: untouched images are at 0
    in the former and at 1 in the latter.
    """
    rows = []
    for ended in results:
        training: Training = ended.task.data["training"]
        removal = training.removal
        places: list[tuple[RemovalMode, float]] = [(removal.mode, removal.fraction)]
        if removal.method == REFERENCE:
            ends = {"roar": removal.fraction, "kar": 1 - removal.fraction}
            places = [(mode, ends[mode]) for mode in modes]
        rows += [
            DiceRow(mode, removal.method, fraction, training.seed, training.fold, label, dice)
            for mode, fraction in places
            for label, dice in _dice_of(ended.content).items()
        ]
    return rows


def _dice_of(content: Content) -> dict[str, float]:
    # JSON has no NaN.
    found: Mapping[str, float | None] = content.get("dice", {})
    return {label: math.nan if value is None else value for label, value in found.items()}
