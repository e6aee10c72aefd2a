"""Names of layers, targets and concepts may be any, also those that the command has for itself."""

from __future__ import annotations

import pytest

from tests.experiments import Lab, esegeta, read_json
from tests.workflow.concepts.planted import DRIVES, planted_lab, table

NETWORK = '''\
"""Units are the channels of the image; layers behind them hand these on as they are."""

from torch import nn


class Planted(nn.Module):
    def __init__(self, channels=6, names=()):
        super().__init__()
        self.units = nn.Conv2d(channels, channels, 1)
        self.head = nn.Conv2d(channels, 2, 1)
        self.names = names
        for name in names:
            self.add_module(name, nn.Identity())

    def forward(self, x):
        x = self.units(x)
        for name in self.names:
            x = self.get_submodule(name)(x)
        return self.head(x)
'''
LAYERS = ["unit", "groups", "false", "places", "places-voxels", "voxels"]
TARGETS = [
    {"name": name, "label": "label", "over": "all"}
    for name in ("label", "errors label", "a.b", "a-b")
]
PARTLY = ("layer", "p_holm", "significant")
"""What depends on the other layers."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, quick_concepts: None) -> Lab:
    lab = planted_lab(tmp_path_factory.mktemp("names"))
    (lab.folder / "named_layers.py").write_text(NETWORK, encoding="utf-8")
    lab.keys["model"]["class"] = "named_layers:Planted"
    lab.keys["model"]["args"]["names"] = LAYERS
    del lab.keys["data"]["cases"][3:]
    concepts = lab.keys["concepts"]["concepts"]
    lab.keys["concepts"] |= {
        "layers": ["units", *LAYERS],
        "concepts": dict.fromkeys(("segments", "positions-places", "positions"), concepts[DRIVES]),
        "targets": TARGETS,
        "level": 0.5,
        "discover": {"count": 2, "method": "kmeans", "scales": [20]},
        "errors": {"components": 2},
        "shap": {"positions": 100, "samples": 1},
        "maps": "all",
    }
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    return lab


@pytest.mark.slow
def test_layers_with_names_of_our_own_have_their_own_figures(done: Lab) -> None:
    listed = table(done.root / "concepts" / "tcav.csv")
    found = {
        layer: [
            {key: value for key, value in row.items() if key not in PARTLY}
            for row in listed
            if row["layer"] == layer and row["kind"] == "named"
        ]
        for layer in ("units", *LAYERS)
    }
    assert len(found["units"]) == 3 * len(TARGETS)
    assert {row["unit"] for row in found["units"]} == {"logit x voxels"}
    # Vectors are drawn from a seed of each layer: what no draw decides is the same.
    for layer in LAYERS:
        for row, same in zip(found[layer], found["units"], strict=True):
            assert row["tested_on"] == same["tested_on"] == "3"
            assert float(row["size"]) == pytest.approx(float(same["size"]), rel=0.05)


@pytest.mark.slow
def test_a_target_called_as_the_errors_of_another_has_its_own_slopes(done: Lab) -> None:
    listed = table(done.root / "concepts" / "errors.csv")
    counts = {(row["target"], row["false_components"], row["true_components"]) for row in listed}
    assert len(counts) == len(TARGETS) and len({count[1:] for count in counts}) == 1
    sizes = {
        row["size"]
        for row in table(done.root / "concepts" / "tcav.csv")
        if row["layer"] == "units" and row["concept"] == "positions"
    }
    assert len(sizes) == 1


@pytest.mark.slow
def test_names_that_would_be_one_file_have_files_of_their_own(done: Lab) -> None:
    folder = done.root / "concepts"
    pictures = {path.name for path in folder.glob("tcav_named_*.png")}
    assert pictures == {
        f"tcav_named_{part}.png" for part in ("label", "errors-label", "a-b", "a-b-2")
    }
    # Of the concept `positions-places` in `voxels`, and of `positions` in `places-voxels`.
    maps = {path.name for path in done.root.glob("*/*_label-label_*attrmap.nii.gz")}
    told = [read_json(path) for path in done.root.glob("*/*_label-label_*attrmap.json")]
    named = {(one["concept"], one["layer"]) for one in told}
    assert {("positions-places", "voxels"), ("positions", "places-voxels")} <= named
    assert len(maps) == len(told) == len(named) * 3
