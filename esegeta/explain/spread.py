"""The map of each member of an ensemble, or of each mirrored pass, and how far they spread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import DegenerateMapError, EsegetaError, ModelError
from esegeta.explain.attribution import Attribution
from esegeta.explain.explainer import Explainer
from esegeta.explain.objective import Objective
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume


@dataclass(frozen=True, eq=False)
class MemberMaps:
    """Maps of the same target, one per member.

    Args:
        attributions: the map of each.
        names: name of the member that each belongs to.
    """

    attributions: tuple[Attribution, ...]
    names: tuple[str, ...]

    @cached_property
    def maps(self) -> Float[Tensor, "K *S"]:
        """Each summed over channels, `K *S`."""
        return torch.stack([attribution.total for attribution in self.attributions])

    @property
    def spread(self) -> Image:
        """The standard deviation over members at each voxel, `1 *S`; see `spread_of`."""
        return spread_of(self.maps)

    def describe(self) -> dict[str, Any]:
        """Return facts for the sidecar: sums, and the spread as a part of the maps' size."""
        sums = self.maps.flatten(1).sum(dim=1, dtype=torch.float64).tolist()
        size = float(self.maps.double().abs().mean())
        return {
            "statistic": "standard deviation over members at each voxel (divided by their number)",
            "members": [
                {"member": number, "name": name, "sum": total}
                for number, (name, total) in enumerate(zip(self.names, sums, strict=True), start=1)
            ],
            "mean_spread": float(self.spread.double().mean()),
            "mean_magnitude": size,
        }


def spread_of(maps: Float[Tensor, "K *S"]) -> Float[Tensor, "1 *S"]:
    """Return the standard deviation over members at each voxel, `1 *S`.

    Of these members, not an estimate for others: the mean square is over all K of them.
    """
    return maps.double().std(dim=0, correction=0)[None].float()


def explain_members(
    explainer: Explainer, predictor: Predictor, volume: Volume, target: FrozenTarget
) -> MemberMaps:
    """Explain a target on a volume once for each network or mirrored pass that predicts it.

    The members are the networks of an ensemble, each mirrored as it is; of a single network they
    are its mirrored passes. The target stays frozen on the whole prediction, so that all maps are
    over the same voxels: those of an additive method and a linear target have the map as mean.

    Args:
        explainer: the method.
        predictor: predictor of several networks, or mirrored.
        volume: `C *S`.
        target: frozen on this volume.

    Raises:
        ModelError: there is one network and no mirrored pass.
        MapError: the map of a member is not finite; the message says which.
    """
    members = predictor.members()
    if len(members) == 1:
        raise ModelError(
            "there is one network and no mirrored pass, so there is no spread",
            hint="give several files of weights, or axes to mirror",
        )
    maps = []
    for number, member in enumerate(members, start=1):
        objective = Objective.of(member, target, volume)
        try:
            explainer.require_served(objective.predictor)
            # Zero everywhere is a result here: nothing of the map is this member's.
            raw = explainer.map_of(objective)
            if not bool(raw.data.isfinite().all()):
                raise DegenerateMapError(f"{explainer.name}: the map holds NaN or Inf")
        except EsegetaError as error:
            error.message = f"member {number} ({_name(member, number)}): {error.message}"
            raise
        maps.append(explainer.attribution(objective, raw))
    names = tuple(_name(member, number) for number, member in enumerate(members, start=1))
    return MemberMaps(tuple(maps), names)


def _name(member: Predictor, number: int) -> str:
    """Return what a member is: a network, or a mirrored pass."""
    if member.states:
        return f"network {number}"
    (flips,) = {one.flips for one in member.plan.passes}
    return f"mirrored along {list(flips)}" if flips else "as it is"
