"""A folder of results as canonical content: what two makes of the same code agree on."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

VOLATILE = {
    "seconds",  # how long it took
    "peak_memory_mb",  # what it took
    "started",  # when
    "since",  # the same of a config in the lineage
    "fingerprint",  # hashes the version, and how parts are put together
    "seal",  # hashes all the others
    "esegeta",  # the version
    "Version",  # the same in dataset_description.json
    "versions",  # of Python and of libraries
    "config_file",  # an absolute path
    "traceback",  # line numbers of the code
}
"""Keys of JSON files that may differ between two makes of one code, or when code moves."""

TEXTS = {".csv", ".tsv", ".md", ".tex", ".txt", ".graphml", ".html", ".svg"}
PATTERNS = re.compile(r"patterns-[0-9a-f]+\.safetensors")
"""Learned patterns, named after a fingerprint."""


def canonical(root: Path) -> dict[str, dict[str, Any]]:
    """Return kind and content of every file below a folder, by its relative name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        name = _steady_name(path.relative_to(root).as_posix(), found)
        found[name] = _content(path, str(root.resolve().parent))
    return found


def digest_of(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a file's canonical content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _steady_name(name: str, taken: dict[str, Any]) -> str:
    """Return a name without fingerprints; a number tells apart what then is called the same."""
    steady = PATTERNS.sub("patterns-FINGERPRINT.safetensors", name)
    place = 2
    while steady in taken:
        steady = PATTERNS.sub(f"patterns-FINGERPRINT-{place}.safetensors", name)
        place += 1
    return steady


def _content(path: Path, folder: str) -> dict[str, Any]:
    name = path.name
    if name.endswith((".nii", ".nii.gz")):
        return _nifti(path)
    if path.suffix == ".json":
        return _text("json", _plain_json(json.loads(path.read_text("utf-8")), folder))
    if path.suffix in TEXTS:
        return _text("text", _without(path.read_text("utf-8"), folder))
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return {"kind": "png", **_array(np.asarray(picture.convert("RGBA")))}
    if path.suffix == ".safetensors":
        tensors = {key: _array(value) for key, value in sorted(load_file(path).items())}
        return {"kind": "safetensors", "tensors": tensors}
    if path.suffix == ".mrb":  # a zip, which also holds when its members were written
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in sorted(archive.namelist())}
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
        return {"kind": "zip", "members": hashes}
    return {"kind": "bytes", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _nifti(path: Path) -> dict[str, Any]:
    image = nib.load(path)
    header = image.header
    fields = ("intent_code", "cal_min", "cal_max", "sform_code", "qform_code", "xyzt_units")
    return {
        "kind": "nifti",
        **_array(np.asarray(image.dataobj)),
        "affine": image.affine.tolist(),
        "qform": header.get_qform().tolist(),
        **{key: header[key].item() for key in fields},
        "intent_name": header["intent_name"].item().decode("latin-1"),
        "descrip": header["descrip"].item().decode("latin-1"),
    }


def _array(array: np.ndarray) -> dict[str, Any]:
    """Return type, shape and hash of the bytes of an array: -0 and 0 differ, as do NaNs."""
    data = np.ascontiguousarray(array)
    return {
        "dtype": data.dtype.newbyteorder("=").str,
        "shape": list(data.shape),
        "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
    }


def _text(kind: str, text: str) -> dict[str, Any]:
    return {"kind": kind, "lines": text.splitlines()}


def _plain_json(value: Any, folder: str) -> str:
    """Return JSON with sorted keys, a value a line, without what is volatile."""
    return _without(json.dumps(_steady(value), sort_keys=True, indent=1), folder)


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [_steady(item) for item in value]
    return value


def _without(text: str, folder: str) -> str:
    """Return a text without absolute paths into the folder and without names of patterns."""
    return PATTERNS.sub("patterns-FINGERPRINT.safetensors", text.replace(folder, "FOLDER"))
