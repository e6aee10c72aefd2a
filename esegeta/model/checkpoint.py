"""What a file of weights holds, read as data: nothing in it can run.

Torch's own unpickler for weights knows tensors and plain containers alone. Training loops keep
more beside them: numpy scalars, dates, paths. These are passed over by an allow-list of names; each
stands for a class of ours that does nothing with its arguments.
"""

from __future__ import annotations

import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from esegeta.errors import ModelError, WeightsError

ArchiveKind = Literal["torchscript", "export", "pickle", "other"]

WHAT_IT_IS: Mapping[ArchiveKind, str] = {
    "torchscript": "a TorchScript network",
    "export": "an exported program of torch.export",
    "pickle": "a checkpoint of torch.save",
    "other": "another kind of file",
}
WHAT_TO_DO: Mapping[ArchiveKind, str] = {
    "torchscript": "use model: {kind: torchscript, path: ...}",
    "export": "use model: {kind: export, path: ...}",
    "pickle": "weights belong to `weights`, with kind: monai or module; a whole pickled network "
    "takes model: {kind: module, path: ..., trust: pickle}",
    "other": "check the path",
}


def read_checkpoint(path: Path) -> Any:
    """Return what a file of weights holds: tensors in mappings, and other plain data.

    Raises:
        WeightsError: there is no such file, it is of another kind (which is named), is damaged,
            or could run code.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file", hint="check model.weights")
    _refuse_other_kinds(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def archive_kind(path: Path) -> ArchiveKind:
    """Return what kind of file torch wrote; nothing in it is loaded."""
    names = _names_in_zip(path)
    if any(name.endswith("/constants.pkl") for name in names) and not _is_exported(names):
        return "torchscript"
    if _is_exported(names):
        return "export"
    if any(name.endswith("/data.pkl") for name in names):
        return "pickle"
    with path.open("rb") as stream:
        return "pickle" if stream.read(1) == PICKLE_START else "other"


PICKLE_START = b"\x80"
"""The first byte of a pickle of protocol 2 or later, as older versions of torch wrote them."""


def require_kind(path: Path, kind: ArchiveKind) -> None:
    """Refuse a file of another kind by its name, before anything of it is loaded.

    Raises:
        ModelError: there is no such file, or it is of another kind.
    """
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise ModelError(f"{path}: {what}", hint="check model.path")
    found = archive_kind(path)
    if found != kind:
        raise ModelError(
            f"{path}: is {WHAT_IT_IS[found]}, not {WHAT_IT_IS[kind]}", hint=WHAT_TO_DO[found]
        )


class Passed:
    """Stands for a value that weights are not made of; its arguments are dropped."""

    def __init__(self, *given: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Drop a state."""


class PassedArray(Passed):
    """Stands for a numpy array."""


class PassedMapping(dict[Any, Any]):
    """Stands for a mapping that is not a plain dictionary, and becomes one."""

    def __new__(cls, *given: object) -> Any:
        """Return a dictionary, whatever is given."""
        return {}


class PassedList(list[Any]):
    """Stands for a sequence that is not a plain list, and becomes one."""

    def __new__(cls, *given: object) -> Any:
        """Return a list, whatever is given."""
        return []


_NUMPY_TYPES = (
    *("bool", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", "str_", "bytes_"),
)

PLAIN_TYPES: Mapping[type, tuple[str, ...]] = {
    Passed: (
        *(f"numpy.{name}" for name in ("dtype", "ndarray", *_NUMPY_TYPES)),
        # The modules of numpy 2 and of numpy 1.
        *(f"numpy.{core}.multiarray.scalar" for core in ("_core", "core")),
        *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
        *(
            f"{module}.{name}"
            for module in ("pathlib", "pathlib._local")
            for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
        ),
        *(f"builtins.{name}" for name in ("bool", "dict", "float", "frozenset", "int", "list")),
        *(f"builtins.{name}" for name in ("range", "slice", "str", "tuple")),
        *("argparse.Namespace", "types.SimpleNamespace", "decimal.Decimal", "fractions.Fraction"),
        *("uuid.UUID", "torch.torch_version.TorchVersion"),
    ),
    PassedArray: tuple(f"numpy.{core}.multiarray._reconstruct" for core in ("_core", "core")),
    PassedMapping: ("collections.defaultdict",),
    PassedList: ("collections.deque",),
}
"""Names in a file beyond those that torch itself knows, and what stands for each."""


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({reason_of(error)})") from error


def _read_torch(path: Path) -> Any:
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (stand_in, name) for stand_in, names in PLAIN_TYPES.items() for name in names
    ]
    try:
        # Torch warns of what it is about to refuse; the error below says it better.
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # On bytes that are no pickle its restricted unpickler fails with any exception there is.
    except Exception as error:
        network = _pickled_network(path)
        if network is not None:
            raise WeightsError(
                f"{path}: holds a pickled network ({network}), which is code and not plain "
                f"weights; it was not loaded ({reason_of(error)})",
                hint="if you trust it, load it with its code and save "
                "torch.save(network.state_dict(), path); model.kind: module names its class, or "
                "takes the file as it is, with `path` and `trust: pickle`",
            ) from error
        raise WeightsError(
            f"{path}: is a pickle that is not plain weights, or is damaged; loading it could run "
            f"code, so it was not loaded ({reason_of(error)})",
            hint="if you trust it, save torch.save(network.state_dict(), path) and use that",
        ) from error


REASON_LENGTH = 160
_STYLES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_ADVICE = re.compile(r"\bPlease (use|file)\b|\bCheck the documentation\b|\bThis is an internal\b")


def reason_of(error: BaseException) -> str:
    """Return why something failed, on one line, without terminal styles and advice."""
    text = _STYLES.sub("", str(error))
    text = text.rpartition("WeightsUnpickler error:")[2]
    text = _ADVICE.split(text)[0]
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(text.split()).rstrip(".;, ")
    if len(text) > REASON_LENGTH:
        text = text[:REASON_LENGTH].rpartition(" ")[0] or text[:REASON_LENGTH]
        text += " ..."
    return text or type(error).__name__


BEGINNINGS: Mapping[bytes, tuple[str, str]] = {
    b"version https://git-lfs": (
        "is a Git LFS pointer, not the file itself",
        "fetch it with `git lfs pull`",
    ),
    b"\x89HDF": ("is an HDF5 file, as Keras saves", "save a PyTorch state dict or safetensors"),
}
"""First bytes of files often given as weights, what they are, and what to do."""


def _refuse_other_kinds(path: Path) -> None:
    """Refuse a file that does not hold weights, and say what it is.

    Raises:
        WeightsError: it is a TorchScript network, an exported program, an ONNX network, ...
    """
    with path.open("rb") as stream:
        start = stream.read(32)
    for beginning, (what, hint) in BEGINNINGS.items():
        if start.startswith(beginning):
            raise WeightsError(f"{path}: {what}", hint=hint)
    if path.suffix == ".onnx":
        raise WeightsError(
            f"{path}: is an ONNX network, not weights",
            hint="save network.state_dict() of the PyTorch network that it was exported from",
        )
    names = _names_in_zip(path)
    kind = archive_kind(path)
    if kind in ("torchscript", "export"):
        raise WeightsError(
            f"{path}: is {WHAT_IT_IS[kind]}, not weights",
            hint=f"{WHAT_TO_DO[kind]}, or save network.state_dict() where it was made",
        )
    if names and path.suffix == ".safetensors":
        raise WeightsError(
            f"{path}: is a checkpoint of torch.save, not a safetensors file",
            hint="name it .pt",
        )


def _is_exported(names: Collection[str]) -> bool:
    return any(
        name.endswith("/archive_format") or name == "serialized_exported_program.json"
        for name in names
    )


def _names_in_zip(path: Path) -> list[str]:
    """Return the names in an archive; none of what is no archive, or a torn one."""
    try:
        if not zipfile.is_zipfile(path):
            return []
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    # A torn directory of an archive is read as sizes, places and names of any value.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error):
        return []


LEGACY_PICKLES = 4
"""A file of the older format begins with three small pickles, before that of the content."""


def _pickled_network(path: Path) -> str | None:
    """Return the class of the network that a file pickles, or None where it pickles no network."""
    names: list[str] = []
    try:
        with _pickle_of(path) as stream:
            for _ in range(LEGACY_PICKLES):
                names += _globals_in(stream)
    except Exception:  # where the bytes end, or are no pickle, nothing more is to be learned
        pass
    parts = [name for name in names if name.startswith("torch.nn.modules.")]
    if all(name.startswith("torch.nn.modules.loss.") for name in parts):
        return None
    plain = {name for known in PLAIN_TYPES.values() for name in known}
    known = ("__builtin__.", "_codecs.", "builtins.", "collections.", "torch._", "torch.storage.")
    own = (name for name in names if name not in plain and not name.startswith(known))
    return next(own, parts[0])


def _pickle_of(path: Path) -> Any:
    """Open the pickle of a file, for reading bytes."""
    if not zipfile.is_zipfile(path):
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    return archive.open(name)


def _globals_in(stream: Any) -> Iterator[str]:
    """Yield the names that a pickle asks for, as `module.name`, without loading anything."""
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL" and len(texts) > 1:
            # Of texts that come again only the place in the memo is there: better than nothing.
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)
