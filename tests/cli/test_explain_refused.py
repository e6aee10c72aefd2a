"""What the one line refuses: exit code 2, one message that names the argument, nothing written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.builders import unet
from tests.bundles import write_bundle
from tests.closed import save_trace
from tests.experiments import esegeta, noise, save_image
from tests.nnunet_folder import Results


@dataclass(frozen=True)
class Place:
    """A folder with models and images, made once for all faults."""

    folder: Path

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("refused")
    save_image(folder / "ct.nii.gz", noise((10, 9, 8)))
    save_image(folder / "mr.nii.gz", noise((10, 9, 8)))
    write_bundle(folder / "bundle")
    write_bundle(folder / "no_weights")
    (folder / "no_weights" / "models" / "model.pt").unlink()
    write_bundle(folder / "nothing")
    file = folder / "nothing" / "models" / "model.pt"
    state = torch.load(file)
    last = [key for key in state if key.endswith("bias")][-1]
    torch.save({**state, last: torch.tensor([1e3, -1e3])}, file)
    save_trace(unet(3), (1, 1, 8, 8, 8), folder / "network.ts")
    (folder / "odd").mkdir()
    (folder / "odd" / "notes.txt").write_text("nothing")
    (folder / "odd" / "loose.safetensors").write_bytes(b"")
    (folder / "odd" / "network.onnx").write_bytes(b"onnx")
    results = Results(folder / "nn", folds=())
    results.folder.mkdir(parents=True)
    results.write()
    lost = Results(folder / "lost", folds=())
    lost.folder.mkdir(parents=True)
    lost.write()
    (lost.folder / "plans.json").unlink()
    yield Place(folder)


FAULTS: dict[str, tuple[Callable[[Place], list[str]], list[str]]] = {
    "no such model": (
        lambda at: [at / "bundel", at / "ct.nii.gz"],
        ["MODEL: ", "bundel: no such file or folder", 'did you mean "bundle"?'],
    ),
    "a folder of something else": (
        lambda at: [at / "odd", at / "ct.nii.gz"],
        [
            "it holds loose.safetensors, network.onnx, notes.txt",
            "plans.json",
            "inference.json",
            ".pt2",
        ],
    ),
    "a file of something else": (
        lambda at: [at / "odd/network.onnx", at / "ct.nii.gz"],
        ["network.onnx: is not a known kind of model", "TorchScript"],
    ),
    "weights alone": (
        lambda at: [at / "odd/loose.safetensors", at / "ct.nii.gz"],
        [
            "nothing next to it says which network they belong to",
            "odd/config.yaml",
            "trust: pickle",
        ],
    ),
    "plans missing": (
        lambda at: [at / "lost", at / "ct.nii.gz"],
        ["plans.json: is missing"],
    ),
    "plans missing in the folder itself": (
        lambda at: [
            at / "lost/Dataset012_Tiny/nnUNetTrainer__nnUNetPlans__3d_fullres",
            at / "ct.nii.gz",
        ],
        ["MODEL: ", "plans.json: is missing"],
    ),
    "fold missing": (
        lambda at: [at / "nn", at / "ct.nii.gz"],
        ["MODEL: ", "holds no fold", "fold_0/checkpoint_final.pth"],
    ),
    "no weights in a bundle": (
        lambda at: [at / "no_weights", at / "ct.nii.gz"],
        ["MODEL: ", "has no weights", "--set model.weights=FILE, or weights=FILE"],
    ),
    "no such image": (
        lambda at: [at / "bundle", at / "cd.nii.gz"],
        ["IMAGE: ", "cd.nii.gz: no such file or folder", 'did you mean "ct.nii.gz"'],
    ),
    "too many images": (
        lambda at: [at / "bundle", at / "ct.nii.gz", at / "mr.nii.gz"],
        ["IMAGE: ", "2 channels", "but the network takes 1"],
    ),
    "a folder without images": (
        lambda at: [at / "bundle", at / "odd"],
        ["IMAGE: ", "matches no image"],
    ),
    "an unknown label": (
        lambda at: [at / "bundle", at / "ct.nii.gz", "--label", "livr"],
        ["--label livr: ", 'did you mean "liver"?'],
    ),
    "an unknown method": (
        lambda at: [at / "bundle", at / "ct.nii.gz", "--method", "salienci"],
        ["--method: ", 'did you mean "saliency"?'],
    ),
    "an unknown region": (
        lambda at: [at / "bundle", at / "ct.nii.gz", "--over", "componnent"],
        ['--over: "componnent" is not a region', 'did you mean "component"?'],
    ),
    "a voxel that is none": (
        lambda at: [at / "bundle", at / "ct.nii.gz", "--over", "voxel:1,b,3"],
        ['"voxel:1,b,3" is not understood', "voxel:10,20,30"],
    ),
    "a voxel outside of the image": (
        lambda at: [at / "bundle", at / "ct.nii.gz", "--over", "voxel:1,2,30"],
        ["--over voxel:1,2,30: ", "point [1, 2, 30] lies outside", "10 x 9 x 8"],
    ),
    "a label that is not predicted": (
        lambda at: [at / "nothing", at / "ct.nii.gz", "--label", "liver"],
        ['--label: "liver" is not predicted anywhere in ct', "only background is predicted"],
    ),
    "nothing predicted": (
        lambda at: [at / "nothing", at / "ct.nii.gz"],
        ["is not predicted anywhere in ct", "--over all"],
    ),
    "a window that the network cannot take": (
        lambda at: [at / "network.ts", at / "ct.nii.gz", "--set", "inference.window=[7,8,8]"],
        ["7", "multiple"],
    ),
    "a method that needs layers, of TorchScript": (
        lambda at: [
            at / "network.ts",
            at / "ct.nii.gz",
            "--set",
            "inference.window=[8,8,8]",
            "--method",
            "guided_backprop",
        ],
        ["--method: ", "needs the layers", "saliency"],
    ),
    "a name that is none": (
        lambda at: [at / "bundle", at / "ct.nii.gz", "-o", at / ".hidden"],
        ['-o: ".hidden" cannot be the name of a run'],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_argument_is_refused_by_name(
    fault: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, fragments = FAULTS[fault]
    if "nn" in arguments(place)[0] or "lost" in arguments(place)[0]:
        pytest.importorskip("dynamic_network_architectures")
    done = esegeta("explain", *arguments(place))
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for fragment in fragments:
        assert fragment in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
