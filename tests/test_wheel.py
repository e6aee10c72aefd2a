"""The wheel, installed with its dependencies where no checkout is: it explains its own sample."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".git", ".venv", "results", "*.egg-info", "build", "tests", "docs", "benchmarks")
FAST = ["--set", "methods=[saliency]", "--set", "scores=[]", "--set", "report=false"]
MAP = "torso_label-liver_desc-saliency_attrmap.nii.gz"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that was empty, and into which pip installed the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation"]
    done([*pip, "wheel", *alone, "--wheel-dir", str(folder), str(source)])
    wheel = next(folder.glob("esegeta-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "esegeta/samples/data_samples/ct_torso/NOTICE" in names
    assert not any(name.startswith(("tests", "benchmarks", "scripts")) for name in names)
    shutil.rmtree(source)
    home = folder / "environment"
    venv.create(home)
    found = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    own_pip = [*pip[:3], "--python", str(found), *pip[3:]]
    if run([*own_pip, "download", "--no-deps", "--dest", str(folder), *one_pinned()]).returncode:
        pytest.skip("no package registry can be reached for what the wheel depends on")
    # Most of what comes along is never imported here: nothing is compiled beforehand.
    pins = ["-c", str(ROOT / "constraints.txt")]
    done([*own_pip, "install", "--no-compile", *pins, str(wheel)])
    return found


def one_pinned() -> list[str]:
    """Return a small dependency with its version, by which a registry is asked for."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [pin for pin in pins if pin.startswith("lazy-loader==")]


def run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    here = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=here)


def done(command: list[str], cwd: Path | None = None, *, codes: tuple[int, ...] = (0,)) -> str:
    found = run(command, cwd)
    assert found.returncode in codes, found.stdout + found.stderr
    return found.stdout


def esegeta(python: Path, *words: str, cwd: Path) -> str:
    """Run a command as `python -m esegeta`; a run may end with warnings about its maps."""
    return done([str(python), "-m", "esegeta", *words], cwd, codes=(0, 1))


def test_only_the_wheel_and_its_dependencies_are_installed(python: Path, tmp_path: Path) -> None:
    code = "import esegeta, sys; print(esegeta.__file__, *sys.path, sep='\\n')"
    places = done([str(python), "-c", code], tmp_path).splitlines()
    assert "environment" in places[0]
    assert not any(place.startswith(str(ROOT)) for place in places)
    folder = Path(places[0]).parents[1]
    installed = {package.name.lower() for package in distributions(path=[str(folder)])}
    assert "captum" in installed and "pytest" not in installed and "mkdocs" not in installed


def test_the_demo_gives_the_maps_of_the_checkout(python: Path, tmp_path: Path) -> None:
    command = python.with_name("esegeta.exe" if sys.platform == "win32" else "esegeta")
    told = done([str(command), "demo", *FAST], tmp_path, codes=(0, 1))
    assert "demo.yaml" in told
    other = tmp_path / "of_checkout"
    config = str(ROOT / "configs" / "demo.yaml")  # what scripts/demo runs
    esegeta(Path(sys.executable), "run", config, *FAST, "-o", str(other), cwd=ROOT)
    mine = voxels_of(tmp_path / "results" / "demo" / "torso" / MAP)
    assert mine == voxels_of(other / "demo" / "torso" / MAP)


def test_the_starter_config_runs_unchanged(python: Path, tmp_path: Path) -> None:
    esegeta(python, "init", cwd=tmp_path)
    assert done([str(python), "-m", "esegeta", "validate", "esegeta.yaml"], tmp_path)
    esegeta(python, "run", "esegeta.yaml", cwd=tmp_path)
    folder = tmp_path / "results" / "liver"
    assert (folder / "torso" / MAP).is_file()
    assert (folder / "report" / "index.html").is_file()


def voxels_of(path: Path) -> bytes:
    import nibabel as nib

    return bytes(nib.load(path).get_fdata().tobytes())
