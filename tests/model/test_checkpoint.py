"""Checkpoints of training loops load as data; what is no file of weights is called what it is."""

import argparse
import collections
import datetime
import pathlib
import pickle
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import WeightsError
from esegeta.model import load_weights, network_sha256
from esegeta.model.checkpoint import read_checkpoint, reason_of
from tests.builders import small_parts

TORCHSCRIPT_IS_DEPRECATED = "ignore:.torch.jit:DeprecationWarning"


PLAIN: dict[str, Any] = {
    "float64": np.float64(0.9),
    "int64": np.int64(7),
    "float32": np.float32(0.5),
    "bool": np.bool_(True),
    "text": np.str_("dice"),
    "array": np.arange(5.0),
    "array of texts": np.array(["a", "b"]),
    "array of objects": np.array([None, {"a": 1}], dtype=object),
    "record array": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
    "numpy dtype": np.dtype("float32"),
    "numpy type": np.float32,
    "random state of numpy": np.random.RandomState(0).get_state(),
    "random state of torch": torch.get_rng_state(),
    "size": torch.Size([1, 2]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "torch version": torch.__version__,
    "ordered": collections.OrderedDict(a=1),
    "default dict": collections.defaultdict(list, {"a": [1, 2]}),
    "deque": collections.deque([1.0, 2.0], maxlen=3),
    "namespace": argparse.Namespace(lr=0.1),
    "date": datetime.datetime(2024, 5, 17, 12, 30),
    "date with zone": datetime.datetime(2024, 5, 17, tzinfo=datetime.UTC),
    "path": pathlib.PurePosixPath("/data/fold_0"),
    "uuid": uuid.UUID(int=5),
    "frozen set": frozenset({1, 2}),
    "slice": slice(1, 2),
    "complex": 1j,
    "bytes": b"abc",
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("new_format", [True, False])
def test_checkpoints_with_metadata_of_training_loops_load(
    name: str, new_format: bool, tmp_path: Path
) -> None:
    trained, fresh, path = small_parts(1), small_parts(2), tmp_path / "checkpoint.pt"
    content = {"epoch": PLAIN[name], "state_dict": trained.state_dict(), "best": [PLAIN[name]]}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    load_weights(fresh, path)
    assert network_sha256(fresh) == network_sha256(trained)


def test_scalars_under_the_module_names_of_numpy_1_load(tmp_path: Path) -> None:
    trained, fresh, path = small_parts(1), small_parts(2), tmp_path / "checkpoint.pt"
    content = {
        "best_metric": np.float64(0.9),
        "state_dict": trained.state_dict(),
        "history": np.arange(3),
    }
    torch.save(content, path, _use_new_zipfile_serialization=False)
    bytes_now = path.read_bytes()
    assert bytes_now.count(b"cnumpy._core.multiarray\n") == 2
    path.write_bytes(bytes_now.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    load_weights(fresh, path)
    assert network_sha256(fresh) == network_sha256(trained)


def test_weights_stored_after_numpy_scalars_are_exact(tmp_path: Path) -> None:
    torch.save({"x": np.float64(1), "w": torch.arange(4.0), "d": {"y": 3}}, tmp_path / "c.pt")
    content = read_checkpoint(tmp_path / "c.pt")
    assert torch.equal(content["w"], torch.tensor([0.0, 1.0, 2.0, 3.0]))
    assert content["d"] == {"y": 3}


class Payload:
    """Pickled as a call of whatever it is told to call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def write_text(path: str) -> Tensor:
    """Leave evidence."""
    Path(path).write_text("it ran")
    return torch.zeros(1)


@pytest.mark.parametrize("function", [write_text, eval, getattr, np.load, np.asarray, vars])
def test_code_beside_plain_types_is_still_refused(function: Any, tmp_path: Path) -> None:
    evidence, path = tmp_path / "it_ran", tmp_path / "c.pt"
    content = {
        "best": np.float64(0.9),
        "0.weight": Payload(function, str(evidence)),
    }
    torch.save(content, path)
    with pytest.raises(WeightsError, match="not plain weights") as caught:
        read_checkpoint(path)
    assert function.__name__ in str(caught.value)
    assert not evidence.exists()


def test_the_allow_list_of_torch_is_restored(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())  # torch keeps a set, in any order
    torch.save({"best": np.float64(0.9)}, tmp_path / "c.pt")
    read_checkpoint(tmp_path / "c.pt")
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "c.pt", weights_only=True)


class Net(nn.Module):
    """A network of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 2, 1)


@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        lambda item, path: torch.save(item, path, _use_new_zipfile_serialization=False),
        lambda item, path: path.write_bytes(pickle.dumps(item, protocol=2)),
        lambda item, path: torch.save({"epoch": np.int64(3), "model": item}, path),
    ],
)
def test_a_pickled_network_is_recognised_and_refused(save: Any, tmp_path: Path) -> None:
    save(Net(), tmp_path / "net.pt")
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(tmp_path / "net.pt")
    text = str(caught.value)
    assert "holds a pickled network (tests.model.test_checkpoint.Net), which is code" in text
    assert "torch.save(network.state_dict(), path); model.kind: module names its class" in text


def test_a_plain_pickle_of_a_network_is_recognised_and_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(pickle.dumps(Net()))
    with pytest.raises(WeightsError, match="holds a pickled network"):
        read_checkpoint(tmp_path / "net.pt")


def test_a_loss_beside_weights_is_not_called_a_network(tmp_path: Path) -> None:
    content = {"state_dict": small_parts().state_dict(), "loss": nn.CrossEntropyLoss()}
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(tmp_path / "c.pt")
    assert "pickled network" not in str(caught.value)
    assert "GLOBAL torch.nn.modules.loss.CrossEntropyLoss" in str(caught.value)


def test_torchs_reason_is_one_short_line_without_control_characters(tmp_path: Path) -> None:
    torch.save({"w": Payload(eval, "1")}, tmp_path / "c.pt")
    with pytest.raises(pickle.UnpicklingError) as raised:
        torch.load(tmp_path / "c.pt", weights_only=True)
    assert "\x1b[1m" in str(raised.value)  # what torch says
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(tmp_path / "c.pt")
    text = str(caught.value)
    assert text.isprintable()
    assert "(Unsupported global: GLOBAL eval was not an allowed global by default)" in text
    assert "add_safe_globals" not in text


def test_a_reason_is_cut_at_a_word() -> None:
    text = reason_of(ValueError("\x1b[31mred\x1b[0m\x07 " + "words and " * 40))
    assert text.startswith("red words and")
    assert text.endswith(("words ...", "and ..."))
    assert len(text) <= 164
    assert reason_of(KeyError()) == "KeyError"


@pytest.mark.filterwarnings(TORCHSCRIPT_IS_DEPRECATED)
def test_a_torchscript_network_is_recognised_and_refused(tmp_path: Path) -> None:
    torch.jit.trace(small_parts().eval(), torch.zeros(1, 1, 4, 4)).save(tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(tmp_path / "w.pt")
    assert "w.pt: is a TorchScript network, not weights; " in str(caught.value)
    assert "use model: {kind: torchscript, path: ...}" in str(caught.value)


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_an_exported_program_is_recognised_and_refused(name: str, tmp_path: Path) -> None:
    # What torch.export.save writes, of which the archive's layout is told apart.
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
        archive.writestr("net/models/model.json", "{}")
        archive.writestr("net/data/weights/weight_0", b"1234")
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(tmp_path / name)
    assert f"{name}: is an exported program of torch.export, not weights" in str(caught.value)
    assert "use model: {kind: export, path: ...}" in str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_program_of_torch_export_is_recognised_and_refused(tmp_path: Path) -> None:
    program = torch.export.export(small_parts().eval(), (torch.zeros(1, 1, 4, 4),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(WeightsError, match=r"is an exported program of torch\.export"):
        read_checkpoint(tmp_path / "net.pt2")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "Git LFS pointer"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("w.pth", b"\x89HDF\r\n\x1a\n" + bytes(40), "is an HDF5 file"),
        ("net.onnx", b"\x08\x07\x12\x07pytorch", "is an ONNX network, not weights"),
    ],
)
def test_other_kinds_of_files_are_named_and_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / name)


def test_a_checkpoint_named_safetensors_is_recognised(tmp_path: Path) -> None:
    torch.save(small_parts().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"checkpoint of torch\.save, .*; name it \.pt"):
        read_checkpoint(tmp_path / "w.safetensors")
