"""The measures by name: what is computed from moments, and what from Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from esegeta.similarity.alignment import linear_cka
from esegeta.similarity.correlation import cca, pwcca, svcca
from esegeta.similarity.kernels import linear_grams, rbf_grams
from esegeta.similarity.layout import UnitLayout
from esegeta.similarity.moments import Moments

OfMoments = Callable[[Moments], Float[Tensor, "L L"]]
OfSample = Callable[[Float[Tensor, "N D"], UnitLayout], Float[Tensor, "L N N"]]

CKA, CKA_RBF, PCA, PWCCA = "cka", "cka_rbf", "pca", "pwcca"

CORRELATIONS: Mapping[str, OfMoments] = {"svcca": svcca, PWCCA: pwcca, "cca": cca}
"""Measures by canonical correlations."""

LINEAR: Mapping[str, OfMoments] = {CKA: linear_cka, **CORRELATIONS}
"""Measures that are known from sums over positions."""

KERNELS: Mapping[str, OfSample] = {CKA: linear_grams, CKA_RBF: rbf_grams}
"""Gram matrices of the measures that have one."""

METHODS = (CKA, CKA_RBF, "svcca", PWCCA, "cca", PCA)
"""All that a config may ask for."""
