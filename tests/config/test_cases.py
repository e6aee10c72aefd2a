"""From `data.cases` to files: folders, globs, tables, BIDS, one file a sequence, DICOM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.errors import ConfigError, DataError
from tests.config.folders import listed, shown, touch
from tests.volume.dicom_files import itk_volume, voxels, write_frames, write_series


@pytest.mark.parametrize("cases", ["set", "set/*"])
def test_a_file_of_any_format_is_a_case(cases: str, tmp_path: Path) -> None:
    names = ["a.nrrd", "b.mha", "c.mhd", "d.nhdr", "e.npz", "f.nii", "g.hdr", "h.tif"]
    touch(tmp_path / "set", [*names, "c.raw", "d.raw.gz", "g.img", "notes.txt", ".x.nrrd"])
    found = listed(tmp_path, cases=cases)
    assert [case.name for case in found] == list("abcdefgh")


@pytest.mark.parametrize("cases", ["set", "set/*"])
def test_folders_of_slices_are_cases(cases: str, tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        write_series(tmp_path / "set" / name, itk_volume(voxels()))
    write_series(tmp_path / "set" / "p3", itk_volume(voxels()), names=["a", "b", "c", "d"])
    touch(tmp_path / "set", ["empty/notes.txt"])
    found = shown(listed(tmp_path, cases=cases), tmp_path)
    assert found == {name: ([f"set/{name}"], None) for name in ("p1", "p2", "p3")}


@pytest.mark.parametrize("cases", ["scan", "scan/*.dcm", ["scan"], [{"image": "scan"}]])
def test_a_folder_of_slices_is_one_case(cases: Any, tmp_path: Path) -> None:
    write_series(tmp_path / "scan", itk_volume(voxels()))
    assert shown(listed(tmp_path, cases=cases), tmp_path) == {"scan": (["scan"], None)}


def test_every_multi_frame_file_is_a_case(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("p1.dcm", "p2.dcm"):
        image = itk_volume((voxels() % 250).astype(np.uint8))
        write_frames(tmp_path / "set" / name, image)
    found = shown(listed(tmp_path, cases="set"), tmp_path)
    assert found == {"p1": (["set/p1.dcm"], None), "p2": (["set/p2.dcm"], None)}
    (tmp_path / "set" / "p2.dcm").unlink()
    assert shown(listed(tmp_path, cases="set"), tmp_path) == {"set": (["set"], None)}


def test_series_may_be_chosen_for_all_cases_or_one(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", itk_volume(voxels()))
    entries = [
        {"name": "a", "image": "scan"},
        {"name": "b", "image": "scan", "series": "2"},
        {"name": "c", "image": "scan", "series": ["t1", "t2"]},
        {"name": "d", "image": ["scan", "scan"], "series": ["t2", "t1"]},
    ]
    found = {case.name: case for case in listed(tmp_path, cases=entries, series="1")}
    assert {name: case.series for name, case in found.items()} == {
        "a": ("1",),
        "b": ("2",),
        "c": ("t1", "t2"),
        "d": ("t2", "t1"),
    }
    assert [len(case.images) for case in found.values()] == [1, 1, 2, 2]
    with pytest.raises(ConfigError, match=r"3 series for 2 images"):
        entry = {"image": ["scan", "scan"], "series": ["1", "2", "3"]}
        listed(tmp_path, cases=[entry])


BRATS = ["t1", "t1ce", "t2", "flair"]


@pytest.mark.parametrize("between", ["_", "-", "."])
@pytest.mark.parametrize("cases", ["set", "set/*", ["set/p1", "set/p2"]])
def test_files_of_sequences_are_channels_of_their_case(
    cases: Any, between: str, tmp_path: Path
) -> None:
    for name in ("p1", "p2"):
        files = [f"{name}{between}{word}.nii.gz" for word in (*BRATS, "seg")]
        touch(tmp_path / "set" / name, files)
    found = shown(listed(tmp_path, cases=cases, channels=BRATS), tmp_path)
    assert found == {
        name: (
            [f"set/{name}/{name}{between}{word}.nii.gz" for word in BRATS],
            f"set/{name}/{name}{between}seg.nii.gz",
        )
        for name in ("p1", "p2")
    }


def test_sequences_of_all_cases_may_lie_in_one_folder(tmp_path: Path) -> None:
    touch(tmp_path / "set", [f"{name}_{word}.mha" for name in "ab" for word in ("T1", "t2")])
    touch(tmp_path / "set", ["b_seg.mha"])
    found = shown(listed(tmp_path, cases="set", channels=["t2", "t1"]), tmp_path)
    assert found == {
        "a": (["set/a_t2.mha", "set/a_T1.mha"], None),
        "b": (["set/b_t2.mha", "set/b_T1.mha"], "set/b_seg.mha"),
    }


def test_label_maps_alone_are_cases_of_their_own(tmp_path: Path) -> None:
    """A label map may be what is explained: each is a case by its name."""
    touch(tmp_path / "set", ["p1_seg.nii", "p2_seg.nii"])
    found = shown(listed(tmp_path, cases="set", channels=BRATS), tmp_path / "set")
    assert found == {name: ([f"{name}.nii"], None) for name in ("p1_seg", "p2_seg")}


def test_sequences_may_be_folders_of_slices(tmp_path: Path) -> None:
    for word in ("t1", "t2"):
        write_series(tmp_path / "set" / "p1" / word, itk_volume(voxels()))
    found = shown(listed(tmp_path, cases="set", channels=["t2", "t1"]), tmp_path)
    assert found == {"p1": (["set/p1/t2", "set/p1/t1"], None)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["p_t1.nii", "p_t2.nii", "p_flair.nii"],
            r'p1: no image of channel "t1ce"; it holds p_flair, p_t1, p_t2.*case_t1ce\.nii\.gz',
        ),
        (
            ["p_t1.nii", "p_t1ce.nii", "p_t1ce.nrrd", "p_t2.nii", "p_flair.nii"],
            r'2 images of channel "t1ce": p_t1ce\.nii and p_t1ce\.nrrd',
        ),
    ],
)
def test_a_missing_or_duplicate_channel_is_refused(
    files: list[str], message: str, tmp_path: Path
) -> None:
    touch(tmp_path / "set" / "p1", files)
    with pytest.raises(DataError, match=message):
        listed(tmp_path, cases="set", channels=BRATS)


def test_files_with_all_channels_are_cases(tmp_path: Path) -> None:
    touch(tmp_path / "set", ["a.nii.gz", "b.nii.gz"])
    found = listed(tmp_path, cases="set", channels=BRATS)
    assert [case.name for case in found] == ["a", "b"]


def test_a_case_folder_of_several_images_needs_channels(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "p1", ["a.nii", "b.nii"])
    with pytest.raises(DataError, match=r"p1: holds 2 images: a\.nii, b\.nii; .*channels: \[t1"):
        listed(tmp_path, cases="set")
    touch(tmp_path / "one" / "p1", ["a.nii", "a_seg.nii"])
    found = shown(listed(tmp_path, cases="one"), tmp_path)
    assert found == {"p1": (["one/p1/a.nii"], "one/p1/a_seg.nii")}


def test_a_dataset_json_of_the_decathlon_lists_cases(tmp_path: Path) -> None:
    touch(tmp_path / "Task09", ["imagesTr/s1.nii.gz", "labelsTr/s1.nii.gz", "imagesTs/s2.nii.gz"])
    content = {
        "training": [{"image": "./imagesTr/s1.nii.gz", "label": "./labelsTr/s1.nii.gz"}],
        "test": ["./imagesTs/s2.nii.gz"],
    }
    path = tmp_path / "Task09" / "dataset.json"
    path.write_text(json.dumps(content))
    found = shown(listed(tmp_path, cases="Task09/dataset.json"), tmp_path)
    assert found == {"s1": (["Task09/imagesTr/s1.nii.gz"], "Task09/labelsTr/s1.nii.gz")}
    path.write_text(json.dumps({"training": [], "test": content["test"]}))
    found = shown(listed(tmp_path, cases="Task09/dataset.json"), tmp_path)
    assert found == {"s2": (["Task09/imagesTs/s2.nii.gz"], None)}


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha", "tif"])
def test_nnunet_names_are_read_in_every_format(suffix: str, tmp_path: Path) -> None:
    names = [f"case_{number}_000{channel}.{suffix}" for number in (1, 2) for channel in (0, 1)]
    touch(tmp_path / "set", [f"imagesTs/{name}" for name in names])
    touch(tmp_path / "set", [f"labelsTs/case_1.{suffix}"])
    found = shown(listed(tmp_path, cases="set/imagesTs"), tmp_path)
    assert found == {
        "case_1": ([f"set/imagesTs/{name}" for name in names[:2]], f"set/labelsTs/case_1.{suffix}"),
        "case_2": ([f"set/imagesTs/{name}" for name in names[2:]], None),
    }


# Tables


def table(folder: Path, text: str, name: str = "cases.csv") -> str:
    (folder / "lists").mkdir(exist_ok=True)
    (folder / "lists" / name).write_text(text, encoding="utf-8")
    return f"lists/{name}"


def test_a_table_lists_cases(tmp_path: Path) -> None:
    touch(tmp_path, ["lists/a.nii", "b.nii", "b_seg.nii", "b_own.nii"])
    text = "\ufeffname,image,age,label,expected\n1,a.nii,7,,\n\nb,b.nii,9,b_seg.nii,b_own.nii\n"
    found = listed(tmp_path, cases=table(tmp_path, text))
    assert shown(found, tmp_path) == {
        "1": (["lists/a.nii"], None),
        "b": (["b.nii"], "b_seg.nii"),
    }
    assert found[1].expected == tmp_path / "b_own.nii"


CHANNELS = {
    "columns": "image_1,image_0\nb.nii,a.nii\n",
    "semicolons": "name,image\na,a.nii; b.nii\n",
    "tabs": "image\tspacing_mm\na.nii;b.nii\t1;1;2.5\n",
}


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_table_may_have_channel_columns(kind: str, tmp_path: Path) -> None:
    touch(tmp_path, ["a.nii", "b.nii"])
    name = "cases.tsv" if kind == "tabs" else "cases.csv"
    (found,) = listed(tmp_path, cases=table(tmp_path, CHANNELS[kind], name))
    assert [path.name for path in found.images] == ["a.nii", "b.nii"]
    assert found.spacing_mm == ((1, 1, 2.5) if kind == "tabs" else None)
    assert found.name == "a"


def test_faults_of_cases_are_reported_with_the_line_that_lists_them(tmp_path: Path) -> None:
    touch(tmp_path, ["set/p1/a.nii", "set/p1/b.nii", "empty/notes.txt"])
    message = r"tiny\.yaml:\d+: .*p1: holds 2 images"
    with pytest.raises(DataError, match=message):
        listed(tmp_path, cases="set")
    with pytest.raises(DataError, match=message):
        listed(tmp_path, cases=["set/p1"])
    with pytest.raises(DataError, match=r"tiny\.yaml:\d+: .*empty: the folder holds no image"):
        listed(tmp_path, cases=[{"image": "empty"}])
    with pytest.raises(DataError, match=r"tiny\.yaml:\d+: .*cases\.csv:2: .*p1: holds 2 images"):
        listed(tmp_path, cases=table(tmp_path, "image\nset/p1\n"))


BAD_TABLES = {
    "no column": ("name,imgae\na,b\n", r"cases\.csv:1: no column `image`; .*name, imgae.*imgae"),
    "semicolons": ("name;image\na;b\n", r"cases\.csv:1: no column `image`.*separated by `;`"),
    "empty": ("", r"cases\.csv:1: no column `image`; the columns are nothing"),
    "no image": ("name,image\na,a.nii\nb,\n", r"cases\.csv:3: image: Field required"),
    "both": ("image,image_0\na,b\n", r"cases\.csv:2: both `image` and `image_0` name files"),
    "too many": ("name,image\na,b,c\n", r"cases\.csv:2: 3 cells in a row of 2 columns"),
    "a length": ("image,spacing_mm\na,1 1 x\n", r"cases\.csv:2: spacing_mm"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_invalid_tables_are_refused(kind: str, tmp_path: Path) -> None:
    text, message = BAD_TABLES[kind]
    with pytest.raises(DataError, match=message):
        listed(tmp_path, cases=table(tmp_path, text))


def test_missing_and_binary_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: no such table of cases"):
        listed(tmp_path, cases="none.csv")
    (tmp_path / "x.csv").write_bytes(b"image\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"x\.csv: not a text in UTF-8"):
        listed(tmp_path, cases="x.csv")


# BIDS

DATASET = [
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_bold.nii.gz",
    "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
    "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz",
    "sub-02/anat/sub-02_T1w.nii.gz",
    "sub-02/anat/sub-02_T1w.json",
    "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_space-orig_dseg.nii.gz",
    "derivatives/fmriprep/sub-02/anat/sub-02_T1w.nii.gz",
]


def test_a_bids_folder_lists_cases(tmp_path: Path) -> None:
    touch(tmp_path / "ds", DATASET)
    found = listed(tmp_path, cases="ds", bids={"suffix": "T1w", "label": "dseg"})
    assert shown(found, tmp_path / "ds") == {
        "sub-01_ses-1": ([DATASET[0]], DATASET[7]),
        "sub-01_ses-2": ([DATASET[3]], None),
        "sub-02": ([DATASET[5]], None),
    }


def test_bids_suffixes_are_channels_and_entities_filter(tmp_path: Path) -> None:
    touch(tmp_path / "ds", DATASET)
    bids = {"suffix": ["FLAIR", "T1w"], "entities": {"ses": "02"}, "datatype": "anat"}
    found = listed(tmp_path, cases="ds", bids=bids)
    assert shown(found, tmp_path / "ds") == {"sub-01_ses-2": ([DATASET[4], DATASET[3]], None)}


BAD_BIDS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "unknown suffix": (
        {"suffix": "T1"},
        [],
        r"ds: no image with suffix T1; it holds FLAIR, T1w, bold; .*T1w",
    ),
    "a channel missing": (
        {"suffix": ["T1w", "FLAIR"]},
        [],
        r'"sub-02" has no image with suffix FLAIR',
    ),
    "a suffix twice": (
        {"suffix": "T1w"},
        ["sub-02/other/sub-02_T1w.nii.gz"],
        r'two images of "sub-02" with suffix T1w: .*datatype: anat',
    ),
    "labels twice": (
        {"suffix": "T1w", "label": "dseg"},
        ["derivatives/auto/sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz"],
        r'"sub-01_ses-1" has 2 label maps',
    ),
}


@pytest.mark.parametrize("kind", BAD_BIDS)
def test_invalid_bids_folders_are_refused(kind: str, tmp_path: Path) -> None:
    bids, more, message = BAD_BIDS[kind]
    touch(tmp_path / "ds", [*DATASET, *more])
    with pytest.raises(DataError, match=message):
        listed(tmp_path, cases="ds", bids=bids)


def test_a_folder_without_subjects_is_refused_with_a_hint_on_bids(tmp_path: Path) -> None:
    touch(tmp_path / "ds", ["01/anat/01_T1w.nii.gz"])
    message = r"ds: no image with suffix T1w; a BIDS folder holds sub-\*/anat/sub-\*_T1w"
    with pytest.raises(DataError, match=message):
        listed(tmp_path, cases="ds", bids={"suffix": "T1w"})


def test_bids_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tiny\.yaml:\d+: data\.cases: 'none' is not a folder"):
        listed(tmp_path, cases="none", bids={"suffix": "T1w"})
    with pytest.raises(ConfigError, match=r"`bids` belongs to a folder"):
        listed(tmp_path, cases=["a.nii"], bids={"suffix": "T1w"})
    with pytest.raises(ConfigError, match=r"bids.*sufix"):
        listed(tmp_path, cases="ds", bids={"sufix": "T1w"})
