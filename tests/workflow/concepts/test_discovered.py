"""Concepts that a layer forms by itself, of supervoxels that fall into groups as planted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.experiments import Lab, esegeta, read_json, save_image, voxels
from tests.workflow.concepts.planted import planted_lab, table


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, quick_concepts: None) -> Lab:
    """The left half of a and b is one group, the right half another, and all of c a third."""
    folder = tmp_path_factory.mktemp("halves")
    lab = planted_lab(folder)
    del lab.keys["data"]["cases"][3:]
    for case, channel, columns in (("a", 3, 12), ("b", 3, 12), ("c", 4, 24)):
        path = folder / f"{case}_{channel}.nii.gz"
        image = voxels(path).copy()
        image[:, :columns] += 200
        save_image(path, image, np.eye(4))
    lab.keys["concepts"] |= {
        "concepts": {},
        "discover": {"count": 3, "method": "kmeans", "scales": [20]},
        "level": 0.5,
        "classifier": "logistic",
        "maps": "none",
    }
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    return lab


@pytest.mark.slow
def test_a_group_that_fills_its_case_is_refused_for_want_of_counter_examples(done: Lab) -> None:
    listed = table(done.root / "concepts" / "tcav.csv")
    alone = [row for row in listed if row["examples"] == "0"]
    why = "no case contains both it and supervoxels outside it"
    assert [(row["refused"], row["concept_cases"]) for row in alone] == [(why, "0")]
    others = [row for row in listed if row["examples"] != "0"]
    assert [(row["concept_cases"], row["accuracy"]) for row in others] == [("2", "1.0")] * 2
    assert not (done.root / "concepts" / "discovered" / f"units_{alone[0]['concept']}.png").exists()


@pytest.mark.slow
def test_examples_of_a_group_are_drawn_each_in_its_own_case(done: Lab) -> None:
    pictures = list((done.root / "concepts" / "discovered").iterdir())
    assert len(pictures) == 2
    for path in pictures:
        title, *cases = path.read_text(encoding="utf-8").splitlines()
        assert title.startswith("units: found_") and title.endswith(" with accuracy 1.00")
        assert len(cases) == 3 and {case[0] for case in cases} == {"a", "b"}


def test_no_note_asks_for_names_that_the_config_did_not_give(done: Lab) -> None:
    notes = "\n".join(read_json(done.root / "concepts" / "concepts.json")["notes"])
    assert "discover.names" not in notes and "their generalising is not a finding" in notes
