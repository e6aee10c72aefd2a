"""Networks by MONAI's name or by a class of one's own, and errors that name the nearest."""

import sys
from pathlib import Path

import pytest
import torch
from monai.utils import optional_import
from torch import nn

from esegeta.errors import ModelError
from esegeta.model import (
    build_module_network,
    build_monai_network,
    convolution_signature,
    is_compiled,
    require_packages,
    without_wrappers,
)
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


def test_a_class_is_loaded_from_a_folder(own_module: str, tmp_path: Path) -> None:
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
def test_faults_of_a_users_class_are_named(
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


MEDNEXT = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3, "init_filters": 4}


@pytest.mark.parametrize("name", ["MedNeXtS", "MedNextB", "MedNeXtMedium", "MedNeXtL", "MedNeXt"])
def test_networks_of_monai_that_are_made_by_functions(name: str) -> None:
    arguments = {key: value for key, value in MEDNEXT.items() if key != "init_filters"}
    network = build_monai_network(name, MEDNEXT if name == "MedNeXt" else arguments)
    assert type(network).__name__ == "MedNeXt"
    assert not network.training


def test_functions_of_monai_that_make_no_network_are_not_named() -> None:
    with pytest.raises(ModelError, match='no network "get_efficientnet_image_size"'):
        build_monai_network("get_efficientnet_image_size", {"model_name": "efficientnet-b0"})
    with pytest.raises(ModelError, match='no network "drop_connect"'):
        build_monai_network("drop_connect", {})


def test_allowed_downloads_keep_the_arguments_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is switched off, and what is pretrained by default is; nobody asks for it here."""
    asked: list[object] = []
    monkeypatch.setattr(
        "monai.networks.nets.efficientnet._load_state_dict",
        lambda model, arch, progress, adv_prop: asked.append(arch),
    )
    build_monai_network("EfficientNetBN", {"model_name": "efficientnet-b0"}, fetch="allowed")
    assert asked == ["efficientnet-b0"]


def test_wrong_arguments_of_a_function_name_the_network() -> None:
    with pytest.raises(ModelError, match=r"MedNeXtS: cannot be built.*'in_chanels'.*model\.args"):
        build_monai_network("MedNeXtS", {"in_chanels": 1})


def test_a_users_function_may_build_the_network(own_module: str, tmp_path: Path) -> None:
    with (tmp_path / f"{own_module}.py").open("a") as file:
        file.write("\ndef make(factor):\n    return Scale(factor)\n\ndef no(): return 3\n")
    network = build_module_network(f"{own_module}:make", {"factor": 3.0}, tmp_path)
    assert torch.equal(network(torch.ones(1)), torch.tensor([3.0]))
    with pytest.raises(ModelError, match=r"a int is not a torch\.nn\.Module"):
        build_module_network(f"{own_module}:no", {}, tmp_path)


class _WithoutEinops:
    """Finds modules as Python does where einops is not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "einops":
            raise ModuleNotFoundError("No module named 'einops'", name="einops")


def test_a_missing_package_of_monai_is_named_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "einops"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_WithoutEinops(), *sys.meta_path])
    missing, _ = optional_import("einops.layers.torch", name="Rearrange")
    monkeypatch.setattr("monai.networks.blocks.selfattention.Rearrange", missing)
    with pytest.raises(ModelError) as caught:
        build_monai_network("UNETR", {"in_channels": 1, "out_channels": 2, "img_size": (32,) * 3})
    assert str(caught.value) == (
        'model.network UNETR: needs the package "einops", which is not installed; '
        "pip install einops"
    )


@pytest.mark.parametrize(
    ("package", "install"), [("no_such_einops", "no_such_einops"), ("no_such_yaml.sub", None)]
)
def test_a_missing_package_of_a_users_module_is_named(
    package: str, install: str | None, own_module: str, tmp_path: Path
) -> None:
    (tmp_path / f"{own_module}.py").write_text(f"import {package}\n")
    top = package.partition(".")[0]
    with pytest.raises(ModelError) as caught:
        build_module_network(f"{own_module}:Net", {}, tmp_path)
    assert f'module "{own_module}": needs the package "{top}"' in str(caught.value)
    assert str(caught.value).endswith(f"pip install {install or top}")


def test_a_package_goes_by_its_name_for_pip() -> None:
    with pytest.raises(ModelError, match=r"pip install scikit-image$"):
        require_packages("net", ImportError("No module named 'skimage.filters'"))
    require_packages("net", ImportError("cannot import name 'x'"))
    require_packages("net", ValueError("No module named 'skimage'"))


def test_data_parallel_wrappers_are_removed() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1))
    assert without_wrappers(network) is network
    assert without_wrappers(nn.DataParallel(nn.DataParallel(network))) is network
    assert not is_compiled(network)
