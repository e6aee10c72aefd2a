"""Explains medical segmentation models: the whole sliding-window prediction, exactly.

Names are imported when they are first used, so that `import esegeta` and the command line's help
do not wait for torch. `__init__.pyi` lists them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import lazy_loader

from esegeta.errors import suggest
from esegeta.machine import name_the_user

if TYPE_CHECKING:
    import inspect

__version__ = "0.1.0"

name_the_user()

_attribute_of, _, __all__ = lazy_loader.attach_stub(__name__, __file__)

_ROOMS = frozenset(name for name in __all__ if (Path(__file__).parent / name).is_dir())
"""Commands whose name is also that of a room."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        # A notebook's traceback, unlike Python's own, does not look for the nearest name.
        raise AttributeError(f'esegeta has no "{name}"; {suggest(name, __all__)}')
    return _attribute_of(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _CommandRoom(ModuleType):
    """A room with the name of a command, such as `compare`: to call it is to give the command."""

    @property
    def __call__(self) -> Callable[..., Any]:
        command = getattr(importlib.import_module(f"{__name__}.api"), self.__name__.split(".")[1])
        return cast("Callable[..., Any]", command)

    @property
    def __signature__(self) -> inspect.Signature:
        """What notebooks show of the command; its docstring is that of `__call__`."""
        import inspect

        return inspect.signature(self.__call__)


class _Package(ModuleType):
    """This package, which makes such rooms callable when they are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and type(value) is ModuleType:
            value.__class__ = _CommandRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
