"""What is wrong with a comparison is said in one message, at its place, before anything runs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import unet
from tests.experiments import esegeta
from tests.workflow.similarity.labs import other, similarity_lab

BLOCKS: dict[str, tuple[Any, str]] = {
    "layer": ({"layers": ["model.9"]}, 'layer "model.9" is not in the network; did you mean'),
    "method": ({"methods": ["ckaa"]}, 'methods[0]: "ckaa" is not known; did you mean "cka"?'),
    "twice": ({"methods": ["cka", "cka"]}, "similarity.methods: cka is listed twice"),
    "samples": ({"samples": 0}, "similarity.samples: "),
    "no number": ({"samples": True}, "similarity.samples: give a number of positions"),
    "key": ({"sampels": 4}, 'similarity.sampels: unknown key; did you mean "samples"?'),
    "field": ({"other_configs": ["a.yaml"]}, "similarity.other_configs: unknown key"),
    "missing": ({"with": ["nope.yaml"]}, "similarity.with[0]: "),
    "itself": ({"with": ["tiny.yaml"]}, "tiny.yaml is compared already"),
    "again": ({"with": ["one.yaml", "./one.yaml"]}, "similarity.with[1]: "),
    "invalid": ({"with": ["bad.yaml"]}, 'modle: unknown key; did you mean "model"?'),
    "channels": ({"with": ["two.yaml"]}, "the network takes 2"),
    "closed": ({"with": ["closed.yaml"]}, "similarity needs the layers of a network"),
    "block": (None, "has no block `similarity`"),
}


@pytest.mark.parametrize("fault", BLOCKS)
def test_faults_are_named(fault: str, tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=1)
    block, message = BLOCKS[fault]
    two = {**lab.keys["model"], "args": {**lab.keys["model"]["args"], "in_channels": 2}}
    del two["weights"]
    other(lab, "one")
    other(lab, "two", model=two)
    other(lab, "bad", modle=3)
    if fault == "closed":
        with warnings.catch_warnings(action="ignore"):
            torch.jit.trace(unet(3), torch.zeros(1, 1, 8, 8, 8)).save(tmp_path / "n.pt")
        other(lab, "closed", model={"kind": "torchscript", "path": "n.pt"})
    if block is None:
        del lab.keys["similarity"]
    else:
        lab.keys["similarity"].update(block)
    result = esegeta("similarity", lab.write())
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not lab.root.exists()


def test_too_many_units_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.workflow.similarity.build.MOST_UNITS", 31)
    result = esegeta("similarity", similarity_lab(tmp_path, cases=1).write())
    assert result.exit_code == 2
    assert "similarity: 32 units of 4 layers, but pairs of at most" in result.stderr


def test_a_run_of_a_config_with_only_a_similarity_is_refused(tmp_path: Path) -> None:
    result = esegeta("run", similarity_lab(tmp_path, cases=1).write())
    assert result.exit_code == 2 and "`esegeta similarity CONFIG` does that" in result.stderr
