"""JSON of files that anybody may have written, and what tells plain values from others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return what JSON text holds.

    Raises:
        ValueError: it is not JSON, or its brackets are nested more deeply than anything is.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets are nested too deeply") from error


def json_sha256(values: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """Return the SHA-256 of plain values, in hexadecimal; the order of keys does not matter.

    Args:
        values: what is hashed.
        default: what stands for values that JSON has no form of.

    Raises:
        TypeError: there is a value that JSON has no form of, and no default.
        RecursionError: brackets are nested too deeply.
    """
    text = json.dumps(values, sort_keys=True, default=default)
    return hashlib.sha256(text.encode()).hexdigest()
