"""From what was kept of all cases to vectors of concepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from esegeta.concepts import (
    LEVELS,
    Cav,
    Discovered,
    Examples,
    Generalisation,
    discover,
    generalise,
    random_cavs,
)
from esegeta.errors import DataError
from esegeta.workflow.cache import name_of_tensor
from esegeta.workflow.concepts.session import WHOLE, ConceptSession
from esegeta.workflow.task import Desk

NAMED, DISCOVERED = "named", "discovered"
ROOM_FOR_COUNTERS = 12
"""Counter-examples of each discovered example."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """A concept in a layer.

    Args:
        layer: its name.
        concept: its name.
        kind: named or discovered.
        num_examples: pieces, or supervoxels.
        num_cases: cases, or slabs, that hold them.
        fit: how its vectors generalise; None where they could not be fitted.
        randoms: vectors of random concepts in the same places.
        refused: why there is no figure for it; empty where there is one.
        matched: share of its examples by what their counter-examples are matched for.
        stability: of the clusters that a discovered concept is one of; NaN for a named one.
        members: of a discovered concept, rows of the layer's supervoxels, the strongest first.
    """

    layer: str
    concept: str
    kind: str
    num_examples: int
    num_cases: int
    fit: Generalisation | None = None
    randoms: tuple[Cav, ...] = ()
    refused: str = ""
    matched: Mapping[str, float] = field(default_factory=dict)
    stability: float = float("nan")
    members: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class AllSegments:
    """The supervoxels of all cases.

    Args:
        case: the number of each one's case.
        places: its group, organ, depth, scale and number in the map of its scale, `N 5`.
    """

    case: np.ndarray
    places: np.ndarray


def vectors_of(desk: Desk) -> list[Vectors]:
    """Return all concepts in all layers, once every case is gathered.

    Raises:
        DataError: a named concept has no voxel in any case.
    """
    session: ConceptSession = desk.job

    def fit() -> list[Vectors]:
        kept = [session.kept("regions", number) for number in range(len(session.cases))]
        _require_voxels(session, kept)
        found = [
            _named(session, kept, layer.name, name, number)
            for number, layer in enumerate(session.run.layers)
            for name in session.run.names
        ]
        if session.run.keys.discover is not None:
            segments = segments_of_all(kept)
            for number, layer in enumerate(session.run.layers):
                found += _discovered(session, kept, layer.name, segments, number)
        return found

    return desk.once("vectors", fit, depth=WHOLE)


def segments_of_all(kept: list[dict[str, Tensor]]) -> AllSegments:
    """Return where the supervoxels of all cases lie."""
    places = [one[name_of_tensor("places of segments")].numpy() for one in kept]
    counts = [len(own) for own in places]
    return AllSegments(np.repeat(np.arange(len(kept)), counts), np.concatenate(places))


def _require_voxels(session: ConceptSession, kept: list[dict[str, Tensor]]) -> None:
    for name in session.run.concepts.names:
        if not any(int(one[name_of_tensor("voxels", name)]) for one in kept):
            place = session.run.basis.config.document.place(("concepts", "concepts", name))
            raise DataError(
                f'{place}: concepts.concepts.{name}: concept "{name}" has no voxel within the body '
                "in any case",
                hint="check its integers, its rule and its files; `esegeta dissect` takes the same",
            )


def _named(
    session: ConceptSession, kept: list[dict[str, Tensor]], layer: str, name: str, number: int
) -> Vectors:
    parts, levels = [], []
    for one in kept:
        for group in range(session.run.num_groups_of(name)):
            level = one.get(name_of_tensor("levels", name, group))
            if level is None:
                continue
            positives = one[name_of_tensor("positives", name, group, layer)].double().numpy()
            counters = one[name_of_tensor("counters", name, group, layer)].double().numpy()
            shape = (len(positives), -1, positives.shape[1])
            parts.append(
                Examples(positives, counters.reshape(shape), np.full(len(positives), group))
            )
            levels.append(level.numpy())
    if not parts:
        why = "no part of it has another place in the body to be compared with"
        return Vectors(layer, name, NAMED, 0, 0, refused=why)
    examples = Examples.of(parts)
    counts = np.bincount(np.concatenate(levels), minlength=len(LEVELS)) / len(examples)
    matched = {word: float(share) for word, share in zip(LEVELS, counts, strict=True)}
    return _fitted(
        session, Vectors(layer, name, NAMED, len(examples), 0, matched=matched), examples, number
    )


def _discovered(
    session: ConceptSession,
    kept: list[dict[str, Tensor]],
    layer: str,
    segments: AllSegments,
    number: int,
) -> list[Vectors]:
    keys = session.run.keys.discover
    assert keys is not None
    activations = np.concatenate(
        [one[name_of_tensor("segments", layer)].double().numpy() for one in kept]
    )
    found = discover(activations, keys.method, count=keys.count, seed=session.seed)
    vectors = []
    for group in range(len(found.centres)):
        name = keys.names.get(f"{layer}/{group + 1}", f"found_{group + 1}")
        members = _strongest(found, segments, group, session.run.keys.pieces)
        examples, matched, kept_members = _against_others(
            activations, found, segments, members, session.seed + group
        )
        one = Vectors(
            layer,
            name,
            DISCOVERED,
            len(kept_members),
            0,
            matched=matched,
            stability=found.stability,
            members=tuple(kept_members),
        )
        if examples is None:
            why = "no case contains both it and supervoxels outside it"
            vectors.append(_refused(one, why))
        else:
            vectors.append(_fitted(session, one, examples, number))
    return vectors


def _strongest(found: Discovered, segments: AllSegments, group: int, count: int) -> list[int]:
    """Return the strongest supervoxels of a group, as many of each case as pieces are asked for."""
    taken: dict[int, int] = {}
    chosen = []
    for row in found.members(group).tolist():
        case = int(segments.places[row, 0])
        if taken.get(case, 0) < count:
            taken[case] = taken.get(case, 0) + 1
            chosen.append(row)
    return chosen


def _against_others(
    activations: np.ndarray,
    found: Discovered,
    segments: AllSegments,
    members: list[int],
    seed: int,
) -> tuple[Examples | None, dict[str, float], list[int]]:
    """Return supervoxels of a group, and others of their case and size in places as like theirs."""
    generator = np.random.default_rng([seed, 6])
    places, positives, counters, cases, kept, levels = segments.places, [], [], [], [], []
    group = found.group[members[0]] if members else -1
    for row in members:
        near = (found.group != group) & (places[:, 0] == places[row, 0])
        near &= places[:, 3] == places[row, 3]
        same_depth = near & (places[:, 2] == places[row, 2])
        same = same_depth & (places[:, 1] == places[row, 1])
        level, others = next(
            (
                (level, np.flatnonzero(chosen))
                for level, chosen in enumerate((same, same_depth, near))
                if chosen.sum() >= 2
            ),
            (-1, np.zeros(0, dtype=int)),
        )
        if level < 0:
            continue
        order = generator.permutation(others)
        positives.append(activations[row])
        counters.append(activations[np.resize(order, ROOM_FOR_COUNTERS)])
        cases.append(places[row, 0])
        kept.append(row)
        levels.append(level)
    if not kept:
        return None, {}, []
    counts = np.bincount(levels, minlength=len(LEVELS)) / len(levels)
    matched = {word: float(share) for word, share in zip(LEVELS, counts, strict=True)}
    return Examples(np.stack(positives), np.stack(counters), np.array(cases)), matched, kept


def _fitted(session: ConceptSession, vectors: Vectors, examples: Examples, number: int) -> Vectors:
    keys = session.run.keys
    facts = {**vars(vectors), "num_cases": examples.num_cases}
    if examples.num_cases < 2:
        why = "only one case contains it, so there is no other case to test it on"
        return Vectors(**{**facts, "refused": why})
    # A discovered concept is what the layer tells apart: its gate is no finding, and kept short.
    fewest = math.ceil(1 / keys.level) - 1
    fit = generalise(
        examples,
        keys.classifier,
        draws=keys.randoms,
        permutations=keys.permutations if vectors.kind == NAMED else fewest,
        seed=session.seed + number,
    )
    if fit.p > keys.level or fit.accuracy <= 0.5:
        why = (
            f"its vector does not generalise: balanced accuracy {fit.accuracy:.2f} in held-out "
            f"cases, p {fit.p:.2g} against chance"
        )
        return Vectors(**{**facts, "fit": fit, "refused": why})
    randoms = random_cavs(examples, keys.classifier, count=keys.randoms, seed=session.seed + number)
    return Vectors(**{**facts, "fit": fit, "randoms": randoms})


def _refused(vectors: Vectors, why: str) -> Vectors:
    return Vectors(**{**vars(vectors), "refused": why})
