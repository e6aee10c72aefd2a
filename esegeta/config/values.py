"""Values that no key of any block takes: refused in one place, where they enter.

The blocks refuse most of them too; arguments that are passed on (of a network, a loss, an
optimizer) and classes of the user's own have no block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from esegeta.config.config_errors import show_keys
from esegeta.config.keys import hidden_characters
from esegeta.config.lines import Document, Path_
from esegeta.errors import ConfigError

LARGEST = 2**63 - 1
"""The largest whole number that tensors and generators hold, whatever is added to a seed."""
MOST_SHOWN = 20
"""Of more faults than these the first are told."""


def refuse_unfit_values(document: Document) -> None:
    """Refuse numbers that are not finite or above 64 bits, and text with control characters.

    Raises:
        ConfigError: names each, with its place.
    """
    found = [
        f"{document.place(place)}: {show_keys(place)}: {fault}"
        for place, fault in _faults(document.content, ())
    ]
    if found:
        more = [f"... and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
        raise ConfigError("\n".join([*found[:MOST_SHOWN], *more]))


def _faults(value: Any, place: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            fault = _fault_of(key)
            if fault:
                yield place, f"a key: {fault}"
            yield from _faults(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, (*place, index))
    elif fault := _fault_of(value):
        yield place, fault


def _fault_of(value: Any) -> str:
    """Return what is wrong with a scalar; nothing where a key may take it."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number (found {value})"
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return f"must fit into 64 bits (found a number of {_num_digits(value)} digits)"
    if isinstance(value, str) and (hidden := hidden_characters(value)):
        return f"must be plain text (found {hidden})"
    return ""


def _num_digits(value: int) -> int:
    return int(abs(value).bit_length() * math.log10(2)) + 1
