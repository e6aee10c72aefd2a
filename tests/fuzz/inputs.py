"""Inputs by a seed: each is an experiment that works, with something changed for the worse."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file

from tests.experiments import Lab, unet_lab
from tests.fuzz.blocks import BLOCKS as BLOCKS_BESIDE
from tests.fuzz.blocks import block, write_truth
from tests.fuzz.values import EVERY, PATHS, TEXTS, any_value

Change = Callable[[Lab, Random], list[str]]
"""Changes an experiment on disk, and returns the command line that is to be judged."""

MARK = "@@fuzz@@"


def places_in(keys: Any) -> list[tuple[Any, Any]]:
    """Return every place of nested values, as its container and its key there."""
    items = keys.items() if isinstance(keys, dict) else enumerate(keys)
    found = []
    for key, value in list(items):
        found.append((keys, key))
        if isinstance(value, (dict, list)):
            found += places_in(value)
    return found


def config(lab: Lab, random: Random) -> list[str]:
    """One or two values of a config replaced by any text."""
    marks = {}
    for number in range(random.choice((1, 1, 2))):
        holder, key = random.choice(places_in(lab.keys))
        holder[key] = f"{MARK}{number}"
        marks[f"{MARK}{number}"] = any_value(random)
    text = lab.write().read_text(encoding="utf-8")
    for mark, value in marks.items():
        text = text.replace(f"'{mark}'", value)
    lab.config.write_text(text, encoding="utf-8", errors="surrogatepass")
    return ["validate", str(lab.config)]


BLOCKS = (
    *("aggregate", "colors", "dissection", "expected_dice", "maps", "prediction", "report"),
    *("retrain", "scene", "threshold", "postprocessing", "region_order", "ignore_label", "write"),
    *("dtype", "data.preprocess", "data.channels", "data.bids", "data.series", "data.max_voxels"),
    *("data.preprocess.spacing_mm", "data.preprocess.intensity", "data.preprocess.crop"),
    *("inference.mirror", "inference.average", "inference.padding", "inference.overlap"),
    *("model.weights_key", "model.output", "model.args", "model.path", "model.allow_download"),
    *("targets.0.component", "targets.0.box", "targets.0.point", "targets.0.roi", "targets.0.over"),
)
METHODS = (
    *("saliency", "integrated_gradients", "smoothgrad", "occlusion", "rise", "lime"),
    *("kernel_shap", "grad_cam", "lrp", "random_map", "gradient_shap"),
)
PARAMETERS = (
    "steps",
    "samples",
    "box",
    "stride",
    "layer",
    "baseline",
    "seed",
    "base",
    "sigma",
    "id",
)


def option(lab: Lab, random: Random) -> list[str]:
    """A value given by --set, at a key of the config or one that might be."""
    lab.write()
    key = random.choice((*BLOCKS, "seed", "name", "output", "device", "methods.0.id", "data.cases"))
    if random.random() < 0.3:
        key = f"methods.0.{random.choice(PARAMETERS)}"
    if random.random() < 0.1:
        key = random.choice((".", "", "a" * 5000, "methods.99", "methods.²", "x" + ".a" * 3000))
    value = random.choice(EVERY) if random.random() < 0.7 else any_value(random)
    return ["validate", str(lab.config), "--set", f"{key}={value}".replace("\0", "")]


def method(lab: Lab, random: Random) -> list[str]:
    """A method with a parameter of any value."""
    entry = f"{{name: {random.choice(METHODS)}, {random.choice(PARAMETERS)}: {any_value(random)}}}"
    lab.keys["methods"] = [MARK]
    text = lab.write().read_text(encoding="utf-8").replace(f"'{MARK}'", entry)
    lab.config.write_text(text, encoding="utf-8", errors="surrogatepass")
    return ["validate", str(lab.config)]


def names(lab: Lab, random: Random) -> list[str]:
    """Names of everything that goes into names of files, long ones and odd ones."""
    lengths = (3, 40, 90, 150, 200, 201, 255, 260)

    def name() -> str:
        odd = random.choice(TEXTS).strip("'\"")
        return odd if random.random() < 0.4 else random.choice("aé") * random.choice(lengths)

    holders: list[tuple[dict[str, Any], str]] = [
        (lab.keys, "name"),
        (lab.keys["data"]["cases"][0], "name"),
        (lab.keys["targets"][0], "name"),
    ]
    for holder, key in random.sample(holders, random.randint(1, 3)):
        holder[key] = name()
    if random.random() < 0.5:
        lab.keys["methods"] = [{"name": "saliency", "id": name()}]
    return ["validate", str(lab.write())]


def bytes_of(lab: Lab, random: Random) -> list[str]:
    """Bytes of a config changed, cut or repeated."""
    content = bytearray(lab.write().read_bytes())
    for _ in range(random.randint(1, 8)):
        place = random.randrange(len(content))
        content[place] = random.randrange(256)
    if random.random() < 0.3:
        content = content[: random.randrange(len(content))]
    if random.random() < 0.1:
        content *= 50
    lab.config.write_bytes(bytes(content))
    return ["validate", str(lab.config)]


def damaged(content: bytes, random: Random, start: int) -> bytes:
    """Return bytes with some changed from `start` on, or cut, or with others behind them."""
    data = bytearray(content)
    what = random.random()
    if what < 0.3:
        return bytes(data[: random.randrange(len(data))])
    if what < 0.4:
        return bytes(data) + random.randbytes(random.randint(1, 1000))
    for _ in range(random.randint(1, 12)):
        data[random.randrange(start, len(data))] = random.randrange(256)
    return bytes(data)


HEADER_BYTES = 348


def image(lab: Lab, random: Random) -> list[str]:
    """Header or voxels of the image damaged, under its gzip or with it."""
    path = lab.folder / "a.nii.gz"
    plain = gzip.decompress(path.read_bytes())
    what = random.random()
    if what < 0.6:
        header = damaged(plain[:HEADER_BYTES], random, 0)
        path.write_bytes(gzip.compress(header + plain[HEADER_BYTES:], 1))
    elif what < 0.8:
        path.write_bytes(damaged(path.read_bytes(), random, 0))
    else:
        lengths = [random.choice((0, 1, -1, 9, 32767, 2000)) for _ in range(7)]
        dims = struct.pack("<8h", random.choice((0, 2, 3, 4, 7, 9, -1)), *lengths)
        path.write_bytes(gzip.compress(plain[:40] + dims + plain[56:], 1))
    return [random.choice(("validate", "validate", "run")), str(lab.write())]


def _zip_of(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
    return stream.getvalue()


class _Evil:
    def __reduce__(self) -> Any:
        return (open, ("/tmp/esegeta-fuzz-was-here", "w"))


KEY, SHAPE = "model.0.conv.weight", (4, 1, 3, 3, 3)
"""A tensor of the template's network."""


def _quantised() -> torch.Tensor:
    with warnings.catch_warnings():  # torch is about to give them up; files of them remain
        warnings.simplefilter("ignore", UserWarning)
        return torch.quantize_per_tensor(torch.ones(SHAPE), 0.1, 0, torch.qint8)


def _ragged() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


def _rows() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.ones(4, 27).to_sparse_csr()


ODD_STATES: Mapping[str, Callable[[], Any]] = {
    "int keys": lambda: {1: torch.ones(2), 2: torch.ones(1)},
    "tuple keys": lambda: {("a", 1): torch.ones(2)},
    "none keys": lambda: {None: torch.ones(2)},
    "sparse": lambda: {KEY: torch.ones(SHAPE).to_sparse()},
    "meta": lambda: {KEY: torch.ones(SHAPE, device="meta")},
    "complex": lambda: {KEY: torch.ones(SHAPE, dtype=torch.complex64)},
    "int32": lambda: {KEY: torch.ones(SHAPE, dtype=torch.int32)},
    "bool": lambda: {KEY: torch.ones(SHAPE, dtype=torch.bool)},
    "quantised": lambda: {KEY: _quantised()},
    "nan": lambda: {KEY: torch.full(SHAPE, float("nan"))},
    "huge": lambda: {KEY: torch.full(SHAPE, 1e300, dtype=torch.float64)},
    "ragged": lambda: {KEY: _ragged()},
    "csr": lambda: {KEY: _rows()},
    "float8": lambda: {KEY: torch.ones(SHAPE).to(torch.float8_e5m2)},
    "expanded": lambda: {KEY: torch.ones(1).expand(SHAPE)},
    "view of one number": lambda: {KEY: torch.ones(1).expand(*[2**12] * 5)},
    "empty": lambda: {KEY: torch.ones(0, 1, 3, 3, 3)},
    "number in a tensor's place": lambda: {KEY: 3.0},
    "nested": lambda: {"a": {"b": {"c": [{"d": torch.ones(1)}]}}},
    "tensor": lambda: torch.ones(3),
    "list": lambda: [torch.ones(3)],
    "number": lambda: 3,
    "evil": lambda: _Evil(),
    "long key": lambda: {"k" * 100000: torch.ones(1)},
}


def weights(lab: Lab, random: Random) -> list[str]:
    """Weights damaged, of other types, or not weights."""
    path = lab.folder / "w.pt"
    state: dict[str, Any] = dict(load_file(lab.folder / "w.safetensors"))
    what = random.random()
    if what < 0.4:
        odd = ODD_STATES[random.choice(list(ODD_STATES))]()
        whole = {**state, **odd} if isinstance(odd, dict) and KEY in odd else odd
        torch.save(whole, path)
    elif what < 0.7:
        torch.save(state, path, _use_new_zipfile_serialization=random.random() < 0.7)
        path.write_bytes(damaged(path.read_bytes(), random, 0))
    elif what < 0.8:
        path = lab.folder / "w.safetensors"
        path.write_bytes(damaged(path.read_bytes(), random, 0))
    else:
        header = json.dumps({KEY: {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}})
        path.write_bytes(
            random.choice(
                (
                    b"",
                    b"PK\x03\x04",
                    _zip_of("archive/data.pkl", b"\x80\x02garbage"),
                    _zip_of("x", b""),
                    pickle.dumps({"a": 1}),
                    pickle.dumps(_Evil()),
                    random.randbytes(200),
                    struct.pack("<Q", 2**60) + b"{}",
                    struct.pack("<Q", len(header)) + header.encode() + b"\0" * 8,
                )
            )
        )
    lab.keys["model"]["weights"] = path.name
    return ["validate", str(lab.write())]


JSONS = (
    *("", "{", "[]", "{}", "null", "1", '"x"', "[" * 3000, "NaN", "9" * 5000, '{"a": 1e999}'),
    *('{"units": 3}', '{"units": [1]}', '{"config": []}', '{"config": {"model": 1}}', "[{}]"),
    *('{"units": [{"case": 1}], "config": {}}', '{"units": null, "state": []}', "\ufeff{}", "\0"),
)


def datalist(lab: Lab, random: Random) -> list[str]:
    """A list of cases that is none, in JSON or as a table."""
    rows = (
        "image\n",
        "image,label\na\n",
        "image;x\na;b\n",
        "image\n\0\n",
        "name,image\n,a.nii.gz\n",
    )
    suffix = random.choice((".json", ".csv", ".tsv"))
    path = lab.folder / f"list{suffix}"
    entry = json.dumps([{"image": random.choice(PATHS), "name": random.choice(TEXTS), "label": 3}])
    content = random.choice((*JSONS, entry) if suffix == ".json" else (*rows, *JSONS))
    data = content.encode("utf-8", "surrogatepass")
    path.write_bytes(damaged(data, random, 0) if len(data) > 2 and random.random() < 0.3 else data)
    lab.keys["data"]["cases"] = path.name
    return ["validate", str(lab.write())]


def results(lab: Lab, random: Random) -> list[str]:
    """A folder of results with foreign content, which is compared, reported or gone on with."""
    folder = lab.root
    folder.mkdir(parents=True)
    record = {
        "units": [{"case": "a", "target": "liver", "method": "saliency", "status": "done"}],
        "config": {"name": "tiny", "data": {"cases": []}, "methods": ["saliency"]},
        "methods": {"saliency": {}},
        "scores": {},
        "state": "complete",
    }
    for _ in range(random.randint(0, 3)):
        holder, key = random.choice(places_in(record))
        holder[key] = random.choice((None, 1, "x", [], {}, [1], {"a": 1}, True, 1e300))
    content = json.dumps(record) if random.random() < 0.7 else random.choice(JSONS)
    (folder / "run.json").write_text(content, encoding="utf-8", errors="surrogatepass")
    tables = ("", "case,target,method,score,value,better\n", "a,b\n1\n", "\0", "case\n" * 3)
    (folder / "scores.csv").write_text(random.choice(tables), encoding="utf-8")
    command = random.choice(("compare", "report"))
    return [command, str(folder), "-o", str(lab.folder / "there"), "-q"]


FAMILIES: Mapping[str, tuple[Change, int]] = {
    "config": (config, 24),
    "option": (option, 12),
    "method": (method, 8),
    "names": (names, 8),
    "bytes": (bytes_of, 6),
    "image": (image, 8),
    "weights": (weights, 8),
    "datalist": (datalist, 4),
    "results": (results, 4),
    **{name: (partial(block, name), 3) for name in BLOCKS_BESIDE},
}
"""What makes inputs, and how often compared with each other."""


def family_of(random: Random) -> str:
    """Draw a family."""
    shares = [share for _, share in FAMILIES.values()]
    return random.choices(list(FAMILIES), shares)[0]


def template(folder: Path) -> Lab:
    """Return the experiment that works."""
    lab = unet_lab(folder, shape=(9, 8, 8))
    write_truth(lab)
    return lab
