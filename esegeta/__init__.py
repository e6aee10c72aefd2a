"""Explains medical segmentation models: the whole sliding-window prediction, exactly.

Names are imported when they are first used, so that `import esegeta` and the command line's help
do not wait for torch. `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
