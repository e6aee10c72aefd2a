"""The page of `esegeta view`: the report's viewer, and maps that come while one waits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from esegeta.report.page.assets import NIIVUE, REPORT
from esegeta.report.page.entries import CaseEntry, MapEntry, PageContent
from esegeta.report.page.sinks import json_text
from esegeta.report.page.write import page_environment

LIVE_SCRIPTS = (NIIVUE, "live.js", REPORT)
LIVE_STYLES = ("report.css", "live.css")
LIVE_FILES = (*LIVE_SCRIPTS, *LIVE_STYLES)
"""The page's scripts; `live.js` comes first and says where `report.js` gets its volumes."""

NOTHING_YET = MapEntry(
    id="none",
    case="",
    target="nothing yet",
    method="prediction",
    about="Click a voxel to ask why the network gives it the chosen label.",
)
"""What the page shows before anything was asked."""


@dataclass(frozen=True)
class LivePage:
    """What the page is told when it opens.

    Args:
        case: the case.
        labels: names of the labels that may be asked for.
        methods: names of the methods that may be asked for; the first is preselected.
        has_truth: whether there is a ground truth, so that errors are known.
        focus: where the cross-hair starts, in RAS mm.
        kept_in: folder for the maps that are kept.
    """

    case: CaseEntry
    labels: tuple[str, ...]
    methods: tuple[str, ...]
    has_truth: bool
    focus: tuple[float, ...]
    kept_in: str


def live_page(page: LivePage, token: str) -> str:
    """Return the page as HTML; its parts are asked for with the token."""
    from esegeta import __version__

    first = replace(NOTHING_YET, case=page.case.id, focus=page.focus)
    content = PageContent(
        title=f"Why this voxel? {page.case.name}",
        version=__version__,
        cases=[page.case],
        maps=[first],
    )
    values = asdict(first)
    for key in ("bars", "bar_unit", "picture"):
        values.pop(key)
    return (
        page_environment()
        .get_template("live.html.j2")
        .render(
            content=content,
            page=page,
            token=token,
            scripts=LIVE_SCRIPTS,
            styles=LIVE_STYLES,
            data=json_text({"cases": [asdict(page.case)], "maps": [values]}),
            settings=json_text({"token": token}),
        )
    )
