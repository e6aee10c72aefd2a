"""Networks of nnU-Net plans: as nnunetv2 builds them, and none that is not in its package."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from esegeta.errors import EsegetaError, ModelError
from esegeta.model.nnunet import build_nnunet_network
from esegeta.model.nnunet_architecture import nnunet_architecture
from esegeta.workflow.build import build_experiment

pytest.importorskip("dynamic_network_architectures")

from tests.nnunet import quiet
from tests.nnunet_folder import Results
from tests.nnunet_folder import load_nnunet_config as load


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("network_class_name", "os.system", 'network class "os.system" is not one of'),
        (
            "network_class_name",
            "dynamic_network_architectures.architectures.unet.PlainConvUnet",
            'did you mean "PlainConvUNet"',
        ),
        ("conv_op", "subprocess.Popen", '"subprocess.Popen" is not a class of torch.nn'),
        ("conv_op", "torch.nn.functional.relu", "is not a class of torch.nn"),
        ("n_stages", 3, "cannot be built with its arch_kwargs"),
    ],
)
def test_an_invalid_architecture_is_refused(
    key: str, value: Any, message: str, results: Results, tmp_path: Path
) -> None:
    architecture = results.block["architecture"]
    block = architecture if key in architecture else architecture["arch_kwargs"]
    block[key] = value
    results.write()
    with pytest.raises(EsegetaError, match=message):
        build_experiment(load(tmp_path, {"path": "results"}))


PARTS = "dynamic_network_architectures.building_blocks.simple_conv_blocks"


def test_modules_of_the_package_without_initialization_are_built() -> None:
    numbers = {"input_channels": 1, "output_channels": 2, "kernel_size": 3, "stride": 1}
    block = build_nnunet_network(
        f"{PARTS}.ConvDropoutNormReLU", {"conv_op": "torch.nn.Conv2d", **numbers}
    )
    assert not block.training
    assert block(torch.zeros(1, 1, 4, 4)).shape == (1, 2, 4, 4)


def test_a_class_that_is_not_a_network_is_refused() -> None:
    path = "dynamic_network_architectures.initialization.weight_init.InitWeights_He"
    with pytest.raises(ModelError, match=r"InitWeights_He is not a torch\.nn\.Module"):
        build_nnunet_network(path, {})


class _Lacking:
    """Finds modules as Python does where a package that one of them imports is missing."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "dynamic_network_architectures.architectures.primus":
            raise ModuleNotFoundError("No module named 'timm'", name="timm")


def test_a_package_that_a_network_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [_Lacking(), *sys.meta_path])
    with pytest.raises(ModelError, match=r'primus\.Primus: needs the package "timm"'):
        build_nnunet_network("dynamic_network_architectures.architectures.primus.Primus", {})


def test_a_class_that_has_moved_is_found(results: Results, tmp_path: Path) -> None:
    results.block["architecture"]["network_class_name"] = (
        "dynamic_network_architectures.architectures.older.PlainConvUNet"
    )
    results.write()
    experiment = build_experiment(load(tmp_path, {"path": "results"}))
    assert type(experiment.predictor.network).__name__ == "PlainConvUNet"


def test_weights_of_another_network_are_refused(results: Results, tmp_path: Path) -> None:
    results.block["architecture"]["arch_kwargs"]["features_per_stage"] = [2, 6]
    results.write()
    with pytest.raises(EsegetaError, match="do not fit") as caught:
        build_experiment(load(tmp_path, {"path": "results"}))
    assert "if your own trainer builds another network" in str(caught.value)


def test_images_with_another_number_of_channels_are_refused(
    results: Results, tmp_path: Path
) -> None:
    results.write()
    case = {"name": "a", "image": ["ct.nii.gz", "ct.nii.gz"]}
    with pytest.raises(EsegetaError, match="2"):
        build_experiment(load(tmp_path, {"path": "results"}, data={"cases": [case]}))


def test_a_missing_package_is_named(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write()
    config = load(tmp_path, {"path": "results"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EsegetaError, match='needs the package "dynamic_network_architectures"'):
        build_experiment(config)


OLD_PLANS: dict[str, Any] = {
    "patch_size": [16, 16, 16],
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 2,
    "unet_max_num_features": 6,
    "n_conv_per_stage_encoder": [1, 2, 1],
    "n_conv_per_stage_decoder": [1, 2],
    "num_pool_per_axis": [2, 2, 1],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 1]],
    "conv_kernel_sizes": [[3, 3, 1], [3, 3, 3], [3, 3, 3]],
}
RESIDUAL = {
    "UNet_class_name": "ResidualEncoderUNet",
    "patch_size": [16, 16],
    "pool_op_kernel_sizes": [[1, 1], [2, 2], [2, 2]],
    "conv_kernel_sizes": [[3, 3], [3, 3], [3, 3]],
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, RESIDUAL], ids=["plain", "residual"])
def test_old_plans_are_read_as_nnunet_reads_them(changes: dict[str, Any]) -> None:
    module = pytest.importorskip("nnunetv2.utilities.plans_handling.plans_handler")
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    plans = {**OLD_PLANS, **changes}
    with quiet():
        manager = module.ConfigurationManager(copy.deepcopy(plans))
        # Where the class lies today; its own search imports all networks, and their packages.
        class_path = manager.network_arch_class_name.replace(".residual_unet.", ".unet.")
        theirs = get_network_from_plans(
            class_path,
            manager.network_arch_init_kwargs,
            manager.network_arch_init_kwargs_req_import,
            2,
            3,
            deep_supervision=False,
        )
    ours = build_nnunet_network(*nnunet_architecture(plans, num_inputs=2, num_outputs=3))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn((1, 2, *plans["patch_size"]), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(x), theirs.eval()(x))


def test_deep_supervision_is_switched_off() -> None:
    """Deep supervision, which training needs, is off."""
    path, args = nnunet_architecture(OLD_PLANS, num_inputs=1, num_outputs=2)
    network = build_nnunet_network(path, args)
    assert network(torch.zeros((1, 1, 16, 16, 16))).shape == (1, 2, 16, 16, 16)
