"""Faults of `--set` and `--layers` are blamed on them, and not on a line that they replace."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments import esegeta, refused
from tests.workflow.dissect.planted import planted_lab

FROM_OPTIONS = {
    "unknown layer": (("--layers", "detectr"), '--layers detectr: layer "detectr" is not in'),
    "all and another": (
        ("--layers", "all", "--layers", "head"),
        "--layers all,head: `all` cannot be combined with names",
    ),
    "a layer twice": (("--layers", "head,head"), "--layers head,head: a layer is named twice"),
    "no layer": (("--layers", ""), "--layers : name a layer"),
    "nothing behind a comma": (("--layers", "head, "), "--layers head,: name a layer"),
    "mask that is set": (
        ("--set", "dissection.concepts.x.mask=no_{case}.nii.gz"),
        "--set dissection.concepts.x.mask=no_{case}.nii.gz: ",
    ),
    "layer that is set": (
        ("--set", "dissection.layers=[detectr]"),
        '--set dissection.layers=[detectr]: layer "detectr" is not in',
    ),
    "value that is set": (
        ("--set", "dissection.quantile=2"),
        "--set dissection.quantile=2: dissection.quantile: should be greater than 0",
    ),
    "concept that is set": (
        ("--set", "dissection.concepts.x={not_of: c9}"),
        "--set dissection.concepts.x={not_of: c9}: dissection.concepts.x: no concept",
    ),
    "block that is set": (
        ("--set", "dissection.per_image.min_jou=0.2"),
        "--set dissection.per_image.min_jou=0.2: dissection.per_image.min_jou: unknown key",
    ),
    "layers over what is set": (
        ("--set", "dissection.layers=[head]", "--layers", "hed"),
        '--layers hed: layer "hed"',
    ),
}


@pytest.mark.parametrize("fault", FROM_OPTIONS)
def test_a_fault_of_an_option_names_the_option(fault: str, tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    options, message = FROM_OPTIONS[fault]
    result = esegeta("dissect", lab.write(), *options)
    refused(result, lab, f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_a_fault_of_an_option_within_a_block_names_its_line_and_the_option(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    option = "data.cases.1.label=no.nii.gz"
    result = esegeta("validate", lab.write(), "--set", option)
    place = f"{lab.config}:{lab.line_of('name: b')}, with --set {option}: "
    refused(result, lab, place, "no.nii.gz: no such file; check the path in `data.cases[1]`")


def test_an_option_that_adds_a_block_is_named_once(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    del lab.keys["dissection"]["chance"]
    option = "dissection.chance.samples=10000000"
    result = esegeta("validate", lab.write(), "--set", option)
    line = f"{lab.config}:{lab.line_of('dissection:')}"
    refused(result, lab, f"{line}, with --set {option}: dissection: 10000000 draws")


def test_a_missing_mask_set_by_an_option_names_its_whole_key(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    result = esegeta("validate", lab.write(), "--set", "dissection.concepts.x.mask=no.nii.gz")
    refused(result, lab, "check the path in `dissection.concepts.x.mask`; a `{case}` in it")


def test_a_fault_in_the_config_is_not_blamed_on_an_option(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["min_iou"] = 2
    result = esegeta("validate", lab.write(), "--set", "dissection.quantile=0.1")
    refused(result, lab, f"{lab.config}:{lab.line_of('min_iou:')}: dissection.min_iou: ")
