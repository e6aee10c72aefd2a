"""What commands and `validate` print of analyses: blocks, notes, and tables that are cut short."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from esegeta.cli.show_concepts import MOST_ROWS, show_tested
from esegeta.cli.show_similarity import show_compared
from esegeta.workflow import Outcome
from esegeta.workflow.one_result import OneResult
from tests.experiments import Lab, pointwise_lab
from tests.workflow.examples.labs import examples_lab, with_influence
from tests.workflow.similarity.labs import other, similarity_lab

IS_CODE = "  note: model.class tiny_networks:Pointwise is code"


def validated(lab: Lab) -> list[str]:
    result = lab.validate()
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_comparison_names_its_networks_with_their_layers(tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=1)
    lab.keys["similarity"]["with"] = [other(lab, "second")]
    lines = validated(lab)
    assert f"{lab.config}: valid for a comparison of layers" in lines
    layers = "model.0 (4), model.1 (12)"
    told = [line.split(": ") for line in lines if line.startswith("  network ")]
    rest = ["  network untrained"]  # the baseline
    assert [name for name, _ in told] == ["  network tiny", "  network second", *rest]
    assert {named for _, named in told} == {layers}
    assert "  methods: cka; 1000000 positions of all cases" in lines


def code_lab(folder: Path, **block: Any) -> Lab:
    """Return an analysis of a network that is the user's own code, of which a note tells."""
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0])
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    lab.keys.update(block)
    return lab


@pytest.mark.parametrize(
    "block",
    [
        {"similarity": {"layers": ["head"], "methods": ["cka"], "samples": 100}},
        {"inspect": {"layers": ["head"]}},
        {"features": {"objectives": [{"label": "liver"}], "size": [8, 8, 8], "patches": 8}},
    ],
    ids=lambda block: next(iter(block)),
)
def test_a_network_given_as_code_is_noted(tmp_path: Path, block: dict[str, Any]) -> None:
    lines = validated(code_lab(tmp_path, **block))
    assert any(line.startswith(IS_CODE) for line in lines)


@pytest.mark.slow
def test_leave_one_out_networks_are_counted(tmp_path: Path) -> None:
    lab = with_influence(
        examples_lab(tmp_path, cases=3), leave_one_out={"seeds": [0, 4], "checkpoints": 2}
    )
    lines = validated(lab)
    assert "  influence of 3 training examples on liver at 2 checkpoints" in lines
    (told,) = [line for line in lines if line.endswith("iterations, each without one")]
    assert told.startswith("  8 networks of ")  # by hand: 2 seeds, all 3 and each of them left out


def test_a_surrogate_by_itself_has_no_groups(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=3)
    lab.keys["examples"] = {"of": "component", "surrogate": {"kind": "tree", "depth": 2}}
    lines = validated(lab)
    assert "  surrogates: tree, of components" in lines
    assert not any("prototypes" in line or "influence" in line for line in lines)


HEAD = ("concept", "layer", "target", "tcav", "size", "p_holm", "significant", "refused")


def write_tcav(folder: Path, rows: Sequence[Sequence[str]]) -> None:
    with (folder / "tcav.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([HEAD, *rows])


def test_significant_concepts_are_listed_first_and_refused_ones_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        ("edge", "model.0", "liver", "", "", "", "", "too few cases [2]"),
        ("idle", "model.0", "liver", "0.5", "0.0123", "0.71", "0", ""),
        ("depth", "model.0", "liver", "0.987", "-12.345", "0.0041", "1", ""),
    ]
    write_tcav(tmp_path, rows)
    show_tested(OneResult(Outcome([], seconds=1.25)), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    told = [line.split() for line in lines[1:4]]
    assert told[0] == ["depth", "model.0", "liver", "0.99", "-12.3", "0.0041", "*"]
    assert told[1] == ["idle", "model.0", "liver", "0.50", "0.0123", "0.71"]
    assert told[2][0] == "edge" and "refused: too few cases [2]" in lines[3]
    assert lines[4] == f"1 of 3 hold after Holm (*), already finished; results in {tmp_path}"


def test_a_long_table_of_concepts_is_cut_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = MOST_ROWS + 3
    rows = [(f"c{k:02}", "l", "liver", "0.5", "0", "1", "0", "") for k in range(count)]
    write_tcav(tmp_path, rows)
    show_tested(OneResult(Outcome([])), tmp_path)
    text = capsys.readouterr().out
    assert "c39" in text and "c40" not in text
    assert "... and 3 more in tcav.csv" in text and f"0 of {count} hold" in text


@pytest.mark.parametrize(("count", "more"), [(12, ""), (15, "... and 3 more layers\n")])
def test_a_large_table_of_layers_is_cut_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, more: str
) -> None:
    names = [f"layer{k:02}" for k in range(count)]
    values = [[None if row > column else 1.0 for column in range(count)] for row in range(count)]
    record = {
        "tables": {"cka": values},
        "networks": [{"layers": {name: {} for name in names}}],
        "layers": names,
    }
    show_compared(OneResult(Outcome([], seconds=1.0), record), tmp_path)
    text = capsys.readouterr().out
    first = next(line for line in text.splitlines() if "layer00" in line)
    assert first.count("1.00") == 12
    assert "12 layer11" in text and "layer12" not in text
    assert text.endswith(
        f"{more}1 networks, {count} layers, already finished; results in {tmp_path}\n"
    )


def test_no_note_on_expected_segmentations_if_no_case_was_predicted(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [3e38]], [0.0, 0.0])  # logits are infinite
    del lab.keys["targets"], lab.keys["methods"]
    result = lab.predict()
    assert result.exit_code == 2 and "0 done, 0 skipped, 1 failed" in result.stdout
    assert "nothing proves" not in result.stdout and "Dice" not in result.stdout
