"""What a dissection refuses, before any work: with its place, what was found and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from tests.experiments import Lab, esegeta, noise, refused, save_image, unet_lab
from tests.workflow.dissect.planted import planted_lab

Change = Callable[[Lab], Any]


def concept(name: str, value: Any) -> Change:
    return lambda lab: lab.keys["dissection"]["concepts"].update({name: value})


def keys(**values: Any) -> Change:
    return lambda lab: lab.keys["dissection"].update(values)


def without_label(lab: Lab) -> None:
    del lab.keys["data"]["cases"][1]["label"]


FAULTS: dict[str, tuple[Change, str, tuple[str, ...]]] = {
    "unknown key": (keys(quantil=0.1), "quantil:", ("unknown key", '"quantile"')),
    "quantile of all": (keys(quantile=1.0), "quantile:", ("dissection.quantile", "less than 1")),
    "quantile in percent": (
        keys(quantile=50),
        "quantile:",
        ("dissection.quantile", "a share", "0.005 for the largest half percent (found 50)"),
    ),
    "quantile of none": (keys(quantile=0), "quantile:", ("greater than 0", "a share")),
    "no layer": (keys(layers=[]), "layers:", ("name a layer",)),
    "a layer twice": (keys(layers=["head", "head"]), "layers:", ("named twice",)),
    "a number for a layer": (
        keys(layers=[3]),
        "layers:",
        ('dissection.layers: a layer\'s name is text; put it in quotes: "3" (found [3])',),
    ),
    "a number for the layers": (keys(layers=3), "layers:", ('put it in quotes: "3"',)),
    "a block for a layer": (keys(layers=[{"a": 1}]), "layers:", ("a layer's name is text",)),
    "all and another": (
        keys(layers=["all", "head"]),
        "layers:",
        ("`all` cannot be combined with names",),
    ),
    "unknown chance": (
        keys(chance="shfit"),
        "chance:",
        ('dissection.chance: "shfit" is not known; did you mean "shift"?',),
    ),
    "two cases to exchange": (
        keys(chance="exchange"),
        "chance:",
        ("needs at least 5 cases, and there are 2", "p would not fall below 0.5", "surrogate"),
    ),
    "ablation that is neither on nor off": (
        keys(ablation="on"),
        "ablation:",
        ("dissection.ablation: should be a block of keys (found 'on')",),
    ),
    "unknown layer": (
        keys(layers=["detectr"]),
        "layers:",
        ('layer "detectr" is not in the network', '"detector"'),
    ),
    "no concepts": (keys(concepts={}), "concepts:", ("dissection.concepts",)),
    "list of concepts": (keys(concepts=["liver"]), "concepts:", ("name each concept",)),
    "word for a concept": (
        concept("x", "liver"),
        "x: liver",
        ("concepts.x", "the integer of a label"),
    ),
    "truth for a concept": (concept("x", True), "x: true", ("a concept is an integer",)),
    "two kinds": (
        concept("x", {"not_of": "c1", "edges": 0.1}),
        "x:",
        ("give one of", "not_of, edges"),
    ),
    "no kind": (concept("x", {"category": "a"}), "x:", ("give one of", "none of them")),
    "unknown kind": (
        concept("x", {"boundry_of": "c1"}),
        "boundry_of",
        ("unknown key", '"boundary_of"'),
    ),
    "boundary without a distance": (
        concept("x", {"boundary_of": "c1"}),
        "x:",
        ("`boundary_of` needs `within_mm`",),
    ),
    "key of another kind": (
        concept("x", {"not_of": "c1", "within_mm": 3}),
        "x:",
        ("`within_mm` belongs to `boundary_of`",),
    ),
    "band the wrong way": (
        concept("x", {"distance_to": "c1", "mm": [5, 2]}),
        "x:",
        ("the nearer distance first",),
    ),
    "of nothing that is known": (
        concept("x", {"not_of": "c4"}),
        "x:",
        ('no concept or label "c4"', "choose from: c1, c2, c3, label1"),
    ),
    "of what is both label and concept, in another case": (
        lambda lab: lab.keys["dissection"].update(
            concepts={"label1": 1, "label": {"not_of": "Label1"}}
        ),
        "label:",
        ('no concept or label "Label1"; did you mean "label1"?\n',),
    ),
    "of itself": (
        lambda lab: lab.keys["dissection"]["concepts"].update(x={"not_of": "y"}, y={"not_of": "x"}),
        "x:",
        ("it is defined by itself (x of y of x)",),
    ),
    "channel that is not there": (
        concept("x", {"edges": 0.1, "channel": 1}),
        "x:",
        ("channel 1 of 1",),
    ),
    "case without labels": (without_label, "concepts:", ("case b has none", "`label:` file")),
    "mask that is not there": (
        concept("x", {"mask": "no_{case}.nii.gz"}),
        "mask:",
        ("no_a.nii.gz: no such file; check the path in `dissection.concepts.x.mask`\n",),
    ),
    "one mask for all cases that is not there": (
        concept("x", {"mask": "no.nii.gz"}),
        "mask:",
        ("in `dissection.concepts.x.mask`; a `{case}` in it stands for the name of each case",),
    ),
    "mask on another grid": (
        lambda lab: (
            save_image(lab.folder / "odd.nii.gz", noise((4, 4, 4))),
            concept("x", {"mask": "odd.nii.gz"})(lab),
        ),
        "mask:",
        ("different grids", "a `{case}` in it stands for"),
    ),
    "category of nothing": (
        keys(categories={"organ": ["c9"]}),
        "categories:",
        ('no concept "c9"', "choose from: c1, c2, c3"),
    ),
    "two categories": (
        keys(categories={"a": ["c1"], "b": ["c1"]}),
        "categories:",
        ('"c1" has two categories',),
    ),
    "masks of no case": (
        keys(figures={"masks": ["aa"]}),
        "masks:",
        ('no case "aa"', '"a"'),
    ),
    "ablation of no layer": (
        keys(ablation={"layers": ["head"]}),
        "layers:",
        ('no dissected layer "head"',),
    ),
    "ablation of no concept": (
        keys(ablation={"concepts": ["c9"]}),
        "concepts:",
        ('no concept "c9"',),
    ),
    "draws beyond memory": (
        keys(memory_mb=1, chance={"samples": 10_000_000}),
        "dissection:",
        # 9 pairs of 8 bytes: 686.6 MB, and four times that for a quarter
        (
            "10000000 draws",
            "take 687 MB, but may take only 16 MB",
            "raise memory_mb to 2747",
            "chance.samples",
        ),
    ),
}


@pytest.mark.parametrize("command", ["dissect", "validate"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_placed_by_file_and_line(fault: str, command: str, tmp_path: Path) -> None:
    change, text, words = FAULTS[fault]
    lab = planted_lab(tmp_path)
    change(lab)
    result = esegeta(command, lab.write())
    place = f"{lab.config}:"
    refused(result, lab, place, *words)
    lines = lab.config.read_text().splitlines()
    number = int(result.stderr.split(place)[1].split(":")[0])
    assert text in lines[number - 1]


@pytest.mark.parametrize("blocks", [("targets", "methods"), ("targets",), ()])
def test_a_config_without_a_dissection_is_refused(blocks: tuple[str, ...], tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    for key in {"targets", "methods"} - set(blocks):
        del lab.keys[key]
    result = esegeta("dissect", lab.write())
    refused(result, lab, "has no block `dissection`", "dissection: {layers")
    assert "targets" not in result.stderr
    result = esegeta("dissect", lab.config, "--layers", "all")
    refused(result, lab, "has no block `dissection`")


def test_a_run_of_a_config_with_only_a_dissection_is_refused(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    place = f"{lab.write()}:{lab.line_of('dissection:')}: "
    refused(esegeta("run", lab.config), lab, place, "no targets and no methods", "esegeta dissect")


@pytest.mark.parametrize("missing", ["targets", "methods"])
def test_a_dissection_with_targets_or_methods_alone_is_refused(
    missing: str, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path)
    del lab.keys[missing]
    lab.keys["dissection"] = {"layers": "all", "concepts": {"x": 1}}
    for command in ("run", "dissect", "validate"):
        refused(esegeta(command, lab.write()), lab, f"{missing}: missing")


def test_a_config_with_neither_targets_nor_dissection_is_valid_for_predict(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    del lab.keys["dissection"]
    result = esegeta("validate", lab.write())
    assert result.exit_code == 0, result.output  # as `esegeta predict` takes it
    shown = " ".join(result.stdout.split())
    assert "valid for `esegeta predict`; a run needs targets and methods" in shown
    assert "nothing proves that this is your own pipeline's prediction" in shown
    place = f"{lab.config}:1: "
    result = esegeta("run", lab.config)
    refused(result, lab, f"{place}targets: missing", f"{place}methods: missing")
    assert "`" not in result.stderr


def test_layers_are_printed_without_any_work(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    del lab.keys["dissection"]
    assert "detector" in esegeta("layers", lab.write()).stdout


@pytest.mark.parametrize("key", ["null", "~", "Null"])
def test_an_unquoted_null_is_refused_as_a_key(key: str, tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    text = lab.write().read_text()
    lab.config.write_text(text.replace("  chance:", f"  {key}:"))
    line = lab.line_of(f"  {key}:")
    what = f"{lab.config}:{line}: an unquoted {key} is not a key; "
    refused(esegeta("validate", lab.config), lab, what, "is `chance`")
    option = "dissection={null: {samples: 9}}"
    refused(lab.validate("--set", option), lab, f"--set {option}: an unquoted null", "`chance`")


def test_halves_of_pictures_are_refused(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=(13, 8))
    picture = sitk.GetImageFromArray(np.zeros((8, 13), np.uint8))
    for entry in lab.keys["data"]["cases"]:
        entry.update(image=f"{entry['name']}.png", label=f"{entry['name']}_label.png")
        sitk.WriteImage(picture, str(tmp_path / entry["image"]))
        sitk.WriteImage(picture, str(tmp_path / entry["label"]))
    assert lab.validate().exit_code == 0
    concept("x", {"half": "left", "of": "c1"})(lab)
    result = lab.validate()
    place = f"{lab.config}:{lab.line_of('half:')}: dissection.concepts.x: half: left is a side"
    refused(result, lab, place, "a picture has none", "a.png", "as NIfTI")


def test_the_memory_named_in_the_hint_suffices(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    keys(memory_mb=2746, chance={"samples": 10_000_000})(lab)
    refused(lab.validate(), lab, "take 687 MB, but may take only 686 MB", "raise memory_mb to 2747")
    keys(memory_mb=2747)(lab)
    assert lab.validate().exit_code == 0


def test_small_figures_of_memory_have_digits(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    keys(memory_mb=0.01, trails={"samples": 100})(lab)
    # 3 nodes x 200 draws of a byte, and 3 units and 3 x 6 pairs of 4 bytes, 100 times: 68400 bytes
    words = ("take 0.0652 MB, but may take only 0.0025 MB", "raise memory_mb to 1,")
    refused(esegeta("dissect", lab.write()), lab, *words)


def test_validate_tells_what_would_be_done_and_writes_nothing(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    result = esegeta("validate", lab.write())
    assert result.exit_code == 0
    for words in ("valid for a dissection", "a, b", "detector (3)", "c1, c2, c3", "quantile 0.3"):
        assert words in result.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_layers_of_the_command_line(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["figures"] = {"units": 0}
    assert esegeta("dissect", lab.write(), "--layers", "head", "-q").stdout == ""
    text = (lab.root / "dissection" / "units.csv").read_text()
    assert "\nhead,3," in text and "detector" not in text
    result = esegeta("dissect", lab.write(), "--layers", "all", "-o", tmp_path / "elsewhere")
    assert result.exit_code == 0
    text = (tmp_path / "elsewhere" / "tiny" / "dissection" / "units.csv").read_text()
    assert all(f"\n{name},0," in text for name in ("stem", "detector", "pool", "head"))
    refused_ = esegeta("dissect", lab.write(), "--layers", "hed")
    assert refused_.exit_code == 2
    assert 'did you mean "head"' in refused_.stderr


def test_concepts_may_refer_to_labels_that_are_not_listed(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["concepts"] = {"not1": {"not_of": "label1"}}
    assert esegeta("dissect", lab.write()).exit_code == 0
    text = (lab.root / "dissection" / "pairs.csv").read_text()
    assert "not1,complement" in text and "label1" not in text


def test_masks_of_files_need_no_labels(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    for entry in lab.keys["data"]["cases"]:
        (tmp_path / entry.pop("label")).rename(tmp_path / f"mask_{entry['name']}.nii.gz")
    lab.keys["dissection"]["concepts"] = {"m": {"mask": "mask_{case}.nii.gz", "values": [2]}}
    assert esegeta("dissect", lab.write()).exit_code == 0
    rows = (lab.root / "dissection" / "units.csv").read_text().splitlines()
    assert rows[2].startswith("detector,1,m,mask,1.0,")
