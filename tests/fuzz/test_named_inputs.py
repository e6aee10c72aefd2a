"""Inputs that once ended in a traceback or a hang, by hand: each is refused with what to mend."""

import gzip
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.experiments import Lab, esegeta, unet_lab
from tests.fuzz.blocks import given
from tests.fuzz.contract import judge
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


def refused(lab: Lab, words: str, *command: Any) -> str:
    verdict = judge([str(part) for part in command], lab.folder)
    assert not verdict.fault, verdict.fault
    assert verdict.exit_code == 2, verdict.said
    assert words in verdict.said
    return verdict.said


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
def test_a_bomb_of_yaml_is_refused(what: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.config.write_text(CONFIGS[what], encoding="utf-8")
    refused(lab, "not YAML", "validate", lab.config)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/", "~nosuchuser/x", LONG])
def test_what_is_no_config_is_refused(path: str, tmp_path: Path) -> None:
    refused(unet_lab(tmp_path), "error: ", "validate", path)


OPTIONS = ("seed=" + "9" * 5000, "methods.²=a", ".".join(["a"] * 3000) + "=1", "model.args=" + DEEP)


@pytest.mark.parametrize("option", OPTIONS, ids=range(len(OPTIONS)))
def test_an_option_is_refused(option: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    refused(lab, "--set", "validate", lab.write(), "--set", option)


def test_an_option_changes_one_place_where_an_alias_stands_for_several(tmp_path: Path) -> None:
    from esegeta.config import load_config

    entry = "&m {name: integrated_gradients, steps: 4, id: one}"
    lab = unet_lab(tmp_path)
    lab.keys["methods"] = ["@@", "@2"]
    text = lab.write().read_text(encoding="utf-8")
    lab.config.write_text(text.replace("'@@'", entry).replace("'@2'", "*m"))
    loaded = load_config(lab.config, ["methods.1.id=two", "methods.1.steps=8"])
    assert {key: one.steps for key, one in loaded.methods.items()} == {"one": 4, "two": 8}


def header(shape: tuple[int, ...]) -> bytes:
    made = nib.Nifti1Header()
    made.set_data_dtype(np.float32)
    made.set_data_shape(shape)
    made.set_sform(np.eye(4), 1)
    made["vox_offset"], made["magic"] = 352, b"n+1\0"
    return bytes(made.binaryblock) + b"\0" * 4


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


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
def test_an_argument_that_would_be_fetched(arguments: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    key = arguments.partition(":")[0]
    lab.keys["model"]["args"][key] = arguments.partition(": ")[2]
    refused(lab, "allow_download", "validate", lab.write())


IMAGES = {
    "32767^3": ("b.nii.gz", lambda: gzip.compress(header((32767,) * 3) + b"\0" * 1000), "voxels"),
    "more than promised": (
        "b.nii.gz",
        lambda: gzip.compress(header((9, 8, 8)) + b"\0" * (1 << 24), 1),
        "far more",
    ),
    "more than promised, another name": (
        "b.nii",
        lambda: gzip.compress(header((2000,) * 3) + b"\0" * (1 << 22), 1),
        "voxels",
    ),
    "100000^2 picture": ("b.png", lambda: png(100000, 100000), "voxels"),
    "cut": ("b.nii.gz", lambda: gzip.compress(header((9, 8, 8)) + b"\0" * 2304)[:-9], "damaged"),
}


@pytest.mark.parametrize("what", IMAGES)
def test_an_image_is_refused_by_header_and_length(what: str, tmp_path: Path) -> None:
    name, content, words = IMAGES[what]
    flat = name.endswith("png")
    lab = unet_lab(tmp_path, shape=(9, 8) if flat else (9, 8, 8), ndim=2 if flat else 3)
    (tmp_path / name).write_bytes(content())
    lab.keys["data"]["cases"][0]["image"] = name
    refused(lab, words, "validate", lab.write())


def test_a_limit_of_voxels_is_the_users(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, shape=(12, 11, 9))
    lab.keys["data"]["max_voxels"] = 12 * 11 * 9 - 1
    refused(lab, "data: {max_voxels", "validate", lab.write())
    lab.keys["data"]["max_voxels"] += 1
    assert lab.validate().exit_code == 0


def state(**odd: Any) -> dict[Any, Any]:
    network: dict[Any, Any] = {"model.0.conv.weight": torch.ones(4, 1, 3, 3, 3)}
    return {**network, **odd}


def torn_zip() -> bytes:
    stream = io.BytesIO()
    torch.save(state(), stream)
    content = bytearray(stream.getvalue())
    content[-18:-14] = b"\xff\xff\xff\xff"
    return bytes(content)


ODD = {
    "sparse": lambda value: value.to_sparse(),
    "meta": lambda value: value.to("meta"),
    "complex": lambda value: value.to(torch.complex64),
    "int32": lambda value: value.to(torch.int32),
    "int64": lambda value: value.to(torch.int64),
}


@pytest.mark.parametrize("what", ODD)
def test_tensors_that_would_be_cast_silently_are_refused(what: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    lab = unet_lab(tmp_path)
    whole = load_file(tmp_path / "w.safetensors")
    whole["model.0.conv.weight"] = ODD[what](whole["model.0.conv.weight"])
    torch.save(whole, tmp_path / "w.pt")
    lab.keys["model"]["weights"] = "w.pt"
    refused(lab, "model.0.conv.weight is", "validate", lab.write())


FILES = {
    "int keys": lambda path: torch.save({1: torch.ones(2)}, path),
    "tuple keys": lambda path: torch.save({("a", 1): torch.ones(2)}, path),
    "torn zip": lambda path: path.write_bytes(torn_zip()),
    "zip of nothing": lambda path: path.write_bytes(b"PK\x05\x06" + b"\xff" * 18),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_of_weights_is_refused(what: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    FILES[what](tmp_path / "w.pt")
    lab.keys["model"]["weights"] = "w.pt"
    refused(lab, "w.pt", "validate", lab.write())


@pytest.mark.parametrize("name", ["liste.json", "run.json"])
def test_brackets_without_end_in_json(name: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    (tmp_path / name).write_text("[" * 100_000)
    if name == "run.json":
        refused(lab, "cannot be read", "compare", tmp_path)
    else:
        lab.keys["data"]["cases"] = name
        refused(lab, "not JSON", "validate", lab.write())


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.root.mkdir(parents=True)
    (lab.root / "a").write_text("in the way")
    result = lab.run()
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "there is a file where a folder should be" in result.output
    assert (lab.root / "a").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    lab.keys["data"]["cases"] = "closed"
    refused(lab, "Permission denied", "validate", lab.write())
    closed.chmod(0o700)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    source = (tmp_path / "a.nii.gz").read_bytes()
    (folder / os.fsdecode(b"a\xff.nii.gz")).write_bytes(source)
    lab.keys["data"]["cases"] = "images"
    refused(lab, "half a character", "validate", lab.write())


ENTRY = [sys.executable, "-c", "from esegeta.cli import main; main()"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["methods", "scores"])
def test_what_is_printed_onto_a_full_disk(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*ENTRY, command], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"free disk space" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("more", "code"), [({}, 0), ({"PYTHONUTF8": "0"}, 2)])
def test_a_locale_without_umlauts(more: dict[str, str], code: int, tmp_path: Path) -> None:
    """Under LC_ALL=C Python takes UTF-8 all the same, unless it is told not to."""
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.keys["name"] = "gr\u00f6\u00dfe"
    lab.keys["methods"] = ["saliency"]
    done = subprocess.run(
        [*ENTRY, "run", str(lab.write())],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", **more},
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert (b"set PYTHONUTF8=1" in done.stderr) == bool(code)
    assert len(list(tmp_path.rglob("*_attrmap.nii.gz"))) == (0 if code else 1)


def test_a_config_behind_a_linked_folder(tmp_path: Path) -> None:
    """What stands beside the config is found; what could be two files is not guessed."""
    real, around = tmp_path / "real" / "inner", tmp_path / "around"
    real.mkdir(parents=True)
    around.mkdir()
    lab = unet_lab(real, shape=(9, 8, 8))
    lab.write()
    (around / "link").symlink_to(real)
    assert esegeta("validate", around / "link" / "tiny.yaml").exit_code == 0
    for folder in (around, real.parent):
        (folder / "b.nii.gz").write_bytes((real / "a.nii.gz").read_bytes())
    lab.keys["data"]["cases"][0]["image"] = "../b.nii.gz"
    lab.write()
    refused(lab, "could be", "validate", around / "link" / "tiny.yaml")
    (around / "b.nii.gz").unlink()
    assert esegeta("validate", around / "link" / "tiny.yaml").exit_code == 0
