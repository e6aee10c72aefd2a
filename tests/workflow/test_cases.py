"""Cases of a config, by lists, patterns and folders, told apart by what the maps hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from esegeta.config import list_cases, load_config
from tests.experiments import SHAPE, Lab, esegeta, noise, pointwise_lab, save_image, threshold_lab

TRUTH = noise(seed=3) > 0.3


def explained(lab: Lab) -> set[str]:
    lab.keys["targets"] = [{"label": "liver", "over": "all"}]
    assert lab.run().exit_code == 0
    return {task[0] for task in lab.statuses()}


LAYOUTS: dict[str, tuple[list[str], str, set[str]]] = {
    "glob": (["s1/ct.nii.gz", "x_1.nii.gz", "x_2.nii.gz"], "x_*.nii.gz", {"x_1", "x_2"}),
    "deep glob": (["s/1/one.nii.gz", "s/2/two.nii"], "s/**/*.nii*", {"one", "two"}),
    "one file": (["s/one.nii.gz"], "s/one.nii.gz", {"one"}),
    "folder": (["s/one.nii.gz", "s/two.nii", "s/notes.txt"], "s", {"one", "two"}),
    "folder of numbers": (["s/p_0001.nii.gz", "s/p_0002.nii.gz"], "s", {"p_0001", "p_0002"}),
    "nnunet": (["s/imagesTr/p_1_0000.nii.gz", "s/imagesTr/p_2_0000.nii.gz"], "s", {"p_1", "p_2"}),
    "nnunet test": (["s/imagesTs/p_1_0000.nii.gz"], "s/imagesTs", {"p_1"}),
    "nnunet root of tests": (["s/imagesTs/p_1_0000.nii.gz"], "s", {"p_1"}),
    "nnunet glob": (["s/imagesTr/p_1_0000.nii.gz"], "s/imagesTr/*.nii.gz", {"p_1"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cases_by_glob_and_folder(layout: str, tmp_path: Path) -> None:
    files, cases, expected = LAYOUTS[layout]
    lab = threshold_lab(tmp_path)
    for place, name in enumerate(files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".txt"):
            (tmp_path / name).write_text("notes")
        else:
            save_image(tmp_path / name, noise(seed=place))
    lab.keys["data"]["cases"] = cases
    assert explained(lab) == expected


@pytest.mark.parametrize(
    ("part", "cases"),
    [
        ("Tr", "set"),
        ("Tr", "set/imagesTr"),
        ("Tr", "set/imagesTr/*.nii.gz"),
        ("Ts", "set"),
        ("Ts", "set/imagesTs"),
        ("Ts", "set/images*/p_*.nii.gz"),
    ],
)
@pytest.mark.slow
def test_nnunet_folders_give_channels_and_labels(part: str, cases: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0, 0.0], [2.0, 3.0]], [0.0, 0.0])
    for name in (f"images{part}", f"labels{part}"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for channel in range(2):
        path = tmp_path / "set" / f"images{part}" / f"p_1_{channel:04}.nii.gz"
        save_image(path, noise(seed=channel))
    save_image(tmp_path / "set" / f"labels{part}" / "p_1.nii.gz", TRUTH.astype(np.uint8))
    lab.keys["data"]["cases"] = cases
    lab.keys["targets"] = [{"name": "t", "label": "liver", "over": "label"}]
    assert lab.run().exit_code == 0
    np.testing.assert_allclose(lab.map("p_1", "t", "saliency"), 5.0 * TRUTH, atol=1e-5)


@pytest.mark.parametrize("cases", ["set", "set/imagesTr", "set/imagesTr/*.nii.gz"])
def test_numbers_shared_by_images_and_labels_are_not_channels(cases: str, tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for number in (1, 2):
            array = TRUTH.astype(np.uint8) if folder == "labelsTr" else noise(seed=number)
            save_image(tmp_path / "set" / folder / f"p_{number:04}.nii.gz", array)
    lab.keys["data"]["cases"] = cases
    lab.keys["targets"] = [{"label": "liver", "over": "label"}]
    found = list_cases(load_config(lab.write()))
    assert [(case.name, case.label is not None) for case in found] == [
        ("p_0001", True),
        ("p_0002", True),
    ]


ENTRY = {"image": "s/one.nii.gz", "fold": 0}


@pytest.mark.parametrize(
    "content",
    [["s/one.nii.gz"], [ENTRY], {"training": [ENTRY]}, {"name": "x", "test": [{**ENTRY}]}],
    ids=str,
)
def test_cases_by_datalist(content: object, tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    (tmp_path / "deep" / "s").mkdir(parents=True)
    save_image(tmp_path / "deep" / "s" / "one.nii.gz", noise())
    (tmp_path / "deep" / "list.json").write_text(json.dumps(content))
    lab.keys["data"]["cases"] = "deep/list.json"
    assert explained(lab) == {"one"}


@pytest.mark.slow
def test_paths_are_relative_to_the_config_first_then_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = threshold_lab(tmp_path)
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "w.safetensors").rename(here / "w.safetensors")
    save_image(here / "a.nii.gz", np.full(SHAPE, np.nan, np.float32))  # the config's own goes first
    lab.keys["targets"] = [{"label": "liver", "over": "all"}]
    lab.keys["output"] = "out"
    monkeypatch.chdir(here)
    lab.write()
    assert esegeta("run", Path("..") / "tiny.yaml").exit_code == 0
    assert (here / "out" / "tiny" / "a" / lab.file("a", "liver", "saliency").name).is_file()


def test_grey_pictures_stand_for_channels_of_a_colour_picture(tmp_path: Path) -> None:
    weight = [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
    lab = pointwise_lab(tmp_path, weight, [0.0, 0.0], ndim=2, shape=(9, 8))
    colour = np.random.default_rng(0).integers(0, 255, (8, 10, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / "slide.png"))
    lab.keys["data"] = {"cases": ["slide.png"], "channels": ["red", "green", "blue"]}
    assert explained(lab) == {"slide"}
    np.testing.assert_allclose(lab.map("slide", "liver", "saliency"), 6.0, atol=1e-5)
    for channel, value in zip(("red", "green", "blue"), (1.0, 2.0, 3.0), strict=True):
        found = lab.map("slide", f"liver_chan-{channel}", "saliency")
        np.testing.assert_allclose(found, value, atol=1e-5)
