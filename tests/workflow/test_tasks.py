"""Tasks of every command are data and top-level functions, so that they can be sent elsewhere."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from esegeta.cli import app
from esegeta.volume import ReadingWarning
from esegeta.workflow.journal import Journal
from esegeta.workflow.task import Desk, Ended, Silence, Task
from tests.experiments import Lab, esegeta, unet_lab
from tests.workflow.dissect.causal import causal_lab
from tests.workflow.retrain.tasks import small_task


def components_lab(folder: Path) -> Lab:
    lab = unet_lab(folder, cases=2, shape=(8, 8), ndim=2)
    parts = {"name": "parts", "label": "liver", "over": "component", "component": "each"}
    lab.keys["targets"].append(parts)
    return lab


LABS: dict[str, tuple[Callable[[Path], Lab], str]] = {
    "run": (components_lab, "components"),
    "dissect": (lambda folder: causal_lab(folder, shape=(12, 10)), "influences"),
    "retrain": (small_task, "reference"),
}


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """All tasks that end from here on, steps among them."""
    seen: list[Task] = []
    append = Journal.append

    def noted(journal: Journal, ended: Ended) -> None:
        seen.append(ended.task)
        append(journal, ended)

    monkeypatch.setattr(Journal, "append", noted)
    return seen


@pytest.mark.parametrize("command", LABS)
@pytest.mark.slow
def test_every_task_survives_pickling(command: str, tasks: list[Task], tmp_path: Path) -> None:
    make, among = LABS[command]
    esegeta(command, make(tmp_path).write())
    assert any(among in task.name for task in tasks)
    for task in tasks:
        assert pickle.loads(pickle.dumps(task)) == task


def test_reading_warnings_become_notes_and_other_warnings_stay() -> None:
    desk = Desk(None, Silence())
    with pytest.warns(RuntimeWarning, match="overflow") as shown, desk.noting_readings():
        for _ in range(2):
            warnings.warn("a.nii: no units: taken as mm", ReadingWarning, stacklevel=1)
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    assert desk.notes == ["a.nii: no units: taken as mm"]
    assert len(shown) == 1


def test_commands_have_the_same_options() -> None:
    shared = {"-o", "--output", "--set", "--device", "--fail-fast", "--overwrite", "-q", "--quiet"}
    options = {
        name: {spelling for one in command.params for spelling in one.opts}
        for name, command in get_command(app).commands.items()
        if name in LABS
    }
    assert options.keys() == LABS.keys()
    assert all(shared <= found for found in options.values()), options
