"""Commands that are told to be quiet, and what the others say first."""

from pathlib import Path

import pytest

from tests.experiments import esegeta
from tests.workflow.examples.labs import examples_lab
from tests.workflow.predictions import liver_lab, without_maps


def test_quiet_prediction_prints_nothing(tmp_path: Path) -> None:
    lab = without_maps(liver_lab(tmp_path))
    result = lab.predict("-q")
    assert (result.exit_code, result.output) == (0, "")
    assert lab.segmentation("a").any()


@pytest.mark.slow
def test_quiet_examples_print_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.report.example_tiles._save", lambda path, figure: path.touch())
    lab = examples_lab(tmp_path, cases=3, prototypes=1)
    result = esegeta("examples", lab.write(), "-q")
    assert (result.exit_code, result.output) == (0, "")
    assert (lab.root / "examples" / "prototypes.csv").is_file()


@pytest.mark.parametrize(("options", "first"), [((), "esegeta run "), (("-q",), "error: ")])
def test_the_demo_names_its_config_first(
    tmp_path: Path, options: tuple[str, ...], first: str
) -> None:
    result = esegeta("demo", "-o", tmp_path, "--set", "methods=[oclusion]", *options)
    assert result.exit_code == 2 and 'did you mean "occlusion"' in result.stderr
    assert result.output.startswith(first)
    if not options:
        assert Path(result.stdout.removeprefix(first).strip()).is_file()
