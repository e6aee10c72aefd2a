"""A tree of vessels that nobody has, grown so that it costs little blood and obeys Murray's law.

Ends are added one at a time. Each is joined where the volume of the whole tree grows least, as in
constrained constructive optimisation (Schreiner and Buxbaum, IEEE Trans. Biomed. Eng. 40, 1993;
in 3D Karch et al., Comput. Biol. Med. 29, 1999), here without their pressures: every end takes the
same flow, so that a branch of n ends has the radius `r_end n^(1/3)`. At each fork then

    r_parent^3 = r_left^3 + r_right^3        (Murray, PNAS 12, 1926)
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

NUM_PIECES = 8
"""Straight pieces that a bent branch consists of."""
BEND = 0.12
"""How far a branch swings out, in its length: one standard deviation."""
NUM_NEAREST = 6
"""Branches that a new end is tried on."""


@dataclass(frozen=True)
class Tree:
    """Branch i leads from the place of its parent to its own; branch 0 is the root's place.

    Args:
        places_mm: where each branch ends.
        parents: the branch that each starts from; -1 of the root's place.
        num_ends: how many ends each branch feeds.
        radius_end_mm: radius of a branch that feeds one end.
    """

    places_mm: Points
    parents: tuple[int, ...]
    num_ends: tuple[int, ...]
    radius_end_mm: float

    @property
    def radii_mm(self) -> Points:
        """Radius of each branch."""
        return np.asarray(self.radius_end_mm * np.cbrt(np.array(self.num_ends)))

    def children(self, branch: int) -> list[int]:
        """Return the branches that start where a branch ends."""
        return [child for child, parent in enumerate(self.parents) if parent == branch]

    @property
    def volume_mm3(self) -> float:
        """Volume of all branches as straight tubes."""
        spans = self.places_mm[1:] - self.places_mm[list(self.parents[1:])]
        return float(np.sum(np.pi * self.radii_mm[1:] ** 2 * np.linalg.norm(spans, axis=1)))


@dataclass(frozen=True)
class Piece:
    """A straight tube with round ends.

    Args:
        start_mm: one end of its middle line.
        stop_mm: the other.
        radius_mm: of the tube.
        seconds: how long blood has been under way at its middle, from the root's place.
    """

    start_mm: Points
    stop_mm: Points
    radius_mm: float
    seconds: float


def grow_tree(
    random: np.random.Generator,
    size_mm: Points,
    *,
    num_ends: int,
    radius_end_mm: float,
    margin_mm: float = 1.5,
) -> Tree:
    """Grow a tree in a box, from a place in its lowest face.

    Args:
        random: what ends are drawn with.
        size_mm: lengths of the box, which begins at 0.
        num_ends: ends of the tree.
        radius_end_mm: radius of the branches that end.
        margin_mm: how far ends stay away from the box's faces.
    """
    root = np.append(random.uniform(0.35, 0.65, 2), 0.0) * size_mm
    ends = spread_points(random, num_ends, np.full(3, margin_mm), size_mm - margin_mm)
    # The first end is the farthest one: a trunk through the box.
    ends = ends[np.argsort(-np.linalg.norm(ends - root, axis=1), kind="stable")]
    ends[1:] = random.permutation(ends[1:])
    places, parents, counts = [root, ends[0]], [-1, 0], [1, 1]
    for end in ends[1:]:
        branch, fork = cheapest_fork(end, np.array(places), parents, np.array(counts))
        places += [fork, end]
        parents += [parents[branch], len(places) - 2]
        counts += [counts[branch], 1]
        parents[branch] = len(places) - 2
        above = len(places) - 2
        while above >= 0:
            counts[above] += 1
            above = parents[above]
    return Tree(np.array(places), tuple(parents), tuple(counts), radius_end_mm)


def spread_points(random: np.random.Generator, number: int, low: Points, high: Points) -> Points:
    """Draw points, each the one of ten that lies farthest from those before."""
    points = [random.uniform(low, high)]
    while len(points) < number:
        drawn = random.uniform(low, high, (10, 3))
        gaps = np.linalg.norm(drawn[:, None] - np.array(points)[None], axis=2).min(axis=1)
        points.append(drawn[gaps.argmax()])
    return np.array(points)


def cheapest_fork(
    end: Points, places: Points, parents: list[int], counts: NDArray[np.int64]
) -> tuple[int, Points]:
    """Return the branch to split, and where, for the tree's volume to grow least by a new end.

    Branches cost `n^(2/3)` times their length, n the ends that they feed, which is their volume by
    Murray's law but for a factor.
    """
    weights = np.array(
        [(a, b, 6 - a - b) for a in range(1, 5) for b in range(1, 6 - a)], dtype=np.float64
    )
    branches = np.arange(1, len(places))
    starts, stops = places[[parents[branch] for branch in branches]], places[branches]
    nearest = branches[np.argsort(distance_to_lines(end, starts, stops), kind="stable")]
    best: tuple[float, int, Points] = (np.inf, 0, end)
    for branch in nearest[:NUM_NEAREST].tolist():
        start, stop, number = places[parents[branch]], places[branch], counts[branch]
        forks = weights / 6 @ np.stack([start, stop, end])
        costs = (number + 1) ** (2 / 3) * np.linalg.norm(forks - start, axis=1)
        costs += number ** (2 / 3) * (np.linalg.norm(forks - stop, axis=1) - length(stop - start))
        costs += np.linalg.norm(forks - end, axis=1)
        above = parents[branch]
        while above > 0:
            more = (counts[above] + 1) ** (2 / 3) - counts[above] ** (2 / 3)
            costs += more * length(places[above] - places[parents[above]])
            above = parents[above]
        least = int(costs.argmin())
        if costs[least] < best[0]:
            best = (float(costs[least]), branch, forks[least])
    return best[1], best[2]


def length(span: Points) -> float:
    """Return the length of a vector."""
    return float(np.linalg.norm(span))


def distance_to_lines(point: Points, starts: Points, stops: Points) -> Points:
    """Return how far a point is from each of several straight lines with two ends."""
    spans = stops - starts
    along = np.einsum("ij,ij->i", point - starts, spans) / np.maximum(
        np.einsum("ij,ij->i", spans, spans), 1e-12
    )
    nearest = starts + np.clip(along, 0, 1)[:, None] * spans
    return np.asarray(np.linalg.norm(point - nearest, axis=1))


def pieces_of(tree: Tree, random: np.random.Generator, *, root_speed_mm_s: float) -> list[Piece]:
    """Return the tree's bent branches as straight pieces, parents first.

    Blood is as fast as the radius is large: flow goes with r^3 and the cross-section with r^2.

    Args:
        tree: what is cut into pieces.
        random: what bends are drawn with.
        root_speed_mm_s: mean speed of blood in the branch that all others start from.
    """
    radii = tree.radii_mm
    widest = radii.max()
    arrived = {0: 0.0}
    pieces = []
    for branch in breadth_first(tree):
        start, stop = tree.places_mm[tree.parents[branch]], tree.places_mm[branch]
        line = bent_line(random, start, stop)
        speed = root_speed_mm_s * radii[branch] / widest
        seconds = arrived[tree.parents[branch]]
        for first, second in itertools.pairwise(line):
            takes = length(second - first) / speed
            pieces.append(Piece(first, second, float(radii[branch]), float(seconds + takes / 2)))
            seconds += takes
        arrived[branch] = seconds
    return pieces


def breadth_first(tree: Tree) -> list[int]:
    """Return all branches but the root's place, each after its parent."""
    order = [0]
    for branch in order:
        order += tree.children(branch)
    return order[1:]


def bent_line(random: np.random.Generator, start: Points, stop: Points) -> Points:
    """Return points of a parabola between two places, which swings out to one side."""
    side = np.cross(stop - start, random.normal(size=3))
    swing = side / max(length(side), 1e-12) * BEND * random.normal() * length(stop - start)
    along = np.linspace(0, 1, NUM_PIECES + 1)[:, None]
    return np.asarray(start + along * (stop - start) + 4 * along * (1 - along) * swing)
