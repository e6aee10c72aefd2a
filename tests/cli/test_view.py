"""`esegeta view`: what it opens, and what it refuses before anything is predicted."""

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.view import Session
from tests.builders import unet
from tests.closed import save_trace
from tests.experiments import Lab, esegeta, noise, save_image, unet_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = unet_lab(tmp_path, cases=2)
    del lab.keys["targets"], lab.keys["methods"]
    return lab


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Session, dict[str, Any]]]:
    """Sessions that would have been served."""
    pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
    found: list[tuple[Session, dict[str, Any]]] = []

    def serve(session: Session, say: Any, **options: Any) -> None:
        found.append((session, options))

    monkeypatch.setattr("esegeta.view.server.serve", serve)
    return found


def test_a_config_is_opened_with_its_first_case(
    lab: Lab, opened: list[tuple[Session, dict[str, Any]]]
) -> None:
    done = esegeta("view", lab.write(), "--port", 8099)
    assert done.exit_code == 0, done.output
    ((session, options),) = opened
    assert session.case.name == "a" and options == {"port": 8099, "shown": False}
    assert session.experiment.root == lab.root and str(lab.root) in done.stdout
    assert "the first of 2" in done.stdout


def test_case_and_output_folder_can_be_chosen(
    lab: Lab, opened: list[tuple[Session, dict[str, Any]]], tmp_path: Path
) -> None:
    done = esegeta("view", lab.write(), "--case", "b", "-o", tmp_path / "kept", "--open", "-q")
    assert done.exit_code == 0 and done.output == ""
    ((session, options),) = opened
    assert session.case.name == "b" and options["shown"]
    assert session.experiment.root == tmp_path / "kept" / "tiny"


def test_a_model_and_an_image_need_no_config(
    lab: Lab, opened: list[tuple[Session, dict[str, Any]]], tmp_path: Path
) -> None:
    image = save_image(tmp_path / "new.nii.gz", noise((9, 10, 11), seed=7))
    done = esegeta("view", lab.write(), image, "-o", tmp_path / "seen")
    assert done.exit_code == 0, done.output
    ((session, _),) = opened
    assert session.case.images == (image,) and session.experiment.root == tmp_path / "seen"
    assert np.allclose(session.scene.volume.data[0].numpy(), noise((9, 10, 11), seed=7))


def test_guesses_about_a_model_are_noted(
    tmp_path: Path, opened: list[tuple[Session, dict[str, Any]]]
) -> None:
    save_trace(unet(3), (1, 1, 8, 8, 8), tmp_path / "network.ts")
    image = save_image(tmp_path / "new.nii.gz", noise((8, 8, 8)))
    done = esegeta("view", tmp_path / "network.ts", image, "-o", tmp_path / "seen")
    assert done.exit_code == 0 and len(opened) == 1, done.output
    assert "note: the window is a guess" in done.stdout
    assert "note: no preprocessing is known" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("w.safetensors",), "IMAGE: missing"),
        (("tiny.yaml", "--case", "c"), '--case: "c" is not among the cases'),
        (("tiny.yaml", "none.nii.gz"), "none.nii.gz: no such file"),
        (("none.yaml",), "none.yaml"),
        (("tiny.yaml", "--port", "99999"), "--port"),
    ],
)
def test_invalid_arguments_of_view_are_refused(
    lab: Lab,
    opened: list[tuple[Session, dict[str, Any]]],
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab.write()
    monkeypatch.chdir(lab.folder)
    done = esegeta("view", *arguments)
    assert done.exit_code == 2 and said in done.stderr and not opened
    assert "Traceback" not in done.output


def test_a_missing_extra_is_one_sentence(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "esegeta.cli.live.find_spec", lambda name: None if name == "uvicorn" else real(name)
    )
    done = esegeta("view", lab.write())
    assert done.exit_code == 2 and "pip install 'esegeta[view]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "uvicorn" in done.stderr


def test_a_port_in_use_is_reported(lab: Lab) -> None:
    pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
    from esegeta.view.server import bound

    with bound(0) as held:
        held.listen()
        port = held.getsockname()[1]
        assert held.getsockname()[0] == "127.0.0.1"
        done = esegeta("view", lab.write(), "--port", port)
    assert done.exit_code == 2 and f"--port: {port} cannot be used" in done.stderr


@pytest.mark.slow
def test_ctrl_c_ends_view_with_exit_code_0(lab: Lab) -> None:
    pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
    command = [sys.executable, "-c", "from esegeta.cli import main; main()", "view", lab.write()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("open "))
        address, _, token = line.split()[1].partition("/?token=")
        assert address.startswith("http://127.0.0.1:") and len(token) >= 32
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
