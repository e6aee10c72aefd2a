"""A folder of results belongs to one experiment; what its config no longer makes is told."""

import json
import zipfile
from pathlib import Path

import pytest

from esegeta.config import config_of
from esegeta.config.reserved import FILES, FOLDERS
from esegeta.errors import OutputError
from esegeta.report.contents import sealed
from esegeta.report.files import NOT_OF_BIDS
from esegeta.report.style import new_figure, save_figure
from esegeta.results_folder import STALE
from esegeta.workflow.lineage import NAME, claim, lineage_in
from esegeta.workflow.stale import find_stale, prune, stale_in
from tests.experiments import Lab, esegeta, pointwise_lab, quick

__all__ = ["quick"]


def small(folder: Path) -> Lab:
    return pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0])


@pytest.mark.slow
def test_a_different_config_of_the_same_name_is_refused(quick: None, tmp_path: Path) -> None:
    lab = small(tmp_path)
    assert lab.run().exit_code == 0
    before = {path: path.read_bytes() for path in lab.root.rglob("*") if path.is_file()}
    other = lab.config.with_name("other.yaml")
    other.write_text(lab.config.read_text().replace("saliency", "input_x_gradient"))
    refused = esegeta("run", other)
    assert refused.exit_code == 2
    for word in (str(lab.config), "--overwrite", "--set name="):
        assert word in refused.output
    after = {path: path.read_bytes() for path in lab.root.rglob("*") if path.is_file()}
    assert after == before
    assert esegeta("run", other, "--overwrite").exit_code == 0
    record = json.loads((lab.root / "run.json").read_text())
    assert [Path(one["config_file"]).name for one in record["lineage"]] == ["other.yaml"]
    assert lab.run().exit_code == 2


@pytest.mark.slow
def test_a_config_file_may_be_renamed(quick: None, tmp_path: Path) -> None:
    lab = small(tmp_path)
    assert lab.run().exit_code == 0
    moved = lab.config.rename(lab.config.with_name("moved.yaml"))
    assert esegeta("run", moved).exit_code == 0
    assert len(lineage_in(lab.root)) == 1
    assert esegeta("run", moved, "--set", "seed=9").exit_code == 0  # it goes on from there


@pytest.mark.slow
def test_results_that_an_edited_config_no_longer_makes_are_listed_and_moved(
    quick: None, tmp_path: Path
) -> None:
    lab = small(tmp_path)
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    assert lab.run().exit_code == 0
    old = lab.file("a", "liver", "input_x_gradient")
    bystander = old.parent / "notes.txt"
    bystander.write_text("mine")
    lab.keys["methods"] = ["saliency"]
    told = lab.run()
    assert told.exit_code == 0
    assert old.name in told.output
    assert "--prune" in told.output
    listed = stale_in(lab.root)
    assert f"a/{old.name}" in listed
    assert all("desc-input_x_gradient_" in name for name in listed)
    assert len(lineage_in(lab.root)) == 2
    assert lab.run("--prune").exit_code == 0
    assert not old.exists()
    assert (lab.root / "stale" / "a" / old.name).is_file()
    assert lab.file("a", "liver", "saliency").is_file()
    assert bystander.is_file()
    assert stale_in(lab.root) == []
    assert "earlier configs" not in lab.run().output


@pytest.mark.slow
def test_a_case_that_is_left_out_leaves_no_folder_when_its_files_are_moved(
    quick: None, tmp_path: Path
) -> None:
    """A file of the same name that was moved earlier is replaced; what nobody made stays."""
    assert prune(tmp_path) == []  # there is no run
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0], cases=3)
    assert lab.run().exit_code == 0
    (lab.root / "c" / "notes.txt").write_text("mine")
    names = {path.relative_to(lab.root) for case in "bc" for path in (lab.root / case).iterdir()}
    (lab.root / STALE / "b").mkdir(parents=True)
    (lab.root / STALE / "b" / lab.file("b", "liver", "saliency").name).write_text("older")
    del lab.keys["data"]["cases"][1:]
    assert "--prune" in lab.run().output
    assert lab.run("--prune").exit_code == 0
    assert not (lab.root / "b").exists()
    assert [path.name for path in (lab.root / "c").iterdir()] == ["notes.txt"]
    moved = {
        path.relative_to(lab.root / STALE)
        for path in (lab.root / STALE).rglob("*")
        if path.is_file()
    }
    assert moved == names - {Path("c/notes.txt")}
    assert (lab.root / STALE / "b" / lab.file("b", "liver", "saliency").name).stat().st_size > 99
    assert stale_in(lab.root) == prune(lab.root) == []


def test_stale_files_are_recognised_by_case_target_and_method(tmp_path: Path) -> None:
    for name in (
        "a/a_label-liver_desc-saliency_attrmap.nii.gz",
        "a/a_label-liver_chan-t1_desc-saliency_attrmap.nii.gz",
        "a/a_label-liver_desc-old_attrmap.json",
        "a/a_label-gone_desc-saliency_overlay.png",
        "a/a_label-liver_score-deletion_curves.png",
        "a/a_label-gone_score-deletion_curves.png",
        "a/a_liver.mrb",
        "a/a_gone.mrb",
        "a/a_desc-prediction_dseg.nii.gz",
        "a/a_label-liver_desc-prediction_probseg.nii.gz",
        "a/own_label-liver_desc-old_attrmap.json",
        "b/b_desc-prediction_dseg.nii.gz",
        "dissection/units.csv",
        "stale/a/a_label-liver_desc-old_attrmap.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for folder, names in {
        "a": [
            "a_label-liver_chan-t1_desc-saliency_attrmap.nii.gz",
            "a_label-gone_desc-saliency_overlay.png",
        ],
        "b": ["b_desc-prediction_dseg.nii.gz"],
    }.items():
        own = {name: {"bytes": 1, "sha256": ""} for name in names}
        sidecar = tmp_path / folder / f"{folder}_label-liver_desc-old_attrmap.json"
        sidecar.write_text(json.dumps(sealed({"contents": own})))
    print_of = "0" * 64
    for name in ("liver", "gone"):
        curves = tmp_path / "a" / f"a_label-{name}_score-deletion_curves.png"
        save_figure(curves, new_figure((1, 1)), comment=print_of)
        with zipfile.ZipFile(tmp_path / "a" / f"a_{name}.mrb", "w") as scene:
            scene.comment = print_of.encode()
    tasks = [{"case": "a", "target": "liver", "method": "saliency"}]
    assert find_stale(tmp_path, tasks, [{"case": "a"}]) == [
        "a/a_gone.mrb",
        "a/a_label-gone_desc-saliency_overlay.png",
        "a/a_label-gone_score-deletion_curves.png",
        "a/a_label-liver_desc-old_attrmap.json",
        "b/b_desc-prediction_dseg.nii.gz",
        "b/b_label-liver_desc-old_attrmap.json",
    ]


@pytest.mark.slow
def test_files_of_the_user_stay_though_named_like_results(quick: None, tmp_path: Path) -> None:
    """Copies, results of other tools and whole folders that no record speaks of are the user's."""
    lab = small(tmp_path)
    assert lab.run().exit_code == 0
    mine = [
        lab.root / case / name
        for case in ("a", "mine")
        for name in (
            f"{case}_label-liver_desc-mine_attrmap.nii.gz",
            f"{case}_label-liver_desc-mine_attrmap.json",
            f"{case}_label-lung_desc-prediction_mask.nii.gz",
            f"{case}_label-lung_score-deletion_curves.png",
            f"{case}_lung.mrb",
        )
    ]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    assert lab.run("--prune").exit_code == 0
    assert all(path.is_file() for path in mine)
    assert not (lab.root / "stale").exists()


@pytest.mark.parametrize("name", ["stale", "Dissection", "report", "scores.csv"])
def test_a_case_with_a_reserved_name_is_refused(name: str, quick: None, tmp_path: Path) -> None:
    lab = small(tmp_path)
    lab.keys["data"]["cases"][0]["name"] = name
    refused = lab.run()
    assert refused.exit_code == 2
    assert f'a case cannot be called "{name}"' in refused.output
    assert f"{lab.config.name}:{lab.line_of('cases')}" in refused.output
    assert not lab.root.exists()


@pytest.mark.slow
def test_the_names_of_all_results_are_reserved(quick: None, tmp_path: Path) -> None:
    lab = small(tmp_path)
    assert lab.run().exit_code == 0
    made = {path.name for path in lab.root.iterdir() if not path.name.startswith(".")}
    assert made - {"a"} <= FILES
    folders = {name.rstrip("/") for name in NOT_OF_BIDS if name.endswith("/")}
    assert folders | {STALE} == FOLDERS


def test_a_record_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "run"
    (root / "a").mkdir(parents=True)
    (tmp_path / "precious").write_text("x")
    record = {"units": [], "predictions": [], "stale": ["../precious"]}
    (root / "run.json").write_text(json.dumps(record))
    assert prune(root) == []
    assert (tmp_path / "precious").is_file()


@pytest.mark.parametrize("content", ["[]", '{"lineage": 3}', '{"lineage": [{"since": 1}]}', "{"])
def test_a_malformed_lineage_counts_as_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert lineage_in(tmp_path) == ()


def test_device_and_edits_continue_a_lineage_and_another_config_is_refused(
    quick: None, tmp_path: Path
) -> None:
    keys = small(tmp_path).keys
    first = config_of(keys)
    claim(tmp_path, first, anew=False)
    assert len(claim(tmp_path, config_of({**keys, "device": "cpu"}), anew=False)) == 1
    edited = config_of({**keys, "seed": 5})
    assert len(claim(tmp_path, edited, anew=False)) == 2
    elsewhere = config_of({**keys, "seed": 6})
    object.__setattr__(elsewhere.document, "path", tmp_path / "x.yaml")
    with pytest.raises(OutputError, match="a different config"):
        claim(tmp_path, elsewhere, anew=False)
