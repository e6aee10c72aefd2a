"""The commands beside run: what they print, how fast, and how they fail."""

import dataclasses
import inspect
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from esegeta import __version__
from esegeta.cli.catalogue import METHOD_FAMILIES, SCORE_FAMILIES, show_method, show_methods
from esegeta.cli.help_page import parse_help, plain_page
from esegeta.config.dissection import DissectionKeys
from esegeta.explain import METHODS, key_of
from esegeta.score import SCORES
from tests.experiments import esegeta, pointwise_lab

COMMANDS = (
    "explain",
    "run",
    "retrain",
    "examples",
    "compare",
    "dissect",
    "similarity",
    "validate",
    "methods",
    "scores",
    "layers",
    "init",
)

NO_TORCH = """
import sys
from esegeta.cli import app
try:
    app({arguments!r})
except SystemExit as end:
    heavy = {{"torch", "monai", "matplotlib", "nibabel", "numpy"}} & set(sys.modules)
    print(end.code, sorted(heavy))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["compare", "--help"], ["--version"]], ids=str
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = NO_TORCH.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert done.stderr == ""


def test_help_names_every_command() -> None:
    result = esegeta("--help")
    assert result.exit_code == 0
    assert all(command in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = esegeta(command, "--help")
    assert result.exit_code == 0
    assert command in result.stdout
    assert len(result.stdout.splitlines()) > 6


def test_help_of_run_names_its_options() -> None:
    text = esegeta("run", "--help").stdout
    for option in ("--output", "--set", "--device", "--fail-fast", "--overwrite", "--quiet"):
        assert option in text


@pytest.mark.parametrize("arguments", [["rum"], ["run"], ["run", "x.yaml", "--fast"]], ids=str)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = esegeta(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_the_version() -> None:
    assert esegeta("--version").stdout.strip() == __version__


def test_methods_lists_them_all_by_family() -> None:
    result = esegeta("methods")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    heads = {line.split(":")[0]: place for place, line in enumerate(lines) if line[:1].isalpha()}
    families = [name for name in METHOD_FAMILIES if name in heads]
    assert families == sorted(families, key=lambda name: heads[name])
    assert set(families) == {kind.traits.family for kind in METHODS.values()}
    for name, kind in METHODS.items():
        (place,) = [place for place, line in enumerate(lines) if line.split()[:1] == [name]]
        above = max(heads[family] for family in families if heads[family] < place)
        assert lines[above] == f"{kind.traits.family}: {METHOD_FAMILIES[kind.traits.family]}"
        assert ("hooks" in lines[place]) >= kind.traits.needs_hooks


@pytest.mark.parametrize("name", METHODS)
def test_help_of_a_method_shows_formula_parameters_and_source(name: str) -> None:
    kind = METHODS[name]
    result = esegeta("methods", name)
    assert result.exit_code == 0
    _, rest = result.stdout.split("Parameters:")
    parameters, facts = rest.split("\nCost: ")
    # Every word of the docstring is there, but for the names of its sections and for the fields
    # that a run fills in.
    meanings = parse_help(kind).parameters
    hidden = [meanings[item.name] for item in dataclasses.fields(kind) if not item.repr]
    told = set(result.stdout.split())
    document = set(inspect.getdoc(kind).replace("Args:", "").split())
    document -= set(" ".join(hidden).split())
    assert document <= told | {f"{item.name}:" for item in dataclasses.fields(kind)}
    assert str(kind().cost) == facts.splitlines()[0]
    meaning = kind().meaning
    told_facts = " ".join(facts.split())
    assert f"Unit: {meaning.unit_for('target')}" in told_facts
    assert meaning.sign in told_facts
    assert "\nSource: " in facts
    fields = [item for item in dataclasses.fields(kind) if item.repr]
    assert all(f"  {key_of(item)}: " in parameters for item in fields)
    meanings = re.findall(r"^  \w+: .* = .*\n      (.+)$", parameters, flags=re.MULTILINE)
    assert len(meanings) == len(fields)


def test_help_of_a_method_shows_text_around_its_parameters() -> None:
    class Odd:
        """One line.

            a = b

        Before.

        Args:
            one: the first
                of two.
            two: the second: with a colon.

        After.

        Source: someone,
        somewhere.
        """

    found = parse_help(Odd)
    assert found.summary == "One line."
    assert found.parameters == {"one": "the first of two.", "two": "the second: with a colon."}
    assert found.body.split() == ["a", "=", "b", "Before.", "After."]
    assert found.source == "someone, somewhere."


def test_a_terminal_shows_the_same_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    for page in ("catalogue", "help_page"):
        monkeypatch.setattr(f"esegeta.cli.{page}.console_for_tables", lambda: console)
    show_methods()
    show_method("integrated_gradients")
    text = stream.getvalue()
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for fragment in ("quadrature nodes", "dalpha", "34 F + 32 B", "Sundararajan", "gradient:"):
        assert fragment in plain


@pytest.mark.parametrize(
    ("name", "shown"),
    [("occlusion", {"box"}), ("input_x_gradient", set()), ("pattern_net", {"patterns"})],
)
def test_a_terminal_shows_a_table_of_parameters_if_there_are_any(
    name: str, shown: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr("esegeta.cli.help_page.console_for_tables", lambda: console)
    show_method(name)
    text = console.file.getvalue()
    assert ("meaning" in text) == bool(shown)
    cyan = re.findall(r"\x1b\[36m(\w+)", text)
    assert set(cyan) >= shown and "fitted" not in cyan  # which a run fills in


def test_fields_not_set_by_the_user_are_not_listed_as_parameters() -> None:
    @dataclasses.dataclass
    class Filled:
        """A class.

        Args:
            given: what is given.
        """

        given: int = 3
        filled: int = dataclasses.field(init=False)

    page = plain_page("filled", "none", Filled, {})
    assert "  given: " in page and "  filled: " not in page


def test_parameters_come_with_their_defaults() -> None:
    text = esegeta("methods", "integrated_gradients").stdout
    assert "  steps: int = 32\n" in text
    assert "  baseline: Baseline | str = 'blur'\n" in text
    assert "base: Explainer = saliency" in esegeta("methods", "smoothgrad").stdout


def test_an_unknown_method_is_suggested() -> None:
    result = esegeta("methods", "oclusion")
    assert result.exit_code == 2
    assert result.stderr == 'error: no method "oclusion"; did you mean "occlusion"?\n'


def test_scores_lists_every_quality_with_range_and_direction() -> None:
    result = esegeta("scores")
    assert result.exit_code == 0
    for kind in SCORES.values():
        for metric in kind.metrics:
            (line,) = [
                line for line in result.stdout.splitlines() if metric.name in line.split()[:2]
            ]
            assert f"{metric.low:g} .. {metric.high:g}" in line
            assert metric.better in line


def test_scores_are_listed_under_the_question_of_their_family() -> None:
    lines = esegeta("scores").stdout.splitlines()
    assert {kind.family for kind in SCORES.values()} <= set(SCORE_FAMILIES)
    heads = {line.split(":")[0]: place for place, line in enumerate(lines) if line[:1].isalpha()}
    for name, kind in SCORES.items():
        place = next(place for place, line in enumerate(lines) if line.split()[:1] == [name])
        families = [family for family in SCORE_FAMILIES if family in heads]
        above = max(heads[family] for family in families if heads[family] < place)
        assert lines[above] == f"{kind.family}: {SCORE_FAMILIES[kind.family]}"


@pytest.mark.parametrize("name", SCORES)
def test_a_score_tells_its_formula_parameters_figures_and_source(name: str) -> None:
    result = esegeta("scores", name)
    assert result.exit_code == 0
    kind = SCORES[name]
    told = set(result.stdout.split())
    document = set(inspect.getdoc(kind).replace("Args:", "").split())
    assert document <= told | {f"{item.name}:" for item in dataclasses.fields(kind)}
    for metric in kind.metrics:
        assert f"{metric.name} in {metric.low:g} .. {metric.high:g}" in result.stdout
    assert "\nSource: " in result.stdout


def test_a_misspelt_score_names_the_nearest() -> None:
    result = esegeta("scores", "deletoin")
    assert result.exit_code == 2
    assert result.stderr == 'error: no score "deletoin"; did you mean "deletion"?\n'


def test_validate_tells_what_would_be_done_and_writes_nothing(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0], cases=2)
    lab.keys["methods"].append("occlusion")
    lab.keys["scores"] = ["infidelity"]
    before = set(tmp_path.rglob("*.nii.gz"))
    result = lab.validate("--set", "targets.0.name=organ")
    assert result.exit_code == 0
    for text in ("valid", "a, b", "organ", "saliency, occlusion", "infidelity", "8x8x8 on cpu"):
        assert text in result.stdout
    assert "4 tasks" in result.stdout
    assert set(tmp_path.rglob("*.nii.gz")) == before
    assert not (tmp_path / "out").exists()


def test_help_of_dissect_says_what_its_options_do() -> None:
    text = " ".join(esegeta("dissect", "--help").stdout.replace("│", " ").split())
    for words in ("NAME,NAME", "`all` by itself", "same settings is kept", "once the new one"):
        assert words in text


def test_the_package_is_a_command_when_it_is_run_and_not_when_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["esegeta", "--version"])
    path = Path(inspect.getfile(DissectionKeys)).parents[1] / "__main__.py"
    runpy.run_path(str(path), run_name="esegeta.__main__")
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{__version__}\n")


def test_a_demo_without_its_sample_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.samples.PACKAGE", tmp_path / "esegeta")
    done = esegeta("demo", "-o", str(tmp_path))
    assert done.exit_code == 2
    assert "esegeta/samples: the sample is missing; install the package again" in done.stderr
