"""What a report shows, as plain values: the page is made of these and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One volume of a map.

    Args:
        name: what it is: the sum over channels, a channel, a layer of the network.
        volume: id of its display copy.
        unit: of a voxel.
        low: below this magnitude values are dust, and not shown at first.
        high: where the colours end at first.
        peak: the largest magnitude.
        signed: whether values below zero occur.
    """

    name: str
    volume: str
    unit: str
    low: float
    high: float
    peak: float
    signed: bool


@dataclass(frozen=True)
class Bar:
    """What a channel of a map holds in a region; `value` is None where it is undefined."""

    atlas: str
    region: str
    channel: str
    share: float
    value: float | None


@dataclass(frozen=True)
class MapEntry:
    """One map: a case, a target and a method.

    Args:
        id: of the map.
        case: id of the case.
        target: name of the target.
        method: id of the method.
        layers: volumes, the sum over channels first; none where the task failed.
        label: integer of the target's label in the segmentation; 0 where it is none of it.
        outline: id of a segmentation that shows the target's label whole; empty for the case's own.
        focus: where the cross-hair begins, in RAS mm; empty for the strongest voxel.
        about: the target in words.
        positive: what a value above zero says, in words.
        negative: what a value below zero says.
        null: whether the method knows nothing of the network.
        picture: source of the picture, or empty.
        warnings: what a reader must know.
        failure: why there is no map, or empty.
        facts: further lines, a name and a text each.
        bars: by channel and region.
        bar_unit: of the bars' values.
    """

    id: str
    case: str
    target: str
    method: str
    layers: tuple[Layer, ...] = ()
    label: int = 0
    outline: str = ""
    focus: tuple[float, ...] = ()
    about: str = ""
    positive: str = ""
    negative: str = ""
    null: bool = False
    picture: str = ""
    warnings: tuple[str, ...] = ()
    failure: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    bars: tuple[Bar, ...] = ()
    bar_unit: str = ""


@dataclass(frozen=True)
class Scan:
    """One channel of the image: id of its display copy, and the window it is shown in."""

    name: str
    volume: str
    low: float
    high: float
    is_colour: bool = False


@dataclass(frozen=True)
class ShownLabel:
    """A label of the segmentation."""

    value: int
    name: str
    colour: str


@dataclass(frozen=True)
class CaseEntry:
    """A case of a run.

    Args:
        id: of the case.
        run: name of the run; empty where there is one.
        name: of the case.
        scans: channels of the image; one that is black where the files are not there.
        segmentation: id of the display copy, or empty.
        labels: of the segmentation.
        flat: whether it is a 2D image.
        has_sides: whether left and right of a patient are known; they are not in pictures.
        notes: what a reader must know of it.
    """

    id: str
    run: str
    name: str
    scans: tuple[Scan, ...]
    segmentation: str = ""
    labels: tuple[ShownLabel, ...] = ()
    flat: bool = False
    has_sides: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreCell:
    """A value of the score table; a dagger where a random map does as well."""

    value: float | None
    dagger: bool = False
    best: bool = False
    reason: str = ""


@dataclass(frozen=True)
class ScoreLine:
    """A row of the score table."""

    map: str
    run: str
    case: str
    target: str
    method: str
    null: bool
    cells: tuple[ScoreCell, ...]
    failure: str = ""


@dataclass(frozen=True)
class ScoreHead:
    """A column of the score table."""

    name: str
    better: str
    family: str


@dataclass(frozen=True)
class Line:
    """A line of a chart; the note stands behind its name in the legend."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashed: bool = False
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Curves of all methods for one case, target, score and quantity.

    Args:
        case: id of the case; empty where it is of the whole run.
        target: name of the target.
        title: above it.
        x_label: along it.
        y_label: beside it.
        lines: one a method.
        ticks: names of the places along x, where these are not numbers.
    """

    case: str
    target: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    ticks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableEntry:
    """A table of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """What another command left in the run's folder, such as a dissection."""

    title: str
    notes: tuple[str, ...] = ()
    tables: tuple[TableEntry, ...] = ()
    charts: tuple[Chart, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RunEntry:
    """What was run.

    Args:
        name: of the run.
        facts: lines of the record.
        hashes: of weights and inputs.
        versions: of packages.
        warnings: of tasks and notes of the run.
        failures: tasks that failed.
        config: the resolved config as text.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    hashes: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    config: str


@dataclass(frozen=True)
class Citation:
    """What a method or score is, and whom to cite for it."""

    name: str
    summary: str
    source: str


@dataclass(frozen=True)
class Content:
    """The whole report."""

    title: str
    version: str
    cases: Sequence[CaseEntry]
    maps: Sequence[MapEntry]
    score_heads: Sequence[ScoreHead] = ()
    score_lines: Sequence[ScoreLine] = ()
    charts: Sequence[Chart] = ()
    sections: Sequence[Section] = ()
    runs: Sequence[RunEntry] = ()
    methods: Sequence[Citation] = ()
    scores: Sequence[Citation] = ()
    notes: Sequence[str] = ()
