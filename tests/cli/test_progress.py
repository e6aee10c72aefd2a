"""How a run looks: plain lines in a log, bars with time left on a terminal, nothing when quiet."""

import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from esegeta.cli.progress import Bars, PlainLines, listen, show_outcome
from esegeta.config import load_config
from esegeta.workflow import Ended, Outcome, Silence, build_experiment, run_experiment
from esegeta.workflow.task import Content, Desk, Fault, Kind, Status, Task
from tests.experiments import Lab, noise, pointwise_lab, save_image, unet_lab

COMMAND = [sys.executable, "-c", "from esegeta.cli import main; main()", "run"]


def lab_of(folder: Path) -> Lab:
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=2)
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    return lab


def test_plain_lines_are_printed_without_a_terminal(tmp_path: Path) -> None:
    result = lab_of(tmp_path).run()
    assert "\x1b" not in result.output
    assert "\r" not in result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith("note: model.class tiny_networks:Pointwise is code")
    ends = [line for line in lines if "done in" in line]
    assert [line.split(":")[0] for line in ends] == [
        "[1/4] a / liver / saliency",
        "[2/4] a / liver / input_x_gradient",
        "[3/4] b / liver / saliency",
        "[4/4] b / liver / input_x_gradient",
    ]
    assert lines[-1].startswith("4 done, 0 skipped, 0 failed in ")
    assert lines[-1].endswith(f"results in {tmp_path / 'out' / 'tiny'}")


def test_tasks_are_counted_when_components_are_found(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    array = np.full((12, 11, 9), -1.0, np.float32)
    array[0:2, 0:2, 0:2] = array[5:7, 5:7, 5:7] = array[10, 10, 8] = 1.0
    save_image(tmp_path / "a.nii.gz", array)
    lab.keys["data"]["cases"].pop()
    lab.keys["targets"] = [{"label": "liver", "component": "each"}]
    result = lab.run()
    assert "[6/6] a / liver#3 / input_x_gradient: done" in result.stdout


def test_quiet_is_silent_when_all_is_well(tmp_path: Path) -> None:
    assert lab_of(tmp_path).run("-q").output == ""


@pytest.mark.slow
def test_bars_on_a_terminal(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    save_image(tmp_path / "b.nii.gz", -1 - np.abs(noise()))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = [*COMMAND, str(lab.write())]
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    ) as process:
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(ours)
    text = b"".join(chunks).decode()
    assert process.returncode == 1, text
    assert "\x1b[" in text
    assert "4/4" in text
    assert "━" in text
    assert "0:00:0" in text
    assert "failures" in text
    assert "input_x_gradient" in text
    assert "2 done, 0 skipped, 2 failed" in text


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_long_tasks_print_their_progress_at_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(clock)
    lines.expect(3)
    lines.begin("a / liver / ig", 1, 40)
    for _ in range(4):
        clock.now += 10
        lines.advance(5)
    lines.advance(5)
    clock.now += 30
    lines.advance(20)
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] a / liver / ig ...",
        "[1/3] a / liver / ig: 15 of 40 windows, about 50 s left",
        "[1/3] a / liver / ig: 45 windows",
    ]


def test_rate_and_time_left_are_printed_at_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(clock)
    lines.expect(10)
    task = Task(name="a", kind=Kind(lambda task, desk: {}), key=None)
    lines.end(Ended(task, "skipped"))  # it took no time, and says nothing of those to come
    for _ in range(4):
        clock.now += 15
        lines.end(Ended(task, "done"))
    said = [line for line in capsys.readouterr().out.splitlines() if "minute" in line]
    # By hand: 2 in 30 s with 7 to come, then 4 in 60 s with 5 to come.
    assert said == [
        "    4 tasks per minute, about 1.75 min left",
        "    4 tasks per minute, about 1.25 min left",
    ]


def state(progress: Progress) -> tuple[float, float, float | None]:
    """Return units done, windows done, and windows foreseen."""
    units, windows = progress.tasks
    return units.completed, windows.completed, windows.total


def shown(progress: Progress) -> tuple[float, bool]:
    return progress.tasks[1].completed, progress.tasks[1].visible


def test_bars_move_with_the_windows() -> None:
    progress = Progress(console=Console(file=io.StringIO()))
    bars = Bars(progress)
    bars.expect(4)
    bars.begin("a: prediction", windows=8)
    bars.advance(8)
    assert state(progress) == (0, 8, 8)
    bars.begin("a / liver, spleen / ig", 2, 10)
    assert shown(progress) == (0, False)
    bars.advance(5)
    assert state(progress) == (1.0, 5, 10)
    assert shown(progress) == (5, True)
    bars.advance(10)  # scores run windows too
    assert state(progress) == (2.0, 15, 15)
    bars.end(ended("a / liver / ig", "done"))
    bars.end(ended("a / spleen / ig", "done"))
    assert shown(progress) == (15, False)
    assert state(progress)[0] == 2
    bars.begin("a / liver / occlusion", 1, None)
    bars.advance(7)
    assert state(progress) == (2, 7, None)
    bars.end(ended("a / liver / occlusion", "failed"))
    assert state(progress)[0] == 3


def work(task: Task, desk: Desk) -> Content:
    return {}


def ended(name: str, status: Status) -> Ended:
    return Ended(Task(name=name, kind=Kind(work), key=None), status)


class Noting(Silence):
    """Keeps what it hears of windows."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int | None]] = []
        self.windows: list[int] = []

    def begin(self, name: str, units: int = 0, windows: int | None = None) -> None:
        self.begun.append((name, units, windows))
        self.windows.append(0)

    def advance(self, windows: int) -> None:
        self.windows[-1] += windows


@pytest.mark.slow
def test_the_predicted_number_of_windows_equals_those_run(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["targets"] = [
        {"name": "corner", "label": "liver", "box": [[0, 0, 0], [1, 1, 1]]},
        {"name": "all", "label": "liver", "over": "all"},
    ]
    methods = ["saliency", {"name": "integrated_gradients", "steps": 3}, "smoothgrad", "occlusion"]
    lab.keys["methods"] = methods
    listener = Noting()
    run_experiment(build_experiment(load_config(lab.write())), listener)
    shown = {
        begun[0]: (*begun[1:], windows)
        for begun, windows in zip(listener.begun, listener.windows, strict=True)
    }
    windows = 8
    assert shown["a: prediction"] == (0, windows, windows)
    assert shown["a / corner, all / saliency"] == (2, windows, windows)
    assert shown["a / corner, all / integrated_gradients"] == (2, 5 * windows, 5 * windows)
    assert shown["a / corner, all / smoothgrad"] == (2, 16 * (windows + 1), 16 * (windows + 1))
    assert shown["a / corner, all / occlusion"][:2] == (2, None)
    assert shown["a / corner, all / occlusion"][2] > windows


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns, whatever the tests run in."""
    for name, value in (("COLUMNS", "100"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.mark.usefixtures("wide")
def test_a_terminal_gets_bars_and_warnings_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    with listen(quiet=False) as listener:
        listener.expect(2)
        listener.begin("a / liver / ig", 1, 4)
        listener.end(replace(ended("a / liver / ig", "done"), warnings=("[0, 1] is narrow",)))
    text = plain(stream.getvalue())
    assert "done a / liver / ig" in text and "  warning: [0, 1] is narrow" in text
    assert "1/2" in text and "━" in text


@pytest.mark.usefixtures("wide")
def test_failures_are_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    failure = replace(ended("b / liver [1]", "failed"), fault=Fault("no voxel; use `over: all`"))
    show_outcome(Outcome([ended("a", "done"), failure]), Path("out"), quiet=True)
    lines = [line.strip("│┃ ") for line in plain(stream.getvalue()).splitlines()]
    assert lines[0] == "failures"
    assert re.split(r"\s*[│┃]\s*", lines[2]) == ["task", "what was wrong"]
    (row,) = [line for line in lines if line.startswith("b")]
    assert re.split(r"\s*│\s*", row) == ["b / liver [1]", "no voxel; use `over: all`"]
