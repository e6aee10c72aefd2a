"""Which network of an ensemble is dissected: units of one are not those of another."""

from __future__ import annotations

from dataclasses import replace

from esegeta.config.dissection import DissectionKeys
from esegeta.errors import ConfigError
from esegeta.workflow import Basis


def of_one_network(basis: Basis, keys: DissectionKeys) -> Basis:
    """Return the basis of the one network whose units are dissected.

    Raises:
        ConfigError: there are several and none is named, or the named one does not exist.
    """
    config, count = basis.config, basis.predictor.plan.num_members
    if keys.member is None and count == 1:
        return basis
    place = config.document.place(("dissection", *(["member"] if keys.member else [])))
    if count == 1:
        raise ConfigError(
            f"{place}: dissection.member: {keys.member}: there is one network, not an ensemble",
            hint="leave out dissection.member, or list the files of an ensemble in model.weights",
        )
    if keys.member is None:
        raise ConfigError(
            f"{place}: dissection: units are of one network, and model.weights lists {count}; "
            "what one calls unit 7 is another in the next",
            hint=f"dissect one of them: dissection.member: 1 to {count}",
        )
    if keys.member > count:
        raise ConfigError(
            f"{place}: dissection.member: {keys.member}: model.weights lists {count} networks",
            hint=f"name one from 1 to {count}",
        )
    number = keys.member - 1
    file = config.keys.model.weights_files[number]
    note = f"dissection.member: {keys.member} of {count} is dissected by itself: {file}"
    return replace(
        basis,
        predictor=basis.predictor.member(number),
        loaded=basis.loaded[number : number + 1],
        weights_sha256=basis.weights_sha256[number],
        notes=(*basis.notes, note),
    )
