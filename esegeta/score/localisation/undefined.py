"""Why a localisation score has no value for a map."""

from __future__ import annotations


class UndefinedError(Exception):
    """A score has no value here; becomes a NaN with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
