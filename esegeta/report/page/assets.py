"""The files that every page consists of."""

from __future__ import annotations

from importlib import resources

NIIVUE, REPORT = "niivue.umd.js", "report.js"

PARTS = (
    "data.js",
    "colours.js",
    "volumes.js",
    "places.js",
    "viewer.js",
    "choice.js",
    "range.js",
    "words.js",
    "render.js",
    "table.js",
    "listen.js",
    "start.js",
)
"""Of the page's own script, one idea each; they share one scope, and the last one begins."""

HEAD = """// The page's own script, made of the files in script/. Plain JavaScript, from file:// on.
"use strict";

(() => {
"""
TAIL = "})();\n"


def static_text(name: str) -> str:
    """Return a file that every report holds."""
    if name == REPORT:
        return HEAD + "\n".join(_read("script", part) for part in PARTS) + TAIL
    return _read("static", name)


def _read(folder: str, name: str) -> str:
    place = resources.files("esegeta.report.page") / folder
    return (place / name).read_text(encoding="utf-8")
