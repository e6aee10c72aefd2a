"""What is looked at before a run: of all cases, of some, or of none."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from esegeta.config import load_config
from esegeta.errors import DataError
from esegeta.workflow import run_experiment
from esegeta.workflow.build import build_basis, build_experiment, build_predictions
from tests.experiments import Lab, pointwise_lab, refused


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """The image of the first of two cases is no image."""
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0], cases=2)
    (tmp_path / "a.nii.gz").write_bytes(b"torn")
    return lab


@pytest.mark.parametrize("build", [build_experiment, build_predictions])
@pytest.mark.parametrize("only", [["b"], []], ids=["one", "none"])
def test_only_the_requested_cases_are_checked(build: object, only: list[str], lab: Lab) -> None:
    assert callable(build)
    config = load_config(lab.write())
    found = build(config, only=only)
    assert [case.name for case in found.cases] == ["a", "b"]
    assert list(found.grids) == only
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        build(config, only=["a"])
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        build(config)


def test_a_disk_that_is_read_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where permissions would let it be written, as they let root."""
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    said = f"{lab.root}: cannot be written ({tmp_path} is on a read-only disk)"
    refused(lab.validate(), lab, said)
    refused(lab.run(), lab, said)


def test_an_image_deleted_after_the_checks_fails_only_its_maps(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0], cases=2)
    experiment = build_experiment(load_config(lab.write()))
    (tmp_path / "b.nii.gz").unlink()
    outcome = run_experiment(experiment)
    assert outcome.exit_code == 1
    assert {ended.name: ended.status for ended in outcome.results} == {
        "a / liver / saliency": "done",
        "b / liver / saliency": "failed",
    }
    assert "b.nii.gz" in lab.record()["units"][1]["message"]


def test_a_basis_may_be_built_without_cases(tmp_path: Path) -> None:
    config = load_config(pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0]).write())
    basis = build_basis(config, cases=[])
    assert (basis.cases, basis.grids) == ([], {})
