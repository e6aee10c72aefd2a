"""Configs and options that once ended in a traceback or a hang, by hand: each is refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.experiments import Lab, unet_lab
from tests.fuzz.blocks import given
from tests.fuzz.contract import refused
from tests.fuzz.inputs import template

LONG, DEEP = "x" * 300, "[" * 3000 + "]" * 3000
BOMB = "\n".join(
    [
        "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)),
    ]
)

VALUES: dict[str, tuple[str, str, str]] = {
    "name of 300 bytes": ("name", LONG, "too long"),
    "case of 300 bytes": ("data.cases.0.name", LONG, "too long"),
    "target of 300 bytes": ("targets.0.name", LONG, "too long"),
    "image of 300 bytes": ("data.cases.0.image", LONG + ".nii.gz", "255"),
    "image of 6000 bytes": ("data.cases.0.image", "/".join(["y" * 200] * 30), "4096"),
    "weights of 300 bytes": ("model.weights", LONG + ".pt", "255"),
    "output of 300 bytes": ("output", LONG, "255"),
    "cases of 300 bytes": ("data.cases", LONG + "*", "255"),
    "image of nobody": ("data.cases.0.image", "~nosuchuser/a.nii", 'no user "nosuchuser"'),
    "weights of nobody": ("model.weights", "~nosuchuser/a.pt", 'no user "nosuchuser"'),
    "output of nobody": ("output", "~nosuchuser/a", 'no user "nosuchuser"'),
    "cases of nobody": ("data.cases", "~nosuchuser/*.nii", 'no user "nosuchuser"'),
    "5000 digits": ("seed", "9" * 5000, "5000 digits"),
    "5000 hexadecimal digits": ("seed", "0x" + "f" * 5000, "digits"),
    "seed of 2^64": ("seed", "18446744073709551616", "64 bits"),
    "!!int foo": ("seed", "!!int foo", '"foo" does not match its tag !!int'),
    "!!float of nothing": ("seed", "!!float ''", "!!float"),
    "!!bool foo": ("scene", "!!bool foo", "!!bool"),
    "!!timestamp foo": ("name", "!!timestamp foo", "!!timestamp is not known"),
    "!!binary": ("name", "!!binary aGk=", "!!binary is not known"),
    "!!set": ("labels", "!!set {a}", "!!set is not known"),
    "python tag": ("name", "!!python/object:os.system x", "is not known"),
    "NaN": ("expected_dice", ".nan", "finite"),
    "infinity": ("data.preprocess", "{spacing_mm: [.inf, 1, 1]}", "finite"),
    "NaN spacing": ("data.preprocess", "{spacing_mm: [.nan, .nan, .nan]}", "finite"),
    "window of 10^12": ("inference.window", "[1000000000000, 8, 8]", "max_voxels"),
    "window of 10^27": ("inference.window", "[1000000000, 1000000000, 1000000000]", "max_voxels"),
    "10^20 steps": (
        "methods.0",
        "{name: integrated_gradients, steps: 100000000000000000000}",
        "64 bits",
    ),
    "10^12 steps": ("methods.0", "{name: integrated_gradients, steps: 1000000000000}", "at most"),
    "3000 brackets": ("model.args", DEEP, "are nested more than"),
    "a list in itself": ("model.args", "&a [*a]", "a block that contains it"),
    "NUL in a name": ("name", '"a\\0b"', "U+0000"),
    "tab in a name": ("name", '"a\\tb"', "U+0009"),
    "newline in a name": ("targets.0.name", '"a\\nb"', "U+000A"),
    "DEL in a name": ("data.cases.0.name", '"a\\x7fb"', "U+007F"),
    "half a character": ("name", '"a\\ud800b"', "half a character"),
    "100000 units": ("model.args.num_res_units", "100000", "layers"),
    "channels of 10^12": ("model.args.channels", "[1000000000000, 8]", "model.args"),
    "pattern through /proc": ("data.cases", "/proc/**/x", "/proc"),
    "pattern through the machine": ("data.cases", "/**/x", "which contains no images"),
    "two names of one integer": ("labels", '{1: gm, "+1": liver}', "given twice"),
    "spacing of 10^-300 mm": ("data.preprocess", "{spacing_mm: [1e-300, 1, 1]}", ""),
    "spacing of 10^-5 mm": (
        "data.preprocess",
        "{spacing_mm: [0.00001, 0.00001, 0.00001]}",
        "max_voxels",
    ),
    "pretrained": (
        "model",
        "{kind: monai, network: EfficientNetBN, args: {model_name: efficientnet-b0, "
        "pretrained: true}}",
        "allow_download",
    ),
}


def with_text(lab: Lab, key: str, text: str) -> Path:
    """Write the config with YAML text in place of a value."""
    *holders, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    holder: Any = lab.keys
    for part in holders:
        holder = holder[part]
    holder[last] = "@@"
    content = lab.write().read_text(encoding="utf-8").replace("'@@'", text)
    lab.config.write_text(content, encoding="utf-8")
    return lab.config


LONG_REFUSED = "100000 units"
"""It is built until there are too many layers, for some seconds."""


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.slow) if what == LONG_REFUSED else what
        for what in VALUES
    ],
)
def test_a_value_is_refused_with_its_place(what: str, tmp_path: Path) -> None:
    key, text, words = VALUES[what]
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    config = with_text(lab, key, text)
    assert f"{config}:" in refused(lab, words, "validate", config)


CONFIGS = {"aliases": BOMB, "a mapping in itself": "a: &a {b: *a}", "no end of list": "a: " + DEEP}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_yaml_bomb_is_refused(what: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.config.write_text(CONFIGS[what], encoding="utf-8")
    refused(lab, "not YAML", "validate", lab.config)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/", "~nosuchuser/x", LONG])
def test_text_that_is_not_a_config_is_refused(path: str, tmp_path: Path) -> None:
    refused(unet_lab(tmp_path), "error: ", "validate", path)


OPTIONS = ("seed=" + "9" * 5000, "methods.²=a", ".".join(["a"] * 3000) + "=1", "model.args=" + DEEP)


@pytest.mark.parametrize("option", OPTIONS, ids=range(len(OPTIONS)))
def test_an_option_is_refused(option: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    refused(lab, "--set", "validate", lab.write(), "--set", option)


def test_an_option_changes_only_one_place_of_an_alias(tmp_path: Path) -> None:
    from esegeta.config import load_config

    entry = "&m {name: integrated_gradients, steps: 4, id: one}"
    lab = unet_lab(tmp_path)
    lab.keys["methods"] = ["@@", "@2"]
    text = lab.write().read_text(encoding="utf-8")
    lab.config.write_text(text.replace("'@@'", entry).replace("'@2'", "*m"))
    loaded = load_config(lab.config, ["methods.1.id=two", "methods.1.steps=8"])
    assert {key: one.steps for key, one in loaded.methods.items()} == {"one": 4, "two": 8}


SLOW = pytest.mark.slow
BLOCKS_BESIDE = {
    "patch of 10^9": ("retrain", "patch=[1000000000, 8, 8]", "max_voxels"),
    "batch of 10^9": ("retrain", "batch_size=1000000000", "max_voxels"),
    "a label that names no file": ("concepts", "targets=[a/b]", "concepts.targets[0]: "),
    "text of truth": ("similarity", "slabs=true", "whole number"),
}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=[SLOW] * (key[0] == "retrain"))
        for what, key in BLOCKS_BESIDE.items()
    ],
)
def test_a_key_of_a_block_is_refused(what: str, tmp_path: Path) -> None:
    block, option, words = BLOCKS_BESIDE[what]
    lab = template(tmp_path)
    given(lab, block)
    refused(lab, words, "validate", lab.write(), "--set", f"{block}.{option}")


@pytest.mark.parametrize(
    "arguments", ["pretrained_url: file:///etc/passwd", "pretrained: http://x"]
)
def test_an_argument_that_would_download_is_refused(arguments: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    key = arguments.partition(":")[0]
    lab.keys["model"]["args"][key] = arguments.partition(": ")[2]
    refused(lab, "allow_download", "validate", lab.write())
