"""Explains medical segmentation models: the whole sliding-window prediction, exactly.

Names are imported when they are first used, so that `import esegeta` and the command line's help
do not wait for torch. `__init__.pyi` lists them.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _CommandRoom(ModuleType):
    """A room that is called as the command is, such as `compare`: calling it is the command."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        command = getattr(importlib.import_module(f"{__name__}.api"), self.__name__.split(".")[1])
        return command(*arguments, **keywords)


class _Package(ModuleType):
    """This package: a room that has a command's name can be called, once it is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in __all__ and type(value) is ModuleType and name != "api":
            value.__class__ = _CommandRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
