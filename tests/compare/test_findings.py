"""report.md: warnings, who is left out, lists that are cut short, and whether a test could find."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from esegeta.compare import Study, compare_runs
from esegeta.compare import findings as written
from esegeta.compare.findings import MOST_LINES, findings
from esegeta.report import read_record, write_record
from tests.compare.runs import FakeRun, Key


def study_of(folder: Path, values: dict[Key, float], **more: object) -> Study:
    return compare_runs([FakeRun(values, **more).write(folder / "run")])  # type: ignore[arg-type]


def section(text: str, title: str) -> list[str]:
    """Return the lines of a part of report.md; none where there is no such part."""
    return text.partition(f"## {title}\n\n")[2].partition("\n\n")[0].splitlines()


def test_a_warning_names_its_tasks_once(tmp_path: Path) -> None:
    values = {(f"c{n}", "t", "saliency", "deletion"): float(n) for n in range(8)}
    run = FakeRun(values).write(tmp_path / "run")
    record = read_record(run)
    for task in record["units"]:
        task["warnings"] = ["not *complete*"]
    record["units"][0]["warnings"] = ["not *complete*", "clipped"]
    write_record(run, record)
    lines = section(findings(compare_runs([run]), ()), "Warnings about maps")
    named = ", ".join(f"c{n} / t" for n in range(6))
    assert lines == [
        rf"- saliency on {named} and 2 more: not \*complete\*",
        "- saliency on c0 / t: clipped",
    ]


def test_methods_with_too_few_shared_targets_are_named(tmp_path: Path) -> None:
    values: dict[Key, float] = {
        (f"c{case}", "t", method, "deletion"): case + place / 10
        for case in range(4)
        for place, method in enumerate(("ig", "lrp", "saliency"))
    }
    values |= {(f"c{case}", "t", "lrp", "deletion"): math.nan for case in range(1, 4)}
    text = findings(study_of(tmp_path, values), ())
    assert "- deletion: too few targets in common with the others: lrp" in text


@pytest.mark.parametrize("count", [MOST_LINES, MOST_LINES + 2])
def test_long_lists_are_cut_short_and_counted(count: int, tmp_path: Path) -> None:
    failed = {(f"c{n:02}", "t", "saliency"): f"fault {n:02}" for n in range(count)}
    values = {("c", "t", "saliency", "deletion"): 1.0}
    lines = section(
        findings(study_of(tmp_path, values, failed=failed), ()), "Other tasks that failed"
    )
    assert sum("fault" in line for line in lines) == MOST_LINES
    more = ["- and 2 more, see compare.json"] if count > MOST_LINES else []
    assert lines[MOST_LINES:] == more


@pytest.mark.parametrize(("cases", "could"), [(8, True), (6, False)])
def test_a_sentence_says_if_no_test_could_be_significant(
    cases: int, could: bool, tmp_path: Path
) -> None:
    """Three tests: of 8 cases the least p after Holm is 3 / 128, of 6 it is 3 / 32."""
    values = {
        (f"c{case}", "t", method, "deletion"): float((-1) ** case * place)
        for case in range(cases)
        for place, method in enumerate(("a", "b", "c"))
    }
    sentence = written.testing_sentence(study_of(tmp_path, values))
    assert sentence.startswith("0 of 3 paired tests find a difference (Holm, 0.05).")
    assert ("None could" in sentence) == (not could)
