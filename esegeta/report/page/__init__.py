"""The report: one offline page over maps, scores and the record of what was run."""

from esegeta.report.page.entries import (
    Bar,
    CaseEntry,
    Chart,
    ChartLine,
    Citation,
    MapEntry,
    MapVolume,
    PageContent,
    RunEntry,
    Scan,
    ScoreCell,
    ScoreHead,
    ScoreLine,
    Section,
    ShownLabel,
    TableEntry,
)
from esegeta.report.page.sinks import Sink, sink_for
from esegeta.report.page.write import write_page

__all__ = [
    "Bar",
    "CaseEntry",
    "Chart",
    "ChartLine",
    "Citation",
    "MapEntry",
    "MapVolume",
    "PageContent",
    "RunEntry",
    "Scan",
    "ScoreCell",
    "ScoreHead",
    "ScoreLine",
    "Section",
    "ShownLabel",
    "Sink",
    "TableEntry",
    "sink_for",
    "write_page",
]
