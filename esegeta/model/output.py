"""What a network returns, a tensor or something that holds several, and which one is meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from esegeta.axes import shape_text
from esegeta.errors import OutputChoiceError, suggest

OutputKey = int | str

NAMED_AT_MOST = 8


def parts_of(output: object) -> list[tuple[OutputKey, object]]:
    """Return what a list, tuple, mapping or dataclass holds, by index, key or attribute."""
    if isinstance(output, (Tensor, str, bytes, nn.Module, type)):
        return []
    if isinstance(output, Mapping):
        return [(key if isinstance(key, int) else str(key), item) for key, item in output.items()]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return list(zip(output._fields, output, strict=True))
    if isinstance(output, (list, tuple)):
        return list(enumerate(output))
    if dataclasses.is_dataclass(output):
        names = [item.name for item in dataclasses.fields(output)]
        return [(name, getattr(output, name)) for name in names]
    return []


def named_tensors(output: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of an output by dotted path, in its order; a tensor itself has none."""
    if isinstance(output, Tensor):
        yield path, output
    for key, item in parts_of(output):
        yield from named_tensors(item, f"{path}.{key}" if path else str(key))


def first_tensor(output: object) -> Tensor | None:
    """Return the first tensor of an output: itself, or of a list, tuple, dict or dataclass."""
    return next((tensor for _, tensor in named_tensors(output)), None)


@dataclass(frozen=True)
class OutputChoice:
    """Which of the tensors that a network returns is its prediction.

    Args:
        key: an index, key or attribute, or a dotted path of them such as `aux.0`; None for the
            first tensor.
    """

    key: OutputKey | None = None

    def of(self, output: object) -> Tensor | None:
        """Return the chosen tensor of what a network returned; None where it returned none.

        Raises:
            OutputChoiceError: there is none under this key; the message lists the tensors that
                there are.
        """
        if self.key is None:
            return first_tensor(output)
        found = _under(output, self.key)
        if isinstance(found, Tensor):
            return found
        inner = dict(named_tensors(found)) if found is not None else {}
        if len(inner) == 1:
            return next(iter(inner.values()))
        if inner:
            paths = [f"{self.key}.{path}" for path in inner]
            raise OutputChoiceError(
                f'model.output: "{self.key}" holds {len(inner)} tensors, not one',
                hint=f"choose from: {', '.join(paths[:NAMED_AT_MOST])}",
            )
        if isinstance(output, Tensor):
            raise OutputChoiceError(
                f'model.output: there is no "{self.key}": the network returns a single tensor',
                hint="leave `output` out",
            )
        named = dict(named_tensors(output))
        if not named:
            raise OutputChoiceError(
                f'model.output: there is no "{self.key}": the network returns no tensor'
            )
        raise OutputChoiceError(
            f'model.output: the network returns no tensor "{self.key}"; it returns '
            f"{_listed(named)}",
            hint=suggest(self.key, named),
        )

    def note(self, output: object) -> str:
        """Return which of several tensors was taken where none was chosen; empty otherwise."""
        named = dict(named_tensors(output))
        if self.key is not None or len(named) < 2:
            return ""
        first, *_ = named
        return (
            f"the network returns {len(named)} tensors: {_listed(named)}; the first, {first}, is "
            "taken as the prediction (choose with model.output)"
        )


FIRST = OutputChoice()
"""A network's only tensor, or the first of several."""


def _under(output: object, key: OutputKey) -> object | None:
    """Return what lies under a key or a dotted path of keys; None where nothing does."""
    parts = parts_of(output)
    named: dict[str, Any] = {str(name): item for name, item in parts}
    if isinstance(output, (list, tuple)):  # named tuples too; -1 is the last
        count = len(output)
        named |= {str(place - count): item for place, item in enumerate(output)}
        named |= {str(place): item for place, item in enumerate(output)}
    words = str(key).split(".")
    for length in range(len(words), 0, -1):
        first, rest = ".".join(words[:length]), ".".join(words[length:])
        if first in named:
            found = _under(named[first], rest) if rest else named[first]
            if found is not None:
                return found
    return None


def _listed(named: Mapping[str, Tensor]) -> str:
    shown = [f"{name} ({_shape(tensor)})" for name, tensor in named.items()]
    more = len(shown) - NAMED_AT_MOST
    return ", ".join(shown[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _shape(tensor: Tensor) -> str:
    if tensor.ndim > 1:
        return shape_text(tuple(tensor.shape)[1:])
    return "a number" if tensor.numel() == 1 else f"{tensor.numel()} numbers"
