"""TorchScript networks and exported programs: read by name, run on any batch, with gradients."""

from pathlib import Path

import pytest
import torch
from torch import nn

from esegeta.errors import LayerError, ModelError, WindowError
from esegeta.model import (
    capability_of,
    convolution_signature,
    from_program,
    held_still,
    list_layers,
    load_exported,
    load_pickled_network,
    load_torchscript,
    only_batch,
    require_batch,
    require_window,
    tap,
)
from tests.builders import unet
from tests.closed import Canary, exported, save_export, save_script, save_trace

SHAPE = (1, 1, 8, 8, 8)


def slopes(network: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    with held_still(network):
        y = network(x)
        (slope,) = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum(), x)
    return y.detach(), slope


@pytest.fixture(scope="module", params=["script", "trace", "frozen", "export", "dynamic"])
def closed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    folder = tmp_path_factory.mktemp("closed")
    network = unet(3, num_res_units=1)
    if request.param == "script":
        return load_torchscript(save_script(network, folder / "net.ts"))
    if request.param in ("trace", "frozen"):
        path = folder / "net.pt"
        return load_torchscript(save_trace(network, SHAPE, path, freeze=request.param == "frozen"))
    if request.param == "export":
        return load_exported(save_export(network, SHAPE, folder / "net.pt2"))
    shape, free = (2, *SHAPE[1:]), (0,)
    return load_exported(save_export(network, shape, folder / "net.pt2", dynamic=free))


@pytest.mark.slow
def test_outputs_and_gradients_equal_those_of_the_network(closed: nn.Module) -> None:
    network = unet(3, num_res_units=1)
    x = torch.randn((1, *SHAPE[1:]), generator=torch.Generator().manual_seed(1))
    for _ in range(3):  # TorchScript rewrites itself on its first runs
        found, wanted = slopes(closed, x), slopes(network, x)
        torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found[1], wanted[1], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_any_batch_gives_the_results_of_each_window_alone(closed: nn.Module) -> None:
    x = torch.randn((3, *SHAPE[1:]), generator=torch.Generator().manual_seed(1))
    y, slope = slopes(closed, x)
    network = unet(3, num_res_units=1)
    wanted, steep = slopes(network, x)
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slope, steep, rtol=1e-5, atol=1e-6)


def test_layers_cannot_be_watched(closed: nn.Module) -> None:
    assert not capability_of(closed).hooks
    assert not capability_of(closed).retrainable
    with pytest.raises(ModelError, match="a list of layers needs the layers of a network"):
        list_layers(closed, lambda: closed(torch.zeros(SHAPE)))


def test_a_layer_of_a_script_is_refused_by_its_name(tmp_path: Path) -> None:
    network = load_torchscript(save_script(unet(3), tmp_path / "net.ts"))
    with (
        pytest.raises(LayerError, match=r'layer "model\.0" is TorchScript'),
        tap(network, "model.0"),
    ):
        pass


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("ndim", [2, 3])
def test_axes_and_channels_are_read_from_the_first_convolution(
    ndim: int, groups: int, tmp_path: Path
) -> None:
    kind = nn.Conv2d if ndim == 2 else nn.Conv3d
    network = nn.Sequential(nn.Identity(), kind(4, 2, 1, groups=groups))
    script = load_torchscript(save_script(network, tmp_path / "net.ts"))
    assert convolution_signature(script) == (ndim, 4)
    program = from_program(exported(network, (1, 4, *[8] * ndim)))
    assert convolution_signature(program) == (ndim, 4)


def test_a_fixed_batch_is_filled_up_and_the_rest_is_dropped() -> None:
    network = nn.Conv3d(1, 2, 3, padding=1)
    program = from_program(exported(network, (2, 1, 4, 4, 4)))
    assert capability_of(program).batch == 2
    x = torch.randn((5, 1, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(program(x), network(x))


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        y = self.conv(x)
        return {"out": y, "aux": [y.mean(1, keepdim=True), (y + 1,)], "version": 3}


def test_outputs_of_partial_batches_are_joined_part_by_part() -> None:
    network = Several()
    program = from_program(exported(network, (2, 1, 4, 4)))
    x = torch.randn((3, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    found, wanted = program(x), network(x)
    torch.testing.assert_close(found["out"], wanted["out"])
    torch.testing.assert_close(found["aux"][0], wanted["aux"][0])
    torch.testing.assert_close(found["aux"][1][0], wanted["aux"][1][0])
    assert found["version"] == 3


def test_constants_in_the_code_of_a_program_move_with_it() -> None:
    class Added(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.zeros(4, 4)

    program = exported(Added(), (1, 1, 4, 4))
    x = torch.zeros((1, 1, 4, 4), device="meta")
    assert from_program(program, device=x.device)(x).device == x.device


def test_an_exported_module_in_memory_counts_as_closed() -> None:
    module = exported(nn.Conv2d(1, 2, 1), (1, 1, 4, 4)).module()
    found = capability_of(nn.Sequential(module))
    assert (found.kind, found.hooks, found.retrainable) == ("export", False, False)
    traced = torch.fx.symbolic_trace(nn.Conv2d(1, 2, 1))  # of modules, which can be watched
    assert capability_of(traced).hooks


def test_windows_that_a_program_was_not_exported_for_are_refused() -> None:
    program = from_program(exported(nn.Conv3d(1, 2, 1), (1, 1, 8, 8, 4), dynamic=(4,)))
    require_window(program, (8, 8, 6))
    with pytest.raises(WindowError, match="for windows of 8 x 8 x any, and this is 16x8x6"):
        require_window(program, (16, 8, 6))
    with pytest.raises(WindowError, match=r"give \[8, 8, 64\]"):
        require_window(program, (8, 8))
    require_batch(program, 1)
    with pytest.raises(ModelError, match="exported for 1 window at a time, and this is 4; give 1"):
        require_batch(program, 4)
    free = from_program(exported(nn.Conv3d(1, 2, 1), (2, 1, 8, 8, 4), dynamic=(0,)))
    require_batch(free, 4)
    assert (only_batch(program), only_batch(free)) == (1, None)


def test_norms_over_the_batch_take_one_window_at_a_time() -> None:
    """Otherwise what is predicted for a window depends on those beside it in the batch."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    require_batch(network, 1)
    with pytest.raises(ModelError, match="normalises the 4 windows of a batch together"):
        require_batch(network, 4)
    for fine in (nn.BatchNorm2d(2), nn.InstanceNorm2d(2), nn.GroupNorm(1, 2)):
        require_batch(fine, 4)
        assert only_batch(fine) is None
    assert only_batch(network) == 1


class Two(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


def test_a_program_of_two_inputs_is_refused() -> None:
    zeros = torch.zeros(1, 1, 4, 4)
    program = torch.export.export(Two(), (zeros, zeros))
    with pytest.raises(ModelError, match="takes a tensor with 4 axes, a tensor with 4 axes, not"):
        from_program(program)


LOADERS = {"torchscript": load_torchscript, "export": load_exported}


@pytest.mark.parametrize("kind", ["torchscript", "export", "pickle"])
def test_files_of_another_kind_are_named_and_refused(kind: str, tmp_path: Path) -> None:
    network = nn.Conv2d(1, 2, 1)
    files = {
        "torchscript": save_script(network, tmp_path / "a.bin"),
        "export": save_export(network, (1, 1, 4, 4), tmp_path / "b.bin"),
        "pickle": tmp_path / "c.bin",
        "older pickle": tmp_path / "d.bin",
    }
    torch.save(network.state_dict(), files["pickle"])
    torch.save(network.state_dict(), files["older pickle"], _use_new_zipfile_serialization=False)
    said = {
        "torchscript": "is a TorchScript network, not .*kind: torchscript",
        "export": "is an exported program of torch.export, not .*kind: export",
        "pickle": "is a checkpoint of torch.save, not .*weights belong to `weights`",
        "older pickle": "is a checkpoint of torch.save, not .*trust: pickle",
    }
    for name, path in files.items():
        if name.endswith(kind):
            continue
        with pytest.raises(ModelError, match=said[name]):
            if kind == "pickle":
                load_pickled_network(path, tmp_path)
            else:
                LOADERS[kind](path)


@pytest.mark.parametrize("load", LOADERS.values())
def test_missing_and_damaged_files_are_named(load: object, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere: no such file; check model\.path"):
        load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="a folder, not a file"):
        load(tmp_path)
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    with pytest.raises(ModelError, match="text: is another kind of file"):
        load(tmp_path / "text")
    whole = (
        save_script(nn.Conv2d(1, 2, 1), tmp_path / "net")
        if load is load_torchscript
        else save_export(nn.Conv2d(1, 2, 1), (1, 1, 4, 4), tmp_path / "net")
    )
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(ModelError, match="net: "):
        load(whole)


def test_a_pickle_runs_its_code_only_if_trusted(tmp_path: Path) -> None:
    for new in (True, False):
        path, sung = tmp_path / "net.pt", tmp_path / f"sung{new}"
        torch.save(Canary(sung), path, _use_new_zipfile_serialization=new)
        for load in LOADERS.values():
            with pytest.raises(ModelError):
                load(path)
        assert not sung.exists()
        assert isinstance(load_pickled_network(path, tmp_path), nn.Conv3d)
        assert sung.exists()


def test_a_pickle_without_a_network_is_refused_naming_its_content(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds a dict, not a network; weights alone"):
        load_pickled_network(tmp_path / "w.pt", tmp_path)
