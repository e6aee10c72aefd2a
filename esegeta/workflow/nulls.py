"""Null competitors: they join the methods of a run that compares maps with random ones."""

from __future__ import annotations

from collections.abc import Mapping

from esegeta.config import RunConfig
from esegeta.errors import ConfigError
from esegeta.explain import NULL, EdgeMap, Explainer, RandomMap
from esegeta.score import RandomMapBaseline


def join_null_competitors(config: RunConfig) -> tuple[Mapping[str, Explainer], tuple[str, ...]]:
    """Return a run's methods, null competitors among them where a score asks, and notes on it.

    Where `random_map_baseline` is among the scores, `random_map` and `edge_map` are methods too,
    unless they are listed: every leaderboard then has a line that all others must beat.

    Raises:
        ConfigError: another method has the id of a null competitor that is to join.
    """
    asked = any(isinstance(score, RandomMapBaseline) for score in config.scores.values())
    listed = {method.name for method in config.methods.values()}
    missing = [name for name in NULL if name not in listed]
    if not asked or not missing:
        return config.methods, ()
    for index, identity in enumerate(config.methods):
        if identity in missing:
            raise ConfigError(
                f"{config.document.place(('methods', index))}: methods[{index}]: the id "
                f'"{identity}" is that of a null competitor, which {RandomMapBaseline.name} adds',
                hint="give it another id",
            )
    nulls: dict[str, Explainer] = {
        RandomMap.name: RandomMap(seed=config.keys.seed),
        EdgeMap.name: EdgeMap(),
    }
    joining = {name: nulls[name] for name in missing}
    note = f"{RandomMapBaseline.name}: {' and '.join(joining)} beside the methods, to be beaten"
    return {**config.methods, **joining}, (note,)
