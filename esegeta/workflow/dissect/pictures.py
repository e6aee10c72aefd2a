"""Masks and figures of units: on which images they are active, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from esegeta.dissection import Edges, UnitFinding, detectors, find_above
from esegeta.dissection.thresholds import Thresholds
from esegeta.report import Panel, draw_concepts, draw_unit, panels_of, telling_channel
from esegeta.report.file_names import file_part
from esegeta.volume import Case, Volume, atomic_path, write_label_map
from esegeta.workflow.dissect.passes import overlaps_of, thresholds_of
from esegeta.workflow.dissect.results import found_results
from esegeta.workflow.dissect.session import WHOLE, DissectionSession
from esegeta.workflow.dissect.tables import UnitResults
from esegeta.workflow.one_result import written
from esegeta.workflow.task import Content, Desk, Task

UnitKey = tuple[str, int]
"""Layer and number of a unit."""


@dataclass(frozen=True, eq=False)
class ShownCases:
    """What is shown of which case.

    Args:
        shown: numbers of the cases in the figure of each named unit, the most active first.
        masked: units whose masks are written, by case.
        cases: numbers of all cases that are read for it.
        panels: panels made so far, by unit and case.
    """

    shown: dict[UnitKey, list[int]]
    masked: dict[str, set[UnitKey]]
    cases: list[int]
    panels: dict[UnitKey, dict[int, list[Panel]]] = field(default_factory=dict)


def draw_bars(task: Task, desk: Desk) -> Content:
    """Draw the bars of concepts."""
    session: DissectionSession = desk.job
    written(desk).files.append(_draw_bars(session, found_results(desk)))
    return {}


def show_case(task: Task, desk: Desk) -> Content:
    """Write the masks of the best units in a case, and make its panels of figures.

    Raises:
        EsegetaError: the case cannot be read.
    """
    session: DissectionSession = desk.job
    dissection, number = session.dissection, task.data["case"]
    case, chosen, results = session.cases[number], chosen_pictures(desk), found_results(desk)
    desk.begin(task.name, [task], session.source.num_windows(case))
    own = [item for item in results.named if number in chosen.shown[_key(item)]]
    top = results.named if case.name in chosen.masked else []
    top = [item for item in top if _key(item) in chosen.masked[case.name]]
    units = {_key(item): item for item in (*own, *top)}
    reading = session.reading(case)
    masks = dict(zip(dissection.concepts.names, reading.masks(), strict=True))
    for finding, mask in _unit_masks(session, case, list(units.values()), thresholds_of(desk)):
        concept = masks[finding.best.concept]
        volume = reading.ground.volume
        if finding in own:
            channel = _channel_shown(session, finding, volume, mask, concept)
            made = panels_of(volume, mask, concept, case.name, channel=channel)
            chosen.panels.setdefault(_key(finding), {})[number] = made
        if finding in top:
            written(desk).files.append(_write_mask(session, case, finding, mask, volume))
    return {}


def draw_figures(task: Task, desk: Desk) -> Content:
    """Draw the figure of each named unit."""
    session: DissectionSession = desk.job
    chosen = chosen_pictures(desk)
    for finding in found_results(desk).named:
        panels = chosen.panels[_key(finding)]
        rows = [panels[number] for number in chosen.shown[_key(finding)]]
        written(desk).files.append(_draw_figure(session, finding, rows))
    chosen.panels.clear()
    return {}


def chosen_pictures(desk: Desk) -> ShownCases:
    """Return what is shown of which case, once all is counted."""
    session: DissectionSession = desk.job

    def choose() -> ShownCases:
        results = found_results(desk)
        shown = _images_by_unit(session, results, overlaps_of(desk).peaks)
        masked = _masked(session, results)
        cases = [
            number
            for number, case in enumerate(session.cases)
            if case.name in masked or any(number in order for order in shown.values())
        ]
        return ShownCases(shown, masked, cases)

    return desk.once("pictures", choose, depth=WHOLE)


def _images_by_unit(
    session: DissectionSession, results: UnitResults, peaks: Tensor
) -> dict[UnitKey, list[int]]:
    """Return the numbers of the cases that activate each named unit most, in descending order."""
    dissection = session.dissection
    found = {}
    for finding in results.named:
        row = dissection.units_of(finding.layer).start + finding.unit
        order = peaks[:, row].sort(descending=True, stable=True).indices.tolist()
        found[_key(finding)] = order[: dissection.keys.figures.images]
    return found


def _masked(session: DissectionSession, results: UnitResults) -> dict[str, set[UnitKey]]:
    """Return the units whose masks are written, by case: the best of each concept and layer."""
    keys, names = session.dissection.keys.figures, [case.name for case in session.cases]
    chosen = keys.masks if isinstance(keys.masks, list) else names[:1]
    if keys.masks in ("all", "none"):
        chosen = names if keys.masks == "all" else []
    best = {
        _key(item)
        for layer in session.dissection.layers
        for items in detectors(results.findings, layer.name).values()
        for item in items[: keys.units]
    }
    return dict.fromkeys(chosen, best) if best else {}


def _unit_masks(
    session: DissectionSession,
    case: Case,
    findings: Sequence[UnitFinding],
    unit_thresholds: Thresholds,
) -> list[tuple[UnitFinding, Tensor]]:
    """Return the masks of some units in a case."""
    dissection, shape = session.dissection, session.dissection.shapes[case.name]
    found = []
    for maps in session.source.maps(case, session.reading(case).image):
        units = maps.units
        start = dissection.parts.starts[units]
        for finding in findings:
            place = finding.unit - units.first
            if finding.layer != units.layer or not 0 <= place < len(units):
                continue
            threshold = unit_thresholds.threshold[start + place][None].to(maps.data.device)
            above = find_above(maps.data[place][None], maps.grid, threshold)
            found.append((finding, above.mask(0, shape)))
    return found


def _channel_shown(
    session: DissectionSession, finding: UnitFinding, volume: Volume, mask: Tensor, concept: Tensor
) -> int:
    """Return the channel that tells best what a unit marks: that of edges where it is for edges."""
    rules = {concept.name: concept.rule for concept in session.dissection.concepts.concepts}
    rule = rules[finding.best.concept]
    if isinstance(rule, Edges):
        return rule.channel
    return telling_channel(volume, mask if mask.any() else concept)


def _write_mask(
    session: DissectionSession, case: Case, finding: UnitFinding, mask: Tensor, volume: Volume
) -> Path:
    name = (
        f"{case.name}_layer-{file_part(finding.layer)}_unit-{finding.unit}"
        f"_desc-{file_part(finding.best.concept)}_mask.nii.gz"
    )
    path = session.dissection.folder / "masks" / name
    write_label_map(path, mask.to(torch.int64), volume)
    return path


def _draw_figure(
    session: DissectionSession, finding: UnitFinding, rows: Sequence[Sequence[Panel]]
) -> Path:
    best = finding.best
    name = (
        f"layer-{file_part(finding.layer)}_unit-{finding.unit}_desc-{file_part(best.concept)}.png"
    )
    path = session.dissection.folder / "figures" / name
    title = (
        f"{finding.layer}, unit {finding.unit}: {best.concept}\n"
        f"IoU {best.iou:.3f} of at most {best.ceiling:.3f}, AUROC {best.auroc:.3f}, "
        f"q {best.q:.2g}, mask above {finding.threshold:.4g}"
    )
    names = (f"unit {finding.unit}", best.concept)
    with atomic_path(path) as temporary:
        draw_unit(temporary, title, names, rows)
    return path


def _draw_bars(session: DissectionSession, results: UnitResults) -> Path:
    dissection = session.dissection
    counts = {}
    for layer in dissection.layers:
        found = detectors(results.findings, layer.name)
        counts[layer.name] = {name: len(found.get(name, [])) for name in dissection.concepts.names}
    categories = {concept.name: concept.group for concept in dissection.concepts.concepts}
    path = dissection.folder / "concepts.png"
    with atomic_path(path) as temporary:
        title = f"{dissection.basis.config.keys.name}: units by concept"
        draw_concepts(temporary, counts, categories, title)
    return path


def _key(finding: UnitFinding) -> UnitKey:
    return finding.layer, finding.unit
