"""Where weights lie in what a file holds: mappings in mappings, by dotted keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from esegeta.model.checkpoint import PassedArray

WRAPPERS = (
    *("state_dict", "model_state_dict", "network_weights", "model", "weights"),
    *("net", "network", "module", "ema"),
)
"""Keys that weights lie under, in the order in which they are tried; any others come after."""

DEEPEST = 4
"""Mappings in mappings that weights are looked for in."""


def under(content: Any, key: str) -> Any | None:
    """Return what lies under a dotted path; a step may be a key with dots in it, or an index."""
    if isinstance(content, (list, tuple)):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping):
        return None
    named = {str(name): value for name, value in content.items()}
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        first, rest = ".".join(parts[:length]), ".".join(parts[length:])
        if first in named:
            found = under(named[first], rest) if rest else named[first]
            if found is not None:
                return found
    # Weights side by side in one flat mapping: `ema.conv.weight`, `model.conv.weight`.
    inside = {name.removeprefix(f"{key}."): named[name] for name in named if is_in(name, key)}
    return inside or None


def places(content: Any, name: str, depth: int = DEEPEST) -> Iterator[str]:
    """Yield the dotted keys that tensors lie under, in the order in which weights are tried."""
    if isinstance(content, (list, tuple)):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping):
        return
    tensors = [str(key) for key, value in content.items() if isinstance(value, Tensor)]
    if name and tensors:
        yield name
    yield from (f"{name}.{first}".lstrip(".") for first in _side_by_side(tensors))
    if depth:
        for key in _in_order(content):
            yield from places(content[key], f"{name}.{key}".lstrip("."), depth - 1)


def _side_by_side(keys: Sequence[str]) -> list[str]:
    """Return the prefixes of several sets of weights in one flat mapping: `ema.conv.weight`, ..."""
    inside: dict[str, set[str]] = {}
    for key in keys:
        first, _, rest = key.partition(".")
        inside.setdefault(first, set()).add(rest)
    alike = [first for first in inside if list(inside.values()).count(inside[first]) > 1]
    return [first for first in alike if any("." in rest for rest in inside[first])]


def _in_order(content: Mapping[Any, Any]) -> list[Any]:
    known = [key for key in WRAPPERS if key in content]
    return [*known, *(key for key in content if key not in known)]


def is_in(name: str, key: str) -> bool:
    """Tell whether a name begins with a dotted key."""
    return name.startswith(f"{key}.")


def states(
    content: Any, name: str, depth: int = DEEPEST
) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield what may be a state dict in some content, with its dotted key, outermost first."""
    if not isinstance(content, Mapping):
        return
    if any(isinstance(value, Tensor) for value in content.values()):
        yield name, content
    if depth == 0:
        return
    for key in _in_order(content):
        yield from states(content[key], f"{name}.{key}".lstrip("."), depth - 1)


def holds_arrays(content: Any, depth: int = DEEPEST) -> bool:
    """Tell whether there are numpy arrays anywhere in some content."""
    if isinstance(content, Mapping) and depth:
        return any(holds_arrays(value, depth - 1) for value in content.values())
    return isinstance(content, PassedArray)
