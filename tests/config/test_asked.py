"""What one command line asks for: regions in a word, and images by file, folder, list or number."""

from __future__ import annotations

from pathlib import Path

import pytest

from esegeta.config import TargetKeys
from esegeta.config.asked import cases_of, target_of
from esegeta.errors import TargetError


def test_nnunet_channel_files_are_grouped_into_cases(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("p1_0000", "p1_0001", "p2_0000", "p2_0001"):
        (folder / f"{name}.nii.gz").touch()
    files = [str(folder / f"p1_000{number}.nii.gz") for number in (0, 1)]
    assert cases_of(files[::-1], is_nnunet=True) == [{"name": "p1", "image": files}]
    by_number = cases_of([str(folder)], is_nnunet=True)
    assert [case["name"] for case in by_number] == ["p1", "p2"]
    assert by_number[0]["image"] == files
    assert cases_of([str(folder)], is_nnunet=False) == str(folder)
    assert cases_of([str(folder / "p*.nii.gz")], is_nnunet=False) == str(folder / "p*.nii.gz")


OVER = {
    "component": {"label": 1, "of": "logit", "over": "component", "name": "1-component"},
    "component:2": {"over": "component", "component": 2},
    "component:each": {"component": "each"},
    "boundary:2.5": {"over": "boundary", "within_mm": 2.5},
    "voxel:1,2,3": {"over": "point", "point": [1, 2, 3], "name": "1-voxel-1-2-3"},
    "box:0,0,0:2,3,4": {"over": "box", "box": [[0, 0, 0], [2, 3, 4]]},
    "roi:mask.nii.gz": {"over": "roi", "roi": str(Path("mask.nii.gz").absolute()), "name": "1-roi"},
    "roi:~/mask.nii.gz": {"over": "roi", "roi": str(Path("~/mask.nii.gz").expanduser())},
    "false_positive": {"over": "false_positive", "name": "1-false-positive"},
}


@pytest.mark.parametrize("text", OVER)
def test_every_word_for_a_region_gives_its_keys(text: str) -> None:
    keys = target_of(1, text)
    assert keys | OVER[text] == keys
    assert TargetKeys.model_validate(keys).over == keys["over"]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("roi:", "roi:mask.nii.gz"),
        ("all:3", "it takes nothing after a colon"),
        ("predicted:x", "it takes nothing after a colon"),
        ("component:big", "component:2 for the second largest"),
        ("boundary:near", "boundary:3 for the voxels within 3 mm"),
        ("box:0,0,0", "box:0,0,0:8,8,8"),
    ],
)
def test_a_region_that_is_not_understood_says_how_it_is_written(text: str, form: str) -> None:
    with pytest.raises(TargetError, match=f'^--over: "{text}" is not understood; .*{form}'):
        target_of("liver", text)


@pytest.mark.parametrize("name", ["set.json", "set.CSV", "set.tsv"])
def test_a_list_of_cases_is_kept_as_a_list(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert cases_of([str(tmp_path / name)], is_nnunet=True) == str(tmp_path / name)


@pytest.mark.parametrize(
    ("images", "folder"),
    [
        (["imagesTs/p_0000.nii", "imagesTs/p_0001.nii"], "."),
        (["imagesTs/p_0000.nii", "imagesTs/p_0001.nii"], "imagesTs"),
        (["scans/p_0000.nii", "scans/plain.nii"], "scans"),
    ],
)
def test_a_folder_without_complete_nnunet_names_stays_a_folder(
    images: list[str], folder: str, tmp_path: Path
) -> None:
    """Names that nnU-Net itself gives, and names of which one has no number."""
    for image in images:
        (tmp_path / image).parent.mkdir(exist_ok=True)
        (tmp_path / image).touch()
    assert cases_of([str(tmp_path / folder)], is_nnunet=True) == str(tmp_path / folder)
