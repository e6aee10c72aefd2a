"""Methods and scores of others: classes given by path, or announced by an installed package.

A class is code: importing it runs it. It is a class of the user's own, as a network's is.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from esegeta.errors import ConfigError, EsegetaError, suggest

Kind = TypeVar("Kind")

OWN_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Family:
    """Classes of one kind, such as methods, that others may add to.

    Args:
        word: the word for one of them in messages, such as `method`.
        group: group of entry points under which packages announce theirs.
        base: class that each derives from.
    """

    word: str
    group: str
    base: type[Any]

    def with_announced(self, own: Mapping[str, type[Kind]]) -> Announced[Kind]:
        """Return a table of these classes and of those that installed packages announce."""
        return Announced(self, own)

    def at(self, path: str, folder: Path | None = None) -> type[Any]:
        """Import a class of this kind by `package.module:Class`; see `class_at`."""
        return self.checked(class_at(path, folder), path)

    def checked(self, found: Any, path: str) -> type[Any]:
        """Refuse what is not a class of this kind, or not complete.

        Raises:
            ConfigError: it derives from something else, is not a dataclass, or lacks a part.
        """
        public = f"{OWN_PACKAGE}.{self.base.__name__}"
        if not isinstance(found, type) or not issubclass(found, self.base):
            raise ConfigError(
                f'class: "{path}" is not a {self.word}', hint=f"derive it from {public}"
            )
        if "__dataclass_fields__" not in vars(found):
            raise ConfigError(
                f'class: "{path}" is not itself a dataclass, so it has no parameters',
                hint="write @dataclass(frozen=True) above it",
            )
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        missing += [name for name in _promised(self.base) if not hasattr(found, name)]
        if missing:
            raise ConfigError(
                f'class: "{path}" lacks {", ".join(missing)}', hint=f"see {public} for each"
            )
        needed = [item.name for item in fields(found) if _has_no_default(item)]
        if needed:
            raise ConfigError(
                f'class: "{path}": {needed[0]} has no default', hint="every parameter needs one"
            )
        return found


def class_at(path: str, folder: Path | None = None, *, what: str = "class") -> type[Any]:
    """Import a class by `package.module:Class`; this runs the module's code.

    Args:
        path: module and class, with a colon between them.
        folder: folder searched for the module before the installed packages.
        what: key that named it, for messages.

    Raises:
        ConfigError: the module or class does not exist.
    """
    module, class_name = module_at(path, folder, what=what, refusal=ConfigError)
    classes = classes_of(module)
    if class_name not in classes:
        raise ConfigError(
            f'{what}: module {module.__name__} has no class "{class_name}"',
            hint=suggest(class_name, classes),
        )
    return classes[class_name]


def module_at(
    path: str, folder: Path | None, *, what: str, refusal: type[EsegetaError]
) -> tuple[ModuleType, str]:
    """Import the module of `package.module:Class`, and return it with the name behind the colon.

    Args:
        path: module and class, with a colon between them.
        folder: folder searched for the module before the installed packages.
        what: key that named it, for messages.
        refusal: error that is raised where there is no such module, or its import fails; what was
            raised there is its cause.
    """
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        raise refusal(f'{what}: "{path}" names no class', hint='write "package.module:Class"')
    if folder is not None:
        make_importable(folder)
    try:
        return importlib.import_module(module_name), class_name
    except ModuleNotFoundError as error:
        place = "" if folder is None else f"put it next to the config ({folder}) or "
        raise refusal(
            f'{what}: no module "{module_name}" ({error})', hint=f"{place}install it"
        ) from error
    except Exception as error:  # foreign code, which may raise anything
        raise refusal(
            f'{what}: importing "{module_name}" fails: {type(error).__name__}: {error}',
            hint=f"fix the module; `python -c 'import {module_name}'` shows where",
        ) from error


def classes_of(module: ModuleType) -> dict[str, type[Any]]:
    """Return the classes that a module knows, by name."""
    return {name: item for name, item in vars(module).items() if isinstance(item, type)}


class Announced(Mapping[str, type[Kind]]):
    """A table of classes by name, our own first; those of packages are imported on demand.

    Args:
        family: family of classes that the table holds.
        own: the classes of this package, by name.
    """

    def __init__(self, family: Family, own: Mapping[str, type[Kind]]) -> None:
        self._family, self._own = family, own

    def __getitem__(self, name: str) -> type[Kind]:
        if name in self._own:
            return self._own[name]
        entry = announced(self._family.group)[name]
        return _load(self._family, entry)

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in announced(self._family.group) if name not in self._own)

    def __len__(self) -> int:
        return len(list(iter(self)))


@cache
def announced(group: str) -> Mapping[str, Any]:
    """Return the entry points that installed packages announce under a group, by name."""
    return {entry.name: entry for entry in entry_points(group=group)}


@cache
def _load(family: Family, entry: Any) -> type[Any]:
    package = "" if entry.dist is None else f" of {entry.dist.name}"
    try:
        found = entry.load()
    except Exception as error:  # foreign code, which may raise anything
        raise ConfigError(
            f"{family.word} {entry.name}{package}: importing {entry.value} fails: "
            f"{type(error).__name__}: {error}",
            hint="fix or remove the package",
        ) from error
    return family.checked(found, entry.value)


def code_sha256(work: Any) -> str | None:
    """Return the SHA-256 of the file that defines an object's class; None for our own classes.

    A class of others may change between two runs, and its results with it.
    """
    module = sys.modules.get(type(work).__module__)
    if type(work).__module__.partition(".")[0] == OWN_PACKAGE:
        return None
    file = getattr(module, "__file__", None)
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def make_importable(folder: Path) -> None:
    """Let a folder's modules be found first; permanently, since classes also import as they run."""
    entry = str(folder)
    if entry not in sys.path:
        sys.path.insert(0, entry)


def _promised(base: type[Any]) -> list[str]:
    """Return the class attributes that a base declares with a type but does not define."""
    names = dict.fromkeys(name for kind in base.__mro__ for name in inspect.get_annotations(kind))
    own = {item.name for item in fields(base)}
    return [name for name in names if name not in own and not hasattr(base, name)]


def _has_no_default(item: Any) -> bool:
    return bool(item.init and item.default is MISSING and item.default_factory is MISSING)
