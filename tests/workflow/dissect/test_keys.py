"""Short forms of a dissection's keys, and keys that are noted for what may be a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from esegeta.config import load_config
from esegeta.config.dissection import DissectionKeys
from esegeta.model import Labels
from esegeta.workflow.dissect.concept_plan import notes_on_labels
from tests.experiments import Lab, esegeta
from tests.workflow.dissect.planted import planted_lab

SHORT_FORMS = {
    "on": ({"ablation": True, "per_image": True, "trails": True}, ({}, {}, {})),
    "off": ({"ablation": False, "per_image": False, "trails": False}, (None, None, None)),
}


@pytest.mark.parametrize("form", SHORT_FORMS)
def test_blocks_are_on_or_off(form: str, tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    values, (ablation, per_image, trails) = SHORT_FORMS[form]
    lab.keys["dissection"].update(values)
    found = dissection_keys(lab)
    lab.keys["dissection"].update(ablation=ablation, per_image=per_image, trails=trails)
    assert found == dissection_keys(lab)
    assert all((block is None) == (form == "off") for block in (found.ablation, found.trails))
    assert (found.per_image is None) == (form == "off")


@pytest.mark.parametrize("kind", ["surrogate", "exchange", "shift", "permutation"])
def test_chance_may_be_given_as_its_kind_alone(kind: str, tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["chance"] = kind
    chance = dissection_keys(lab).chance
    assert (chance.kind, chance.samples) == (kind, 1000)


def test_a_list_of_all_means_all_layers(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["layers"] = ["all"]
    assert dissection_keys(lab).layers == "all"


def dissection_keys(lab: Lab) -> DissectionKeys:
    found = load_config(lab.write()).keys.dissection
    assert found is not None
    return found


@pytest.mark.slow
def test_integers_without_a_label_are_noted(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    note = "note: dissection.concepts.x: 9 is not among the labels (1 label1, 2 label2, 3 label3)"
    lab.keys["dissection"]["concepts"].update({"x": 9, "y": [1, 8, 9], "background": 0})
    text = lab.validate().stdout
    assert note in text
    assert "dissection.concepts.y: 8, 9 are not among the labels" in text
    assert text.count("among the labels (") == 2
    lab.keys["dissection"].update(chance={"samples": 9}, figures={"units": 0})
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0
    assert result.stdout.index(note) < result.stdout.index("thresholds")


def test_a_note_lists_few_labels() -> None:
    names = {integer: f"part{integer}" for integer in range(1, 105)}
    labels = Labels(names, "softmax", 105)
    found = DissectionKeys.model_validate({"layers": "all", "concepts": {"x": 200}})
    (note,) = notes_on_labels(found, labels)
    assert note.endswith("8 part8, and 96 more)")
