"""From a line of scores.csv back to the score that gave it, and to the question it answers."""

from __future__ import annotations

from collections.abc import Mapping

from esegeta.score import SCORES

FAMILIES = ("faithfulness", "robustness", "localisation", "complexity", "sanity")
"""The order in which families are shown; others follow."""

OTHER = "other"
"""The family of scores that this version does not know."""


def owners_of(metric: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the scores that a line of scores.csv can come from.

    An id that is not its score's name stands before the metric, with a dot. Of scores that are
    not known here, the one is taken whose id the metric begins with, or else all of them.

    Args:
        metric: as it stands in scores.csv.
        names: of the run's scores, by id.
    """
    prefixed = [identity for identity in names if metric.startswith(f"{identity}.")]
    if prefixed:
        return (max(prefixed, key=len),)
    known = [identity for identity, name in names.items() if metric in _metrics(name)]
    if known:
        return (known[0],)
    begun = [identity for identity in names if metric.startswith(identity)]
    if begun:
        return (max(begun, key=len),)
    return tuple(identity for identity, name in names.items() if name not in SCORES)


def family_of(metric: str, names: Mapping[str, str]) -> str:
    """Return the family of a line of scores.csv, or `other`."""
    owners = [names[identity] for identity in owners_of(metric, names)]
    bare = [name for name in SCORES if metric in _metrics(name)]
    families = {SCORES[name].family for name in [*owners, *bare][:1] if name in SCORES}
    return families.pop() if families else OTHER


def in_order(families: set[str]) -> list[str]:
    """Return families in the order in which they are shown."""
    known = [family for family in FAMILIES if family in families]
    rest = sorted(families - {*FAMILIES, OTHER})
    return [*known, *rest, *([OTHER] if OTHER in families else [])]


def _metrics(name: str) -> set[str]:
    return {metric.name for metric in SCORES[name].metrics} if name in SCORES else set()
