"""What `esegeta status` prints of journals: counts, the rate, who does what, and what failed."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from esegeta.workflow.journal import NAME
from esegeta.workflow.spread.folder import SharedFolder
from tests.experiments import esegeta

STARTED = "2026-01-01T00:00:00+00:00"
HERE = {"host": platform.node(), "pid": os.getpid(), "started": STARTED}


def ended(task: str, message: str = "") -> dict[str, Any]:
    """Return the line of a task that is done, or that failed with a message."""
    line = {"task": task, "key": None, "seconds": 1.0, "warnings": [], "content": {}}
    if message:
        return {**line, "status": "failed", "fault": {"message": message}}
    return {**line, "status": "done"}


def write_lines(path: Path, *lines: Mapping[str, Any], seconds: float = 0.0) -> None:
    """Write a journal, whose last line came so long after its process had started."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    when = datetime.fromisoformat(STARTED).timestamp() + seconds
    os.utime(path, (when, when))


def write_part(root: Path, name: str, *lines: Mapping[str, Any], **head: Any) -> None:
    """Write the journal of one part of `run`."""
    folder = SharedFolder(root, "run")
    seconds = head.pop("seconds", 0.0)
    write_lines(
        folder.journal(name.replace("/", "-of-")),
        {"process": name, **HERE, **head},
        *lines,
        seconds=seconds,
    )
    folder.origin.write_text("{}")


def keep_number(root: Path, num_tasks: int) -> None:
    """Write down how many tasks there are."""
    (SharedFolder(root, "run").path / "expected.json").write_text(
        json.dumps({"num_tasks": num_tasks})
    )


def told(root: Path) -> list[str]:
    """Return what the command prints."""
    result = esegeta("status", root)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_status_shows_running_and_failed_tasks_of_parts(tmp_path: Path) -> None:
    done, failure = ended("a / liver / saliency"), ended("b / liver / saliency", "too dark; use b")
    begun = {"begin": ["c / liver / saliency"], "at": 0.0}
    write_part(tmp_path, "part 1/2", done, failure, gpu="3", log="/logs/1.txt", seconds=60)
    write_part(tmp_path, "part 2/2", begun, gpu="5")
    keep_number(tmp_path, 7)
    head, rate, running, failed, log = told(tmp_path)
    # By hand: 1 in 60 s with 1 running and 4 waiting of 7.
    assert head == "run: 1 done, 1 running, 1 failed, 4 waiting"
    assert rate == "  60 tasks per hour, about 5 min left"
    assert running.startswith("  running: c / liver / saliency for ")
    assert running.endswith(f" s (part 2/2 on {platform.node()}, GPU 5)")
    where = f"({platform.node()}, /logs/1.txt)"
    assert failed == f"  failed: b / liver / saliency: too dark; use b {where}"
    assert log == "  log: /logs/1.txt"


def test_status_of_a_part_without_a_gpu_names_none(tmp_path: Path) -> None:
    write_part(tmp_path, "part 1/1", {"begin": ["a"], "at": 0.0})
    head, running = told(tmp_path)
    assert head == "run: 0 done, 1 running, 0 failed, an unknown number waiting"
    assert running.endswith(f" s (part 1/1 on {platform.node()})")


@pytest.mark.parametrize(
    ("waiting", "left"),
    [(119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h"), (None, "")],
)
def test_the_time_left_is_shown_in_a_suitable_unit(
    tmp_path: Path, waiting: int | None, left: str
) -> None:
    write_part(tmp_path, "part 1/1", ended("a"), seconds=1)  # one a second
    if waiting is not None:
        keep_number(tmp_path, waiting + 1)
    (_, rate) = told(tmp_path)
    assert rate == "  3600 tasks per hour" + (f", about {left} left" if left else "")


@pytest.mark.parametrize(
    ("count", "seconds", "rate"),
    [(1, 3600 / 7.25, "7.2"), (2, 3600 / 6.1725, "12"), (9, 1, "32400"), (9, 0.1, "324000")],
)
def test_a_rate_is_a_plain_number(tmp_path: Path, count: int, seconds: float, rate: str) -> None:
    write_part(tmp_path, "part 1/1", *(ended(f"{k}") for k in range(count)), seconds=seconds)
    assert told(tmp_path)[1] == f"  {rate} tasks per hour"


def test_where_everything_is_done_no_time_is_left(tmp_path: Path) -> None:
    write_part(tmp_path, "part 1/1", ended("a"), ended("b"), seconds=2)
    keep_number(tmp_path, 2)
    assert told(tmp_path) == [
        "run: 2 done, 0 running, 0 failed, 0 waiting",
        "  3600 tasks per hour",
    ]


def test_a_run_by_one_process_tells_no_place_of_its_failures(tmp_path: Path) -> None:
    write_lines(tmp_path / NAME, ended("a", "too dark"), ended("b"))
    assert told(tmp_path) == [
        "run: 1 done, 0 running, 1 failed, an unknown number waiting",
        "  failed: a: too dark",
    ]


def test_status_as_json_holds_the_same_facts(tmp_path: Path) -> None:
    write_part(tmp_path, "part 1/1", ended("a"), ended("b", "too dark"), seconds=2)
    keep_number(tmp_path, 5)
    (found,) = json.loads(esegeta("status", tmp_path, "--json").stdout)
    assert (found["command"], found["done"], found["waiting"]) == ("run", 1, 3)
    assert found["per_hour"] == 1800 and found["left_s"] == 6
    assert [(one["task"], one["message"]) for one in found["failed"]] == [("b", "too dark")]
