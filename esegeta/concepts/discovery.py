"""Concepts that a layer forms by itself: what its activations of supervoxels fall into.

k-means puts each supervoxel into one of M groups. Non-negative matrix factorisation writes its
activations as a sum of M parts, `A ~ W H`, and a supervoxel belongs to the part that it has most
of, compared with the part's mean over all. NMF takes activations apart by sign, as
`(max(A, 0), max(-A, 0))`, so that it is for any layer.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Method = Literal["kmeans", "nmf"]
SEEDS = 5


@dataclass(frozen=True, eq=False)
class Discovered:
    """Groups of supervoxels, the largest first.

    Args:
        group: of each supervoxel, from 0.
        strength: how much each supervoxel is of its group: minus its distance from the mean, or
            the part's share.
        centres: what each group looks like in the layer, `M K`.
        stability: how alike the groups of other seeds are: adjusted Rand index, 1 where they are
            the same, 0 where they are so by chance.
    """

    group: Int[np.ndarray, " N"]
    strength: Float[np.ndarray, " N"]
    centres: Float[np.ndarray, "M K"]
    stability: float

    def members(self, number: int) -> Int[np.ndarray, " _"]:
        """Return the supervoxels of a group, the strongest first."""
        own = np.flatnonzero(self.group == number)
        return own[np.argsort(-self.strength[own], kind="stable")]


def discover(
    activations: Float[np.ndarray, "N K"], method: Method, *, count: int, seed: int
) -> Discovered:
    """Group supervoxels by what a layer makes of them.

    Args:
        activations: mean over each of N supervoxels.
        method: k-means or NMF.
        count: M, at most the number of supervoxels.
        seed: the first of five, of which the best fit is kept.

    Source: Ghorbani et al., Towards automatic concept-based explanations (NeurIPS 2019); Fel et
    al., CRAFT (CVPR 2023).
    """
    count = min(count, len(np.unique(activations, axis=0)))
    found = (
        _kmeans(activations, count, seed) if method == "kmeans" else _nmf(activations, count, seed)
    )
    sizes = np.bincount(found.group, minlength=len(found.centres))
    order = np.argsort(-sizes, kind="stable")[: int((sizes > 0).sum())]
    number = np.zeros_like(sizes)
    number[order] = np.arange(len(order))
    return Discovered(number[found.group], found.strength, found.centres[order], found.stability)


def nmf_factors(
    activations: Float[np.ndarray, "N K"], count: int, seed: int
) -> tuple[Float[np.ndarray, "N M"], Float[np.ndarray, "M K"], float]:
    """Return W, H and the error of `A ~ W H`, with rows of H of length one.

    The start is random: one from singular vectors is the same under every seed, and any result
    would pass for a stable one.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stability tells
        model = NMF(count, init="random", random_state=seed, max_iter=600, tol=1e-5)
        parts = model.fit_transform(activations)
    lengths = np.linalg.norm(model.components_, axis=1)
    shapes = model.components_ / np.where(lengths > 0, lengths, 1.0)[:, None]
    return parts * lengths, shapes, float(model.reconstruction_err_)


def _kmeans(activations: Float[np.ndarray, "N K"], count: int, seed: int) -> Discovered:
    from sklearn.cluster import KMeans

    fits = [
        KMeans(count, n_init=1, random_state=seed + turn).fit(activations) for turn in range(SEEDS)
    ]
    best = min(fits, key=lambda fit: fit.inertia_)
    stability = _agreement([fit.labels_ for fit in fits])
    distances = np.linalg.norm(activations - best.cluster_centers_[best.labels_], axis=1)
    return Discovered(best.labels_.astype(np.int64), -distances, best.cluster_centers_, stability)


def _nmf(activations: Float[np.ndarray, "N K"], count: int, seed: int) -> Discovered:
    split = np.concatenate([activations.clip(min=0), (-activations).clip(min=0)], axis=1)
    count = min(count, *split.shape)
    fits = [nmf_factors(split, count, seed + turn) for turn in range(SEEDS)]
    parts, shapes, _ = min(fits, key=lambda fit: fit[2])
    shares = _shares(parts)
    half = activations.shape[1]
    return Discovered(
        shares.argmax(axis=1),
        shares.max(axis=1),
        shapes[:, :half] - shapes[:, half:],
        _agreement([_shares(fit[0]).argmax(axis=1) for fit in fits]),
    )


def _shares(parts: Float[np.ndarray, "N M"]) -> Float[np.ndarray, "N M"]:
    """Return how much of each supervoxel each part is, compared with the part's mean.

    A part that is everywhere says little of where it is about as strong as on average.
    """
    usual = parts.mean(axis=0)
    relative = np.divide(parts, usual, out=np.zeros_like(parts), where=usual > 0)
    total = relative.sum(axis=1, keepdims=True)
    shares: Float[np.ndarray, "N M"] = np.divide(
        relative, total, out=np.zeros_like(relative), where=total > 0
    )
    return shares


def _agreement(groups: Sequence[Int[np.ndarray, " N"]]) -> float:
    """Return the mean adjusted Rand index of any two groupings.

    Not cosines of parts: those of non-negative parts are near 1 whatever they are.
    """
    from sklearn.metrics import adjusted_rand_score

    pairs = itertools.combinations(groups, 2)
    return float(np.mean([adjusted_rand_score(one, two) for one, two in pairs]))


def matched_cosine(one: Float[np.ndarray, "M K"], two: Float[np.ndarray, "M K"]) -> float:
    """Return the mean cosine between rows of two matrices, each matched to one of the other."""
    from scipy.optimize import linear_sum_assignment

    cosines = one @ two.T
    rows, columns = linear_sum_assignment(-cosines)
    return float(cosines[rows, columns].mean())
