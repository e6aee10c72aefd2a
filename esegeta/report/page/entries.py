"""What a report shows, as plain values: the page is made from these and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MapVolume:
    """One volume of a map.

    Args:
        name: what the volume is: the sum over channels, a channel, a layer of the network.
        volume: id of its display copy.
        unit: unit of a voxel's value.
        low: magnitude below which values are dust, and not shown at first.
        high: magnitude where the colours end at first.
        peak: largest magnitude.
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
        id: id of the map.
        case: id of the case.
        target: name of the target.
        method: id of the method.
        layers: volumes, the sum over channels first; empty where the task failed.
        label: integer of the target's label in the segmentation; 0 where it is not in it.
        outline: id of a segmentation that shows the target's label whole; empty for the case's own.
        focus: where the cross-hair starts, in RAS mm; empty for the strongest voxel.
        about: description of the target.
        positive: meaning of a value above zero, in words.
        negative: meaning of a value below zero, in words.
        null: whether the method knows nothing about the network.
        picture: source of the picture; empty without one.
        warnings: warnings for the reader.
        failure: reason why there is no map; empty if there is one.
        facts: further lines, each a name and a text.
        bars: bars by channel and region.
        bar_unit: unit of the bars' values.
    """

    id: str
    case: str
    target: str
    method: str
    layers: tuple[MapVolume, ...] = ()
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
        id: id of the case.
        run: name of the run; empty where there is only one.
        name: name of the case.
        scans: channels of the image; a single black one where the files are not there.
        segmentation: id of the display copy; empty without one.
        labels: labels of the segmentation.
        flat: whether it is a 2D image.
        has_sides: whether left and right of a patient are known; they are not in pictures.
        notes: what a reader must know about it.
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
    """A value of the score table, with a dagger where a random map does as well."""

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
class ChartLine:
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
        case: id of the case; empty for curves of the whole run.
        target: name of the target.
        title: title of the chart.
        x_label: label of the x axis.
        y_label: label of the y axis.
        lines: one line per method.
        ticks: names of the places along x, where these are not numbers.
    """

    case: str
    target: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[ChartLine, ...]
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
        name: name of the run.
        facts: facts of the record, each a name and a text.
        hashes: hashes of weights and inputs.
        versions: versions of packages.
        warnings: warnings of tasks and notes of the run.
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
class PageContent:
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
