"""Which kind of model a path is: a folder of nnU-Net or MONAI, a file of a network, a config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esegeta.config.lines import read_yaml
from esegeta.config.paths import as_path
from esegeta.errors import ConfigError, ModelError, suggest
from esegeta.model.bundle import CONFIGS
from esegeta.model.checkpoint import archive_kind
from esegeta.model.nnunet_results import FILES, FINAL, PARTS

YAML = (".yaml", ".yml")
KNOWN = """\
an nnU-Net v2 results folder: dataset.json, plans.json, fold_0/checkpoint_final.pth; \
a MONAI bundle: configs/inference.json and models/model.pt; \
a TorchScript file (torch.jit.save); an exported program, .pt2 (torch.export.save); \
a config of esegeta, .yaml; weights, .safetensors or .pt, with a config.yaml beside them"""
"""Kinds of models that are understood, and the file that each needs."""

CARRIED = (
    "activation",
    "labels",
    "region_order",
    "ignore_label",
    "threshold",
    "postprocessing",
    "inference",
    "prediction",
)
"""Keys of a config that say what its model predicts; with those of `data` that say how."""

CASES = ("cases", "bids", "series")
"""Keys of `data` that say which images to use, which differ from config to config."""


@dataclass(frozen=True)
class Recognised:
    """What a path turned out to be.

    Args:
        model: the keys of `model`, with absolute paths.
        source: description for a comment.
        content: other keys, from a config beside it.
    """

    model: Mapping[str, Any]
    source: str
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of network."""
        return str(self.model.get("kind"))


def recognise(path: Path) -> Recognised:
    """Return what a path is; nothing is run, and no weights are read.

    Raises:
        ModelError: nothing is there, or nothing that is known; says what was found, which
            kinds there are, and the file that each needs.
    """
    path = as_path(str(path))
    if path.exists() and not path.is_dir() and not path.is_file():
        raise ModelError(
            f"{path}: is a device or a pipe, not a network", hint="name a file or a folder"
        )
    if not path.exists():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ModelError(
            f"{path}: no such file or folder",
            hint=suggest(path.name, sorted(beside)) if beside else "check the path",
        )
    path = path.absolute()
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> Recognised:
    if any((path / "configs" / name).is_file() for name in CONFIGS):
        return _bundle(path)
    if re.fullmatch(r"fold_(\d+|all)", path.name) and _is_nnunet(path.parent):
        return _nnunet(path.parent, folds=_fold(path))
    if _is_nnunet(path) or any(_results_below(path)):
        return _nnunet(path)
    if (path / "configs").is_dir():
        return _bundle(path)  # whose refusal says which config is missing
    config = next(
        (path / f"config{end}" for end in YAML if (path / f"config{end}").is_file()), None
    )
    if config is not None:
        return _config(config)
    inside = sorted(one.name for one in path.iterdir())
    shown = ", ".join(inside[:8]) + (f" and {len(inside) - 8} more" if len(inside) > 8 else "")
    raise ModelError(
        f"{path}: is not the folder of a known kind of model; it holds {shown or 'nothing'}",
        hint=f"known kinds: {KNOWN}",
    )


def _file(path: Path) -> Recognised:
    if path.suffix.lower() in YAML:
        return _config(path)
    if path.suffix == ".json":
        raise ModelError(f"{path}: name the folder of the model, not a file in it")
    if path.parent.name.startswith("fold_") and _is_nnunet(path.parent.parent):
        more = {} if path.name == FINAL else {"checkpoint": path.name}
        return _nnunet(path.parent.parent, folds=_fold(path.parent), **more)
    kind = "weights" if path.suffix == ".safetensors" else archive_kind(path)
    readers: Mapping[str, Callable[[Path], Recognised]] = {
        "torchscript": _closed("torchscript", "a TorchScript network"),
        "export": _closed("export", "an exported program"),
        "weights": _weights,
        "pickle": _weights,
    }
    if kind not in readers:
        raise ModelError(f"{path}: is not a known kind of model", hint=f"known kinds: {KNOWN}")
    return readers[kind](path)


def _closed(kind: str, words: str) -> Callable[[Path], Recognised]:
    def read(path: Path) -> Recognised:
        model = {"kind": kind, "path": str(path)}
        beside = _config_beside(path)
        if beside is None:
            return Recognised(model, words)
        found = _config(beside)
        return Recognised(model, f"{words}; the rest is from {beside}", found.content)

    return read


def _weights(path: Path) -> Recognised:
    """Return the model of the config beside a file of weights, with these weights.

    Raises:
        ModelError: there is no config, or its model takes no weights.
    """
    if path.parent.name == "models" and (path.parent.parent / "configs").is_dir():
        found = _bundle(path.parent.parent)
        return Recognised({**found.model, "weights": str(path)}, found.source)
    beside = _config_beside(path)
    if beside is None:
        raise ModelError(
            f"{path}: holds weights, and nothing next to it says which network they belong to",
            hint=f"write {path.parent / 'config.yaml'} with its `model`, `labels` and `inference` "
            "(`esegeta init` writes one to start from); a whole network in a pickle is code: there "
            "`kind: module`, `path` and `trust: pickle`",
        )
    found = _config(beside)
    is_built = found.kind in ("monai", "module") and "path" not in found.model
    if not is_built and found.kind != "bundle":
        raise ModelError(
            f"{beside}: model.kind: {found.kind} takes no weights",
            hint=f"give the config alone: esegeta explain {beside} IMAGE",
        )
    return Recognised({**found.model, "weights": str(path)}, found.source, found.content)


def _config_beside(path: Path) -> Path | None:
    """Return `config.yaml` or the YAML file of the same name beside a file, or None."""
    names = [f"{stem}{end}" for stem in (path.stem, "config") for end in YAML]
    return next((path.parent / name for name in names if (path.parent / name).is_file()), None)


def _config(path: Path) -> Recognised:
    """Return what a config says of its model, with paths that hold from anywhere.

    Raises:
        ConfigError: it has no `model`, or one whose code is looked for beside the config.
    """
    document = read_yaml(path)
    content = document.content
    model = content.get("model")
    if not isinstance(model, dict):
        raise ConfigError(f"{path}: is not a config of esegeta: it has no `model`")
    paths = {
        key: _absolute(model[key], path.parent) for key in ("path", "weights") if model.get(key)
    }
    module = str(model.get("class") or "").partition(":")[0].partition(".")[0]
    if module and ((path.parent / f"{module}.py").exists() or (path.parent / module).is_dir()):
        raise ConfigError(
            f"{document.place(('model', 'class'))}: the class of kind: module is next to this "
            "config, but it is looked for next to the config that runs",
            hint=f"give {path} targets and methods, and run it: esegeta run {path}",
        )
    data = content.get("data")
    reading = {k: v for k, v in data.items() if k not in CASES} if isinstance(data, dict) else {}
    kept = {key: content[key] for key in CARRIED if content.get(key) is not None}
    return Recognised({**model, **paths}, f"from {path}", {**kept, "data": reading})


def _absolute(value: Any, folder: Path) -> Any:
    """Return a path, or each of a list: beside a config where there is one, else from here."""
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    given = Path(str(value)).expanduser()
    beside = folder / given
    return str((beside if beside.exists() else given).absolute())


def _bundle(path: Path) -> Recognised:
    model = {"kind": "bundle", "path": str(path)}
    return Recognised(model, "a MONAI bundle, which is code and runs as such")


def _nnunet(path: Path, **more: Any) -> Recognised:
    return Recognised({"kind": "nnunet", "path": str(path), **more}, "a trained nnU-Net v2")


def _fold(path: Path) -> list[int | str]:
    name = path.name.removeprefix("fold_")
    return [int(name) if name.isdigit() else name]


def _is_nnunet(path: Path) -> bool:
    return any((path / name).is_file() for name in FILES) and (
        PARTS in path.name or (path / FILES[1]).is_file() or any(path.glob("fold_*"))
    )


def _results_below(path: Path) -> list[Path]:
    patterns = (f"*{PARTS}*", f"*/*{PARTS}*")
    return [one for pattern in patterns for one in path.glob(pattern) if _is_nnunet(one)]
