"""Scenes for 3D Slicer, as 3D Slicer's own libraries read them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from esegeta.report.slicer_scene import SceneImage, SceneMap, SlicerScene, colour_table, write_scene
from esegeta.volume import Grid, Segment, write_segments

READER = Path(__file__).with_name("slicer_reader.py")
SHAPE = (7, 6, 5)
CENTRE_MM = (1.0, 2.0, 3.0)


def oblique() -> np.ndarray:
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [12, -8, 20], degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag([-1.1, 1.5, 2.5])
    affine[:3, 3] = [-10, 4, 7]
    return affine


def masks() -> dict[str, torch.Tensor]:
    whole = torch.zeros(SHAPE, dtype=torch.bool)
    whole[1:4, 2:5, 1:3] = True
    core = torch.zeros_like(whole)
    core[2:3, 3:4, 1:4] = True
    return {'whole & <"1">': whole, "core": core, "none": torch.zeros_like(whole)}


def values() -> np.ndarray:
    return np.linspace(-2, 2, 210).reshape(SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    arrays = {"ct": image, "slope": values(), "size": np.abs(values())}
    for name, array in arrays.items():
        nib.save(nib.Nifti1Image(array, oblique()), folder / f"{name}.nii.gz")
    segments = folder / "prediction.seg.nrrd"
    colours = ("#d55e00", "#0072b2", "#009e73")
    named = zip(masks().items(), colours, strict=True)
    drawn = [Segment(name, colour, mask) for (name, mask), colour in named]
    write_segments(segments, drawn, Grid(SHAPE, oblique()))
    scene = SlicerScene(
        [SceneImage("ct", folder / "ct.nii.gz", -1.0, 3.0)],
        segments,
        [
            SceneMap("slope", folder / "slope.nii.gz", 1.5, is_signed=True),
            SceneMap("size", folder / "size.nii.gz", 1.5, is_signed=False),
        ],
        CENTRE_MM,
        100.0,
    )
    write_scene(folder / "torso_liver.mrb", scene)
    return folder / "torso_liver.mrb"


@pytest.fixture(scope="module")
def loaded(bundle: Path) -> dict[str, Any]:
    if importlib.util.find_spec("slicer_core") is None:
        pytest.skip("slicer-core is not installed; there are no wheels for every platform")
    command = [sys.executable, str(READER), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ERR" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_paths_are_relative_and_lead_to_files(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as content:
        names = set(content.namelist())
        root = xml.fromstring(content.read("torso_liver/torso_liver.mrml"))
    files = {node.get("fileName") for node in root.iter() if node.get("fileName")}
    assert {f"torso_liver/{file}" for file in files} == names - {"torso_liver/torso_liver.mrml"}
    assert all(file is not None and file.startswith("Data/") for file in files)


@pytest.mark.slow
def test_volumes_lie_where_their_files_say(loaded: dict[str, Any]) -> None:
    assert list(loaded["volumes"]) == ["ct", "slope", "size"]
    for told in loaded["volumes"].values():
        assert tuple(told["shape"]) == SHAPE
    told = loaded["volumes"]["slope"]
    # Slicer stores slices from the other end where axes are left-handed: places count.
    affine, index = np.asarray(told["affine"]), np.argwhere(np.ones(SHAPE)).T
    to_index = np.linalg.inv(oblique()) @ affine
    places = np.rint(to_index[:3, :3] @ index + to_index[:3, 3:]).astype(int)
    np.testing.assert_allclose(to_index[:3, :3] @ index + to_index[:3, 3:], places, atol=1e-4)
    found = np.reshape(told["values"], SHAPE, order="F")
    np.testing.assert_array_equal(found[tuple(index)], values()[tuple(places)])
    assert loaded["volumes"]["ct"]["range"] == [-1, 3]
    assert loaded["volumes"]["slope"]["range"] == [-1.5, 1.5]
    assert loaded["volumes"]["size"]["range"] == [0, 1.5]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slope", "size"])
def test_colours_tell_the_sign_and_leave_zero_clear(loaded: dict[str, Any], name: str) -> None:
    told = loaded["volumes"][name]
    shown = zip(told["values"], told["colours"], strict=True)
    for value, (red, _, blue, opacity) in shown:
        if abs(value) < 0.05:
            assert opacity == 0
        elif abs(value) > 0.1:
            assert opacity == 255
            assert (red > blue) == (value > 0)


@pytest.mark.slow
def test_segments_keep_names_colours_overlaps_and_places(loaded: dict[str, Any]) -> None:
    assert [told["name"] for told in loaded["segments"]] == list(masks())
    np.testing.assert_allclose(loaded["segments"][0]["colour"], [213 / 255, 94 / 255, 0], atol=1e-5)
    for told, mask in zip(loaded["segments"], masks().values(), strict=True):
        index = mask.nonzero().double().numpy()
        expected = index @ oblique()[:3, :3].T + oblique()[:3, 3]
        found = np.asarray(told["voxels_mm"]).reshape(-1, 3)
        assert len(found) == len(expected)
        gaps = np.linalg.norm(found[:, None] - expected[None], axis=-1)
        assert (gaps.min(axis=0, initial=np.inf) < 1e-4).all()


@pytest.mark.slow
def test_three_slices_go_through_the_target(loaded: dict[str, Any]) -> None:
    normals = {"Red": [0, 0, 1], "Green": [0, 1, 0], "Yellow": [-1, 0, 0]}
    assert set(loaded["views"]) == set(normals)
    for name, normal in normals.items():
        told = loaded["views"][name]
        assert told["centre_mm"] == list(CENTRE_MM)
        assert told["normal"] == normal
        assert told["layers"] == ["ct", "slope"]


def test_a_table_has_its_clear_entry_in_the_middle_or_at_the_start() -> None:
    signed, magnitude = (
        [line.split() for line in colour_table(is_signed).splitlines()[1:]]
        for is_signed in (True, False)
    )
    assert signed[len(signed) // 2][-1] == magnitude[0][-1] == "0"
    assert signed[0][-1] == signed[-1][-1] == magnitude[-1][-1] == "255"
    assert signed[-1][2:] == magnitude[-1][2:]
