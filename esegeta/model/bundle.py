"""MONAI bundles: a folder of configs, weights and perhaps code; nothing is ever downloaded.

A bundle is code: its configs name classes and hold expressions in Python, which run as they are
resolved. Its weights are data and are loaded elsewhere, as data only.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from esegeta.errors import ModelError
from esegeta.model.checkpoint import reason_of
from esegeta.model.network import require_packages
from esegeta.own_classes import make_importable
from esegeta.plain_json import parse_json

CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
WEIGHTS = ("model.pt", "model.pth", "model.safetensors")
SCRIPTS = ("model.ts",)
NETWORKS = ("network_def", "network")
"""Sections that build the network; the first that is there."""


@dataclass(frozen=True)
class BundleComponent:
    """One component of a bundle's config, with its arguments resolved and nothing built.

    Args:
        name: name of its class, without the module and without the mark of a dictionary transform:
            `Spacing` for `Spacingd` and `monai.transforms.SpacingDict`.
        target: target as the config writes it.
        args: its keyword arguments; parts among them are `Part`.
        is_monai: whether the class is MONAI's own.
    """

    name: str
    target: str
    args: Mapping[str, Any]
    is_monai: bool = True


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder.

    Args:
        folder: folder that holds `configs` and `models`.
        config: its inference config.
        metadata: contents of metadata.json; empty without one.
    """

    folder: Path
    config: Path
    metadata: Mapping[str, Any]

    @property
    def weights(self) -> Path | None:
        """The weights of the network, or None."""
        return self._model(WEIGHTS)

    @property
    def script(self) -> Path | None:
        """The network as TorchScript, or None."""
        return self._model(SCRIPTS)

    def section(self, name: str) -> Any:
        """Return a section with its references resolved and its components as parts; None if none.

        Raises:
            ModelError: it refers to something that is missing, or an expression in it fails.
        """
        parser = self._parser()
        if name not in parser.config:
            return None
        with self._blamed(name):
            return _parts(parser.get_parsed_content(name, instantiate=False))

    def has_network(self) -> bool:
        """Tell whether the config builds a network."""
        return any(name in self._parser().config for name in NETWORKS)

    def network(self) -> nn.Module:
        """Build the network, without its weights; this runs the bundle's code.

        Raises:
            ModelError: there is no section that builds it, or it fails.
        """
        parser = self._parser()
        name = next((name for name in NETWORKS if name in parser.config), None)
        if name is None:
            raise ModelError(
                f"{self.config}: has no `network_def`",
                hint="give the network by its class, with kind: monai or kind: module",
            )
        with self._blamed(name):
            network = parser.get_parsed_content(name)
        if not isinstance(network, nn.Module):
            raise ModelError(
                f"{self.config}: {name}: a {type(network).__name__} is not a torch.nn.Module"
            )
        return network

    def code_sha256(self) -> str:
        """Return the SHA-256 of the bundle's configs and of its code."""
        files = [path for path in (self.folder / "configs").rglob("*") if path.is_file()]
        digest = hashlib.sha256()
        for path in sorted({*files, *self.folder.rglob("*.py")}):
            digest.update(str(path.relative_to(self.folder)).encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _model(self, names: tuple[str, ...]) -> Path | None:
        paths = (self.folder / "models" / name for name in names)
        return next((path for path in paths if path.is_file()), None)

    def _parser(self) -> Any:
        """Return MONAI's parser of the config, in which nothing is resolved yet."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from monai.bundle import ConfigParser
        make_importable(self.folder)
        parser = ConfigParser()
        with self._blamed("the file"):
            parser.read_config(str(self.config))
            if self.metadata:
                parser.read_meta(dict(self.metadata))
        parser["bundle_root"] = str(self.folder)
        return parser

    @contextmanager
    def _blamed(self, name: str) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:  # whatever the bundle's own expressions raise
            cause = error
            while cause.__cause__ is not None and isinstance(cause.__cause__, Exception):
                cause = cause.__cause__
            require_packages(f"{self.config}: {name}", cause)
            raise ModelError(
                f"{self.config}: {name} cannot be resolved "
                f"({type(cause).__name__}: {reason_of(cause)})",
                hint=f"`python -m monai.bundle run` in {self.folder} shows where",
            ) from error


def open_bundle(folder: Path) -> Bundle:
    """Find the inference config and the metadata of a bundle's folder.

    Raises:
        ModelError: it is not a folder, or holds no configs/inference.json or .yaml.
    """
    if not folder.is_dir():
        what = "is a file, not the folder of a bundle" if folder.is_file() else "no such folder"
        hint = "unpack it, and name the folder" if folder.is_file() else "check model.path"
        raise ModelError(
            f"{folder}: {what}", hint=f"{hint}; bundles are never fetched from a network"
        )
    config = next((path for name in CONFIGS if (path := folder / "configs" / name).is_file()), None)
    if config is None:
        beside = sorted(path.name for path in (folder / "configs").glob("*.*"))
        shown = f"; configs holds {', '.join(beside)}" if beside else ""
        raise ModelError(
            f"{folder}: holds no configs/inference.json or configs/inference.yaml{shown}",
            hint="name the folder of a MONAI bundle",
        )
    return Bundle(folder.resolve(), config, _metadata(folder / "configs" / "metadata.json"))


def _metadata(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({reason_of(error)})") from error
    return found if isinstance(found, dict) else {}


def _parts(content: Any) -> Any:
    """Return content of a config with each of MONAI's components as a part."""
    from monai.bundle import ConfigComponent

    if isinstance(content, ConfigComponent):
        args = {key: _parts(value) for key, value in content.resolve_args().items()}
        target = str(content.get_config()["_target_"])
        # A disabled component is one that does nothing.
        return (
            None
            if content.is_disabled()
            else BundleComponent(*_named(target), args, _is_monai(target))
        )
    if isinstance(content, dict):
        return {key: _parts(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        parts = [_parts(item) for item in content]
        return [part for part, item in zip(parts, content, strict=True) if _is_there(part, item)]
    return content


def _is_there(part: Any, item: Any) -> bool:
    return part is not None or item is None


def _named(target: str) -> tuple[str, str]:
    """Return the plain name of a class, and the target itself."""
    from monai import transforms

    name = target.rpartition(".")[2]
    for ending in ("Dict", "d", "D"):
        plain = name.removesuffix(ending)
        if plain != name and hasattr(transforms, f"{plain}d"):
            return plain, target
    return name, target


def _is_monai(target: str) -> bool:
    return "." not in target or target.startswith("monai.")
