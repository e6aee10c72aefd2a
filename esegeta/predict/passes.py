"""Passes: how often each window goes through networks, mirrored or one network after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from esegeta.errors import ConfigError


@dataclass(frozen=True)
class Pass:
    """One way in which each window goes through a network.

    Args:
        member: index of the network in an ensemble, from 0.
        flips: axes along which the window is mirrored; ascending.
    """

    member: int = 0
    flips: tuple[int, ...] = ()


Average = Literal["logits", "probabilities"]
"""What is averaged over mirrored passes and over networks."""


def list_passes(mirror: Sequence[int], num_members: int = 1) -> tuple[Pass, ...]:
    """Return all mirrored passes of each network: every choice among some axes, none first.

    Args:
        mirror: axes that the network sees.
        num_members: networks.

    Raises:
        ConfigError: an axis is listed twice.
    """
    axes = sorted(set(mirror))
    if len(axes) < len(mirror):
        raise ConfigError(f"inference.mirror: {list(mirror)} lists an axis twice")
    chosen = [
        flips for count in range(len(axes) + 1) for flips in itertools.combinations(axes, count)
    ]
    return tuple(Pass(member, flips) for member in range(num_members) for flips in chosen)
