"""What a network may do while it is built: no connections, and no more than a machine can hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from esegeta.errors import ModelError
from esegeta.machine import memory_bytes

MOST_MODULES = 20_000
"""Layers of a network; the largest that are known to us have some thousands."""
CONNECTING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
"""What Python announces before it asks another machine, or opens an address such as file://."""

_closed: ContextVar[bool] = ContextVar("closed to the network", default=False)
_heard: list[bool] = []


@contextmanager
def without_connections() -> Iterator[None]:
    """Refuse every connection that is opened in this context.

    Raises:
        ModelError: one was to be opened; says where to.
    """
    if not _heard:  # such hooks cannot be removed again
        sys.addaudithook(_refuse_connection)
        _heard.append(True)
    token = _closed.set(True)
    try:
        yield
    finally:
        _closed.reset(token)


def _refuse_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in CONNECTING or not _closed.get():
        return
    where = next((str(one) for one in arguments if isinstance(one, (str, tuple))), "")
    raise ModelError(
        f"building the network would fetch something from {where[:200]}",
        hint="a config must not open connections: name a file of `weights`, with pretrained: "
        "false, or write `allow_download: true` next to `network`",
    )


@contextmanager
def of_bounded_size() -> Iterator[None]:
    """Refuse a network of more layers, or larger parameters, than this machine could work with.

    Raises:
        ModelError: it has too many, or is too large; while it is built, not after.
    """
    most_bytes, counts = memory_bytes(), {"modules": 0, "bytes": 0}

    def count_module(owner: nn.Module, name: str, module: nn.Module | None) -> None:
        counts["modules"] += 1
        if counts["modules"] > MOST_MODULES:
            raise ModelError(
                f"the network has more than {MOST_MODULES} layers", hint="check model.args"
            )

    def count_parameter(owner: nn.Module, name: str, value: nn.Parameter | None) -> None:
        if value is not None and not nn.parameter.is_lazy(value):
            counts["bytes"] += value.numel() * value.element_size()
        if counts["bytes"] > most_bytes:
            raise ModelError(
                f"the parameters of the network take more than the {most_bytes / 2**30:.3g} GiB "
                "of this machine",
                hint="check model.args",
            )

    hooks = (
        register_module_module_registration_hook(count_module),
        register_module_parameter_registration_hook(count_parameter),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
