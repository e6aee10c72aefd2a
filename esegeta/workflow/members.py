"""Which network of an ensemble is looked into: units of one are not those of another."""

from __future__ import annotations

from dataclasses import replace

from esegeta.errors import ConfigError
from esegeta.workflow.build import Basis


def of_member(basis: Basis, member: int | None, block: str) -> Basis:
    """Return the basis of the one network that a block of the config is about.

    Args:
        basis: basis of the config.
        member: number of a network of an ensemble, from 1.
        block: name of the block.

    Raises:
        ConfigError: there are several and none is named, or the named one does not exist.
    """
    config, count = basis.config, basis.predictor.plan.num_members
    if member is None and count == 1:
        return basis
    place = config.document.place((block, *(["member"] if member else [])))
    if count == 1:
        raise ConfigError(
            f"{place}: {block}.member: {member}: there is a single network, not an ensemble",
            hint=f"leave out {block}.member, or list the files of an ensemble in model.weights",
        )
    if member is None:
        raise ConfigError(
            f"{place}: {block}: units belong to one network, but model.weights lists {count}; "
            "unit 7 of one network is not unit 7 of another",
            hint=f"name one of them: {block}.member: 1 to {count}",
        )
    if member > count:
        raise ConfigError(
            f"{place}: {block}.member: {member}: model.weights lists {count} networks",
            hint=f"name one from 1 to {count}",
        )
    file = config.keys.model.weights_files[member - 1]
    done = "dissected" if block == "dissection" else "looked at"
    note = f"{block}.member: {member} of {count} is {done} by itself: {file}"
    return replace(
        basis,
        predictor=basis.predictor.member(member - 1),
        loaded=basis.loaded[member - 1 : member],
        weights_sha256=basis.weights_sha256[member - 1],
        notes=(*basis.notes, note),
    )
