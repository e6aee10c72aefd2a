"""Clicks become the right voxels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from esegeta.errors import TargetError
from esegeta.targets import Scene
from esegeta.view import Session
from esegeta.view.aim import Aimer, names_for_files
from esegeta.view.question import About, Question
from tests.experiments import Lab, save_image, threshold_lab
from tests.view.sessions import session_of

SHAPE = (12, 11, 9)
LARGE, SMALL = (slice(1, 5), slice(1, 5), slice(1, 5)), (slice(8, 10), slice(7, 9), slice(5, 7))
MISSED = (slice(8, 11), slice(1, 3), slice(6, 8))


@pytest.fixture
def blobs(tmp_path: Path) -> Session:
    """Two predicted blobs; a ground truth that holds half of the large one, and one more."""
    lab: Lab = threshold_lab(tmp_path)
    image = np.full(SHAPE, -1.0, np.float32)
    image[LARGE] = image[SMALL] = 1.0
    save_image(tmp_path / "a.nii.gz", image)
    truth = np.zeros(SHAPE, np.uint8)
    truth[1:3, 1:5, 1:5] = 1
    truth[MISSED] = 1
    save_image(tmp_path / "truth.nii.gz", truth)
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    lab.keys["data"]["preprocess"] = {"orientation": "LPS"}  # the network counts from the other end
    del lab.keys["targets"], lab.keys["methods"]
    return session_of(lab)


def ask(session: Session, index: tuple[int, ...], about: About, label: str = "liver") -> Question:
    return Question(label, "saliency", about, session.scene.volume.source.grid.to_mm(index))


def mask_of(session: Session, index: tuple[int, ...], about: About) -> np.ndarray:
    """Return the voxels of a click's target on the file's grid."""
    mask = session.freeze(session.aim(ask(session, index, about))).mask
    return mask.flip(0).flip(1).numpy()


def box(*boxes: tuple[slice, ...]) -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    for one in boxes:
        found[one] = True
    return found


def test_a_voxel_target_is_the_clicked_voxel(blobs: Session) -> None:
    index = (2, 9, 7)
    wanted = np.zeros(SHAPE, bool)
    wanted[index] = True
    assert np.array_equal(mask_of(blobs, index, "voxel"), wanted)
    aim = blobs.aim(ask(blobs, index, "voxel"))
    assert aim.name == "liver-voxel-2-9-7" and aim.words == "Why liver at voxel 2, 9, 7?"


@pytest.mark.parametrize(("index", "wanted"), [((1, 4, 2), LARGE), ((9, 7, 6), SMALL)])
def test_a_component_target_is_the_one_that_holds_the_voxel(
    blobs: Session, index: tuple[int, ...], wanted: tuple[slice, ...]
) -> None:
    assert np.array_equal(mask_of(blobs, index, "component"), box(wanted))


@pytest.mark.parametrize(
    ("index", "name", "wanted"),
    [
        ((4, 2, 2), "liver-false-positive-1", (slice(3, 5), *LARGE[1:])),
        ((9, 8, 6), "liver-false-positive-2", SMALL),
        ((9, 1, 7), "liver-false-negative-1", MISSED),
    ],
)
def test_an_error_target_is_the_connected_part_that_holds_the_voxel(
    blobs: Session, index: tuple[int, ...], name: str, wanted: tuple[slice, ...]
) -> None:
    assert np.array_equal(mask_of(blobs, index, "error"), box(wanted))
    assert blobs.aim(ask(blobs, index, "error")).name == name


@pytest.mark.parametrize(
    ("index", "about", "label", "said"),
    [
        ((12, 0, 0), "voxel", "liver", "outside the image"),
        ((-1, 0, 0), "voxel", "liver", "outside the image"),
        ((6, 6, 0), "component", "liver", "in no component"),
        ((1, 1, 1), "error", "liver", "is correct at this voxel"),
        ((6, 6, 0), "voxel", "", "no label is predicted"),
    ],
)
def test_a_target_absent_at_the_voxel_is_refused(
    blobs: Session, index: tuple[int, ...], about: About, label: str, said: str
) -> None:
    with pytest.raises(TargetError, match=said):
        blobs.aim(ask(blobs, index, about, label))


def test_the_label_may_be_that_of_the_voxel(blobs: Session) -> None:
    assert blobs.aim(ask(blobs, (2, 2, 2), "voxel", "")).label == "liver"


def test_errors_need_a_ground_truth(blobs: Session) -> None:
    scene = Scene(blobs.scene.predictor, blobs.scene.volume)
    with pytest.raises(TargetError, match="the case has none"):
        Aimer(scene).aim(ask(blobs, (4, 2, 2), "error"))


def test_voxels_of_the_file_within_one_network_voxel_share_a_target(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    lab.keys["data"]["preprocess"] = {"spacing_mm": [2.1, 1.9, 3.1]}  # every third voxel along x
    del lab.keys["targets"], lab.keys["methods"]
    session = session_of(lab)
    names = [session.aim(ask(session, (at, 5, 4), "voxel")).name for at in range(12)]
    masks = [
        session.freeze(session.aim(ask(session, (at, 5, 4), "voxel"))).mask for at in range(12)
    ]
    places = [int(torch.nonzero(mask)[0, 0]) for mask in masks]
    assert all(int(mask.sum()) == 1 for mask in masks)
    # One name stands for one of the network's voxels, and the other way round.
    assert len(set(names)) == len(set(places)) == len(set(zip(names, places, strict=True)))
    assert len(set(places)) == session.scene.volume.grid.shape[0] < 12


def test_voxels_that_preprocessing_cuts_off_are_not_explained(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    image = np.full(SHAPE, -1.0, np.float32)
    image[3:, 2:, 2:] = 1.0
    save_image(tmp_path / "a.nii.gz", image)
    lab.keys["data"]["preprocess"] = {"crop": {"above": 0, "margin": 0}}
    del lab.keys["targets"], lab.keys["methods"]
    session = session_of(lab)
    with pytest.raises(TargetError, match="preprocessing cuts it off"):
        session.aim(ask(session, (0, 0, 0), "voxel"))


def test_names_for_files_are_valid_and_unique() -> None:
    found = names_for_files(["left lung", "left-lung", "a/../b", "_label-x", "leber"])
    assert found["leber"] == "leber"
    assert len(set(found.values())) == 5
    assert all(not set(name) & set("/_ ") and ".." not in name[:2] for name in found.values())
