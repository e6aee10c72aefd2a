"""Tables of labels: read back by the rules of the programs that they are for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from esegeta.model import Labels
from esegeta.report import PredictionFiles
from esegeta.report.label_tables import label_rows, shown_colours, write_label_tables
from esegeta.report.style import LABEL_COLOURS

NAMES = {1: "spleen", 2: 'left "big" kidney', 7: "liver"}
COLOURS = {"liver": "#a01b2f"}


@pytest.fixture
def files(tmp_path: Path) -> PredictionFiles:
    labels = Labels.of(NAMES, "softmax", 8)
    files = PredictionFiles(tmp_path, "torso")
    (tmp_path / "torso").mkdir()
    write_label_tables(files, label_rows(labels, COLOURS))
    return files


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


EXPECTED = {
    1: ("spleen", rgb(LABEL_COLOURS[0])),
    2: ('left "big" kidney', rgb(LABEL_COLOURS[1])),
    7: ("liver", (0xA0, 0x1B, 0x2F)),
}


def test_the_label_table_follows_bids(files: PredictionFiles) -> None:
    lines = [line.split("\t") for line in files.table.read_text("utf-8").splitlines()]
    assert lines[:2] == [["index", "name", "color"], ["0", "background", "#000000"]]
    assert {int(i): (name, rgb(colour)) for i, name, colour in lines[2:]} == EXPECTED


def test_itksnap_reads_its_label_descriptions(files: PredictionFiles) -> None:
    # As ColorLabelTable::LoadFromFile does: seven numbers, then what stands between quotes.
    assert files.descriptions.name == "torso_desc-prediction_dseg.label"
    found = {}
    for line in files.descriptions.read_text("utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        numbers, name = re.fullmatch(r"([^\"]*)\"([^\"]*)\"", line).groups()  # type: ignore[union-attr]
        index, red, green, blue, alpha, visible, mesh = map(float, numbers.split())
        assert alpha == visible == mesh == float(index != 0)
        found[int(index)] = (name, (int(red), int(green), int(blue)))
    assert found.pop(0) == ("background", (0, 0, 0))
    assert found == {**EXPECTED, 2: ("left 'big' kidney", EXPECTED[2][1])}


def test_fsleyes_reads_its_lookup_table(files: PredictionFiles) -> None:
    # As fsleyes.colourmaps.LookupTable.load does: value, r, g, b, and the rest is the name.
    found = {}
    for line in files.lookup_table.read_text("utf-8").splitlines():
        index, red, green, blue, *name = line.split()
        parts = tuple(round(255 * float(part)) for part in (red, green, blue))
        found[int(index)] = (" ".join(name), parts)
    assert found == EXPECTED


def test_slicer_reads_its_color_table(files: PredictionFiles) -> None:
    # As vtkMRMLColorTableStorageNode does: id name R G B A, without blanks in names.
    found = {}
    for line in files.color_table.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            index, name, *colour = line.split()
            assert len(colour) == 4
            found[int(index)] = (name, tuple(map(int, colour[:3])), int(colour[3]))
    assert found.pop(0) == ("background", (0, 0, 0), 0)
    expected = {index: (name.replace(" ", "_"), c, 255) for index, (name, c) in EXPECTED.items()}
    assert found == expected


def test_a_region_painted_over_by_its_parts_has_its_own_colour() -> None:
    labels = Labels.of({"left": 1, "right": 4, "both": [1, 4]}, "softmax", 5)
    painted = {row.name: row.colour for row in label_rows(labels, {})}
    assert set(painted) == {"background", "left", "right"}
    found = shown_colours(labels, {})
    assert {name: found[name] for name in ("left", "right")} == {
        name: painted[name] for name in ("left", "right")
    }
    assert len(set(found.values())) == 3
    assert shown_colours(labels, {"both": "#123456"})["both"] == "#123456"
