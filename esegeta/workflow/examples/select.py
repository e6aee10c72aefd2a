"""Prototypes, criticisms and neighbours of one group of items, with their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from esegeta.errors import DataError
from esegeta.examples import (
    Criticisms,
    Prototypes,
    choose_criticisms,
    choose_prototypes,
    distances,
    find_neighbours,
    median_distance,
    radial_kernel,
)
from esegeta.report import Tile, draw_neighbours, draw_prototypes
from esegeta.workflow.cache import keep_json
from esegeta.workflow.examples.build import ALL, ERRORS, ExampleStudy
from esegeta.workflow.examples.embed import Items, read_items
from esegeta.workflow.examples.open import OF_ALL
from esegeta.workflow.task import Content, Desk, Task

MOST_ITEMS = 8000
"""Of a group: the kernel holds a number for each two of them."""
ROWS_DRAWN = 6


def select_items(task: Task, desk: Desk) -> Content:
    """Choose prototypes and criticisms of a group, find neighbours, and draw both.

    Raises:
        DataError: all items of the group look the same, or there are too many.
    """
    study: ExampleStudy = desk.job
    desk.begin(task.name, [task])
    items = desk.once("items", lambda: read_items(study, task.data["records"]), depth=OF_ALL)
    group = str(task.data["group"])
    places = (items.group == study.groups.index(group)).nonzero()[:, 0]
    assert task.record is not None and task.key is not None
    content = _selected(study, items, places, group, desk)
    keep_json(task.record, task.key, content)
    return content


@dataclass(frozen=True, eq=False)
class ChosenItems:
    """What is chosen of a group of items.

    Args:
        group: name of the group.
        places: of its N items among all.
        names: of its items.
        between: distances between them, `N N`.
        width: of the kernel.
        prototypes: items that stand for the others.
        criticisms: items that these do not stand for.
    """

    group: str
    places: Tensor
    names: list[str]
    between: Tensor
    width: float
    prototypes: Prototypes
    criticisms: Criticisms


def _selected(
    study: ExampleStudy, items: Items, places: Tensor, group: str, desk: Desk
) -> dict[str, Any]:
    count = len(places)
    _refuse(study, group, count)
    notes = _notes(study, group, count)
    if count < 2:
        desk.note(*notes)
        return {"group": group, "items": count, "rows": [], "neighbours": [], "notes": notes}
    chosen = _chosen(study, items, places, group)
    content = _described(study, items, chosen)
    files = _draw(study, items, chosen)
    desk.note(*notes)
    return {**content, "notes": notes, "files": [f"../{name}" for name in files]}


def _refuse(study: ExampleStudy, group: str, count: int) -> None:
    """Refuse more prototypes than there are items, and more items than can be compared."""
    keys = study.keys
    if group == ALL and "prototypes" in keys.model_fields_set and count < keys.prototypes:
        place = study.basis.config.document.place(("examples", "prototypes"))
        raise DataError(
            f"{place}: examples.prototypes: {keys.prototypes} prototypes of {count} items "
            f"({keys.of}) of at least {keys.min_voxels} voxels",
            hint="give fewer, more cases, or a smaller examples.min_voxels",
        )
    if count > MOST_ITEMS:
        raise DataError(
            f"{_shown(group)}: {count} items are too many to compare all pairs of them",
            hint=f"at most {MOST_ITEMS}: lower examples.supervoxels, raise examples.min_voxels, or "
            "give fewer cases",
        )


def _notes(study: ExampleStudy, group: str, count: int) -> list[str]:
    """Return what is to be said of a group of few items."""
    keys = study.keys
    if count >= keys.prototypes + keys.criticisms:
        return []
    return [
        f"{_shown(group)}: {count} items of at least {keys.min_voxels} voxels are fewer than "
        f"{keys.prototypes} prototypes and {keys.criticisms} criticisms"
        + (", too few to be compared" if count < 2 else "")
    ]


def _chosen(study: ExampleStudy, items: Items, places: Tensor, group: str) -> ChosenItems:
    keys, count = study.keys, len(places)
    between = distances(items.embedding[places].to(study.basis.device))
    width = median_distance(between)
    kernel = radial_kernel(between, width)
    prototypes = choose_prototypes(kernel, min(keys.prototypes, count))
    left = count - len(prototypes.chosen)
    criticisms = choose_criticisms(kernel, prototypes.chosen, min(keys.criticisms, left))
    names = item_names(study, items, places)
    return ChosenItems(group, places, names, between, width, prototypes, criticisms)


def _described(study: ExampleStudy, items: Items, chosen: ChosenItems) -> dict[str, Any]:
    """Return the record of what was chosen, and of neighbours."""
    prototypes, names = chosen.prototypes, chosen.names
    cases = items.case[chosen.places].tolist()
    return {
        "group": chosen.group,
        "items": len(chosen.places),
        "width": chosen.width,
        "mmd2": prototypes.mmd2,
        "greedy_mmd2": prototypes.greedy_mmd2,
        "random_mmd2": prototypes.random_mmd2,
        "reaches": prototypes.reaches,
        "rows": _rows(study, items, chosen),
        "neighbours": [
            [
                *(names[one.item], "nearest" if one.is_near else "farthest", one.rank),
                *(names[one.neighbour], one.distance, cases[one.item] == cases[one.neighbour]),
            ]
            for one in find_neighbours(chosen.between, study.keys.neighbours)
        ],
    }


def _shown(group: str) -> str:
    return {ALL: "all items", ERRORS: "errors"}.get(group, group)


def item_names(study: ExampleStudy, items: Items, places: Tensor) -> list[str]:
    """Return a name for each item; slices are counted from 0, as in the image."""
    found = []
    for place in places.tolist():
        case = study.basis.cases[int(items.case[place])].name
        group = study.groups[int(items.group[place])]
        number = int(items.number[place])
        if study.keys.of == "case":
            found.append(case)
        elif study.keys.of == "slice":
            found.append(f"{case}, slice {number - 1}")
        elif study.keys.of == "supervoxel":
            found.append(f"{case}, supervoxel {number}")
        else:
            found.append(f"{case}, {'error' if group == ERRORS else group} {number}")
    return found


def _rows(study: ExampleStudy, items: Items, chosen: ChosenItems) -> list[list[Any]]:
    prototypes, criticisms = chosen.prototypes, chosen.criticisms
    roles = [
        *(("prototype", *pair) for pair in zip(prototypes.chosen, prototypes.shares, strict=True)),
        *(("criticism", *pair) for pair in zip(criticisms.chosen, criticisms.witness, strict=True)),
    ]
    ranks = {"prototype": 0, "criticism": 0}
    rows = []
    for role, item, value in roles:
        ranks[role] += 1
        place = int(chosen.places[item])
        is_prototype = role == "prototype"
        rows.append(
            [
                *(role, ranks[role], chosen.names[item]),
                *(study.basis.cases[int(items.case[place])].name, int(items.voxels[place])),
                *(float(value) for value in items.centre_mm[place]),
                value if is_prototype else None,
                None if is_prototype else value,
            ]
        )
    return rows


def _draw(study: ExampleStudy, items: Items, chosen: ChosenItems) -> list[str]:
    group, places = chosen.group, chosen.places
    prototypes, criticisms = chosen.prototypes, chosen.criticisms

    def tile(item: int, caption: str) -> Tile:
        place = int(places[item])
        return Tile(
            f"{chosen.names[item]}\n{caption}".strip(),
            items.pictures[place].numpy(),
            items.masks[place].numpy() if group != ALL or study.keys.of == "supervoxel" else None,
        )

    rows = {
        "prototypes": [
            tile(item, f"stands for {100 * share:.0f} %")
            for item, share in zip(prototypes.chosen, prototypes.shares, strict=True)
        ],
        "criticisms": [
            tile(item, f"{'too few' if value > 0 else 'too many'} prototypes: {value:+.3f}")
            for item, value in zip(criticisms.chosen, criticisms.witness, strict=True)
        ],
    }
    layer = study.keys.layer
    head = f"{study.basis.config.keys.name}: {_shown(group)}, {len(places)} items ({study.keys.of})"
    found = [f"prototypes_{group}.png", f"neighbours_{group}.png"]
    reached = f"at least {100 * prototypes.reaches:.0f} % of what the best choice explains"
    explains = (
        f"MMD² {prototypes.mmd2:.4f}, of random choices {prototypes.random_mmd2:.4f}; "
        f"{'the best of all choices' if prototypes.reaches == 1 else reached}"
    )
    draw_prototypes(study.root / found[0], f"{head}\nby layer {layer}; {explains}", rows)
    near = _neighbour_rows(chosen, study.keys.neighbours, tile)
    draw_neighbours(study.root / found[1], f"{head}\nneighbours by layer {layer}", near)
    return found


def _neighbour_rows(chosen: ChosenItems, count: int, tile: Any) -> list[list[Tile]]:
    """Return rows of tiles: an item, its nearest and its farthest; the worst explained first."""
    shown = (*chosen.criticisms.chosen, *chosen.prototypes.chosen)[:ROWS_DRAWN]
    rows = []
    for item in shown:
        order = torch.argsort(chosen.between[item], stable=True).tolist()
        order.remove(item)
        near = [
            tile(other, f"at {float(chosen.between[item, other]):.3g}") for other in order[:count]
        ]
        far = tile(order[-1], f"farthest, at {float(chosen.between[item, order[-1]]):.3g}")
        rows.append([tile(item, ""), *near, far])
    return rows
