"""The wheel, installed where no checkout is: it explains its own sample."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".git", ".venv", "results", "*.egg-info", "build", "tests", "docs", "benchmarks")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    quiet = ["--no-deps", "--no-index"]
    run(*pip, "wheel", *quiet, "--no-build-isolation", "-w", folder, source)
    wheel = next(folder.glob("esegeta-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "esegeta/samples/data_samples/ct_torso/NOTICE" in names
    assert not any(name.startswith(("tests", "benchmarks", "scripts")) for name in names)
    home = folder / "environment"
    venv.create(home, with_pip=False)
    found = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    packages = run(found, "-c", "import site; print(site.getsitepackages()[0])").strip()
    run(*pip, "install", *quiet, "--target", packages, wheel)
    # The packages that it depends on, without the checkout, which only a finder there knows.
    Path(packages, "depends.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return found


def run(*command: object, cwd: Path | None = None) -> str:
    here = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, env=here
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_the_demo_and_the_first_config_run(python: Path, tmp_path: Path) -> None:
    where = run(python, "-c", "import esegeta; print(esegeta.__file__)", cwd=tmp_path)
    assert str(ROOT) not in where and "environment" in where
    fast = ["--set", "methods=[saliency]", "--set", "scores=[]", "--set", "report=false"]
    told = run(python, "-m", "esegeta", "demo", *fast, cwd=tmp_path)
    assert "demo.yaml" in told
    name = "torso_label-liver_desc-saliency_attrmap.nii.gz"
    mine = tmp_path / "results" / "demo" / "torso" / name
    assert mine.is_file()
    other = tmp_path / "of_checkout"
    config = ROOT / "configs" / "demo.yaml"
    run(sys.executable, "-m", "esegeta", "run", config, *fast, "-o", other, cwd=ROOT)
    assert maps_of(mine) == maps_of(other / "demo" / "torso" / name)
    run(python, "-m", "esegeta", "init", cwd=tmp_path)
    run(python, "-m", "esegeta", "validate", "esegeta.yaml", cwd=tmp_path)
    run(python, "-m", "esegeta", "run", "esegeta.yaml", *fast, cwd=tmp_path)
    assert (tmp_path / "results" / "liver" / "torso" / name).is_file()


def maps_of(path: Path) -> bytes:
    import nibabel as nib

    return bytes(nib.load(path).get_fdata().tobytes())
