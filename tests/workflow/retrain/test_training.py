"""Rows of the tables, from how trainings ended."""

from collections.abc import Mapping

from esegeta.retraining import Training
from esegeta.retraining.samples import EMPTY, REFERENCE, UNTOUCHED, Removal
from esegeta.workflow.retrain.record import dice_rows
from esegeta.workflow.retrain.tasks import TRAINING
from esegeta.workflow.task import Ended, Status, Task


def ended(training: Training, status: Status, dice: Mapping[str, float | None] | None = None):
    task = Task(name=training.name, kind=TRAINING, key="", data={"training": training})
    return Ended(task, status, content={} if dice is None else {"dice": dice})


def test_references_stand_at_the_ends_of_every_mode() -> None:
    results = [
        ended(Training(UNTOUCHED, 0, 1), "done", {"liver": 0.9}),
        ended(Training(EMPTY, 0, 1), "done", {"liver": 0.1}),
        ended(Training(Removal("kar", "ig", 0.3), 0, 1), "done", {"liver": 0.4}),
        ended(Training(Removal("kar", "ig", 0.3), 0, 0), "failed"),
    ]
    found = {
        (row.mode, row.method, row.fraction): row.dice
        for row in dice_rows(results, ["roar", "kar"])
    }
    assert found == {
        ("roar", REFERENCE, 0.0): 0.9,
        ("kar", REFERENCE, 1.0): 0.9,
        ("roar", REFERENCE, 1.0): 0.1,
        ("kar", REFERENCE, 0.0): 0.1,
        ("kar", "ig", 0.3): 0.4,
    }
    assert {row.mode for row in dice_rows(results, ["kar"])} == {"kar"}
