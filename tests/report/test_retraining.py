"""The tables and the figure of retraining show the numbers that they were given."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from esegeta.report import draw_retraining, write_dice, write_dice_points
from esegeta.report.retraining import RANDOM_COLOUR, retraining_figure
from esegeta.retraining import DicePoint, DiceRow

FRACTIONS = (0.2, 0.6)


def rows(labels: tuple[str, ...] = ("liver", "mean"), methods: int = 2) -> list[DicePoint]:
    found = []
    for mode, untouched in (("roar", 0.0), ("kar", 1.0)):
        for label in labels:
            for fraction, dice in ((untouched, 0.9), (1 - untouched, 0.1)):
                found.append(_row(mode, "reference", label, fraction, dice))
            for place in range(methods):
                name = "chance" if place == 0 else f"method{place}"
                found += [
                    _row(mode, name, label, fraction, 0.5 + fraction / 10 + place / 50)
                    for fraction in FRACTIONS
                ]
    return found


def _row(mode: str, method: str, label: str, fraction: float, dice: float) -> DicePoint:
    gain = math.nan if method in ("reference", "chance") else 0.1
    return DicePoint(
        mode, method, label, fraction, 4, dice, dice - 0.05, dice + 0.03, gain, gain, gain
    )


def test_curves_are_drawn_as_they_are_tabulated() -> None:
    figure = retraining_figure(rows(), ["liver", "mean"], "chance", "title")
    axes = np.array(figure.axes).reshape(2, 2)
    assert [axis.get_title() for axis in axes[0]] == [
        "ROAR: top k % removed (lower is better)",
        "KAR: top k % kept (higher is better)",
    ]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["Dice, liver", "Dice, mean over labels"]
    for mode, axis in zip(("roar", "kar"), axes[0], strict=True):
        lines = {line.get_label(): line for line in axis.lines}
        assert set(lines) == {"untouched images", "empty images", "chance", "method1"}
        assert set(lines["untouched images"].get_ydata()) == {0.9}
        assert set(lines["empty images"].get_ydata()) == {0.1}
        ends = (0.9, 0.1) if mode == "roar" else (0.1, 0.9)
        for name, extra in (("chance", 0.0), ("method1", 0.02)):
            assert np.allclose(lines[name].get_xdata(), [0, 20, 60, 100])
            inner = [0.52 + extra, 0.56 + extra]
            assert np.allclose(lines[name].get_ydata(), [ends[0], *inner, ends[1]])
        assert lines["chance"].get_color() == RANDOM_COLOUR
        assert lines["method1"].get_color() != RANDOM_COLOUR
        band = axis.collections[-1].get_paths()[0].vertices  # the random ranking's, drawn last
        at_20 = band[np.isclose(band[:, 0], 20)][:, 1]
        assert np.allclose(sorted(set(at_20.round(6))), [0.47, 0.55])
        assert axis.get_ylim() == (0, 1)


def test_many_methods_can_be_told_apart() -> None:
    figure = retraining_figure(rows(("liver",), methods=20), ["liver"], "chance", "title")
    lines = [line for line in figure.axes[0].lines if "method" in line.get_label()]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 19


def test_a_single_network_per_point_has_no_band(tmp_path: Path) -> None:
    single = [
        DicePoint(*(*vars(row).values(),)[:4], 1, row.mean, *[math.nan] * 5) for row in rows()
    ]
    draw_retraining(tmp_path, single, ["liver"], "chance", "title")
    assert imread(tmp_path / "retrain.png").std() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["retrain.png"]


def test_tables_have_one_record_a_line(tmp_path: Path) -> None:
    write_dice(tmp_path, [DiceRow("roar", "ig", 0.1, 3, 0, "liver", math.nan)])
    assert (tmp_path / "retrain.csv").read_text() == (
        "mode,method,fraction,seed,fold,label,dice\nroar,ig,0.1,3,0,liver,nan\n"
    )
    write_dice_points(tmp_path, [_row("kar", "ig", "liver", 0.5, 0.25)])
    header, line = (tmp_path / "summary.csv").read_text().splitlines()
    assert header == (
        "mode,method,label,fraction,n,mean,low,high,gain_over_random,gain_low,gain_high"
    )
    assert line.startswith("kar,ig,liver,0.5,4,0.25,0.2,0.28")
    assert line.endswith(",0.1,0.1,0.1")


@pytest.mark.parametrize("text", ["a, b", 'say "x"'])
def test_names_with_commas_stay_one_column(text: str, tmp_path: Path) -> None:
    write_dice(tmp_path, [DiceRow("roar", "ig", 0.1, 3, 0, text, 0.5)])
    with (tmp_path / "retrain.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["label"] == text
