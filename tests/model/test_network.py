"""Networks by MONAI's name or by a class of one's own, and errors that name the nearest."""

from pathlib import Path

import pytest
import torch
from torch import nn

from esegeta.errors import ModelError
from esegeta.model import build_module_network, build_monai_network, convolution_signature
from tests.builders import unet

ARGS = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}

OWN_CLASS = """
from torch import nn

class Scale(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x

class NotANetwork:
    pass
"""


@pytest.fixture
def own_module(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Write a module under a name of its own, for imports are remembered by name."""
    name = f"own_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(OWN_CLASS)
    return name


def test_monai_network_by_name_is_that_network_in_eval_mode() -> None:
    from monai.networks.nets import UNet

    torch.manual_seed(3)
    built = build_monai_network("UNet", ARGS)
    torch.manual_seed(3)
    direct = UNet(2, 1, 2, (4, 8), (2,)).eval()
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(built(x), direct(x))
    assert not any(module.training for module in built.modules())


def test_unknown_monai_network_suggests_the_nearest() -> None:
    with pytest.raises(ModelError, match=r'no network "UNeet".*"UNet"'):
        build_monai_network("UNeet", ARGS)


@pytest.mark.parametrize(
    "args",
    [
        {**ARGS, "chanels": 3},
        {"spatial_dims": 2},
        {**ARGS, "spatial_dims": 7},
        {**ARGS, "strides": []},
        {**ARGS, "norm": "NOSUCH"},
        {**ARGS, "in_channels": -1},
    ],
    ids=["unknown", "missing", "impossible", "inconsistent", "no-such-norm", "negative"],
)
def test_wrong_arguments_name_the_network(args: dict) -> None:
    with pytest.raises(ModelError, match=r"(?s)model.network UNet: cannot be built.*model.args"):
        build_monai_network("UNet", args)


def test_own_class_from_a_folder(own_module: str, tmp_path: Path) -> None:
    network = build_module_network(f"{own_module}:Scale", {"factor": 2.5}, tmp_path)
    assert not network.training
    assert torch.equal(network(torch.ones(2)), torch.full((2,), 2.5))


@pytest.mark.parametrize(
    ("path", "args", "message"),
    [
        ("{}", {}, "names no class"),
        ("{}:", {}, "names no class"),
        ("no_such_module_at_all:Net", {}, 'no module "no_such_module_at_all"'),
        ("{}:Scal", {}, 'no class "Scal".*did you mean "Scale"'),
        ("{}:Scale", {"factr": 1.0}, "cannot be built"),
        ("{}:NotANetwork", {}, "not a torch.nn.Module"),
    ],
)
def test_what_is_wrong_with_an_own_class(
    own_module: str, tmp_path: Path, path: str, args: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        build_module_network(path.format(own_module), args, tmp_path)


def test_signature_of_the_first_convolution(ndim: int) -> None:
    assert convolution_signature(unet(ndim, in_channels=3)) == (ndim, 3)
    assert convolution_signature(nn.Sequential(nn.Linear(3, 4))) is None


@pytest.mark.parametrize("code", ["class Net(:", "import torch\n1 / 0"])
def test_a_module_that_cannot_be_imported_is_named(code: str, tmp_path: Path) -> None:
    (tmp_path / "broken_network.py").write_text(code)
    with pytest.raises(ModelError, match='importing "broken_network" fails: '):
        build_module_network("broken_network:Net", {}, tmp_path)


def test_a_network_may_import_its_neighbours_as_it_runs(tmp_path: Path) -> None:
    (tmp_path / "late_neighbour.py").write_text("FACTOR = 3.0")
    (tmp_path / "late_importer.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        from late_neighbour import FACTOR\n"
        "        return FACTOR * x\n"
    )
    network = build_module_network("late_importer:Net", {}, tmp_path)
    assert torch.equal(network(torch.ones(2)), torch.full((2,), 3.0))
