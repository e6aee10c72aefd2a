"""Names in the folder of an experiment's results; they are a contract.

Case names must keep off them, whoever writes or reads one of these parts finds it by its name here.
"""

from __future__ import annotations

RUN_RECORD = "run.json"
"""The record of a run, or of predictions."""

SCORES_TABLE = "scores.csv"
CURVES_TABLE = "curves.csv"
REGIONS_TABLE = "regions.csv"
PREDICTIONS_TABLE = "predictions.csv"

TABLES = (SCORES_TABLE, REGIONS_TABLE, CURVES_TABLE, PREDICTIONS_TABLE)

DATASET = "dataset_description.json"
"""What makes the folder a BIDS derivative."""

ANALYSES = {
    "dissection": "summary.json",
    "concepts": "concepts.json",
    "similarity": "similarity.json",
    "examples": "examples.json",
    "features": "features.json",
    "inspect": "inspect.json",
}
"""Blocks of a config that need no run beside them; each has a folder of its name, and a record."""

PARTS = {**ANALYSES, "retrain": "retrain.json"}
"""Folders of commands, with the name of the record in each."""

COMPARISON_RECORD = "compare.json"
"""The record of a comparison, which has a folder of its own."""

REPORT = "report"
"""The folder of the page."""

STALE = "stale"
"""The folder of what earlier configs left, once it is moved aside."""
