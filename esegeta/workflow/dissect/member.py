"""Which network of an ensemble is dissected: units of one are not those of another."""

from __future__ import annotations

from dataclasses import replace

from esegeta.config.concepts import ConceptsKeys
from esegeta.config.dissection import DissectionKeys
from esegeta.errors import ConfigError
from esegeta.workflow import Basis

OfOneNetwork = DissectionKeys | ConceptsKeys
"""Blocks that are about the units of one network."""


def of_one_network(basis: Basis, keys: OfOneNetwork, *, block: str = "dissection") -> Basis:
    """Return the basis of the one network whose units are dissected.

    Raises:
        ConfigError: there are several and none is named, or the named one does not exist.
    """
    config, count = basis.config, basis.predictor.plan.num_members
    if keys.member is None and count == 1:
        return basis
    place = config.document.place((block, *(["member"] if keys.member else [])))
    if count == 1:
        raise ConfigError(
            f"{place}: {block}.member: {keys.member}: there is one network, and no ensemble",
            hint=f"leave out {block}.member, or list the files of an ensemble in model.weights",
        )
    if keys.member is None:
        raise ConfigError(
            f"{place}: {block}: units are of one network, and model.weights lists {count}; "
            "what one calls unit 7 is another in the next",
            hint=f"name one of them: {block}.member: 1 to {count}",
        )
    if keys.member > count:
        raise ConfigError(
            f"{place}: {block}.member: {keys.member}: model.weights lists {count} networks",
            hint=f"name one from 1 to {count}",
        )
    number = keys.member - 1
    file = config.keys.model.weights_files[number]
    done = "dissected" if block == "dissection" else "looked at"
    note = f"{block}.member: {keys.member} of {count} is {done} by itself: {file}"
    return replace(
        basis,
        predictor=basis.predictor.member(number),
        loaded=basis.loaded[number : number + 1],
        weights_sha256=basis.weights_sha256[number],
        notes=(*basis.notes, note),
    )
