"""Concepts that a folder of images shows: what drives, what does not, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from esegeta.config import load_config
from esegeta.volume import Case
from esegeta.workflow.concepts import build_concepts
from esegeta.workflow.concepts.shown import pool_shown, share_of
from tests.experiments import Lab, esegeta, read_json, save_image
from tests.workflow.concepts.planted import CHANNELS, depth_of, planted_lab, table

SIDE, IMAGES = 9, 6
UNIT = {"drives": 0, "idle": 1}


def save_examples(
    folder: Path, unit: int, *, count: int = IMAGES, channels: int = CHANNELS
) -> None:
    """Write patches like those of the cases, but for one unit."""
    folder.mkdir()
    generator = np.random.default_rng(unit)
    for number in range(count):
        image = generator.normal(size=(channels, SIDE, SIDE)).astype(np.float32)
        row, column = generator.integers(17), generator.integers(15)
        if channels > 2:
            image[2] -= 2 * depth_of((26, 24))[row : row + SIDE, column : column + SIDE]
        image[unit] += 4
        for channel in range(channels):
            save_image(folder / f"p{number}_c{channel}.nii.gz", image[channel], np.eye(4))


def shown_lab(folder: Path) -> Lab:
    lab = planted_lab(folder)
    # Depth, which patches from anywhere differ in, drives nothing here.
    weights = load_file(folder / "w.safetensors")
    weights["head.weight"][1, 2] = 0
    save_file(weights, folder / "w.safetensors")
    for name, unit in UNIT.items():
        save_examples(folder / name, unit)
    lab.keys["concepts"] |= {
        "concepts": {name: {"images": name} for name in UNIT},
        "maps": "none",
    }
    return lab


@pytest.mark.slow
def test_image_sets_find_the_units_that_drive_a_label(tmp_path: Path) -> None:
    lab = shown_lab(tmp_path)
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    rows = {row["concept"]: row for row in table(lab.root / "concepts" / "tcav.csv")}
    vectors = load_file(lab.root / "concepts" / "cavs.safetensors")
    for name, unit in UNIT.items():
        assert rows[name]["refused"] == "" and rows[name]["concept_cases"] == str(IMAGES)
        assert int(np.abs(vectors[f"units/{name}"]).argmax()) == unit
        assert vectors[f"units/{name}/step"][unit] == pytest.approx(4, abs=0.7)
    assert rows["drives"]["significant"] == "1" and rows["idle"]["significant"] == "0"
    notes = read_json(lab.root / "concepts" / "concepts.json")["notes"]
    assert any("drives: defined by 6 images, compared with patches" in note for note in notes)
    assert "already finished" in esegeta("concepts", lab.config).output
    # Another image is another result.
    save_image(tmp_path / "drives" / "p0_c0.nii.gz", np.ones((SIDE, SIDE), np.float32), np.eye(4))
    again = esegeta("concepts", lab.config)
    assert again.exit_code == 0 and "already finished" not in again.output


def test_pieces_are_whole_images_and_counter_pieces_are_patches_of_their_size(
    tmp_path: Path,
) -> None:
    """A layer that hands on its input: means are those of numpy, over windows smaller than both."""
    lab = shown_lab(tmp_path)
    run = build_concepts(load_config(lab.write()))
    generator = np.random.default_rng(0)
    image = generator.normal(size=(1, CHANNELS, SIDE, 30)).astype(np.float32)
    case = generator.normal(size=(1, CHANNELS, 26, 24)).astype(np.float32)
    body = torch.zeros(26, 24, dtype=torch.bool)
    body[0, 0] = body[12, 12] = True
    found = pool_shown(
        run.watched,
        torch.from_numpy(image),
        torch.from_numpy(case),
        body,
        run.layers,
        counters=5,
        room_mb=64,
        generator=torch.Generator().manual_seed(0),
    )
    own, others = found["units"]
    np.testing.assert_allclose(own[0], image[0].mean(axis=(1, 2)), atol=1e-5)
    # The smaller of the two along each axis: around voxel 12 along the first, moved inwards.
    places = [case[0, :, :SIDE].mean(axis=(1, 2)), case[0, :, 8 : 8 + SIDE].mean(axis=(1, 2))]
    for row in others.numpy():
        assert min(np.abs(row - place).max() for place in places) < 1e-5
    assert len(others) == 5 and len(np.unique(others.numpy().round(4), axis=0)) == 2


def test_images_are_shared_out_among_the_cases() -> None:
    images = [Case(str(number), (Path(f"{number}.nii.gz"),)) for number in range(7)]
    parts = [[place for place, _ in share_of(images, number, 3)] for number in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.slow
def test_bad_folders_of_images_are_named(tmp_path: Path) -> None:
    lab = shown_lab(tmp_path)
    save_examples(tmp_path / "single", 0, count=1)
    save_examples(tmp_path / "narrow", 0, channels=2)
    (tmp_path / "empty").mkdir()
    solid = tmp_path / "solid"
    solid.mkdir()
    for name in [f"p{number}_c{channel}" for number in range(2) for channel in range(CHANNELS)]:
        save_image(solid / f"{name}.nii.gz", np.zeros((4, 4, 4), np.float32), np.eye(4))
    lab.keys["concepts"]["concepts"]["rim"] = {"boundary_of": "drives", "within_mm": 2}
    result = esegeta("validate", lab.write())
    assert result.exit_code == 2 and "is defined by example images" in result.output
    del lab.keys["concepts"]["concepts"]["rim"]
    for folder, words in (
        ("nowhere", "is not a folder"),
        ("empty", "holds 0 images"),
        ("single", "holds 1 image, but"),
        ("narrow", "c2"),
        ("solid", "has 3 axes, but the cases have 2"),
    ):
        lab.keys["concepts"]["concepts"]["drives"] = {"images": folder}
        result = esegeta("validate", lab.write())
        assert result.exit_code == 2, result.output
        assert "tiny.yaml:" in result.output and words in result.output
    lab.keys["dissection"] = {"layers": ["units"], "concepts": {"it": {"images": "drives"}}}
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 2 and "not where it is in a case" in result.output
