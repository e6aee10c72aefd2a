"""Images, weights and lists that once ended in a traceback or a hang, by hand: each is refused."""

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.experiments import unet_lab
from tests.fuzz.contract import refused


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


def test_the_limit_of_voxels_may_be_set(tmp_path: Path) -> None:
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
def test_endlessly_nested_json_is_refused(name: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    (tmp_path / name).write_text("[" * 100_000)
    if name == "run.json":
        refused(lab, "cannot be read", "compare", tmp_path)
    else:
        lab.keys["data"]["cases"] = name
        refused(lab, "not JSON", "validate", lab.write())
