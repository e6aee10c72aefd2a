#!/usr/bin/env python3
"""Write the tables of docs/tutorial_vessels.md from the folders that the study's runs left.

    python scripts/vessel_tables.py results

A table stands between `<!-- NAME -->` and `<!-- end of NAME -->`. All intervals are of a mean over
cases, by Student's t; where many methods stand in one table they hold for all of them at once
(Bonferroni), so that what lies outside of one is no accident of having looked at many.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial_vessels.md"
MODELS = ROOT / "data_samples" / "models"
CARDS = {
    "U-Net": "vessel_unet",
    "U-Net, deep supervision": "vessel_unet_ds",
    "Attention U-Net": "vessel_attention_unet",
    "U-Net taught a false friend": "vessel_unet_shortcut",
}
RUNS = {
    "U-Net": "vessels_unet",
    "deep supervision": "vessels_unet_ds",
    "Attention U-Net": "vessels_attention_unet",
}
FIGURES = {
    "infidelity_relative": "infidelity, relative (lower)",
    "sensitivity_max": "sensitivity (lower)",
    "deletion_gap": "deletion, gap (higher)",
    "road_gap": "ROAD, gap (higher)",
    "auroc": "AUROC in the target (higher)",
    "relevance_mass": "relevance in vessels (higher)",
    "parameter_randomization": "randomised weights (lower)",
}
TARGETS = ("vessels", "thin", "false_positives", "missed")
BY_TARGET = "deletion_gap"
"""Figure that is shown for each target by itself."""
NULL = ("random_map", "edge_map")
KNOWN = "known_answer"


@dataclass(frozen=True)
class Interval:
    """A mean over cases and how far it may be from that of all such cases; NaN for one case."""

    mean: float
    low: float
    high: float
    number: int

    @classmethod
    def of(cls, values: Sequence[float], *, looks: int = 1) -> Interval:
        """Return the 95 % interval of the mean, so many intervals at once."""
        data = np.asarray(values, dtype=np.float64)
        mean = float(data.mean())
        if len(data) < 2:
            return cls(mean, math.nan, math.nan, len(data))
        factor = stats.t.ppf(1 - 0.05 / looks / 2, len(data) - 1)
        half = float(factor * data.std(ddof=1) / np.sqrt(len(data)))
        return cls(mean, mean - half, mean + half, len(data))

    def words(self, digits: int = 2) -> str:
        """Return mean and bounds; the mean alone where one case has none."""
        if math.isnan(self.low):
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines)


def networks_table() -> str:
    """Return what the model cards measured, with intervals over the held-out cases."""
    rows = []
    for title, name in CARDS.items():
        lines = re.findall(r"^\| (.+) \|$", (MODELS / f"{name}.md").read_text(), re.MULTILINE)
        columns, *cells = [line.split(" | ") for line in lines]
        cases = [row[1:] for row in cells if row[0].startswith("tof")]
        found = [Interval.of([float(value) for value in one]) for one in zip(*cases, strict=True)]
        rows.append([title, *(interval.words() for interval in found), str(found[0].number)])
    return table(["network", *columns[1:], "n"], rows)


def shares_of_fat(run: Path) -> dict[str, dict[str, float]]:
    """Return how much of each method's map lies in fat, in percent, by method and case."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_rows(run / "regions.csv"):
        if row["region"] == "fat" and row["channel"] in ("all", "0", "image", "channel_0"):
            shares[row["method"]][row["case"]] = 100 * float(row["share"])
    return shares


def known_table(results: Path) -> str:
    """Return what each part of a phantom is worth to thin vessels near fat, in logits."""
    worth: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in ("shortcut", "shortcut_control"):
        for row in read_rows(results / run / "regions.csv"):
            if row["method"] == KNOWN and row["atlas"] == "parts" and row["region"] != "outside":
                worth[row["region"]][run].append(float(row["signed_sum"]))
    rows = []
    for region, runs in worth.items():
        found = [Interval.of(runs[run]) for run in ("shortcut", "shortcut_control")]
        rows.append([region, *(one.words() for one in found), str(found[0].number)])
    return table(["part", "taught, logits", "honest, logits", "n"], rows)


def shortcut_table(results: Path) -> str:
    """Return whose maps show the fat that the network needs; paired with the honest network's."""
    taught = shares_of_fat(results / "shortcut")
    honest = shares_of_fat(results / "shortcut_control")
    methods = [method for method in taught if method != KNOWN]
    looks = len([method for method in methods if method not in NULL])
    order, rows = [], []
    for method in methods:
        cases = sorted(set(taught[method]) & set(honest[method]))
        pairs = [(taught[method][case], honest[method][case]) for case in cases]
        difference = Interval.of([a - b for a, b in pairs], looks=looks)
        more = sum(a > b for a, b in pairs)
        # More than in a network that does without, and more than in a map that ignores networks.
        edges = np.mean([taught["edge_map"][case] for case in cases])
        caught = "yes" if difference.low > 0 and np.mean([a for a, _ in pairs]) > edges else "no"
        means = [f"{np.mean(one):.1f}" for one in zip(*pairs, strict=True)]
        name = f"*{method}*" if method in NULL else method
        order.append(difference.mean)
        rows.append([name, *means, difference.words(1), f"{more} of {len(pairs)}", caught])
    columns = ["method", "taught, %", "honest, %", "difference", "more in", "caught"]
    return table(columns, [rows[place] for place in np.argsort(order)[::-1]])


def values_by_case(
    run: Path, figure: str, targets: Sequence[str] = TARGETS
) -> dict[str, dict[str, float]]:
    """Return a score's figure by method and case, the mean over targets that have it."""
    collected: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in read_rows(run / "scores.csv"):
        value = float(row["value"])
        if row["score"] == figure and row["target"] in targets and not math.isnan(value):
            collected[row["method"], row["case"]].append(value)
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (method, case), values in collected.items():
        found[method][case] = float(np.mean(values))
    return found


def score_table(results: Path, figure: str) -> str:
    """Return one figure of all methods on the three networks."""
    found = {title: values_by_case(results / run, figure) for title, run in RUNS.items()}
    return _methods_table(FIGURES[figure], found)


def targets_table(results: Path) -> str:
    """Return one figure of all methods on the U-Net, target by target."""
    run = results / RUNS["U-Net"]
    found = {target: values_by_case(run, BY_TARGET, [target]) for target in TARGETS}
    return _methods_table(f"{FIGURES[BY_TARGET]}, U-Net", found)


def _methods_table(title: str, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return a row a method and a column for each network or target."""
    methods = list(next(iter(found.values())))
    rows = []
    for method in methods:
        cells = [_cell(values.get(method, {}), len(methods)) for values in found.values()]
        rows.append([f"*{method}*" if method in NULL else method, *cells])
    return table([title, *found], rows)


def _cell(values: Mapping[str, float], looks: int) -> str:
    if not values:
        return "-"
    interval = Interval.of(list(values.values()), looks=looks)
    return f"{interval.words()}, n = {interval.number}"


def _between(content: str, _: re.Match[str]) -> str:
    return f"\n{content}\n\n"


def fill(page: Path, tables: Mapping[str, str]) -> list[str]:
    """Put tables between their marks in a page, and return the names of those that are there."""
    text = page.read_text(encoding="utf-8")
    done = []
    for name, content in tables.items():
        pattern = rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)"
        # As a function: in a text, backslashes would be read.
        text, count = re.subn(pattern, partial(_between, content), text, flags=re.DOTALL)
        done += [name] * (count > 0)
    page.write_text(text, encoding="utf-8")
    return done


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder that holds the study's runs")
    parser.add_argument("--page", type=Path, default=PAGE, help="(%(default)s)")
    options = parser.parse_args()
    tables = {"networks": networks_table()}
    if (options.results / "shortcut_control" / "regions.csv").is_file():
        tables["known"] = known_table(options.results)
        tables["shortcut"] = shortcut_table(options.results)
    if all((options.results / run / "scores.csv").is_file() for run in RUNS.values()):
        tables |= {figure: score_table(options.results, figure) for figure in FIGURES}
        tables["by_target"] = targets_table(options.results)
    print("\n".join(fill(options.page, tables)))


if __name__ == "__main__":
    main()
