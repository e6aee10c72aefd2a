"""What the pictures of a dissection are asked to show: the channel, the categories, the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esegeta.dissection import Concept, ConceptSources, Edges, concept_masks
from esegeta.volume import volume_from_tensor
from tests.experiments import Lab, esegeta, save_image, voxels
from tests.workflow.dissect.planted import planted_lab

SHAPES = {2: (15, 12), 3: (13, 8, 7)}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keep what is to be drawn: titles of panels by the unit's figure, and the bars."""
    found: dict[str, Any] = {}

    def draw_unit(path: Path, title: str, names: tuple[str, str], rows: Any) -> None:
        found[names[1]] = [panel.title for row in rows for panel in row]
        path.touch()

    def draw_concepts(path: Path, counts: Any, categories: Any, title: str) -> None:
        found["bars"] = counts, categories
        path.touch()

    monkeypatch.setattr("esegeta.workflow.dissect.pictures.draw_unit", draw_unit)
    monkeypatch.setattr("esegeta.workflow.dissect.pictures.draw_concepts", draw_concepts)
    return found


def dissected(lab: Lab) -> None:
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output


def channels_of(titles: list[str]) -> set[str]:
    return {title.partition(", ")[2] for title in titles}


def test_figures_show_the_channel_that_tells_their_unit_apart(
    ndim: int, shown: dict[str, Any], tmp_path: Path
) -> None:
    lab = planted_lab(tmp_path, shape=SHAPES[ndim], num_channels=3)
    lab.keys["data"]["channels"] = ["t1", "t2", "flair"]
    for case in "ab":
        truth = voxels(tmp_path / f"{case}_label.nii.gz")
        # The second channel is faint, but it is of one label alone.
        save_image(tmp_path / f"{case}_1.nii.gz", (0.01 * (truth == 2)).astype(np.float32))
    dissected(lab)
    assert channels_of(shown["c2"]) == {"t2"}
    assert channels_of(shown["c3"]) == {"t1"}
    assert len(shown["c2"]) == 2 * (3 if ndim == 3 else 1)


def test_a_unit_for_edges_is_shown_on_the_channel_of_the_edges(
    ndim: int, shown: dict[str, Any], tmp_path: Path
) -> None:
    lab = planted_lab(tmp_path, shape=SHAPES[ndim], num_channels=2)
    lab.keys["data"]["channels"] = ["t1", "t2"]
    for seed, case in enumerate("ab"):
        generator = torch.Generator().manual_seed(seed)
        steep = torch.randn(1, *SHAPES[ndim], generator=generator)
        (edges,) = concept_masks(
            [Concept("rim", Edges(0.2))], ConceptSources(volume_from_tensor(steep))
        )
        # The unit is on where the first channel is 1, and that tells it apart without fault.
        save_image(tmp_path / f"{case}_0.nii.gz", edges.numpy().astype(np.float32))
        save_image(tmp_path / f"{case}_1.nii.gz", steep[0].numpy())
    lab.keys["dissection"]["concepts"] = {"rim": {"edges": 0.2, "channel": 1}}
    dissected(lab)
    assert channels_of(shown["rim"]) == {"t2"}


def test_one_channel_is_not_named(ndim: int, shown: dict[str, Any], tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=SHAPES[ndim], cases=1)
    lab.keys["dissection"]["q_value"] = 0.5  # in one image this small, chance can do much
    dissected(lab)
    planes = ["a axial", "a coronal", "a sagittal"] if ndim == 3 else ["a"]
    assert shown["c1"] == planes


def test_bars_count_units_by_category(shown: dict[str, Any], tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    keys = lab.keys["dissection"]
    keys["layers"] = ["detector", "head"]
    keys["concepts"]["rim"] = {"boundary_of": "c1", "within_mm": 1}
    keys["categories"] = {"organ": ["c1", "c2"]}
    dissected(lab)
    counts, categories = shown["bars"]
    assert categories == {"c1": "organ", "c2": "organ", "c3": "label", "rim": "boundary"}
    assert list(counts) == ["detector", "head"]
    assert counts["detector"] == {"c1": 1, "c2": 1, "c3": 1, "rim": 0}
